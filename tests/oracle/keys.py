"""Distinct keys, each in one window: makes them, and says what a query over them must give.

    keys.py make KEYS WINDOWS FILE.csv            writes KEYS records or a few more, in time order
    keys.py check KEYS WINDOWS ROWS.jsonl [HOPS]  compares with `velo run --format json`

Key number i stands in window i * WINDOWS // KEYS, a minute each. Every 1,009th key has a second record. Half of the keys
are longer than the twelve bytes that a view holds. With HOPS windows are so many minutes long, and begin with each minute. The query keeps the keys whose sum is a multiple of 1,000, so that every
group is computed and few rows leave: SELECT k, window_start, COUNT(*) AS n, SUM(v) AS s .. HAVING SUM(v) % 1000 = 0.
"""

import datetime
import json
import sys

START = datetime.datetime(2024, 1, 1)


def key(i):
    return f"k{i}" if i % 2 else f"a key that is longer than a view holds {i}"


def records(keys, windows):
    for i in range(keys):
        window = i * windows // keys
        yield i, window, 1 + (i % 1009 == 0)


def make(keys, windows, path):
    with open(path, "w") as file:
        file.write("k,ts,v\n")
        stamp, last = "", -1
        lines = []
        for i, window, times in records(keys, windows):
            if window != last:
                stamp = (START + datetime.timedelta(minutes=window, seconds=7)).isoformat(sep=" ")
                last = window
            lines.append(f"{key(i)},{stamp},{i % 5000}\n" * times)
            if len(lines) == 100_000:
                file.writelines(lines)
                lines.clear()
        file.writelines(lines)


def check(keys, windows, path, hops=1):
    expected = {}
    for i, window, times in records(keys, windows):
        total = (i % 5000) * times
        if total % 1000 == 0:
            for hop in range(hops):
                start = START + datetime.timedelta(minutes=window - hop)
                expected[key(i), start.strftime("%Y-%m-%dT%H:%M:%S")] = (times, total)
    found = 0
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            given = (row["n"], row["s"])
            if expected.pop((row["k"], row["window_start"][:19]), None) != given:
                sys.exit(f"{row}: not a row of the oracle")
            found += 1
    if expected:
        sys.exit(f"{len(expected)} rows are missing, such as {next(iter(expected.items()))}")
    print(f"{found} rows of {keys} keys equal")


if __name__ == "__main__":
    command, keys, windows, path, *hops = sys.argv[1:]
    {"make": make, "check": check}[command](int(keys), int(windows), path, *map(int, hops))
