"""A SQL file as a case of the naive model: one windowed query over one bounded stream, read by the plainest means.

It shares no code with velo's reader of SQL, and reads only what the model can compute; everything else ends with the words that it
did not understand.

    CREATE STREAM s (columns, WATERMARK FOR ts AS ts [- INTERVAL '5' SECOND]) WITH (connector = 'file', path = .., ..);
    SELECT key, .., window_start, window_end, AGG(column) AS name, .. FROM s [WHERE column < 1]
    [GROUP BY key, ..] WINDOW .. [HAVING AGG(column) > 1] [EMIT FINAL | CHANGES]

The window stands in its clause, with names or without, or is a table function. `read(text, folder)` returns the case, with the
records of the file in `folder`.
"""

import csv
import decimal
import io
import json
import re

import rows

TOKEN = re.compile(r"\s+|--[^\n]*|('(?:[^']|'')*')|(\"[^\"]+\")|([A-Za-z_][A-Za-z_0-9]*)|(\d+(?:\.\d+)?)|(<>|<=|>=|[-(),;*=<>.])")
UNITS = {"us": 1, "microsecond": 1, "ms": 1_000, "millisecond": 1_000, "s": 10**6, "sec": 10**6, "second": 10**6, "m": 6 * 10**7,
         "min": 6 * 10**7, "minute": 6 * 10**7, "h": 36 * 10**8, "hour": 36 * 10**8, "d": 864 * 10**8, "day": 864 * 10**8,
         "week": 7 * 864 * 10**8}  # fmt: skip
WHOLE, REAL, TEXT = {"tinyint", "smallint", "int", "integer", "bigint"}, {"double", "float", "real"}, {"varchar", "text", "string"}
FRACTIONS = {"s": 10**6, "ms": 10**3, "us": 1, "ns": decimal.Decimal("0.001")}
# kind -> the lengths in the order in which they stand without names, and in the table function
LENGTHS = {"tumbling": ["size"], "hopping": ["size", "advance"], "cumulate": ["size", "step"], "session": ["size"]}
FUNCTIONS = {
    "tumble": ("tumbling", ["size", "offset"]), "hop": ("hopping", ["advance", "size", "offset"]), "cumulate": ("cumulate", ["step", "size"]),
    "session": ("session", ["size"]),
}  # fmt: skip
BOUNDS = {"window_start": "window_start", "window_end": "window_end", "windowstart": "window_start", "windowend": "window_end"}


class Unread(Exception):
    """What the model cannot be asked."""


class Words:
    """The tokens of a text. A text in quotes begins with its quote; everything else is in lower case."""

    def __init__(self, text):
        self.tokens, at = [], 0
        while at < len(text):
            found = TOKEN.match(text, at)
            if not found:
                raise Unread(f"what is {text[at:at + 20]!r}?")
            at = found.end()
            quoted, name, *plain = found.groups()
            self.tokens += [token for token in (quoted, name[1:-1] if name else None, *(one and one.lower() for one in plain)) if token]

    def next(self):
        return self.tokens[0] if self.tokens else ""

    def take(self):
        if not self.tokens:
            raise Unread("the text ends too early")
        return self.tokens.pop(0)

    def takes(self, *words):
        found = self.tokens[: len(words)] == list(words)
        if found:
            del self.tokens[: len(words)]
        return found

    def must(self, *words):
        if not self.takes(*words):
            raise Unread(f"{' '.join(words)!r} is expected, not {' '.join(self.tokens[:4])!r}")

    def text(self):
        token = self.take()
        if not token.startswith("'"):
            raise Unread(f"a text in quotes is expected, not {token!r}")
        return token[1:-1].replace("''", "'")

    def many(self, one):
        """`one` again and again, with commas between."""
        found = [one()]
        while self.takes(","):
            found.append(one())
        return found


def duration(words):
    if words.takes("interval"):
        number, _, unit = words.text().partition(" ")
        unit = unit or words.take()
    else:
        sign = "-" if words.takes("-") else ""
        number, unit = sign + words.take(), words.take()
    unit = unit.strip().lower()
    length = UNITS.get(unit) or UNITS.get(unit.removesuffix("s"))
    if not length:
        raise Unread(f"{unit!r} is no unit of time")
    return int(decimal.Decimal(number) * length)


