"""Feeds a topic as time goes by, stops doing so, and holds what velo wrote when against what the rules of silence say.

    silence.py quiet  --run "COMMAND" --feed "COMMAND" --report PATH        one partition of eight silent, then all of them
    silence.py broken --run "COMMAND" --feed "COMMAND" --report PATH --stop "COMMAND" --start "COMMAND"
                                                                            the broker goes for three timeouts, and comes back

COMMAND of --run prints rows {"k", "window_start", "n"} of windows of 2 s over 8 partitions, with a bound of 5 s and an idle
timeout of 2 s; that of --feed writes lines KEY<TAB>VALUE to the topic as they come. The last line says what was found; exit
code 1 and a reason otherwise.
"""

import argparse
import json
import queue
import shlex
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime

PARTITIONS = 8
SIZE = 2.0
BOUND = 5.0
TIMEOUT = 2.0
LATE = 1.0  # how much later than its moment a window may come out
EARLY = 0.25  # how much earlier, for the clocks of three processes and the length of a feed's tick


def murmur2(data):
    """Kafka's hash of a key."""
    multiply, mask = 0x5BD1E995, 0xFFFFFFFF
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for place in range(0, whole, 4):
        word = int.from_bytes(data[place : place + 4], "little") * multiply & mask
        word = (word ^ word >> 24) * multiply & mask
        value = (value * multiply & mask) ^ word
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * multiply & mask
    value = (value ^ value >> 13) * multiply & mask
    return value ^ value >> 15


