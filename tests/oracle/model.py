"""The naive model: what a windowed query over a bounded input must come to, by the plainest means.

It holds all records and recomputes everything from them; it shares no code with the engine, nor its ways (no pane, no slice, no
shard). What it follows is docs/SQL.md alone.

A case is a dict:

    sources     [{"name", "bound": us, "records": [record]}]; a record is {"ts": us | None | "damaged", column: value}, in the
                order in which it stands in its file, which is one partition; with "bad": True another column of it is damaged;
                with "punctuation": (column, operator, value) only records of which that holds move the watermark
    where       (column, operator, value) | None
    keys        columns of GROUP BY
    window      microseconds: {"kind": "tumbling", "size", "offset", "grace"}, {"kind": "hopping", .., "advance"},
                {"kind": "cumulate", "size", "step", "grace"} or {"kind": "session", "size": the gap, "grace"}
    aggregates  [{"name", "function", "column" | None}]
    having      (aggregate's name, operator, value) | None
    emit        what stands behind EMIT, in lower case: "final", "changes", "changes every 3 rows", "changes every 1 hour", ..
    late        "drop" | "update"

`run(case)` returns an `Answer`.
"""

import collections
import dataclasses
import operator
import statistics

OPERATORS = {">": operator.gt, "<": operator.lt, "=": operator.eq, "<>": operator.ne, ">=": operator.ge, "<=": operator.le}
BEFORE_ALL = float("-inf")


@dataclasses.dataclass
class Answer:
    """`rows`: for FINAL the rows, else the last row of each group and window; `count`: how many rows come out, None where
    the clock decides; `passing`: what may be out besides, of sessions where it decides too: for each group and start that a session
    had on the way the rows that it had then, None where the order of the partitions decides them."""

    rows: list
    count: int | None
    late: int
    bad: int
    passing: dict = dataclasses.field(default_factory=dict)


def holds(condition, row):
    """SQL's answer to a comparison: what is not known does not hold."""
    if condition is None:
        return True
    column, sign, value = condition
    return row[column] is not None and OPERATORS[sign](row[column], value)


def windows(window, time):
    """The windows that cover `time`, as (start, end)."""
    size = window["size"]
    if window["kind"] == "cumulate":
        start = time // size * size
        ends = range(start + window["step"], start + size + 1, window["step"])
        return [(start, end) for end in ends if time < end]
    advance = window.get("advance", size)
    start = (time - window["offset"]) // advance * advance + window["offset"]
    covering = []
    while time < start + size:
        covering.insert(0, (start, start + size))
        start -= advance
    return covering


def accepted(source, where, window, keeps):
    """Calls `keeps(record, windows)` for each record that counts; returns how many were late, and how many bad."""
    late, bad, highest, marked = 0, 0, BEFORE_ALL, BEFORE_ALL
    punctuation = source.get("punctuation")
    for record in source["records"]:
        time = record["ts"]
        if time is None or time == "damaged":
            bad += 1
            continue
        before, highest = (marked if punctuation else highest - source["bound"]), max(highest, time)
        if record.get("bad"):
            bad += 1
            continue
        if holds(punctuation, record):
            marked = highest - source["bound"]
        if not holds(where, record):
            continue
        if window["kind"] == "session":  # late by its own time, whatever sessions there are
            if time + window["grace"] < before:
                late += 1
            else:
                keeps(record, [None])
            continue
        covering = windows(window, time)
        kept = [(start, end) for start, end in covering if end + window["grace"] > before]
        if kept:
            keeps(record, kept)
        else:
            late += 1
    return late, bad


def sessions(records, gap):
    """The sessions of these records, each with its window: more than `gap` apart."""
    made = []
    for record in sorted(records, key=lambda record: record["ts"]):
        if not made or record["ts"] - made[-1][-1]["ts"] > gap:
            made.append([])
        made[-1].append(record)
    return [((session[0]["ts"], session[-1]["ts"] + gap), session) for session in made]


