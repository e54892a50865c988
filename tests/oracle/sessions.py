"""Sessions: what they must be, by other means than velo's.

    sessions.py make KEYS MINUTES FILE.csv          writes a record or two of each of KEYS keys, in time order, over MINUTES minutes
    sessions.py check KEYS MINUTES ROWS.jsonl       compares with the query below
    sessions.py flights MINUTES ROWS.jsonl REPORT   sessions of the flights by tail number with that gap, by DuckDB's window functions
    sessions.py users FILE.jsonl                    writes records of users whose visits interleave, each for a partition of its own choice
    sessions.py topic DUMP SHARDS ROWS.jsonl REPORT compares the sessions of the records in a dump of scripts/kafka, user by user
    sessions.py changes DUMP SHARDS OUT.dump REPORT the same of a topic of changes, after its tombstones

`make`: key number i stands at i / KEYS of the time. Every 1,009th key has a second record, LAG keys later, within the gap of a minute.
Half of the keys are longer than the twelve bytes that a view holds. The query keeps the keys whose sum is a multiple of 1,000, so that
every session is computed and few rows leave: SELECT k, window_start, window_end, COUNT(*) AS n, SUM(v) AS s .. HAVING SUM(v) % 1000 = 0.

`users`: the user `bridge` has three records, of which the last written is the middle one: it makes one session of two.
"""

import json
import random
import sys

import rows

START = 1_704_067_200_000_000
MINUTE = 60_000_000
GAP_US = 10_000_000
TIMES = ["window_start", "window_end"]


def key(i):
    return f"k{i}" if i % 2 else f"a key that is longer than a view holds {i}"


def time(i, keys, minutes):
    return START + i * minutes * MINUTE // keys


def lag(keys, minutes):
    return keys // minutes // 3


def make(keys, minutes, path):
    with open(path, "w", encoding="utf-8") as file:
        file.write("k,ts,v\n")
        later = lag(keys, minutes)
        lines = []
        for i in range(keys):
            stamp = time(i, keys, minutes)
            lines.append(f"{key(i)},{stamp},{i % 5000}\n")
            if i >= later and (i - later) % 1009 == 0:
                lines.append(f"{key(i - later)},{stamp},{(i - later) % 5000}\n")
            if len(lines) >= 100_000:
                file.writelines(lines)
                lines.clear()
        file.writelines(lines)


def check(keys, minutes, path):
    expected, later = {}, lag(keys, minutes)
    for i in range(keys):
        times = 1 + (i % 1009 == 0 and i + later < keys)
        total = (i % 5000) * times
        if total % 1000 == 0:
            last = i + later if times == 2 else i
            expected[key(i)] = (time(i, keys, minutes), time(last, keys, minutes) + MINUTE, times, total)
    found = 0
    for row in rows.read(path, ["k", "window_start", "window_end", "n", "s"], ["window_start", "window_end"]):
        given = (row["window_start"], row["window_end"], row["n"], row["s"])
        if expected.get(row["k"]) != given:
            raise rows.Wrong(f"{row}: must be {expected.get(row['k'])}")
        del expected[row["k"]]
        found += 1
    if expected:
        raise rows.Wrong(f"{len(expected)} rows are missing, such as {next(iter(expected.items()))}")
    return f"{found} rows of {keys} keys equal"


def flights(minutes, path, report):
    import windows

    columns = ["tailnum", "window_start", "window_end", *windows.AGGREGATES]
    aggregates = ", ".join(f"{expression} AS {name}" for name, expression in windows.AGGREGATES.items())
    found = windows.connect().execute(f"""
        WITH apart AS (SELECT *, ts - lag(ts) OVER by_tail > INTERVAL '{minutes} minutes' AS begins FROM flights
                       WINDOW by_tail AS (PARTITION BY tailnum ORDER BY ts, line)),
             numbered AS (SELECT *, count(*) FILTER (begins) OVER (PARTITION BY tailnum ORDER BY ts, line) AS session FROM apart)
        SELECT tailnum, epoch_us(min(ts)), epoch_us(max(ts) + INTERVAL '{minutes} minutes'), {aggregates}
        FROM numbered GROUP BY tailnum, session
    """).fetchall()
    expected = [dict(zip(columns, values)) for values in found]
    for row in expected:
        for name in windows.TIMES:
            row[name] = rows.Time(row[name])
    actual = rows.read(path, columns, windows.TIMES)
    rows.compare(actual, expected, ["tailnum", "window_start", "window_end"])
    rows.check_report(report, end="input", exit_code=0, late_records=0, late_after_idle=0, bad_records=0, records_in=336776)
    return f"equal: {len(actual)} sessions of 336776 records, 0 late"