def declaration(words):
    """`name (columns, WATERMARK ..) WITH (..)`, behind CREATE STREAM."""
    stream = {"name": words.take(), "columns": {}, "not_null": set(), "options": {}, "time": None, "bound": 0}
    words.must("(")

    def column():
        if words.takes("watermark", "for"):
            stream["time"] = words.take()
            words.must("as", stream["time"])
            stream["bound"] = duration(words) if words.takes("-") else 0
            return
        name, kind = words.take(), words.take()
        if kind not in WHOLE | REAL | TEXT | {"timestamp"}:
            raise Unread(f"columns of type {kind.upper()}")
        stream["columns"][name] = kind
        if words.takes("not", "null"):
            stream["not_null"].add(name)

    def option():
        name = words.take()
        if name.startswith("'"):
            name = name[1:-1]
        while words.takes("."):
            name += "." + words.take()
        words.must("=")
        stream["options"][name] = words.text()

    words.many(column)
    words.must(")", "with", "(")
    words.many(option)
    words.must(")")
    if stream["time"] is None or stream["options"].get("connector") != "file":
        raise Unread("a stream without WATERMARK, or of something else than a file")
    return stream


def aggregate(words, function):
    """`(column)` or `(*)`, behind the function's name."""
    words.must("(")
    column = None if words.takes("*") else words.take()
    words.must(")")
    if function not in ("count", "sum", "min", "max", "avg"):
        raise Unread(f"the function {function}")
    return {"function": "count_rows" if column is None else function, "column": column}


def named(words):
    """A column, also behind the stream's name or its alias."""
    name = words.take()
    return words.take() if words.takes(".") else name


def value(words):
    if words.next().startswith("'"):
        return words.text()
    number = ("-" if words.takes("-") else "") + words.take()
    return float(number) if "." in number else int(number)


def clause_window(words):
    """`KIND (..)`, behind WINDOW."""
    kind = words.take()
    kind = "hopping" if kind == "sliding" else kind
    if kind not in LENGTHS:
        raise Unread(f"the window {kind.upper()}")
    window, order = {"kind": kind}, list(LENGTHS[kind])
    words.must("(")

    def part():
        known = {("size",): "size", ("gap",): "size", ("advance", "by"): "advance", ("step",): "step", ("offset",): "offset", ("grace", "period"): "grace"}
        for spelled, name in known.items():
            if words.takes(*spelled):
                window[name] = duration(words)
                return
        if words.next().isidentifier() and words.next() != "interval":
            words.take()  # the event time
            return
        window[next(name for name in order if name not in window)] = duration(words)

    words.many(part)
    words.must(")")
    return window


def source(words):
    """`stream` or a table function over it, behind FROM: its name, and the window if there is one."""
    window = None
    if words.takes("table", "("):
        kind, parts = FUNCTIONS.get(words.take(), (None, []))
        if not kind:
            raise Unread("that table function")
        words.must("(", "table")
        name = words.take()
        if words.takes("partition", "by"):  # velo holds it against GROUP BY
            while words.tokens[1:2] not in (["descriptor"], []):
                words.take()
        words.must(",", "descriptor", "(", words.tokens[3], ")")
        window = {"kind": kind}
        for part in parts:
            if words.takes(","):
                window[part] = duration(words)
        words.must(")", ")")
    else:
        name = words.take()
    if words.takes("as") or (words.next().isidentifier() and words.next() not in ("where", "group", "window", "having", "emit")):
        words.take()
    return name, window


