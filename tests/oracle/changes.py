"""EMIT CHANGES and its kinds, held against EMIT FINAL of the same query.

    changes.py --keys carrier --count each|N|some FINAL.jsonl ROWS.jsonl .. [--final] [--sessions]
    changes.py --keys carrier --topic [--restarted] FINAL.jsonl DUMP ..

Both sorts of rows have a column `n`, which is COUNT(*); FINAL's tell how many records each group and window has. What must hold: the
last row of each group and window is FINAL's, and the number of rows is one for each record (`each`), one for each N-th record of a
group and one for the rest (`N`), or at least one a group and at most one a record and the final one (`some`). With `--final` the rows have a column
is_final, true for the last row of each group and window and for no other. Of `--sessions` the start says which they are, rows stand
under starts that are gone, and what is counted are the rows of all together.

With `--topic` each DUMP is what `scripts/kafka dump` printed of a keyed topic under HAVING: the last value of each key must be
FINAL's row, and a key whose last is a tombstone must be none of FINAL's. A tombstone withdraws a row that is out, unless the job was
`--restarted`: then it does not know.
"""

import argparse
import json
import math

import rows


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def by_group(all_rows, identity):
    """identity -> its rows, in their order."""
    groups = {}
    for row in all_rows:
        groups.setdefault(tuple(row[name] for name in identity), []).append(row)
    return groups


def expected_count(count, final, is_told_final):
    """The least and the most rows of a group with `final` as its final row, which may repeat the last early one."""
    if count == "each":
        return final["n"], final["n"]
    if count == "some":
        return 1, final["n"] + is_told_final
    times = -(-final["n"] // int(count))
    return times, times


def check_rows(options, path, finals, identity):
    groups, differences = by_group(read(path), identity), []
    for key, final in finals.items():
        found = groups.pop(key, [])
        least, most = (1, math.inf) if options.sessions else expected_count(options.count, final, options.final)
        if not least <= len(found) <= most:
            differences.append(f"{key}: {len(found)} rows of {final['n']} records")
            continue
        if options.final:
            said = [row.pop("is_final") for row in found]
            if said != [False] * (len(said) - 1) + [True]:
                differences.append(f"{key}: is_final says {said}")
        if not all(rows.same(found[-1][name], value) for name, value in final.items()):
            differences.append(f"{key}: the last row is {found[-1]}, must be {final}")
    if not options.sessions:
        differences += [f"not expected: {found[-1]}" for found in groups.values()]
    written, records = len(read(path)), sum(final["n"] for final in finals.values())
    if options.sessions and not (records if options.count == "each" else 1) <= written <= records + options.final * len(finals):
        differences.append(f"{written} rows of {records} records")
    rows.refuse(differences)
    return written


def check_topic(path, finals, restarted):
    """The last value of each key; rows and tombstones."""
    last, counts = {}, [0, 0]
    with open(path, encoding="utf-8") as lines:
        records = [line.rstrip("\n").split("\t", 3) for line in lines]
    records.sort(key=lambda record: (int(record[0]), int(record[1])))
    for _partition, _offset, key, value in records:
        key, is_tombstone = tuple(sorted(json.loads(key).items())), value == "null"
        if is_tombstone and last.get(key) is None and not restarted:
            raise rows.Wrong(f"a tombstone for {key}, of which no row is out")
        last[key] = None if is_tombstone else json.loads(value)
        counts[is_tombstone] += 1
    held = {key: row for key, row in last.items() if row is not None}
    wanted = {tuple(sorted((name, row[name]) for name in ("carrier", "window_start"))): row for row in finals.values()}
    differences = [f"{key}: {held.get(key)}, must be {row}" for key, row in wanted.items() if held.get(key) != row]
    differences += [f"not expected: {row}" for key, row in held.items() if key not in wanted]
    rows.refuse(differences)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("finals", metavar="FINAL.jsonl")
    parser.add_argument("rows", metavar="ROWS.jsonl", nargs="+")
    parser.add_argument("--keys", required=True, type=lambda text: text.split(","))
    parser.add_argument("--count", default="some")
    parser.add_argument("--final", action="store_true")
    parser.add_argument("--sessions", action="store_true")
    parser.add_argument("--topic", action="store_true")
    parser.add_argument("--restarted", action="store_true")
    options = parser.parse_args()

    def check():
        identity = [*options.keys, "window_start", *([] if options.sessions else ["window_end"])]
        finals = {key: found[-1] for key, found in by_group(read(options.finals), identity).items()}
        if not finals:
            raise rows.Wrong("FINAL has no row at all")
        if options.topic:
            found = [check_topic(path, finals, options.restarted) for path in options.rows]
            if not options.restarted and not all(tombstones for _, tombstones in found):
                raise rows.Wrong("nothing was withdrawn, so nothing was shown")
            told = ", ".join(f"{rows_out} rows and {tombstones} tombstones" for rows_out, tombstones in found)
            return f"equal: {len(finals)} rows stand; {told}"
        counts = [check_rows(options, path, finals, identity) for path in options.rows]
        records = sum(row["n"] for row in finals.values())
        return f"equal: {len(finals)} groups of {records} records, {', '.join(map(str, counts))} rows"

    rows.finish(check)


if __name__ == "__main__":
    main()
