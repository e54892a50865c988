"""The engine against the naive model, on queries and streams made from seeds.

    differential.py --velo PATH --seeds A..B [--jobs N] [--keep FOLDER]

Each seed makes one query and its input, which are run at settings drawn from the same seed (shards, batches, lanes) and compared
with `model.py` by the law of docs/SQL.md, Exactness. A seed that differs is printed with what differs, and its query and input are
left in FOLDER/SEED as a case file (tests/cases); `--seeds N..N` replays it. Exit code 1 if any differed.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import model
import rows

SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
YEAR = 365 * DAY
# Shards, the largest batch, the blocks of a lane.
SETTINGS = [(1, 1024, 64), (1, 1, 64), (2, 1024, 64), (2, 7, 1), (3, 3, 64), (7, 1024, 1), (7, 1, 1)]
RUNS_A_SEED = 2
LIMIT_S = 60
COLUMNS = {"k": "VARCHAR", "g": "BIGINT", "v": "BIGINT", "d": "DOUBLE", "s": "VARCHAR"}
TIMES = ["window_start", "window_end"]
PARTS = {"advance": "ADVANCE BY", "step": "STEP", "offset": "OFFSET"}


# ---- making a case ---------------------------------------------------------------------------------------------------


def duration(chance):
    return chance.choice([1, 2, 5, 7, 10, 60, 90]) * chance.choice([1_000, SECOND, SECOND, MINUTE])


def a_window(chance):
    size, kind = duration(chance), chance.choice(["tumbling", "hopping", "hopping", "cumulate"])
    window = {"kind": kind, "size": size, "offset": 0, "grace": chance.choice([0, 0, 0, chance.randrange(1, 3 * size)])}
    if kind == "cumulate":
        steps = chance.choice([1, 2, 5, 12])
        window.update(step=max(1, size // steps), size=max(1, size // steps) * steps)
        return window
    if kind == "hopping":
        window["advance"] = chance.choice([size, size // 2, max(1, size // 5), max(1, size // 12), chance.randrange(max(1, size // 20), size + 1)])
    window["offset"] = chance.choice([0, 0, 0, chance.randrange(window.get("advance", size))])
    return window


def a_stream(chance, name, window, begin):
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
        records.append({
            "ts": chance.choice([None, "damaged"]) if chance.random() < damaged else time,
            "k": or_null(f"k{key}"),
            "g": or_null(chance.randrange(3)),
            "v": or_null(chance.randrange(-1_000, 1_000) * chance.choice([1, 1, 1, 10**12])),
            "d": or_null(round(chance.uniform(-10, 10), 3)),
            "s": or_null(chance.choice(["", "a", "b", "ab", "é", "\"q\""])),
        })
    return {"name": name, "bound": bound, "records": records}


def an_aggregate(chance, number):
    function = chance.choice(["count_rows", "count", "sum", "min", "max", "avg"])
    columns = {
        "count_rows": [None], "count": list(COLUMNS), "sum": ["v", "g"], "min": ["v", "d", "s", "g"], "max": ["v", "d", "s", "k"],
        "avg": ["v", "d", "g"],
    }  # fmt: skip
    return {"name": f"a{number}", "function": function, "column": chance.choice(columns[function])}


def make(seed):
    chance = random.Random(seed)
    window = a_window(chance)
    begin = chance.choice([0, -YEAR, -3, 1_700_000_000 * SECOND, 1_700_000_000 * SECOND + 123_456])
    names = ["s"] if chance.random() < 0.6 else [f"s{number}" for number in range(chance.choice([2, 2, 3, 5]))]
    aggregates = [an_aggregate(chance, number) for number in range(chance.randrange(1, 5))]
    numbers = [one["name"] for one in aggregates if one["function"] in ("count_rows", "count", "sum") or one["column"] in ("v", "g")]
    signs = list(model.OPERATORS)
    emit = chance.choice(["final", "final", "changes"])
    # Which states a group goes through depends on the order of its records, which only one partition decides.
    may_have = numbers and (emit == "final" or len(names) == 1)
    return {
        "sources": [a_stream(chance, name, window, begin + chance.choice([0, 0, window["size"], DAY])) for name in names],
        "where": (chance.choice("vg"), chance.choice(signs), chance.choice([0, 1, 500])) if chance.random() < 0.3 else None,
        "keys": chance.choice([[], ["k"], ["k"], ["k", "g"], ["g"], ["s", "k"]]),
        "window": window,
        "aggregates": aggregates,
        "having": (chance.choice(numbers), chance.choice(signs), chance.choice([0, 1, 2, 100])) if may_have and chance.random() < 0.2 else None,
        "emit": emit,
    }


# ---- a case as SQL and files -----------------------------------------------------------------------------------------


def microseconds(count):
    return f"INTERVAL '{count}' MICROSECOND"


def condition(word, one):
    return f"{word} {one[0]} {one[1]} {one[2]}\n" if one else ""


def sql(case):
    declared = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    text = ""
    for source in case["sources"]:
        text += (
            f"CREATE STREAM {source['name']} (ts TIMESTAMP, {declared}, WATERMARK FOR ts AS ts - {microseconds(source['bound'])})\n"
            f"WITH (connector = 'file', path = '{source['name']}.json', event_time.unit = 'us', on_error = 'skip');\n"
        )
    read = case["sources"][0]["name"]
    if len(case["sources"]) > 1:
        read = "all_of_them"
        text += f"CREATE STREAM {read} ({declared});\n"
        for source in case["sources"]:
            text += f"INSERT INTO {read} SELECT {', '.join(COLUMNS)} FROM {source['name']};\n"
    called = {"count_rows": "COUNT(*)"}
    aggregates = [
        f"{called.get(one['function'], one['function'].upper() + '(' + str(one['column']) + ')')} AS {one['name']}"
        for one in case["aggregates"]
    ]
    window = case["window"]
    having = case["having"]
    if having:  # the aggregate itself, which every dialect takes
        place = next(place for place, one in enumerate(case["aggregates"]) if one["name"] == having[0])
        having = (aggregates[place].removesuffix(f" AS {having[0]}"), *having[1:])
    text += f"SELECT {', '.join([*case['keys'], *TIMES, *aggregates])} FROM {read}\n"
    text += condition("WHERE", case["where"])
    text += f"GROUP BY {', '.join(case['keys'])}\n" if case["keys"] else ""
    text += f"WINDOW {window['kind'].upper()} (SIZE {microseconds(window['size'])}, "
    for name, word in PARTS.items():
        text += f"{word} {microseconds(window[name])}, " if name in window and (name, window["kind"]) != ("offset", "cumulate") else ""
    text += f"GRACE PERIOD {microseconds(window['grace'])})\n"
    text += condition("HAVING", having)
    return text + f"EMIT {case['emit'].upper()};\n"


def line(record):
    if record["ts"] == "damaged":
        return json.dumps({**record, "ts": "yesterday"}, ensure_ascii=False)
    return json.dumps({name: value for name, value in record.items() if value is not None}, ensure_ascii=False)


def files(case):
    return {f"{source['name']}.json": "".join(line(record) + "\n" for record in source["records"]) for source in case["sources"]}


# ---- running and comparing -------------------------------------------------------------------------------------------


def difference(velo, case, folder, setting):
    """What differs at these settings, in words; None if nothing does."""
    shards, batch, blocks = setting
    command = [velo, "run", "case.sql", "--format", "json", "--report", "report", "--shards", str(shards)]
    for setting in (f"batch.max={batch}", f"shards.lane_blocks={blocks}", "shards.oversubscribe=true"):
        command += ["--set", setting]
    with open(folder / "rows", "wb") as out:
        ended = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    if ended.returncode != 0:
        return f"it ended with {ended.returncode}: {ended.stderr.decode(errors='replace')}"
    answer = model.run(case)
    names = [*case["keys"], *TIMES, *(one["name"] for one in case["aggregates"])]
    identity = [*case["keys"], *TIMES]
    try:
        found = rows.read(folder / "rows", names, TIMES)
    except rows.Wrong as wrong:
        return str(wrong)
    if len(found) != answer.count:
        return f"{len(found)} rows, not {answer.count}"
    last = {tuple(row[name] for name in identity): row for row in found}
    if case["emit"] == "final" and len(last) != len(found):
        return "a group left twice"
    for row in answer.rows:
        other = last.pop(tuple(row[name] for name in identity), None)
        if other is None:
            return f"missing: {row}"
        if not all(rows.same(other[name], row[name]) for name in names[len(identity) :]):
            return f"{other}\nmust be {row}"
    if last:
        return f"not expected: {next(iter(last.values()))}"
    report = json.loads((folder / "report").read_text())
    counts = {"late_records": answer.late, "bad_records": answer.bad, "late_after_idle": 0}
    wrong = [f"{name} {report[name]}, not {must}" for name, must in counts.items() if report[name] != must]
    return ", ".join(wrong) or None


def try_seed(velo, seed, keep):
    case = make(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "case.sql").write_text(sql(case))
        for name, text in files(case).items():
            (folder / name).write_text(text)
        for setting in random.Random(seed).sample(SETTINGS, RUNS_A_SEED):
            reason = difference(velo, case, folder, setting)
            if reason:
                kept = keep / f"{seed}.case"
                keep.mkdir(parents=True, exist_ok=True)
                inputs = "".join(f"---- {name}\n{text}" for name, text in files(case).items())
                kept.write_text(f"-- Seed {seed} of the differential test.\n{sql(case)}{inputs}---- rows\n")
                return f"seed {seed} at {setting[0]} shards, batches of {setting[1]}, lanes of {setting[2]}: {reason}\n  see {kept}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--velo", required=True)
    parser.add_argument("--seeds", required=True)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("differential"))
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    velo = os.path.abspath(arguments.velo)
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        tried = pool.map(try_seed, [velo] * len(seeds), seeds, [arguments.keep] * len(seeds), chunksize=8)
        wrong = [reason for reason in tried if reason]
    print("\n".join(wrong + [f"{len(seeds)} seeds, {RUNS_A_SEED} runs each, {len(wrong)} differences"]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