def keys():
    """A key for each partition."""
    found = {}
    for number in range(10_000):
        key = f"k{number}"
        found.setdefault((murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS, key)
        if len(found) == PARTITIONS:
            return [found[partition] for partition in range(PARTITIONS)]
    raise AssertionError("every partition has a key")


class Feed:
    """Writes records and knows what it wrote: how many by key and window."""

    def __init__(self, command):
        self.process = subprocess.Popen(shlex.split(command), stdin=subprocess.PIPE, text=True)
        self.keys = keys()
        self.counts = {}
        self.records = 0

    def write(self, partition, at, counted=True):
        key = self.keys[partition]
        self.process.stdin.write(f'{key}\t{{"k":"{key}","ts":{int(at * 1000)}}}\n')
        self.process.stdin.flush()
        self.records += 1
        if counted:
            window = int(at * 1000) // int(SIZE * 1000) * SIZE
            self.counts[key, window] = self.counts.get((key, window), 0) + 1

    def speak(self, partitions, until):
        """A record a tenth of a second in each of `partitions`; when the last was written."""
        while True:
            now = time.time()
            for partition in partitions:
                self.write(partition, now)
            if now >= until:
                return now
            time.sleep(0.1)

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


class Run:
    """A running velo, its rows and when each came."""

    def __init__(self, command):
        self.process = subprocess.Popen(shlex.split(command), stdout=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.rows = {}
        self.came = {}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put((time.time(), json.loads(line)))
        self.lines.put(None)

    def until(self, moment):
        while True:
            left = moment - time.time()
            if left <= 0:
                return
            self.take(left)

    def take(self, wait):
        try:
            entry = self.lines.get(timeout=wait)
        except queue.Empty:
            return
        if entry is None:
            raise SystemExit("velo ended before it was told to")
        came, row = entry
        start = datetime.fromisoformat(row["window_start"].replace("Z", "+00:00")).timestamp()
        name = row["k"], start
        if name in self.rows:
            raise SystemExit(f"window {name} came twice")
        self.rows[name] = row["n"]
        self.came[name] = came

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def end(self, report):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(timeout=30) != 0:
            raise SystemExit(f"velo ended with {self.process.returncode}")
        return json.load(open(report))


def hold(rows, counts, what):
    if rows != counts:
        wrong = {name: (rows.get(name), counts.get(name)) for name in rows.keys() | counts.keys() if rows.get(name) != counts.get(name)}
        raise SystemExit(f"{what}: rows are not what was fed (got, must be): {wrong}")


def moment(run, name, due, what):
    """How much later than `due` a window came."""
    if name not in run.came:
        raise SystemExit(f"{what}: window {name} did not come out; due {due - time.time():+.2f} s from now")
    delay = run.came[name] - due
    if not -EARLY <= delay <= LATE:
        others = sorted((start + SIZE - due, key, came - start - SIZE) for (key, start), came in run.came.items())
        others = " ".join(f"{end:+.1f}:{key}:{after:+.2f}" for end, key, after in others)
        raise SystemExit(f"{what}: window {name} came {delay:+.2f} s from its moment (windows by their end, seen from there, and how long after it they came: {others})")
    return delay


def quiet(given):
    feed = Feed(given.feed)
    run = Run(given.run)
    silent = PARTITIONS - 1
    begun = time.time()
    # One partition never speaks, the others do. It is idle after the timeout, and holds nothing from then on.
    last = feed.speak(range(silent), begun + 12)
    fell_idle = last + TIMEOUT
    run.until(fell_idle + 0.2)
    delays = []
    for name, came in run.came.items():
        due = name[1] + SIZE + BOUND
        if due > last:  # no record has brought the watermark so far, the clock has
            due += TIMEOUT
        if due > begun + 8:  # what was out before has waited for the silent one, or for the start
            delays.append(moment(run, name, due, "seven speak"))
    if not delays:
        raise SystemExit("no window came out while seven partitions spoke")
    # All are silent since `fell_idle`. The watermark was last - BOUND then, and runs on.
    run.until(fell_idle + 1)
    window = last // SIZE * SIZE
    end = window + SIZE
    woke = time.time()
    feed.write(silent, end - 0.1)  # a partition wakes: its record counts, and the clock stands until it is idle again
    fell_idle_again = woke + TIMEOUT
    stood = max(last - BOUND + woke - fell_idle, end - 0.1 - BOUND)  # what it says itself may be further on
    due = fell_idle_again + end - stood
    run.until(due + LATE + 0.2)
    late = [moment(run, (feed.keys[partition], window), due, "all silent") for partition in range(PARTITIONS)]
    hold(run.rows, feed.counts, "all silent")
    # Its partition would take it, for it has seen nothing later than `last`; its window is out.
    feed.write(0, last - 0.05, counted=False)
    feed.end()
    run.until(time.time() + 2)
    report = run.end(given.report)
    hold(run.rows, feed.counts, "at the end")
    expected = {"records_in": feed.records, "late_records": 1, "late_after_idle": 1, "bad_records": 0}
    found = {name: report[name] for name in expected}
    if found != expected:
        raise SystemExit(f"report: {found}, must be {expected}")
    ticks = sum(shard["safety_tick_found_work"] for shard in report["shards"])
    print(
        f"seven speak: {len(delays)} rows {min(delays):+.2f} to {max(delays):+.2f} s from their moment; "
        f"all silent: {min(late):+.2f} to {max(late):+.2f} s; 1 late_after_idle; {ticks} lost wake-ups"
    )


def broken(given):
    feed = Feed(given.feed)
    run = Run(given.run)
    begun = time.time()
    everyone = range(PARTITIONS)
    feed.speak(everyone, begun + 8)
    run.until(time.time() + 0.1)
    before = run.resident()
    subprocess.run(shlex.split(given.stop), check=True, stdout=subprocess.DEVNULL)
    away = time.time()
    feed.speak(everyone, away + 3 * TIMEOUT)
    rows = len(run.rows)
    run.until(time.time() + 0.1)
    most = run.resident()
    subprocess.run(shlex.split(given.start), check=True, stdout=subprocess.DEVNULL)
    gone = time.time() - away
    last = feed.speak(everyone, time.time() + 6)
    feed.end()
    most = max(most, run.resident())
    # All silent: what is open comes by the clock.
    window = last // SIZE * SIZE
    deadline = last + TIMEOUT + SIZE + BOUND + 20
    while (feed.keys[0], window) not in run.rows and time.time() < deadline:
        run.take(0.2)
    run.until(time.time() + 1)
    report = run.end(given.report)
    hold(run.rows, feed.counts, "after the broker was back")
    if report["watermark"] in (None, "end"):
        raise SystemExit(f"report: the watermark is {report['watermark']}, and the input has no end")
    expected = {"records_in": feed.records, "late_records": 0, "late_after_idle": 0, "bad_records": 0, "exit_code": 0}
    found = {name: report[name] for name in expected}
    if found != expected:
        raise SystemExit(f"report: {found}, must be {expected}")
    grown = (most - before) / 1024
    if grown > 64:
        raise SystemExit(f"{grown:.0f} MiB more memory while the broker was away")
    print(f"away for {gone:.1f} s: {feed.records} records, {len(run.rows)} rows right ({rows} before), 0 late, {grown:+.1f} MiB meanwhile")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["quiet", "broken"])
    for name in ("run", "feed", "report"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--stop")
    parser.add_argument("--start")
    given = parser.parse_args()
    {"quiet": quiet, "broken": broken}[given.what](given)


if __name__ == "__main__":
    sys.exit(main())