def session_of(record, records, gap):
    """The session among those of these records that holds `record`, with its window."""
    return next((window, session) for window, session in sessions(records, gap) if any(one is record for one in session))


def changes_of_sessions(case, key, records, nth):
    """What leaves of the sessions of a key, each with its identity: a row on a record with which its session has had `nth` since its
    last row, where those of sessions that become one add up; and at its end one for the rest."""
    gap, since, emitted = case["window"]["size"], {}, []
    for count in range(1, len(records) + 1):
        window, of_it = session_of(records[count - 1], records[:count], gap)
        had = [start for start in since if window[0] <= start < window[1]]
        since[window[0]] = 1 + sum(since.pop(start) for start in had)
        if since[window[0]] >= nth:
            since[window[0]] = 0
            emitted.append(((key, window[0]), row(case, key, window, of_it)))
    rest = [(window, of_it) for window, of_it in sessions(records, gap) if since[window[0]]]
    return emitted + [((key, window[0]), row(case, key, window, of_it)) for window, of_it in rest]


def passing_sessions(case, groups):
    """`Answer.passing`."""
    found = collections.defaultdict(list)
    for (key, _), records in groups.items():
        if len(case["sources"]) > 1:
            found.update({(key, record["ts"]): None for record in records})
            continue
        for identity, made in changes_of_sessions(case, key, records, 1):
            found[identity].append(made)
    return found


def aggregate(function, values):
    """One aggregate over the values of a group, NULLs included; COUNT(*) counts them all."""
    if function == "count_rows":
        return len(values)
    known = [value for value in values if value is not None]
    if function == "count":
        return len(known)
    if not known:
        return None
    return {"sum": sum, "min": min, "max": max, "avg": lambda all_of_them: float(statistics.fmean(all_of_them))}[function](known)


def row(case, key, window, records):
    """The row of a group; None if HAVING does not keep it."""
    made = dict(zip(case["keys"], key), window_start=window[0], window_end=window[1])
    for one in case["aggregates"]:
        column = one["column"]
        made[one["name"]] = aggregate(one["function"], [record[column] if column else 1 for record in records])
    return made if holds(case["having"], made) else None


def run(case):
    groups = collections.defaultdict(list)
    emitted = []
    kind, _, every = case["emit"].partition(" every ")
    nth = int(every.split()[0]) if every.endswith("rows") else None if every else 1
    by_record = kind == "changes" and nth is not None

    def keeps(record, covering):
        for window in covering:
            identity = (tuple(record[key] for key in case["keys"]), window)
            groups[identity].append(record)
            if by_record and window and len(groups[identity]) % nth == 0:
                emitted.append((identity, row(case, *identity, groups[identity])))

    late = bad = 0
    for source in case["sources"]:
        of_source = accepted(source, case["where"], case["window"], keeps)
        late, bad = late + of_source[0], bad + of_source[1]
    is_session, passing = case["window"]["kind"] == "session", {}
    exact = case["emit"] == "final" and case["late"] == "drop"
    if by_record:
        if is_session:  # its start says which session it is: the end moves with the records
            emitted = [one for (key, _), records in groups.items() for one in changes_of_sessions(case, key, records, nth)]
        else:
            rest = [identity for identity, records in groups.items() if len(records) % nth]
            emitted += [(identity, row(case, *identity, groups[identity])) for identity in rest]
        out = [made for _, made in emitted if made is not None]
        last = {identity: made for identity, made in emitted if made is not None}
        return Answer(list(last.values()), len(out), late, bad)
    if is_session:
        passing = {} if exact else passing_sessions(case, groups)
        of_keys = ((key, session) for (key, _), records in groups.items() for session in sessions(records, case["window"]["size"]))
        groups = {(key, window): records for key, (window, records) in of_keys}
    rows = [made for identity, records in groups.items() if (made := row(case, *identity, records)) is not None]
    return Answer(rows, len(rows) if exact else None, late, bad, passing)
