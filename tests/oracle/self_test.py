"""The oracles, tested: rows made by a naive model pass, and every planted difference is found.

    self_test.py

The naive model is a loop over the records with a dict, and shares no code with DuckDB's side. Each planted difference
must end the oracle with exit code 1.
"""

import csv
import io
import json
import pathlib
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone

HERE = pathlib.Path(__file__).resolve().parent
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def text(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def naive(records, keys, hours, bound, changes=False, partition=lambda record: 0):
    """The rows velo would write and the number of late records, by the plainest means."""
    size, bound = timedelta(hours=hours), timedelta(hours=bound)
    groups, highest, late, out = {}, {}, 0, []
    for record in records:
        start = EPOCH + (record["at"] - EPOCH) // size * size
        source = partition(record)
        before = highest.get(source)
        highest[source] = record["at"] if before is None else max(before, record["at"])
        if before is not None and start + size <= before - bound:
            late += 1
            continue
        members = groups.setdefault((*(record[key] for key in keys), start), [])
        members.append(record)
        if changes:
            out.append(row(members, keys, start, size))
    if not changes:
        out = [row(members, keys, key[-1], size) for key, members in groups.items()]
    return out, late


def hopping(records, keys, size, advance):
    """The rows of hopping windows, minutes, when nothing is late."""
    size, advance, groups = timedelta(minutes=size), timedelta(minutes=advance), {}
    for record in records:
        start = EPOCH + (record["at"] - EPOCH) // advance * advance
        while record["at"] < start + size:
            groups.setdefault((*(record[key] for key in keys), start), []).append(record)
            start -= advance
    return [row(members, keys, key[-1], size) for key, members in groups.items()]


def row(members, keys, start, size):
    def known(name):
        return [member[name] for member in members if member[name] is not None]

    delays, arrivals = known("dep_delay"), known("arr_delay")
    return {
        **{key: members[0][key] for key in keys},
        "window_start": text(start),
        "window_end": text(start + size),
        "n": len(members),
        "miles": sum(known("distance")),
        "delay_avg": sum(delays) / len(delays) if delays else None,
        "arr_min": min(arrivals, default=None),
        "arr_max": max(arrivals, default=None),
        "tail_min": min(known("tailnum"), default=None),
        "ts_max": max(member["ts"] for member in members),
    }


def load():
    prepared = HERE.parent / "data" / "flights.csv.zst"
    raw = subprocess.run(["zstd", "-dcq", str(prepared)], capture_output=True, check=True).stdout.decode()
    numbers = ["flight", "dep_delay", "arr_delay", "air_time", "distance", "line"]
    for record in csv.DictReader(io.StringIO(raw)):
        record = {name: value or None for name, value in record.items()}
        for name in numbers:
            record[name] = None if record[name] is None else int(record[name])
        record["at"] = datetime.strptime(record["ts"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        yield record


class Bench:
    """One folder, one oracle call after another, and how many went as they must."""

    def __init__(self, folder):
        self.folder, self.right, self.wrong = folder, 0, 0

    def expect(self, what, status, program, rows, late, *arguments, report=None, second=None):
        file, told = self.folder / "rows.jsonl", self.folder / "report.json"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        found, reports = [str(file)], [str(told)]
        if second is not None:
            other = self.folder / "second.jsonl"
            other.write_text("".join(json.dumps(row) + "\n" for row in second))
            found, reports = [*found, str(other)], [*reports, str(told)]
        told.write_text(json.dumps({"schema": 1, "end": "input", "exit_code": 0, "late_records": late, "bad_records": 0, **(report or {})}))
        command = [sys.executable, str(HERE / f"{program}.py"), *found, "--report", *reports, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        passed = done.returncode == status
        self.right, self.wrong = self.right + passed, self.wrong + (not passed)
        said = (done.stdout + done.stderr).strip().splitlines() or [""]
        print(f"{'ok' if passed else 'FAILED':7}{what}: {' '.join(said[:3]) if passed else said[-1]}"[:170])


def main():
    records = list(load())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        bench = Bench(folder)
        for keys, hours in (["carrier"], 1), (["origin"], 1), (["carrier", "dest"], 24):
            query = ["--keys", ",".join(keys), "--hours", hours]
            bench.expect(f"{keys} on time", 0, "windows", naive(records, keys, hours, 24)[0], 0, *query)
            rows, late = naive(records, keys, hours, 3)
            bench.expect(f"{keys} late", 0, "lateness", rows, late, *query, "--bound", 3)

        query = ["--keys", "origin", "--hours", 1]
        rows, _ = naive(records, ["origin"], 1, 24)
        some = next(index for index, row in enumerate(rows) if row["delay_avg"] and row["tail_min"])

        def planted(what, change, **options):
            copy = [dict(row) for row in rows]
            copy = change(copy, copy[some]) or copy
            bench.expect(f"planted, {what}", 1, "windows", copy, options.pop("late", 0), *query, **options)

        planted("a row missing", lambda all, row: all[1:])
        planted("a row twice", lambda all, row: all.append(row))
        planted("a row too many", lambda all, row: all.append({**row, "origin": "XXX"}))
        planted("a count", lambda all, row: row.update(n=row["n"] + 1))
        planted("a sum as text", lambda all, row: row.update(miles=str(row["miles"])))
        planted("a sum as double", lambda all, row: row.update(miles=float(row["miles"])))
        planted("an average off by 1e-8", lambda all, row: row.update(delay_avg=row["delay_avg"] * (1 + 1e-8)))
        planted("an average of 0 for NULL", lambda all, row: next(r for r in all if r["delay_avg"] is None).update(delay_avg=0))
        planted("a minimum", lambda all, row: row.update(arr_min=row["arr_min"] - 1))
        planted("a text", lambda all, row: row.update(tail_min=row["tail_min"].lower()))
        planted("a time", lambda all, row: row.update(ts_max=row["window_end"]))
        planted("a time's spelling", lambda all, row: row.update(ts_max=row["ts_max"].replace("T", " ")))
        planted("a column missing", lambda all, row: row.pop("arr_max") and None)
        planted("columns in another order", lambda all, row: row.update(n=row.pop("n")))
        planted("late records reported", lambda all, row: None, late=1)
        planted("bad records reported", lambda all, row: None, report={"bad_records": 1})
        planted("a run that was cut short", lambda all, row: None, report={"end": "signal"})
        bench.expect("two runs", 0, "windows", rows, 0, *query, second=rows)
        bench.expect("planted, a row lost by the second of two runs", 1, "windows", rows, 0, *query, second=rows[1:])
        bench.expect("an average off by 1e-10", 0, "windows", [{**row, "delay_avg": row["delay_avg"] and row["delay_avg"] * (1 + 1e-10)} for row in rows], 0, *query)

        overlapping = ["--keys", "origin", "--window", "hopping 25 10"]
        rows = hopping(records, ["origin"], 25, 10)
        bench.expect("windows that overlap", 0, "overlapping", rows, 0, *overlapping)
        bench.expect("planted, a window missing", 1, "overlapping", rows[1:], 0, *overlapping)
        bench.expect("planted, windows of another advance", 1, "overlapping", hopping(records, ["origin"], 25, 5), 0, *overlapping)

        rows, late = naive(records, ["origin"], 1, 3)
        bench.expect("planted, a late record not counted", 1, "lateness", rows, late - 1, *query, "--bound", 3)
        bench.expect("planted, no record taken as late", 1, "lateness", naive(records, ["origin"], 1, 24)[0], late, *query, "--bound", 3)
        bench.expect("planted, another bound", 1, "lateness", *naive(records, ["origin"], 1, 2.9), *query, "--bound", 3)

        dump, offsets = folder / "dump", {}

        def partition(record):
            return sum(record["dest"].encode()) % 8

        with open(dump, "w", encoding="utf-8") as file:
            for record in sorted(records, key=partition):
                number = partition(record)
                value = json.dumps({name: field for name, field in record.items() if name != "at"})
                file.write(f"{number}\t{offsets.setdefault(number, 0)}\t{record['dest']}\t{value}\n")
                offsets[number] += 1
        rows, late = naive(records, ["origin"], 1, 3, partition=partition)
        bench.expect("partitions", 0, "lateness", rows, late, *query, "--bound", 3, "--dump", dump)
        bench.expect("planted, one watermark for all partitions", 1, "lateness", *naive(records, ["origin"], 1, 3), *query, "--bound", 3, "--dump", dump)
        with open(dump, encoding="utf-8") as file:
            lines = file.readlines()
        dump.write_text("".join(lines[:9] + lines[10:]), encoding="utf-8")
        bench.expect("planted, a record lost in the topic", 1, "lateness", rows, late, *query, "--bound", 3, "--dump", dump)

        rows, late = naive(records, ["origin"], 1, 3, changes=True)
        changes = [*query, "--bound", 3, "--changes"]
        last = {(row["origin"], row["window_start"]): index for index, row in enumerate(rows)}
        final = min(last.values())
        bench.expect("changes", 0, "lateness", rows, late, *changes)
        bench.expect("planted, a change missing", 1, "lateness", rows[1:], late, *changes)
        bench.expect("planted, a last change", 1, "lateness", rows[:final] + [{**rows[final], "miles": 1}] + rows[final + 1 :], late, *changes)
        first = next(index for index, row in enumerate(rows) if row["n"] == 1 and index not in last.values())
        bench.expect("planted, a change twice for another", 1, "lateness", rows[:first] + [{**rows[first], "n": 2}] + rows[first + 1 :], late, *changes)
    print(f"{bench.right} passed, {bench.wrong} failed")
    sys.exit(bench.wrong > 0)


if __name__ == "__main__":
    main()
