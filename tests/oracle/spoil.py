"""Flights with a few records made bad in every way that decoding must catch.

    spoil.py --format csv|json OUT     write the prepared flights with the bad ones in their places
    spoil.py --places DUMP             print where they are in a topic that OUT was sent to, from `scripts/kafka dump`

Beside OUT it writes OUT.without, the `line` numbers that were spoiled (for windows.py --without), and OUT.places, the
line of OUT that each stands on, in the file's order. Every bad record has a mark of its own that survives in the dump.
"""

import argparse
import json
import pathlib

import windows

# record number in the prepared order -> what is wrong with it there
SPOILED = {1_001: "time", 70_000: "number", 150_000: "range", 230_000: "null", 336_000: "shape"}
MARK = "SPOILED"  # stands in tailnum, or in the text where no field is left


def csv_line(row, fault):
    row = dict(row)
    if fault is not None:
        row["tailnum"] = MARK
    match fault:
        case "time":
            row["ts"] = "2013-13-01T00:00:00Z"
        case "number":
            row["distance"] = "far"
        case "range":
            row["distance"] = str(2**63)
        case "null":
            row["carrier"] = None
        case "shape":
            return f"{row['ts']},{row['carrier']},{MARK}"
    return ",".join("" if value is None else str(value) for value in row.values())


def json_line(row, fault):
    row = dict(row)
    if fault is not None:
        row["tailnum"] = MARK
    match fault:
        case "time":
            row["ts"] = "2013-13-01T00:00:00Z"
        case "number":
            row["distance"] = {"miles": row["distance"]}
        case "range":
            row["distance"] = 2**63
        case "null":
            row["carrier"] = None
    text = json.dumps(row, separators=(",", ":"))
    return text[:-20] if fault == "shape" else text  # cut off in its middle


def write(kind, out):
    db = windows.connect()
    names = list(windows.TYPES)
    select = ", ".join("strftime(ts, '%Y-%m-%dT%H:%M:%SZ') AS ts" if name == "ts" else name for name in names)
    header = 1 if kind == "csv" else 0
    make = csv_line if kind == "csv" else json_line
    without, places = [], []
    with open(out, "w", encoding="utf-8") as text:
        if header:
            text.write(",".join(names) + "\n")
        for number, values in enumerate(db.execute(f"SELECT {select} FROM flights").fetchall(), start=1):
            row, fault = dict(zip(names, values)), SPOILED.get(number)
            if fault:
                without.append(row["line"])
                places.append(number + header)
            text.write(make(row, fault) + "\n")
    pathlib.Path(f"{out}.without").write_text("\n".join(map(str, without)) + "\n")
    pathlib.Path(f"{out}.places").write_text("\n".join(map(str, places)) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=["csv", "json"])
    parser.add_argument("--places", metavar="DUMP")
    parser.add_argument("out", nargs="?")
    options = parser.parse_args()
    if options.places:
        with open(options.places, encoding="utf-8") as lines:
            for line in lines:
                partition, offset, _key, value = line.split("\t", 3)
                if MARK in value:
                    print(partition, offset)
    else:
        write(options.format, options.out)


if __name__ == "__main__":
    main()