def query(words):
    """`SELECT ..`: a case without sources, its FROM, and its output columns."""
    case = {"where": None, "keys": [], "window": None, "aggregates": [], "having": None, "emit": "final", "late": "drop"}
    out = []

    def item():
        name = named(words)
        if words.next() == "(":
            one = aggregate(words, name)
            words.must("as")
            case["aggregates"].append({"name": words.take(), **one})
            out.append((case["aggregates"][-1]["name"], None))
            return
        label = words.take() if words.takes("as") else name
        out.append((label, BOUNDS.get(name, name)))

    words.must("select")
    words.many(item)
    words.must("from")
    name, case["window"] = source(words)
    grouped = []
    while words.next() not in ("", ";"):
        if words.takes("where"):
            case["where"] = (named(words), words.take(), value(words))
        elif words.takes("group", "by"):
            grouped = words.many(lambda: named(words))
        elif words.takes("window"):
            if case["window"]:
                raise Unread("two windows")
            case["window"] = clause_window(words)
        elif words.takes("having"):
            function = words.take()
            one = aggregate(words, function)
            known = [had["name"] for had in case["aggregates"] if (had["function"], had["column"]) == (one["function"], one["column"])]
            if not known:
                raise Unread("HAVING over an aggregate that is not selected")
            case["having"] = (known[0], words.take(), value(words))
        elif words.takes("emit"):
            case["emit"] = words.take()
        else:
            raise Unread(f"{' '.join(words.tokens[:4])!r}")
    if not case["window"] or case["emit"] not in ("final", "changes"):
        raise Unread("a query without a window, or another EMIT than FINAL and CHANGES")
    case["window"] = {"offset": 0, "grace": 0, **case["window"]}
    case["window"]["offset"] %= case["window"].get("advance", case["window"]["size"])
    case["keys"] = [key for key in grouped if key not in BOUNDS]
    if missing := [name for name in (*case["keys"], "window_start", "window_end") if name not in [behind for _, behind in out]]:
        raise Unread(f"a query that does not select {', '.join(missing)}: rows could not be told apart")
    return case, name, out


def typed(kind, text, options, is_csv):
    """A field by its type; ValueError if it is none."""
    if text is None:
        return None
    if kind == "timestamp":
        if isinstance(text, str) and not re.fullmatch(r"-?\d+(\.\d+)?", text):
            return rows.parse_time(text)
        count = decimal.Decimal(str(text)) * FRACTIONS[options.get("event_time.unit", "ms")]
        return rows.Time(count.to_integral_value(decimal.ROUND_FLOOR))
    if not is_csv and isinstance(text, str) != (kind in TEXT):
        raise ValueError(text)
    return int(text) if kind in WHOLE else float(text) if kind in REAL else text


def record(stream, fields, is_csv):
    made, time = {}, stream["time"]
    for name, kind in stream["columns"].items():
        try:
            made[name] = typed(kind, fields.get(name), stream["options"], is_csv)
            if made[name] is None and name in stream["not_null"]:
                made["bad"] = True
        except (ValueError, TypeError, decimal.InvalidOperation):
            made[name] = "damaged" if name == time else None
            made["bad"] = True
    return {**made, "ts": made[time]}


def records(stream, text):
    options = stream["options"]
    path = options.get("path", "")
    if options.get("format", "csv" if path.endswith(".csv") else "json") == "csv":
        lines = csv.DictReader(io.StringIO(text), delimiter=options.get("csv.delimiter", ","))
        return [record(stream, {name: field or None for name, field in line.items()}, True) for line in lines]
    found = []
    for line in filter(str.strip, text.split("\n")):
        try:
            fields = json.loads(line, parse_float=decimal.Decimal)
        except ValueError:
            found.append({"ts": "damaged"})
            continue
        fields = {name: float(one) if stream["columns"].get(name) in REAL and not isinstance(one, str) and one is not None else one for name, one in fields.items()}
        found.append(record(stream, fields, False))
    return found


def statements(text):
    """The stream and the query of a file: as `declaration` and `query` give them."""
    words, streams, found = Words(text), {}, None
    while words.tokens:
        if words.takes(";"):
            continue
        if words.takes("create", "stream"):
            stream = declaration(words)
            streams[stream["name"]] = stream
        elif words.takes("set"):
            while words.take() != "=":
                pass
            words.text()
        elif found:
            raise Unread("two queries")
        else:
            found = query(words)
    if not found or found[1] not in streams:
        raise Unread("no query over a declared stream")
    return streams[found[1]], found


def path(text):
    """Where the input stands."""
    return statements(text)[0]["options"]["path"]


def read(text, folder):
    """The case, and for each output column its name and the key or bound that it shows, None for an aggregate."""
    stream, (case, name, out) = statements(text)
    path = folder / stream["options"]["path"]
    source = {"name": name, "bound": stream["bound"], "records": records(stream, path.read_text(encoding="utf-8"))}
    return {"sources": [source], **case}, out
