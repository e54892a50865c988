"""Windows of every kind over the flights as DuckDB computes them, and a comparison with what velo wrote.

    overlapping.py --keys origin --window "hopping 60 10" ROWS.jsonl .. [--report REPORT.json ..]

The window is `tumbling SIZE`, `hopping SIZE ADVANCE` or `cumulate SIZE STEP`, in minutes. Everything else is as in `windows.py`: the
same select list, and nothing late.
"""

import argparse

import rows
import windows

MINUTE = 60_000_000  # microseconds


def bounds(kind, size, step):
    """How many windows may cover a record, and the start and the end of number k of them, as DuckDB's expressions of `time`, in
    microseconds since 1970 (the flights are later)."""
    size, step = size * MINUTE, step * MINUTE
    if kind == "cumulate":
        start = f"time // {size} * {size}"
        return size // step, start, f"{start} + (k + 1) * {step}"
    start = f"time // {step} * {step} - k * {step}"
    return -(-size // step), start, f"{start} + {size}"


def aggregate(db, keys, kind, size, step):
    """The expected rows."""
    most, start, end = bounds(kind, size, step)
    names = ", ".join(keys)
    select = ", ".join(f"{expression} AS {name}" for name, expression in windows.AGGREGATES.items())
    found = db.execute(f"""
        WITH timed AS (SELECT *, epoch_us(ts) AS time FROM flights),
        counted AS (SELECT *, {start} AS window_start, {end} AS window_end FROM timed CROSS JOIN range({most}) AS hops(k))
        SELECT {names}, window_start, window_end, {select} FROM counted
        WHERE window_start <= time AND time < window_end GROUP BY {names}, window_start, window_end
    """).fetchall()
    expected = [dict(zip(windows.columns(keys), values)) for values in found]
    for row in expected:
        for name in windows.TIMES:
            row[name] = rows.Time(row[name])
    return expected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", metavar="ROWS.jsonl", nargs="+")
    parser.add_argument("--keys", required=True, type=lambda text: text.split(","))
    parser.add_argument("--window", required=True, metavar="KIND SIZE [STEP]")
    parser.add_argument("--report", metavar="REPORT.json", nargs="+", default=[])
    options = parser.parse_args()

    def check():
        kind, size, *step = options.window.split()
        expected = aggregate(windows.connect(), options.keys, kind, int(size), int((step or [size])[0]))
        for actual, report in windows.runs(options):
            rows.compare(actual, expected, windows.identity(options.keys))
            if report:
                rows.check_report(report, end="input", exit_code=0, late_records=0, bad_records=0)
        return f"equal: {len(expected)} rows" + windows.in_each(options)

    rows.finish(check)


if __name__ == "__main__":
    main()
