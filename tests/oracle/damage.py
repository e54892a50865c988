"""Flights of which one record in a hundred is damaged, and whether the dead letters are exactly those records.

    damage.py make --format csv|json --first N OUT  write the first N flights, damaged; beside it OUT.without (the `line` numbers
                                                    that are lost), OUT.lines (those of all), OUT.bad (place in the file and bytes of each, base64)
                                                    and OUT.records (for Records.java: key, value and headers of each record)
    damage.py lines OUT LETTERS.jsonl               the letters of a file source
    damage.py topic OUT DUMP LETTERS.jsonl          the letters of a topic that OUT.records was sent to, in a file;
                                                    DUMP, TOPIC.dump, is what Records.java found
    damage.py messages OUT DUMP LETTERS.dump        the same, in a topic
    damage.py late OUT DUMP LETTERS.jsonl ROWS.jsonl REPORT.json --keys carrier --hours 1 --bound 3
                                                    the letters of a query that is told its late records, and its rows

With --repeated a letter may stand several times, as after a crash. `late` judges lateness by the rule of lateness.py, twice: as if no damaged record
advanced its partition's watermark, and as if every one did. What was told lies between, and the rows are those of the rest.

A record is cut, holds bytes that are no UTF-8, a value of a wrong type, lacks what is NOT NULL, or is empty.
"""

import argparse
import base64
import collections
import json
import pathlib

import lateness
import rows
import windows

KINDS = ["cut", "utf8", "type", "null", "empty"]
EVERY = 100


def encode(data):
    return base64.b64encode(data).decode()


