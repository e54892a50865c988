"""What a job wrote over several lives, against what it wrote in one.

    replay.py --once|--repeated --of windows|far WHOLE.jsonl FOUND.jsonl

With --once both hold the same rows, each as often. With --repeated a row may repeat, but none may differ, be missing or be one
too many. Whole numbers and text are compared exactly, doubles to 1e-9 relative: partial sums are added in any order.
"""

import argparse
import collections
import json
import math

IDENTITY = {"windows": ["origin", "window_start", "window_end"], "far": ["line"]}


def read(path, identity):
    """The rows by identity, each with all its versions."""
    rows = collections.defaultdict(list)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows[tuple(row[name] for name in identity)].append(row)
    return rows


def equal(one, other):
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9)
    return one == other


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--repeated", action="store_true")
    parser.add_argument("--of", choices=IDENTITY, required=True)
    parser.add_argument("whole")
    parser.add_argument("found")
    arguments = parser.parse_args()
    whole, found = (read(path, IDENTITY[arguments.of]) for path in (arguments.whole, arguments.found))
    if not whole:
        raise SystemExit("the run that was not interrupted wrote nothing")
    for identity in whole.keys() | found.keys():
        expected, rows = whole.get(identity, []), found.get(identity, [])
        if len(expected) != 1:
            raise SystemExit(f"{identity}: {len(expected)} rows of the run that was not interrupted")
        if not rows:
            raise SystemExit(f"{identity}: missing")
        if arguments.once and len(rows) != 1:
            raise SystemExit(f"{identity}: written {len(rows)} times")
        for row in rows:
            if row.keys() != expected[0].keys() or not all(equal(row[name], expected[0][name]) for name in row):
                raise SystemExit(f"{identity}: {row} differs from {expected[0]}")
    total = sum(map(len, found.values()))
    print(f"{len(whole)} rows equal, {total - len(whole)} repeated")


if __name__ == "__main__":
    main()
