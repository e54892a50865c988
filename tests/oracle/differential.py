"""The engine against the naive model, on queries and streams made from seeds, or on a user's own.

    differential.py --velo PATH --seeds A..B [--jobs N] [--keep FOLDER]
    differential.py --velo PATH --against FILE.sql --input FILE
    differential.py --velo PATH --planted

Each seed makes one query and its input, which are run at settings drawn from the same seed (shards, batches, lanes) and compared
with `model.py` by the law of docs/SQL.md, Exactness. A seed that differs is printed with what differs, and its query, its input and
the model's rows are left in FOLDER/SEED.case, to be put into tests/cases; `--seeds N..N` replays it. Exit code 1 if any differed.

`--against` takes a file with one windowed query over one file, which stands in for the file that the stream names (`sql_case.py` says
what is understood), and compares at every setting. `--planted` spoils velo's answers in several ways, and fails where one is not found.
"""

import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import model
import rows
import sql_case

SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
YEAR = 365 * DAY
# Shards, the largest batch, the blocks of a lane.
SETTINGS = [(1, 1024, 64), (1, 1, 64), (2, 1024, 64), (2, 7, 1), (3, 3, 64), (7, 1024, 1), (7, 1, 1)]
RUNS_A_SEED = 2
LIMIT_S = 60
COLUMNS = {"k": "VARCHAR", "g": "BIGINT", "v": "BIGINT", "d": "DOUBLE", "s": "VARCHAR"}
TIMES = ["window_start", "window_end"]
ALL = "all_of_them"  # the stream into which several are put


# ---- making a case ---------------------------------------------------------------------------------------------------


def duration(chance):
    return chance.choice([1, 2, 5, 7, 10, 60, 90]) * chance.choice([1_000, SECOND, SECOND, MINUTE])