def users(path):
    """Ten minutes of visits, at most half a minute out of order; the bridge's records are two gaps apart but for the middle one."""
    chance = random.Random(4)
    records, clock, begin = [], START, None
    for number in range(20_000):
        clock += chance.randrange(60_000)
        user = chance.choice(["one", "two"]) if chance.random() < 0.2 else f"user {chance.randrange(300)}"
        records.append({"u": user, "ts": clock - chance.randrange(30_000_000), "v": number})
        if number in BRIDGE:
            begin = begin or clock - 29_000_000
            records.append({"u": "bridge", "ts": begin + BRIDGE[number], "v": number})
    with open(path, "w", encoding="utf-8") as file:
        bridge = 0
        for record in records:
            place = str(chance.randrange(1_000))
            if record["u"] == "bridge":
                place, bridge = PLACES[bridge], bridge + 1
            print(json.dumps({"p": place, **record}), file=file)


# The bridge's records: behind which other, and how long after the first of them, microseconds.
BRIDGE = {9_000: 0, 9_001: 18_000_000, 9_200: 9_000_000}
# Message keys that murmur2 puts into partitions 0, 1 and 2 of four.
PLACES = ["0", "4", "5"]


def expected_of(dump, shards):
    """The sessions of the records in a dump, how many records there are, and the shards that read the bridge's."""
    visits, places = {}, []
    with open(dump, encoding="utf-8") as file:
        for line in file:
            partition, _, _, value = line.rstrip("\n").split("\t", 3)
            record = json.loads(value)
            visits.setdefault(record["u"], []).append((rows.parse_time(record["ts"]), record["v"]))
            if record["u"] == "bridge":
                places.append(int(partition) % shards)
    if len(places) != 3 or len(set(places)) < min(2, shards):
        raise rows.Wrong(f"the bridge's records are read by the shards {places}")
    expected = []
    for user, records in visits.items():
        records.sort()
        sessions = [[records[0]]]
        for record in records[1:]:
            if record[0] - sessions[-1][-1][0] > GAP_US:
                sessions.append([])
            sessions[-1].append(record)
        for session in sessions:
            times, values = zip(*session)
            expected.append({
                "u": user, "window_start": times[0], "window_end": rows.Time(times[-1] + GAP_US), "n": len(values), "total": sum(values),
            })  # fmt: skip
    bridged = [row for row in expected if row["u"] == "bridge"]
    if [row["n"] for row in bridged] != [3]:
        raise rows.Wrong(f"the input has no bridge: {bridged}")
    return expected, sum(len(records) for records in visits.values()), places


def topic(dump, shards, path, report):
    expected, count, places = expected_of(dump, shards)
    actual = rows.read(path, ["u", "window_start", "window_end", "n", "total"], TIMES)
    rows.compare(actual, expected, ["u", "window_start"])
    rows.check_report(report, end="input", exit_code=0, late_records=0, late_after_idle=0)
    return f"equal: {len(actual)} sessions, {count} records; the bridge read by shards {places}"


def changes(dump, shards, out, report):
    """The rows of a topic, and what is left of them when each tombstone has taken away what stood under its key."""
    expected, count, places = expected_of(dump, shards)
    found, tombstones, left = 0, 0, {}
    with open(out, encoding="utf-8") as file:
        for line in file:
            _, _, key, value = line.rstrip("\n").split("\t", 3)
            if value == "null":
                if key not in left:
                    raise rows.Wrong(f"a tombstone of {key}, which does not stand")
                tombstones += 1
                del left[key]
                continue
            found += 1
            row = json.loads(value)
            if json.loads(key) != {name: row[name] for name in ("u", "window_start")}:
                raise rows.Wrong(f"{row} under the key {key}")
            left[key] = {name: rows.parse_time(one) if name in TIMES else one for name, one in row.items()}
    if found != count:
        raise rows.Wrong(f"{found} rows for {count} accepted records")
    rows.compare(list(left.values()), expected, ["u", "window_start"])
    rows.check_report(report, end="input", exit_code=0, late_records=0, late_after_idle=0, rows_out=count)
    return f"{count} rows for {count} records; {tombstones} tombstones leave {len(left)} sessions, equal"


def main():
    command, *given = sys.argv[1:]
    if command == "make":
        make(int(given[0]), int(given[1]), given[2])
    elif command == "users":
        users(given[0])
    elif command == "check":
        rows.finish(lambda: check(int(given[0]), int(given[1]), given[2]))
    elif command == "flights":
        rows.finish(lambda: flights(int(given[0]), given[1], given[2]))
    elif command == "topic":
        rows.finish(lambda: topic(given[0], int(given[1]), given[2], given[3]))
    elif command == "changes":
        rows.finish(lambda: changes(given[0], int(given[1]), given[2], given[3]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
