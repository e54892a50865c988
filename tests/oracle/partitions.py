"""Keys, and whether two topics hold them in the same partitions: one written by velo, one by Kafka's Java producer.

    partitions.py make COUNT FILE.jsonl           writes COUNT records {"n", "k", "a", "b"} with keys of all kinds
    partitions.py keys raw|json FILE.jsonl DUMP   prints KEY<TAB>n of each record, NULL as \\N, for the Java producer
    partitions.py check DUMP JAVA_DUMP PARTITIONS compares two dumps of scripts/kafka: partition, offset, key, value

A raw key is the text of k, taken from the file and not from velo's topic, so that its bytes are held against the file too;
NULL has no key, and no partition of its own. A JSON key is the object {"a", "b"} as velo wrote it in DUMP, held against the
file as a value: how it is spelled is velo's affair, where it lands is the Java producer's.
"""

import json
import random
import sys

MARKER = b"\\N"
LETTERS = "abcXYZ019 .-_:/{}\"'\\,;äßéñ€漢字日本語кириллица🙂🚀𝔘"


def text(draw, length):
    return "".join(draw.choice(LETTERS) for _ in range(length))


def key(draw, number):
    kind = number % 8
    if number == 0 or kind == 0 and draw.random() < 0.2:
        return ""
    if number == 1 or kind == 1 and draw.random() < 0.3:
        return None
    if kind == 2:
        return text(draw, draw.randrange(128, 400))  # beyond what a signed byte counts
    if kind == 3:
        return str(draw.randrange(10**6))
    if kind == 4:
        return draw.choice("é漢🙂") * draw.randrange(1, 60)
    return text(draw, draw.randrange(1, 40))


def make(count, path):
    draw = random.Random(7)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            record = {"n": number, "k": key(draw, number), "a": key(draw, number + 5), "b": draw.randrange(-(2**53), 2**53)}
            print(json.dumps(record, ensure_ascii=number % 2 == 0), file=file)


def records(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def dump(path):
    """n -> (partition, key bytes or None)"""
    found = {}
    with open(path, "rb") as file:
        for line in file.read().split(b"\n"):
            if not line:
                continue
            partition, _, given, value = line.split(b"\t", 3)
            number = int(json.loads(value)["n"] if value.startswith(b"{") else value)
            if number in found:
                sys.exit(f"{path}: record {number} is there twice")
            found[number] = (int(partition), None if given == b"null" else given)
    return found


def keys(form, path, ours):
    out = sys.stdout.buffer
    written = dump(ours)
    for record in records(path):
        number = record["n"]
        if form == "raw":
            given = MARKER if record["k"] is None else record["k"].encode()
        else:
            given = written[number][1]
            if json.loads(given) != {"a": record["a"], "b": record["b"]}:
                sys.exit(f"record {number}: the key {given} is not {record['a']!r}, {record['b']}")
        out.write(given + b"\t%d\n" % number)


def check(ours, javas, partitions):
    ours, javas = dump(ours), dump(javas)
    if ours.keys() != javas.keys() or not ours:
        sys.exit(f"{len(ours)} records here, {len(javas)} by the Java producer")
    astray = nulls = longest = 0
    used = set()
    for number, (partition, given) in ours.items():
        java_partition, java_given = javas[number]
        if given != java_given:
            sys.exit(f"record {number}: the key is {given}, by the Java producer {java_given}")
        if not 0 <= partition < partitions:
            sys.exit(f"record {number} is in partition {partition}")
        used.add(partition)
        if given is None:
            nulls += 1
            continue
        longest = max(longest, len(given))
        if partition != java_partition:
            astray += 1
            print(f"{given} is in partition {partition}, by the Java producer in {java_partition}", file=sys.stderr)
    if astray or len(used) != partitions:
        sys.exit(f"{astray} of {len(ours)} keys are astray, {len(used)} partitions hold some")
    different = len({given for _, given in ours.values()})
    print(f"{len(ours)} records, {different} keys of up to {longest} bytes, {nulls} without one, in {partitions} partitions: equal")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", count, path]:
            make(int(count), path)
        case ["keys", ("raw" | "json") as form, path, ours]:
            keys(form, path, ours)
        case ["check", ours, javas, partitions]:
            check(ours, javas, int(partitions))
        case _:
            sys.exit(__doc__)