def damaged(kind, row, fault):
    row = dict(row)
    match fault:
        case "empty":
            return b""
        case "type":
            row["distance"] = "far"
        case "null":
            row["carrier"] = None
    if kind == "csv":
        text = ",".join("" if value is None else str(value) for value in row.values()).encode()
    else:
        text = json.dumps(row, separators=(",", ":")).encode()
    carrier = (row["carrier"] or "").encode()
    match fault:
        case "cut":
            return text[: len(text) // 2]
        case "utf8":
            return text.replace(carrier, carrier + b"\xff\xfe", 1)
    return text


def make(kind, first, out):
    db = windows.connect()
    names = list(windows.TYPES)
    select = ", ".join("strftime(ts, '%Y-%m-%dT%H:%M:%SZ') AS ts" if name == "ts" else name for name in names)
    header = 1 if kind == "csv" else 0
    without, bad, held = [], [], []
    with open(out, "wb") as text, open(f"{out}.records", "w", encoding="ascii") as records:
        if header:
            text.write((",".join(names) + "\n").encode())
        for number, values in enumerate(db.execute(f"SELECT {select} FROM flights LIMIT {first}").fetchall(), start=1):
            row = dict(zip(names, values))
            # Spread, so that neighbours differ in what is wrong with them.
            fault = KINDS[number // EVERY % len(KINDS)] if number * 37 % EVERY == 0 else None
            record = damaged(kind, row, fault)
            held.append(row["line"])
            text.write(record + b"\n")
            # A key that is no text, and headers of which one has no value: all of it must come back.
            key = encode(f"{row['carrier']}".encode() + b"\x00\xfe")
            records.write(f"{key}\t{encode(record)}\tline={encode(str(row['line']).encode())};none=-\n")
            if fault:
                without.append(row["line"])
                bad.append(f"{number + header} {encode(record)}")
    pathlib.Path(f"{out}.without").write_text("\n".join(map(str, without)) + "\n")
    pathlib.Path(f"{out}.lines").write_text("\n".join(map(str, held)) + "\n")
    pathlib.Path(f"{out}.bad").write_text("\n".join(bad) + "\n")


def bad_lines(out):
    """Place in the file -> base64 of the bytes, of each bad record."""
    found = {}
    for line in open(f"{out}.bad", encoding="ascii"):
        number, _, record = line.rstrip("\n").partition(" ")
        found[int(number)] = record
    return found


def dump(path):
    """(partition, offset) -> (key, value, headers as they stand) of every record."""
    found = {}
    for line in open(path, encoding="ascii"):
        partition, offset, key, value, headers = line.rstrip("\n").split("\t")
        found[int(partition), int(offset)] = (key, value, headers)
    return found


def same(letters, expected, options):
    """The letters, a list, are the expected, each once, or at least once."""
    actual = collections.Counter(letters)
    missing, extra = expected - actual, actual - expected
    repeated = sum(extra.values())
    if options.repeated:
        extra = collections.Counter(letter for letter in extra if letter not in expected)
    if missing or extra:
        raise rows.Wrong(f"{sum(missing.values())} missing, such as {next(iter(missing), None)}; {sum(extra.values())} not expected, such as {next(iter(extra), None)}")
    return f"equal: {len(expected)} letters, byte for byte" + (f", {repeated} repeated" if options.repeated else "")


def letters_of(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def check_lines(options):
    letters = letters_of(options.letters)
    for letter in letters:
        if (letter["stage"], letter["query"], letter["topic"]) != ("decode", None, None) or not letter["reason"]:
            raise rows.Wrong(f"a letter of another kind: {letter}")
    return same([(letter["line"], letter["payload_base64"]) for letter in letters], collections.Counter(bad_lines(options.out).items()), options)


def sent_bad(options):
    """The bad records among those in the topic, which are known by their bytes and their header `line`."""
    bad = set(bad_lines(options.out).values())
    without = set(pathlib.Path(f"{options.out}.without").read_text().split())
    expected = collections.Counter()
    for (partition, offset), (key, value, headers) in dump(options.dump).items():
        if line_of(headers) in without:
            assert value in bad, "a bad record came to the topic as another"
            expected[partition, offset, key, value, headers] += 1
    assert len(expected) == len(without), "a record was lost on its way to the topic"
    return expected


def line_of(headers):
    return base64.b64decode(headers.split(";")[0].partition("=")[2]).decode()


def told(letter):
    """What a line says of a record of a topic."""
    headers = ";".join(f"{header['key']}={header['value_base64'] if header['value_base64'] is not None else '-'}" for header in letter["headers"])
    return letter["partition"], letter["offset"], letter["key_base64"], letter["payload_base64"], headers


def messages(path):
    """What the records of a dead-letter topic say, as the lines of a file would."""
    for key, value, headers in dump(path).values():
        headers = headers.split(";")
        own, said = headers[:2], dict(header.split("=", 1) for header in headers[2:])
        text = {name.removeprefix("velo."): None if value == "-" else base64.b64decode(value).decode() for name, value in said.items()}
        own = [header.partition("=") for header in own]
        own = [{"key": name, "value_base64": None if value == "-" else value} for name, _, value in own]
        yield {**text, "partition": int(text["partition"]), "offset": int(text["offset"]), "key_base64": key, "payload_base64": value, "headers": own}


def check_letters(options, letters):
    """Every bad record is told, and every late one of those told is in the topic as it was told."""
    for letter in letters:
        of_all = letter["stage"] == "decode"
        if letter["stage"] not in ["decode", "late"] or of_all != (letter["query"] is None) or letter["stream"] != "flights" \
                or letter["topic"] != pathlib.Path(options.dump).stem or not letter["reason"]:  # fmt: skip
            raise rows.Wrong(f"a letter of another kind: {letter}")
    verdict = same([told(letter) for letter in letters if letter["stage"] == "decode"], sent_bad(options), options)
    late = [told(letter) for letter in letters if letter["stage"] == "late"]
    if not late:
        return verdict
    topic = dump(options.dump)
    for partition, offset, key, value, headers in late:
        if topic[partition, offset] != (key, value, headers):
            raise rows.Wrong(f"the late record at {partition}, {offset} was told as another")
    if len(set(late)) != len(late) and not options.repeated:
        raise rows.Wrong("a late record was told twice")
    return f"{verdict}; {len(set(late))} late ones, the same"


def check_late(options):
    letters = letters_of(options.letters)
    verdict = check_letters(options, letters)
    lines = {(letter["partition"], letter["offset"]) for letter in letters if letter["stage"] == "late"}
    without = set(map(int, pathlib.Path(f"{options.out}.without").read_text().split()))
    db = windows.connect()
    times = dict(db.execute("SELECT line, epoch_us(ts) FROM flights").fetchall())
    records = [(partition, offset, int(line_of(headers))) for (partition, offset), (_, _, headers) in sorted(dump(options.dump).items())]
    size, bound = options.hours * lateness.HOUR, int(options.bound * lateness.HOUR)
    told_late = {line for partition, offset, line in records if (partition, offset) in lines}
    judged = []
    for advances in [lambda line: line not in without, lambda line: True]:
        chosen = [(partition, times[line], line) for partition, _, line in records if advances(line)]
        accepted, _ = lateness.judge(chosen, size, bound, 0)
        judged.append({line for _, _, line in chosen} - set(accepted) - without)
    least, most = judged
    if not least <= told_late <= most:
        raise rows.Wrong(f"late: {len(told_late)} told, between {len(least)} and {len(most)} are; {len(least - told_late)} missing, {len(told_late - most)} too many")
    expected = windows.aggregate(db, options.keys, options.hours, {line for _, _, line in records} - without - told_late)
    actual = rows.read(options.rows, windows.columns(options.keys), windows.TIMES)
    rows.compare(actual, expected, windows.identity(options.keys))
    rows.check_report(options.report, end="input", exit_code=0, late_records=len(told_late), bad_records=len(without), dead_letters=len(letters))
    return f"{verdict}, {len(least)} to {len(most)} by the rule; {len(actual)} rows equal"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("make")
    command.add_argument("--format", choices=["csv", "json"], required=True)
    command.add_argument("--first", type=int, required=True)
    command.add_argument("out")
    for name, places in [("lines", ["out", "letters"]), ("topic", ["out", "dump", "letters"]), ("messages", ["out", "dump", "letters"]), ("late", ["out", "dump", "letters", "rows", "report"])]:
        command = commands.add_parser(name)
        command.add_argument("--repeated", action="store_true")
        for place in places:
            command.add_argument(place)
    command.add_argument("--keys", required=True, type=lambda text: text.split(","))
    command.add_argument("--hours", required=True, type=int)
    command.add_argument("--bound", required=True, type=float)
    options = parser.parse_args()
    if options.command == "make":
        return make(options.format, options.first, options.out)
    checks = {
        "lines": check_lines,
        "topic": lambda options: check_letters(options, letters_of(options.letters)),
        "messages": lambda options: check_letters(options, list(messages(options.letters))),
        "late": check_late,
    }
    rows.finish(lambda: checks[options.command](options))


if __name__ == "__main__":
    main()
