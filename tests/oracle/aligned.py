"""Flights over eight partitions, one of which is silent and one behind the others, and what velo made of them while they came.

    aligned.py live    --run "COMMAND" --feed "COMMAND" --report PATH --days N    in order of time, one of them 30 minutes behind
    aligned.py backlog --run "COMMAND" --feed "COMMAND" --report PATH --days N    all but one at once, and that one day by day

COMMAND of --run prints windows of an hour by carrier and destination, as windows.py has them, and ends by a signal; that of
--feed writes lines KEY<TAB>VALUE to the topic as they come. A last record far behind all others in each partition that speaks
closes all windows. The rows must be DuckDB's, nothing late, every record taken. The last line says what was found; exit code
1 and a reason otherwise.
"""

import argparse
import json
import shlex
import subprocess
import time

import rows
import silence
import windows

SILENT, BEHIND = 7, 6
BEHIND_US = 30 * 60 * 1_000_000
DAY_US = 86_400_000_000
KEYS = ["carrier", "dest"]
PATIENCE = 120.0


def partition(carrier):
    """US Airways and its like are behind; nothing is in the last partition."""
    return BEHIND if carrier in ("US", "AA") else sum(carrier.encode()) % BEHIND


class Flights:
    def __init__(self, days):
        self.db = windows.connect()
        names = ", ".join(f"epoch_us({name})" if name == "ts" else name for name in windows.TYPES)
        first = self.db.execute("SELECT epoch_us(min(ts)) // 86400000000 * 86400000000 FROM flights").fetchone()[0]
        found = self.db.execute(f"SELECT {names} FROM flights WHERE epoch_us(ts) < {first + days * DAY_US} ORDER BY ts, line").fetchall()
        self.records = [dict(zip(windows.TYPES, values)) for values in found]
        self.last = self.records[-1]["ts"]

    def expected(self):
        return windows.aggregate(self.db, KEYS, 1, [record["line"] for record in self.records])


class Feed:
    def __init__(self, command):
        self.process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, text=True)
        self.keys = silence.keys()
        self.written = 0

    def write(self, number, record):
        value = json.dumps({**record, "ts": record["ts"] / 1000})
        self.process.stdin.write(f"{self.keys[number]}\t{value}\n")
        self.written += 1

    def pause(self, seconds):
        self.process.stdin.flush()
        time.sleep(seconds)

    def end(self):
        self.process.stdin.close()
        if self.process.wait(timeout=60) != 0:
            raise SystemExit("the feed failed")


def live(feed, flights, seconds, begin):
    """In order of time, but that one partition is behind. The reader begins behind the first day."""
    records = [(record["ts"] + BEHIND_US * (partition(record["carrier"]) == BEHIND), record) for record in flights.records]
    records.sort(key=lambda entry: (entry[0], entry[1]["line"]))
    hour_us = DAY_US // 24
    hours = (records[-1][0] - records[0][0]) // hour_us + 1
    due = records[0][0] + hour_us
    passed = 0
    for at, record in records:
        while at >= due:
            feed.pause(seconds / hours)
            due += hour_us
            passed += 1
            if passed == 24:
                begin()
        feed.write(partition(record["carrier"]), record)


def backlog(feed, flights, seconds, begin):
    """All but one at once; that one a quarter of a day at a time, the first before the reader begins: who has not spoken may fall idle."""
    behind = [record for record in flights.records if partition(record["carrier"]) == BEHIND]
    for record in flights.records:
        if partition(record["carrier"]) != BEHIND:
            feed.write(partition(record["carrier"]), record)
    feed.write(BEHIND, behind.pop(0))
    feed.pause(1)
    begin()
    chunks = (behind[-1]["ts"] - behind[0]["ts"]) * 4 // DAY_US + 1
    due = behind[0]["ts"]
    for record in behind:
        while record["ts"] >= due:
            feed.pause(seconds / chunks)
            due += DAY_US // 4
        feed.write(BEHIND, record)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["live", "backlog"])
    parser.add_argument("--run", required=True)
    parser.add_argument("--feed", required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("--days", required=True, type=int)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long the feed takes")
    given = parser.parse_args()

    def check():
        flights = Flights(given.days)
        expected = flights.expected()
        output = given.report + ".jsonl"
        feed = Feed(given.feed)
        runs = []
        with open(output, "w") as file:

            def begin():
                runs.append(subprocess.Popen(shlex.split(given.run), stdout=file))

            try:
                {"live": live, "backlog": backlog}[given.what](feed, flights, given.seconds, begin)
                for number in range(SILENT):
                    feed.write(number, {**flights.records[0], "line": 0, "ts": flights.last + 90 * DAY_US})
                feed.end()
                until = time.time() + PATIENCE
                while sum(1 for _ in open(output)) < len(expected):
                    if runs[0].poll() is not None:
                        raise SystemExit(f"velo ended with {runs[0].returncode}")
                    if time.time() > until:
                        raise SystemExit(f"{sum(1 for _ in open(output))} of {len(expected)} rows after {PATIENCE} s: somebody waits for ever")
                    time.sleep(0.2)
            finally:
                for run in runs:
                    run.terminate()
                    code = run.wait(timeout=30)
        if code != 0:
            raise SystemExit(f"velo ended with {code}")
        actual = rows.read(output, windows.columns(KEYS), windows.TIMES)
        rows.compare(actual, expected, windows.identity(KEYS))
        report = json.load(open(given.report))
        must = {"records_in": feed.written, "late_records": 0, "late_after_idle": 0, "bad_records": 0}
        found = {name: report[name] for name in must}
        if found != must:
            raise SystemExit(f"report: {found}, must be {must}")
        ticks = sum(shard["safety_tick_found_work"] for shard in report["shards"])
        return f"equal: {len(actual)} rows of {feed.written} records, 0 late, state {report['peak_state_bytes'] >> 10} KiB, {ticks} lost wake-ups"

    rows.finish(check)


if __name__ == "__main__":
    main()