def a_window(chance):
    size, kind = duration(chance), chance.choice(["tumbling", "hopping", "hopping", "cumulate", "session", "session"])
    window = {"kind": kind, "size": size, "offset": 0, "grace": chance.choice([0, 0, 0, chance.randrange(1, 3 * size)])}
    if kind == "cumulate":
        steps = chance.choice([1, 2, 5, 12])
        window.update(step=max(1, size // steps), size=max(1, size // steps) * steps)
        return window
    if kind == "session":
        return window
    if kind == "hopping":
        window["advance"] = chance.choice([size, size // 2, max(1, size // 5), max(1, size // 12), chance.randrange(max(1, size // 20), size + 1)])
    window["offset"] = chance.choice([0, 0, 0, chance.randrange(window.get("advance", size))])
    return window


def a_stream(chance, name, window, begin, double):
    """A partition: time goes on with disorder, late records, duplicates, bursts, gaps, and other things that streams do."""
    step = max(1, int(window["size"] * chance.choice([0.01, 0.1, 0.1, 0.5, 2])))
    bound = chance.choice([0, 0, step, 3 * step, window["size"], 5 * window["size"]])
    keys = chance.choice([1, 2, 5, 40])
    nulls, damaged, late = (chance.choice([0, 0, 0.02, 0.2]) for _ in range(3))
    skew = chance.choice([0, 0.5, 0.9])
    clock, records = begin, []
    for _ in range(chance.choice([0, 1, 3, 30, 120, 120, 300])):
        kind = chance.random()
        if kind < 0.01:
            clock += chance.choice([10 * window["size"], DAY, 3 * YEAR])
        elif kind < 0.8:
            clock += chance.randrange(2 * step)
        time = clock - chance.randrange(bound + 1)
        if chance.random() < late:
            time = clock - bound - chance.randrange(4 * window["size"])
        if chance.random() < 0.1:  # on an edge of a window, or next to it
            edge = (time - window["offset"]) // window["size"] * window["size"] + window["offset"]
            time = edge + chance.choice([-1, 0, 1, window["grace"]])
        if records and chance.random() < 0.05:
            records.append(dict(chance.choice(records)))
            continue

        def or_null(value):
            return None if chance.random() < nulls else value

        key = 0 if chance.random() < skew else chance.randrange(keys)
        record = {
            "ts": chance.choice([None, "damaged"]) if chance.random() < damaged else time,
            "k": or_null(f"k{key}"),
            "g": or_null(chance.randrange(3)),
            "v": or_null(chance.randrange(-1_000, 1_000) * chance.choice([1, 1, 1, 10**12])),
            "d": or_null(double()),
            "s": or_null(chance.choice(["", "a", "b", "ab", "é", "\"q\""])),
        }
        if chance.random() < damaged / 2:
            record["bad"] = True
        records.append(record)
    return {"name": name, "bound": bound, "records": records}


def an_aggregate(chance, number):
    function = chance.choice(["count_rows", "count", "sum", "min", "max", "avg"])
    columns = {
        "count_rows": [None], "count": list(COLUMNS), "sum": ["v", "g"], "min": ["v", "d", "s", "g"], "max": ["v", "d", "s", "k"],
        "avg": ["v", "d", "g"],
    }  # fmt: skip
    return {"name": f"a{number}", "function": function, "column": chance.choice(columns[function])}


def watermarks(chance, case):
    """What moves a partition's watermark, and how far it may be ahead of others."""
    for source in case["sources"]:
        if chance.random() < 0.25:
            source["punctuation"] = (chance.choice("gv"), chance.choice(list(model.OPERATORS)), chance.choice([0, 1, 500]))
        if chance.random() < 0.25:
            source["drift"] = chance.choice(["1 ms", "1 s", "10 m", "1 day"])


def emissions_of_sessions(chance, case):
    """When rows of sessions leave that have others behind them."""
    if chance.random() < 0.4:
        return
    every = chance.choice(["1 millisecond", "5 milliseconds", "1 hour"])
    emits = ["final", f"changes every {every}", f"final and changes every {every}"]
    if len(case["sources"]) == 1:
        emits += 2 * [f"changes every {chance.choice([1, 2, 3, 10])} rows"]
    case["emit"] = chance.choice(emits)
    if case["emit"].startswith("final") and chance.random() < 0.7:
        # A grace that is longer than the gap lets sessions grow and meet that have been shown.
        case["window"]["grace"] = chance.choice([1, 2, 5]) * case["window"]["size"]
        case["late"] = "update"
    if case["late"] == "update" or not case["emit"].endswith(("final", "rows")):
        case["having"] = None


def make(seed):
    chance = random.Random(seed)
    window = a_window(chance)
    begin = chance.choice([0, -YEAR, -3, 1_700_000_000 * SECOND, 1_700_000_000 * SECOND + 123_456])
    names = ["s"] if chance.random() < 0.6 else [f"s{number}" for number in range(chance.choice([2, 2, 3, 5]))]
    aggregates = [an_aggregate(chance, number) for number in range(chance.randrange(1, 5))]
    numbers = [one["name"] for one in aggregates if one["function"] in ("count_rows", "count", "sum") or one["column"] in ("v", "g")]
    signs = list(model.OPERATORS)
    emit = chance.choice(["final", "final", "final", "changes", "changes", "changes every", "final and changes every"])
    if emit.endswith("every"):
        rows_or_time = [f"{chance.choice([1, 2, 3, 10])} rows"] if emit == "changes every" else []
        emit += " " + chance.choice([*rows_or_time, "1 millisecond", "5 milliseconds", "1 hour"])
    if window["kind"] == "session":  # of several partitions it depends on their order which sessions there are on the way
        emit = "final" if "every" in emit or len(names) > 1 else emit
    late = chance.choice(["drop", "update"]) if window["kind"] != "session" and emit.startswith("final") and window["grace"] else "drop"
    # Which states a group goes through depends on the order of its records, which only one partition decides; and on the clock, where
    # that says when rows leave.
    timed = emit.endswith(("second", "seconds", "hour")) or late == "update"
    may_have = numbers and not timed and (emit == "final" or len(names) == 1)
    # What cancels out leaves what was rounded away, in whatever order it is added: doubles have a sign only where sums are exact.
    double = chance.choice([lambda: chance.randrange(-80, 80) / 8, lambda: round(chance.uniform(1, 10), 3)])
    case = {
        "sources": [a_stream(chance, name, window, begin + chance.choice([0, 0, window["size"], DAY]), double) for name in names],
        "where": (chance.choice("vg"), chance.choice(signs), chance.choice([0, 1, 500])) if chance.random() < 0.3 else None,
        "keys": chance.choice([[], ["k"], ["k"], ["k", "g"], ["g"], ["s", "k"]]),
        "window": window,
        "aggregates": aggregates,
        "having": (chance.choice(numbers), chance.choice(signs), chance.choice([0, 1, 2, 100])) if may_have and chance.random() < 0.2 else None,
        "emit": emit,
        "late": late,
        "spelling": chance.choice(["clause", "clause", "in order", "with time", "function"]),
        "exchange": chance.choice([None, None, None, "hash", "fan_in"]),
        "deal": chance.random() < 0.2,
    }
    watermarks(random.Random(f"watermarks {seed}"), case)
    if window["kind"] == "session":
        emissions_of_sessions(random.Random(f"sessions {seed}"), case)
    marking = [source["punctuation"][0] for source in case["sources"] if "punctuation" in source]
    used = [*marking, *case["keys"], case["where"] and case["where"][0], *(one["column"] for one in aggregates)]
    if "v" not in used:  # nobody decodes it, so nobody sees that it is damaged
        for record in [record for source in case["sources"] for record in source["records"]]:
            record.pop("bad", None)
    return case


# ---- a case as SQL and files -----------------------------------------------------------------------------------------


def microseconds(count):
    return f"INTERVAL '{count}' MICROSECOND"


def condition(word, one):
    return f"{word} {one[0]} {one[1]} {one[2]}\n" if one else ""


def sql(case):
    declared = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    text = ""
    deal = ", deal = 'true'" if case["deal"] else ""
    for source in case["sources"]:
        options = deal
        if "punctuation" in source:
            column, sign, value = source["punctuation"]
            options += f", watermark.emit = 'punctuated:{column} {sign} {value}'"
        if "drift" in source:
            options += f", watermark.max_drift = '{source['drift']}'"
        text += (
            f"CREATE STREAM {source['name']} (ts TIMESTAMP, {declared}, WATERMARK FOR ts AS ts - {microseconds(source['bound'])})\n"
            f"WITH (connector = 'file', path = '{source['name']}.json', event_time.unit = 'us', on_error = 'skip'{options});\n"
        )
    read = case["sources"][0]["name"]
    if len(case["sources"]) > 1:
        read = ALL
        text += f"CREATE STREAM {read} ({declared});\n"
        for source in case["sources"]:
            text += f"INSERT INTO {read} SELECT {', '.join(COLUMNS)} FROM {source['name']};\n"
    called = {"count_rows": "COUNT(*)"}
    aggregates = [
        f"{called.get(one['function'], one['function'].upper() + '(' + str(one['column']) + ')')} AS {one['name']}"
        for one in case["aggregates"]
    ]
    having = case["having"]
    if having:  # the aggregate itself, which every dialect takes
        place = next(place for place, one in enumerate(case["aggregates"]) if one["name"] == having[0])
        having = (aggregates[place].removesuffix(f" AS {having[0]}"), *having[1:])
    clause, function = spelled(case["window"], case["spelling"], read, case["keys"])
    keys = [*case["keys"], *(TIMES if function else [])]
    text += "SET 'late' = 'update';\n" if case["late"] == "update" else ""
    text += f"SET 'exchange' = '{case['exchange']}';\n" if case["exchange"] else ""
    text += f"SELECT {', '.join([*case['keys'], *TIMES, *aggregates])} FROM {function or read}\n"
    text += condition("WHERE", case["where"])
    text += f"GROUP BY {', '.join(keys)}\n" if keys else ""
    text += clause
    text += condition("HAVING", having)
    return text + f"EMIT {case['emit'].upper()};\n"


def spelled(window, spelling, stream, by):
    """The window as a clause, or as a function in FROM; the query groups by `by`."""
    kind, grace = window["kind"], f"GRACE PERIOD {microseconds(window['grace'])}"
    offset = f"OFFSET {microseconds(window['offset'])}, " if kind not in ("cumulate", "session") else ""
    order = [name for name in ("size", "advance", "step") if name in window]
    if spelling == "function" and window["grace"] == 0 and stream != ALL:
        function, parts = next((name, parts) for name, (of, parts) in sql_case.FUNCTIONS.items() if of == kind)
        lengths = ", ".join(microseconds(window[part]) for part in parts)
        partition = f" PARTITION BY {', '.join(by)}" if kind == "session" and by else ""
        return "", f"TABLE({function.upper()}(TABLE {stream}{partition}, DESCRIPTOR(ts), {lengths}))"
    if spelling == "in order" or (spelling == "with time" and stream != ALL):
        name = "SLIDING" if kind == "hopping" else kind.upper()
        lengths = ", ".join(microseconds(window[part]) for part in order)
        return f"WINDOW {name} ({'ts, ' if spelling == 'with time' else ''}{lengths}, {offset}{grace})\n", None
    named = {"size": "GAP" if kind == "session" else "SIZE", "advance": "ADVANCE BY", "step": "STEP"}
    lengths = ", ".join(f"{named[part]} {microseconds(window[part])}" for part in order)
    return f"WINDOW {kind.upper()} ({lengths}, {offset}{grace})\n", None


def line(record):
    written = {name: value for name, value in record.items() if value is not None and name != "bad"}
    if record["ts"] == "damaged":
        written["ts"] = "yesterday"
    if record.get("bad"):
        written["v"] = "high"
    return json.dumps(written, ensure_ascii=False)


def files(case):
    return {f"{source['name']}.json": "".join(line(record) + "\n" for record in source["records"]) for source in case["sources"]}


# ---- running and comparing -------------------------------------------------------------------------------------------


def run(velo, folder, setting):
    """What velo printed is left in folder/rows, its report in folder/report; what went wrong in words, or None."""
    shards, batch, blocks = setting
    command = [velo, "run", "case.sql", "--format", "json", "--report", "report", "--shards", str(shards)]
    for given in (f"batch.max={batch}", f"shards.lane_blocks={blocks}", "shards.oversubscribe=true"):
        command += ["--set", given]
    with open(folder / "rows", "wb") as out:
        ended = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    return f"it ended with {ended.returncode}: {ended.stderr.decode(errors='replace')}" if ended.returncode else None


def shown(case):
    """The output columns of a case that was made: (name, the key or bound that it shows, None for an aggregate)."""
    return [(name, name) for name in [*case["keys"], *TIMES]] + [(one["name"], None) for one in case["aggregates"]]


def moves(case):
    """Whether a row of the case is told by its group and start: the end of a session moves with its records."""
    return case["window"]["kind"] == "session" and (case["emit"] != "final" or case["late"] == "update")


def may_pass(case, answer, columns, found):
    """Whether a row may be out of a session that began elsewhere on the way."""
    identity = (tuple(found[columns[key]] for key in case["keys"]), found[columns["window_start"]]) if "window_start" in columns else None
    if identity not in answer.passing:
        return False
    had = answer.passing[identity]

    def is_one(row):
        values = {columns.get(name, name): rows.Time(value) if name in TIMES else value for name, value in row.items()}
        return all(rows.same(found[name], value) for name, value in values.items())

    return had is None or any(is_one(row) for row in had)


def difference(case, out, folder, plant=None):
    """What differs between what velo left in `folder` and the model's answer, in words; None if nothing does."""
    answer = model.run(case)
    identity = [name for name, of in out if of and not (moves(case) and of == "window_end")]
    columns = {of: name for name, of in out if of}
    times = [name for name, of in out if of in TIMES or any(isinstance(row.get(of or name), rows.Time) for row in answer.rows)]
    try:
        found = rows.read(folder / "rows", [name for name, _ in out], times)
    except rows.Wrong as wrong:
        return str(wrong)
    report = json.loads((folder / "report").read_text())
    if plant:
        plant(found, report)
    expected = [{columns.get(name, name): rows.Time(value) if name in TIMES else value for name, value in row.items()} for row in answer.rows]
    want, _ = rows.by_identity(expected, identity)
    got, repeated = rows.by_identity(found, identity)
    differences = []
    if answer.count is not None and len(found) != answer.count:
        differences.append(f"{len(found)} rows, not {answer.count}")
    if case["emit"] == "final" and case["late"] == "drop":
        differences += [f"twice: {key}" for key in repeated]
    held, passing = {key: row for key, row in got.items() if key in want}, [row for key, row in got.items() if key not in want]
    differences += rows.last_rows(held, want)
    differences += [f"not expected: {row}" for row in passing if not may_pass(case, answer, columns, row)]
    counts = {"late_records": answer.late, "bad_records": answer.bad, "late_after_idle": 0}
    differences += [f"{name} {report[name]}, not {must}" for name, must in counts.items() if report[name] != must]
    return "\n  ".join(differences[: rows.SHOWN]) or None


def written(row):
    """A row as velo would write it."""
    epoch = datetime.datetime(1970, 1, 1)

    def value(name, one):
        if name not in TIMES:
            return one
        time = epoch + datetime.timedelta(microseconds=one)
        return time.strftime("%Y-%m-%dT%H:%M:%S") + (f".{time.microsecond:06d}" if time.microsecond else "") + "Z"

    return json.dumps({name: value(name, one) for name, one in row.items()}, ensure_ascii=False, separators=(",", ":"))


def case_file(seed, case):
    """The case of a seed as a file of tests/cases; its rows are the model's."""
    answer = model.run(case)
    text = f"-- Seed {seed} of the differential test.\n-- late: {answer.late}\n-- bad: {answer.bad}\n"
    if case["emit"] != "final" or case["late"] == "update":
        count = f"{len(answer.rows)}..1000000" if answer.count is None else answer.count
        text += f"-- changes: {count} by {', '.join([*case['keys'], *(TIMES[:1] if moves(case) else TIMES)])}\n"
    inputs = "".join(f"---- {name}\n{lines}" for name, lines in files(case).items())
    return text + sql(case) + inputs + "---- rows\n" + "".join(written(row) + "\n" for row in answer.rows)


def try_seed(velo, seed, keep, plant=None):
    case = make(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "case.sql").write_text(sql(case))
        for name, text in files(case).items():
            (folder / name).write_text(text)
        for setting in random.Random(seed).sample(SETTINGS, RUNS_A_SEED):
            reason = run(velo, folder, setting) or difference(case, shown(case), folder, plant)
            if reason:
                kept = keep / f"{seed}.case"
                keep.mkdir(parents=True, exist_ok=True)
                kept.write_text(case_file(seed, case))
                return f"seed {seed} at {setting[0]} shards, batches of {setting[1]}, lanes of {setting[2]}: {reason}\n  see {kept}"
    return None


def try_seeds(velo, seeds, jobs, keep):
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        tried = pool.map(try_seed, [velo] * len(seeds), seeds, [keep] * len(seeds), chunksize=8)
        wrong = [reason for reason in tried if reason]
    print("\n".join(wrong + [f"{len(seeds)} seeds, {RUNS_A_SEED} runs each, {len(wrong)} differences"]))
    return not wrong


# ---- a user's own query ----------------------------------------------------------------------------------------------


def against(velo, sql_file, input_file):
    text = sql_file.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "case.sql").write_text(text)
        try:
            path = pathlib.PurePath(sql_case.path(text))
            if path.is_absolute() or ".." in path.parts:
                raise sql_case.Unread(f"the path {path}: it must lie in the working directory")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(input_file.resolve())
            case, out = sql_case.read(text, folder)
        except sql_case.Unread as unread:
            sys.exit(f"differential: {sql_file}: the model cannot read {unread}")
        wrong = []
        for setting in SETTINGS:
            reason = run(velo, folder, setting) or difference(case, out, folder)
            if reason:
                wrong.append(f"at {setting[0]} shards, batches of {setting[1]}, lanes of {setting[2]}: {reason}")
        answer = model.run(case)
    print("\n".join(wrong + [f"{len(SETTINGS)} runs, {answer.count} rows, {answer.late} late, {answer.bad} bad, {len(wrong)} differences"]))
    return not wrong


# ---- wrong answers, planted ------------------------------------------------------------------------------------------


def leave_out(found, report):
    found.pop()


def twice(found, report):
    found.append(dict(found[0]))


def another_value(found, report):
    name = list(found[-1])[-1]
    found[-1][name] = 1 if found[-1][name] is None else None


def a_moment_later(found, report):
    found[-1]["window_end"] = rows.Time(found[-1]["window_end"] + 1)


def one_more_late(found, report):
    report["late_records"] += 1


PLANTS = [leave_out, twice, another_value, a_moment_later, one_more_late]


def planted(velo, keep):
    """Whether every wrong answer is found, of every kind of window and emission."""
    seeds = [seed for seed in range(1, 60) if (model.run(make(seed)).count or 0) > 1][:12]
    missed = [f"{plant.__name__} of seed {seed} was not found" for plant in PLANTS for seed in seeds if not try_seed(velo, seed, keep, plant)]
    print("\n".join(missed + [f"{len(PLANTS) * len(seeds)} wrong answers, {len(missed)} not found"]))
    return not missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--velo", required=True)
    parser.add_argument("--seeds", metavar="A..B")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("differential"))
    parser.add_argument("--against", type=pathlib.Path, metavar="FILE.sql")
    parser.add_argument("--input", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--planted", action="store_true")
    arguments = parser.parse_args()
    velo = os.path.abspath(arguments.velo)
    if arguments.planted:
        with tempfile.TemporaryDirectory() as keep:
            right = planted(velo, pathlib.Path(keep))
    elif arguments.against and arguments.input:
        right = against(velo, arguments.against, arguments.input)
    elif arguments.seeds:
        first, _, last = arguments.seeds.partition("..")
        right = try_seeds(velo, range(int(first), int(last or first) + 1), arguments.jobs, arguments.keep)
    else:
        parser.error("give --seeds, or --against with --input, or --planted")
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
