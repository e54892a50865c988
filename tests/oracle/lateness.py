"""The rule of lateness of docs/SQL.md in plain Python, and a comparison of what velo accepted with it.

    lateness.py --keys carrier --hours 1 --bound 3 ROWS.jsonl .. --report REPORT.json .. [--grace SECONDS] [INPUT]

INPUT, what velo read, is one of
    --csv FILE     a file of flights, .zst or plain, read in its order: one input with one watermark (default: the prepared)
    --dump FILE    what `scripts/kafka dump` printed: partition, offset, key, value; one watermark a partition

The rule: a record of window [start, end) is late iff end + grace <= its own input's watermark just before it; the
watermark is the highest event time so far minus the bound, minus infinity at first; every record advances it, late
ones too. The accepted records are then aggregated by DuckDB. Rows and late_records must be equal.
With --changes ROWS.jsonl is EMIT CHANGES' output: one row per accepted record, the last per key and window as FINAL's.
"""

import csv
import io
import json
import pathlib
import subprocess

import rows
import windows

HOUR = 3_600_000_000  # microseconds
NEVER = -(2**63)


def from_csv(path):
    """(input, event time, line) of each record of a CSV file, in its order; a file is one input."""
    raw = pathlib.Path(path).read_bytes()
    if str(path).endswith(".zst"):
        raw = subprocess.run(["zstd", "-dcq"], input=raw, capture_output=True, check=True).stdout
    for row in csv.DictReader(io.StringIO(raw.decode())):
        yield 0, rows.parse_time(row["ts"]), int(row["line"])


def from_dump(path):
    """(partition, event time, line) of each record of a dumped topic, each partition in the order of its offsets."""
    records = []
    with open(path, encoding="utf-8") as lines:
        for text in lines:
            partition, offset, _key, value = text.rstrip("\n").split("\t", 3)
            value = json.loads(value)
            records.append((int(partition), int(offset), rows.parse_time(value["ts"]), value["line"]))
    records.sort()
    for previous, record in zip(records, records[1:]):
        if previous[0] == record[0] and previous[1] + 1 != record[1]:
            raise rows.Wrong(f"partition {record[0]}: offset {record[1]} follows {previous[1]}")
    for partition, _offset, time, line in records:
        yield partition, time, line


def judge(records, size, bound, grace):
    """The lines of the accepted records, and the number of late ones. Durations in microseconds."""
    watermarks, accepted, late = {}, [], 0
    for source, time, line in records:
        end = time // size * size + size
        watermark = watermarks.get(source, NEVER)
        if end + grace <= watermark:
            late += 1
        else:
            accepted.append(line)
        watermarks[source] = max(watermark, time - bound)
    return accepted, late


def main():
    parser = windows.arguments(__doc__)
    parser.add_argument("--bound", required=True, type=float, metavar="HOURS")
    parser.add_argument("--grace", default=0, type=float, metavar="SECONDS")
    parser.add_argument("--changes", action="store_true")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--csv", default=windows.FLIGHTS)
    source.add_argument("--dump")
    options = parser.parse_args()

    def check():
        db = windows.connect()
        total = db.execute("SELECT count(*) FROM flights").fetchone()[0]
        records = list(from_dump(options.dump) if options.dump else from_csv(options.csv))
        if sorted(line for _, _, line in records) != list(range(1, total + 1)):
            raise rows.Wrong(f"the input's {len(records)} records are not each of the {total} flights once")
        accepted, late = judge(records, options.hours * HOUR, int(options.bound * HOUR), int(options.grace * 1e6))
        expected = windows.aggregate(db, options.keys, options.hours, accepted)
        identity = windows.identity(options.keys)
        for actual, report in windows.runs(options):
            if options.changes:
                rows.compare_changes(actual, expected, identity, len(accepted), "n")
            else:
                rows.compare(actual, expected, identity)
            if report:
                rows.check_report(report, end="input", exit_code=0, late_records=late, bad_records=0)
        emitted = len(accepted) if options.changes else len(expected)
        inputs = len({part for part, _, _ in records})
        return f"equal: {emitted} rows of {len(accepted)} records, {late} late, {inputs} inputs" + windows.in_each(options)

    rows.finish(check)


if __name__ == "__main__":
    main()
