"""Tumbling windows over the flights as DuckDB computes them, and a comparison with what velo wrote.

    windows.py --keys carrier --hours 1 ROWS.jsonl .. [--report REPORT.json ..] [--without LINES] [--of LINES]

Each ROWS.jsonl is the output of a run of `velo run --format json` for the select list below, each REPORT.json that run's. The rows are expected as if no record
were late, so the bound must cover the disorder of the input: the report's late_records must be 0. LINES is a file of
`line` numbers, one a line, that do not count (records made bad on purpose); the report's bad_records must be as many. The other
file of LINES says which flights the input held, if not all.
"""

import argparse
import pathlib
import subprocess
import tempfile

import duckdb

import rows

FLIGHTS = pathlib.Path(__file__).resolve().parent.parent / "data" / "flights.csv.zst"
TYPES = {
    "ts": "TIMESTAMP", "carrier": "VARCHAR", "flight": "BIGINT", "tailnum": "VARCHAR", "origin": "VARCHAR", "dest": "VARCHAR",
    "dep_delay": "BIGINT", "arr_delay": "BIGINT", "air_time": "BIGINT", "distance": "BIGINT", "line": "BIGINT",
}  # fmt: skip
# output name -> DuckDB's expression over the flights; the select list of every query, after its keys
AGGREGATES = {
    "n": "count(*)",
    "miles": "CAST(sum(distance) AS BIGINT)",
    "delay_avg": "avg(dep_delay)",
    "arr_min": "min(arr_delay)",
    "arr_max": "max(arr_delay)",
    "tail_min": "min(tailnum)",
    "ts_max": "epoch_us(max(ts))",
}
TIMES = ["window_start", "window_end", "ts_max"]


def columns(keys):
    return [*keys, "window_start", "window_end", *AGGREGATES]


def identity(keys):
    return [*keys, "window_start", "window_end"]


def connect(path=FLIGHTS):
    """A DuckDB connection in which `flights` are the records of the CSV file at `path`, in UTC."""
    db = duckdb.connect(":memory:")
    options = "header = true, nullstr = '', auto_detect = false, delim = ',', quote = '\"', escape = '\"'"
    with tempfile.TemporaryDirectory() as folder:
        if str(path).endswith(".zst"):
            plain = pathlib.Path(folder) / "flights.csv"
            subprocess.run(["zstd", "-dq", "-o", str(plain), str(path)], check=True)
            path = plain
        db.execute(f"CREATE TABLE flights AS SELECT * FROM read_csv('{path}', {options}, columns = {TYPES})")
    return db


def aggregate(db, keys, hours, chosen=None):
    """The expected rows of one query: over all flights, or over those whose `line` is in `chosen`."""
    source = "flights"
    if chosen is not None:
        with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
            file.write("line\n" + "\n".join(map(str, chosen)) + "\n")
            file.flush()
            db.execute(f"CREATE OR REPLACE TEMP TABLE chosen AS SELECT * FROM read_csv('{file.name}', header = true, columns = {{'line': 'BIGINT'}})")
        source = "flights SEMI JOIN chosen USING (line)"
    start = f"time_bucket(INTERVAL '{hours} hours', ts, TIMESTAMP '1970-01-01')"
    names = ", ".join(keys)
    select = ", ".join(f"{expression} AS {name}" for name, expression in AGGREGATES.items())
    found = db.execute(f"""
        SELECT {names}, epoch_us({start}) AS window_start, epoch_us({start} + INTERVAL '{hours} hours') AS window_end, {select}
        FROM {source} GROUP BY {names}, {start}
    """).fetchall()
    expected = [dict(zip(columns(keys), values)) for values in found]
    for row in expected:
        for name in TIMES:
            row[name] = rows.Time(row[name])
    return expected


def arguments(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", metavar="ROWS.jsonl", nargs="+")
    parser.add_argument("--keys", required=True, type=lambda text: text.split(","))
    parser.add_argument("--hours", required=True, type=int, help="the window's size")
    parser.add_argument("--report", metavar="REPORT.json", nargs="+", default=[])
    return parser


def runs(options):
    """What each run wrote: its rows, and its report, None where none was named."""
    reports = options.report or [None] * len(options.rows)
    if len(reports) != len(options.rows):
        raise rows.Wrong(f"{len(options.rows)} files of rows and {len(reports)} reports")
    for path, report in zip(options.rows, reports):
        yield rows.read(path, columns(options.keys), TIMES), report


def in_each(options):
    return f", in each of {len(options.rows)} runs" if len(options.rows) > 1 else ""


def main():
    parser = arguments(__doc__)
    parser.add_argument("--without", metavar="LINES")
    parser.add_argument("--of", metavar="LINES")
    options = parser.parse_args()

    def check():
        db = connect()
        records = db.execute("SELECT count(*) FROM flights").fetchone()[0]
        bad, chosen = set(), None
        held = set(map(int, pathlib.Path(options.of).read_text().split())) if options.of else set(range(1, records + 1))
        if options.without:
            bad = set(map(int, pathlib.Path(options.without).read_text().split()))
        if options.without or options.of:
            chosen = held - bad
        expected = aggregate(db, options.keys, options.hours, chosen)
        for actual, report in runs(options):
            rows.compare(actual, expected, identity(options.keys))
            if report:
                rows.check_report(report, end="input", exit_code=0, late_records=0, bad_records=len(bad))
        return f"equal: {len(expected)} rows of {len(held) - len(bad)} records, 0 late, {len(bad)} bad" + in_each(options)

    rows.finish(check)


if __name__ == "__main__":
    main()
