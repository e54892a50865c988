"""Flights of which one in a hundred comes late, and what becomes of those.

    late.py make --records N --bound HOURS --grace MINUTES --size HOURS IN.csv.zst OUT.csv
    late.py letters --bound HOURS --grace MINUTES --size HOURS IN.csv DEAD.jsonl
    late.py rows --bound HOURS --grace MINUTES --size HOURS [--corrected] IN.csv ROWS.jsonl REPORT.json

`make` takes the first N flights in the order of their times and lets every hundredth come late, half of these so late that their
window is closed (its end plus grace has been reached), half within the grace period. `letters` holds the dead letters against the
bytes of the late lines. `rows` holds rows against the accepted flights, aggregated here: exactly those of FINAL, or with
`--corrected` the last row of each group and window, where there must be more rows than groups.
"""

import argparse
import base64
import collections
import csv
import io
import json
import pathlib
import random
import subprocess

import rows

HOUR, MINUTE = 3_600_000_000, 60_000_000
EVERY = 100


def times(options):
    return int(options.size * HOUR), int(options.bound * HOUR), int(options.grace * MINUTE)


def make(options):
    size, bound, grace = times(options)
    text = subprocess.run(["zstd", "-dcq", options.input], capture_output=True, check=True).stdout.decode()
    header, *lines = text.splitlines()
    flights = sorted((rows.parse_time(line.split(",", 1)[0]), number, line) for number, line in enumerate(lines))[: options.records]
    chance, due, out, counts = random.Random(1), [], [header], collections.Counter()
    for place, (time, _, line) in enumerate(flights):
        if place % EVERY == EVERY - 1:
            end = time // size * size + size
            closed = chance.random() < 0.5
            due.append((end + grace if closed else end + chance.randrange(max(1, grace // 2)), line))
            counts["closed" if closed else "within"] += 1
            continue
        out.append(line)
        out += [late for moment, late in due if moment <= time - bound]
        due = [(moment, late) for moment, late in due if moment > time - bound]
    out += [late for _, late in due]  # behind the end of the input nothing is reached: these are on time, or not, by the rule
    pathlib.Path(options.output).write_text("\n".join(out) + "\n")
    return f"{len(flights)} flights, {sum(counts.values())} of them moved: {counts['closed']} behind their window's close, {counts['within']} behind its end"


def judged(options):
    """The accepted lines and the late ones, each as (time, line of text)."""
    size, bound, grace = times(options)
    watermark, accepted, late = float("-inf"), [], []
    for line in pathlib.Path(options.input).read_text().splitlines()[1:]:
        time = rows.parse_time(line.split(",", 1)[0])
        (late if time // size * size + size + grace <= watermark else accepted).append((time, line))
        watermark = max(watermark, time - bound)
    return accepted, late


def letters(options):
    _, late = judged(options)
    with open(options.dead, encoding="utf-8") as lines:
        found = collections.Counter(base64.b64decode(json.loads(line)["payload_base64"]) for line in lines)
    want = collections.Counter(line.encode() for _, line in late)
    rows.refuse([f"{count} times too few: {line!r}" for line, count in (want - found).items()]
                + [f"{count} times too many: {line!r}" for line, count in (found - want).items()])  # fmt: skip
    return f"equal: {len(late)} letters, byte for byte"


def check_rows(options):
    size, _, _ = times(options)
    accepted, late = judged(options)
    names = "ts,carrier,flight,tailnum,origin,dest,dep_delay,arr_delay,air_time,distance,line".split(",")
    groups = collections.defaultdict(lambda: [0, 0])
    for (time, _), row in zip(accepted, csv.DictReader(io.StringIO("\n".join(line for _, line in accepted)), names)):
        group = groups[(row["carrier"], time // size * size)]
        group[0] += 1
        group[1] += int(row["distance"] or 0)
    identity = ["carrier", "window_start"]
    actual = rows.read(options.rows, [*identity, "n", "miles"], ["window_start"])
    expected = [{"carrier": carrier, "window_start": rows.Time(start), "n": n, "miles": miles}
                for (carrier, start), (n, miles) in groups.items()]  # fmt: skip
    if options.corrected:
        got, _ = rows.by_identity(actual, identity)
        want, _ = rows.by_identity(expected, identity)
        rows.refuse(rows.last_rows(got, want))
    else:
        rows.compare(actual, expected, identity)
    rows.check_report(options.report, end="input", exit_code=0, late_records=len(late), late_after_idle=0, bad_records=0)
    corrections = json.load(open(options.report, encoding="utf-8"))["corrections"]
    if (corrections > 0) != options.corrected or options.corrected and len(actual) <= len(expected):
        raise rows.Wrong(f"{corrections} corrections, {len(actual)} rows of {len(expected)} groups")
    return f"equal: {len(expected)} groups of {len(accepted)} flights, {len(late)} late, {corrections} corrections"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["make", "letters", "rows"])
    parser.add_argument("--records", type=int)
    for name in ("bound", "grace", "size"):
        parser.add_argument(f"--{name}", required=True, type=float)
    parser.add_argument("--corrected", action="store_true")
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    for name, value in zip({"make": ["input", "output"], "letters": ["input", "dead"], "rows": ["input", "rows", "report"]}[options.task], options.files):
        setattr(options, name, value)
    rows.finish(lambda: {"make": make, "letters": letters, "rows": check_rows}[options.task](options))


if __name__ == "__main__":
    main()
