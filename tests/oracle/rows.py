"""Rows as `velo run --format json` writes them, and when two sets of them are equal.

The law is that of docs/SQL.md, Exactness: FINAL is the same set of rows, integers, times and text exact, doubles to
1e-9 relative; CHANGES is the same number of rows and the same last row per key and window. A row is a dict from output
name to None, int, float, str, or Time.
"""

import json
import re
import sys
from datetime import datetime, timedelta, timezone

RELATIVE = 1e-9
SHOWN = 10  # differences printed before the rest is only counted
TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{6}))?Z")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Time(int):
    """Microseconds since the epoch."""

    def __repr__(self):
        return (EPOCH + timedelta(microseconds=int(self))).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text):
    """The Time that `YYYY-MM-DDTHH:MM:SS[.ffffff]Z` says; ValueError on any other spelling."""
    match = TIMESTAMP.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not YYYY-MM-DDTHH:MM:SS[.ffffff]Z")
    *parts, fraction = match.groups()
    since = datetime(*map(int, parts), tzinfo=timezone.utc) - EPOCH
    return Time((since.days * 86_400 + since.seconds) * 1_000_000 + int(fraction or 0))


class Wrong(Exception):
    """What was found is not what must hold."""


def read(path, columns, times):
    """The rows of a file of JSON lines. Every line must carry exactly `columns`, in that order; `times` are parsed."""
    rows = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                if list(row) != columns:
                    raise ValueError(f"columns {list(row)}, not {columns}")
                for name in times:
                    if row[name] is not None:
                        row[name] = parse_time(row[name])
            except (ValueError, TypeError) as error:
                raise Wrong(f"{path}:{number}: {error}: {line.strip()[:200]}") from error
            rows.append(row)
    return rows


def same(actual, expected):
    """Whether two values are equal: doubles nearly, everything else in type and value."""
    if isinstance(expected, float):
        if isinstance(actual, bool) or not isinstance(actual, (int, float)):
            return False
        return abs(actual - expected) <= RELATIVE * max(abs(actual), abs(expected))
    return type(actual) is type(expected) and actual == expected


def by_identity(rows, identity):
    """identity -> its last row; and the identities that occur more than once."""
    found, repeated = {}, []
    for row in rows:
        key = tuple(row[name] for name in identity)
        if key in found:
            repeated.append(key)
        found[key] = row
    return found, repeated


def compare(actual, expected, identity):
    """Raise Wrong with the first differences unless `actual` is the same set of rows as `expected`."""
    got, repeated = by_identity(actual, identity)
    want, _ = by_identity(expected, identity)
    differences = [f"twice: {key}" for key in repeated]
    differences += last_rows(got, want)
    refuse(differences)


def last_rows(got, want):
    """The differences between two maps from identity to row."""
    differences = []
    for key, row in want.items():
        if key not in got:
            differences.append(f"missing: {row}")
            continue
        for name, value in row.items():
            if not same(got[key][name], value):
                differences.append(f"{key}: {name} is {got[key][name]!r}, must be {value!r}")
    differences += [f"not expected: {row}" for key, row in got.items() if key not in want]
    return differences


def refuse(differences):
    if differences:
        shown = "\n  ".join(differences[:SHOWN])
        raise Wrong(f"{len(differences)} differences, the first:\n  {shown}")


def compare_changes(actual, expected, identity, accepted, count):
    """EMIT CHANGES: as many rows as accepted records, per identity counting 1, 2, .. in `count`, the last one as FINAL's."""
    if len(actual) != accepted:
        raise Wrong(f"{len(actual)} rows for {accepted} accepted records")
    counts, differences = {}, []
    for number, row in enumerate(actual, start=1):
        key = tuple(row[name] for name in identity)
        counts[key] = counts.get(key, 0) + 1
        if row[count] != counts[key]:
            differences.append(f"line {number}: {key}: {count} is {row[count]!r}, must be {counts[key]}")
    got, _ = by_identity(actual, identity)
    want, _ = by_identity(expected, identity)
    refuse(differences + last_rows(got, want))


def check_report(path, **must):
    """The --report object at `path` must say what `must` says, such as late_records=0."""
    with open(path, encoding="utf-8") as text:
        report = json.load(text)
    must = {"schema": 1, **must}
    refuse([f"report: {name} is {report.get(name)!r}, must be {value!r}" for name, value in must.items() if report.get(name) != value])


def finish(check):
    """Run `check`, print the line it returns, or what is wrong and exit 1."""
    try:
        print(check())
    except Wrong as wrong:
        print(f"WRONG: {wrong}", file=sys.stderr)
        sys.exit(1)
