//! The one table of stream and query options: names, where they apply, what they take, what they default to.
//!
//! The reader of options, its messages and the section of docs/SQL.md are made from it; a test holds the latter to it.

use std::fmt::Write;

/// Where an option applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// WITH of a declared stream with `connector = 'kafka'`.
    KafkaSource,
    /// WITH of a CREATE STREAM AS with `connector = 'kafka'`.
    KafkaSink,
    /// WITH of a declared stream with `connector = 'file'`.
    FileSource,
    /// WITH of a CREATE STREAM AS with `connector = 'file'`.
    FileSink,
    /// WITH of a declared stream with `connector = 'datagen'`.
    DatagenSource,
    /// A query: WITH of its CREATE STREAM AS, or SET before it.
    Query,
}

use Scope::{DatagenSource, FileSink, FileSource, KafkaSink, KafkaSource, Query};

impl Scope {
    /// How messages and the documentation call it.
    pub fn name(self) -> &'static str {
        match self {
            KafkaSource => "kafka source",
            KafkaSink => "kafka sink",
            FileSource => "file source",
            FileSink => "file sink",
            DatagenSource => "datagen source",
            Query => "query",
        }
    }
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// One of a few words; some of them belong to later work.
    Choice {
        /// Those that may be written.
        now: &'static [&'static str],
        /// Those that are refused as not available yet.
        later: &'static [&'static str],
    },
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Number,
    /// Text that is not empty.
    Text,
    /// Text, possibly empty.
    AnyText,
    /// One ASCII character, or `\t`.
    Character,
    /// Column names, separated by commas.
    Columns,
    /// A place outside: `file:` and a path, or `kafka:` and a topic.
    Target,
    /// A part of all, above zero.
    Fraction,
    /// A whole number and a unit.
    Duration {
        /// A word that may stand for none.
        or: Option<&'static str>,
    },
    /// What moves a watermark: a word, or one with an expression, a duration, or both.
    WatermarkEmit,
    /// A place in a topic: a word, `offsets:` and an offset for each named partition, or `timestamp:` and a moment.
    Position {
        /// The words that may be written.
        now: &'static [&'static str],
        /// The words that are refused.
        later: &'static [&'static str],
    },
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name; one that ends in `.*` stands for all names with that beginning.
    pub name: &'static str,
    /// Where it applies.
    pub scopes: &'static [Scope],
    /// What it takes; `None` for an option of later work, which is refused.
    pub kind: Option<ValueKind>,
    /// What holds when it is left out, in words.
    pub default: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
}

impl OptionSpec {
    const fn later(name: &'static str, scopes: &'static [Scope]) -> OptionSpec {
        OptionSpec {
            name,
            scopes,
            kind: None,
            default: "",
            about: "",
        }
    }

    /// Whether `written` is this option.
    pub fn names(&self, written: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => written.len() > prefix.len() && written.starts_with(prefix),
            None => self.name == written,
        }
    }

    /// Whether it applies in one of `scopes`.
    pub fn applies(&self, scopes: &[Scope]) -> bool {
        self.scopes.iter().any(|scope| scopes.contains(scope))
    }
}

const ANY_SOURCE: &[Scope] = &[KafkaSource, FileSource, DatagenSource];
const ANY_SINK: &[Scope] = &[KafkaSink, FileSink];
const ANY_KAFKA: &[Scope] = &[KafkaSource, KafkaSink];
const ANY_FILE: &[Scope] = &[FileSource, FileSink];

/// Those whose records are bytes.
const ANY_BYTES: &[Scope] = &[KafkaSource, KafkaSink, FileSource, FileSink];
const ANY_BYTES_SOURCE: &[Scope] = &[KafkaSource, FileSource];

/// Every option there is.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "connector",
        scopes: ANY_SOURCE,
        kind: Some(ValueKind::Choice {
            now: &["file", "kafka", "datagen"],
            later: &["nexmark"],
        }),
        default: "must be given",
        about: "where the stream's records come from",
    },
    OptionSpec {
        name: "connector",
        scopes: ANY_SINK,
        kind: Some(ValueKind::Choice {
            now: &["file", "kafka"],
            later: &[],
        }),
        default: "must be given",
        about: "where the query's rows go",
    },
    OptionSpec {
        name: "topic",
        scopes: ANY_KAFKA,
        kind: Some(ValueKind::Text),
        default: "must be given",
        about: "the topic",
    },
    OptionSpec {
        name: "path",
        scopes: ANY_FILE,
        kind: Some(ValueKind::Text),
        default: "must be given",
        about: "the file, relative to the working directory",
    },
    OptionSpec {
        name: "format",
        scopes: ANY_BYTES,
        kind: Some(ValueKind::Choice {
            now: &["json", "csv"],
            later: &["avro", "protobuf", "parquet", "raw"],
        }),
        default: "json for Kafka; by the file's extension (.csv, .json, .jsonl, .ndjson)",
        about: "how bytes hold a record",
    },
    OptionSpec {
        name: "compression",
        scopes: ANY_FILE,
        kind: Some(ValueKind::Choice {
            now: &["none", "zst", "gz"],
            later: &[],
        }),
        default: "by the file's extension: .zst, .gz, else none",
        about: "how the file is compressed",
    },
    OptionSpec {
        name: "deal",
        scopes: &[FileSource],
        kind: Some(ValueKind::Boolean),
        default: "false",
        about: "whether all shards decode its records, which one shard reads, where every query that reads it groups under EMIT FINAL; pays where queries do much with a record",
    },
    OptionSpec {
        name: "csv.header",
        scopes: ANY_FILE,
        kind: Some(ValueKind::Boolean),
        default: "true",
        about: "whether the first line names the columns, which then bind by name; else they bind by position",
    },
    OptionSpec {
        name: "csv.delimiter",
        scopes: ANY_BYTES,
        kind: Some(ValueKind::Character),
        default: "`,`",
        about: "what stands between fields",
    },
    OptionSpec {
        name: "csv.null",
        scopes: ANY_BYTES,
        kind: Some(ValueKind::AnyText),
        default: "empty",
        about: "the field that stands for NULL; it holds neither the delimiter nor the end of a line, and begins with no quote",
    },
    OptionSpec {
        name: "json.validate",
        scopes: ANY_BYTES_SOURCE,
        kind: Some(ValueKind::Choice {
            now: &["wanted", "strict"],
            later: &[],
        }),
        default: "wanted",
        about: "how much of a JSON record must be valid: its structure and what the query needs, or all of it",
    },
    OptionSpec {
        name: "key.columns",
        scopes: ANY_KAFKA,
        kind: Some(ValueKind::Columns),
        default: "source: none; sink: the group columns, and `window_start` when windowed",
        about: "source: declares that equal values are in one partition; sink: the columns of the message key",
    },
    OptionSpec {
        name: "key.format",
        scopes: &[KafkaSink],
        kind: Some(ValueKind::Choice {
            now: &["raw", "json"],
            later: &[],
        }),
        default: "raw for one VARCHAR, else json",
        about: "how the message key is written",
    },
    OptionSpec::later("key.format", &[KafkaSource]),
    OptionSpec {
        name: "group",
        scopes: &[KafkaSource],
        kind: Some(ValueKind::Text),
        default: "`velo-<job>-<stream>`",
        about: "the consumer group",
    },
    OptionSpec {
        name: "start",
        scopes: &[KafkaSource],
        kind: Some(ValueKind::Position {
            now: &["committed", "earliest", "latest"],
            later: &[],
        }),
        default: "`committed` where every query on the stream is replayable and `end` is `never`, else `earliest`",
        about: "where the read starts: `committed` goes on where the last run came to; with `offsets:`, a partition not named starts at its oldest record; with `timestamp:` (ISO-8601, or milliseconds since 1970), each at its first record that is not older",
    },
    OptionSpec {
        name: "end",
        scopes: &[KafkaSource],
        kind: Some(ValueKind::Position {
            now: &["never", "latest"],
            later: &[],
        }),
        default: "never",
        about: "where the read ends: `latest` is what was newest at the start; with `offsets:`, every partition is named; with `timestamp:`, each before its first record that is not older, as far as there was one at the start",
    },
    OptionSpec {
        name: "tier",
        scopes: &[KafkaSource],
        kind: Some(ValueKind::Choice {
            now: &["standard", "buffered", "dedicated"],
            later: &[],
        }),
        default: "buffered",
        about: "how records come from the client to the shard: one by one, in batches, or in batches by a thread of their own (OPERATIONS.md)",
    },
    OptionSpec {
        name: "kafka.*",
        scopes: ANY_KAFKA,
        kind: Some(ValueKind::AnyText),
        default: "that of `[kafka]` in the configuration",
        about: "a librdkafka property, such as `kafka.bootstrap.servers`; `'${NAME}'` or `'{ file = \"..\" }'` says where a secret is kept",
    },
    OptionSpec {
        name: "on_error",
        scopes: ANY_SOURCE,
        kind: Some(ValueKind::Choice {
            now: &["fail", "skip", "dead_letter"],
            later: &[],
        }),
        default: "fail",
        about: "what is done with a bad record: the run ends with 65, or it is counted and left out, or that and its bytes go to `dead_letter`",
    },
    OptionSpec {
        name: "dead_letter",
        scopes: ANY_SOURCE,
        kind: Some(ValueKind::Target),
        default: "must be given with `on_error = 'dead_letter'`, and only then",
        about: "where bad records go, and late ones under `late = 'dead_letter'`",
    },
    OptionSpec {
        name: "event_time.unit",
        scopes: ANY_BYTES_SOURCE,
        kind: Some(ValueKind::Choice {
            now: &["s", "ms", "us", "ns"],
            later: &[],
        }),
        default: "ms",
        about: "what a bare number in a TIMESTAMP column counts",
    },
    OptionSpec {
        name: "rows",
        scopes: &[DatagenSource],
        kind: Some(ValueKind::Number),
        default: "no end",
        about: "how many rows are drawn",
    },
    OptionSpec {
        name: "rate",
        scopes: &[DatagenSource],
        kind: Some(ValueKind::Number),
        default: "as fast as they are taken",
        about: "rows a second, open loop: row `i` is due `i / rate` seconds after the start, whether or not the run keeps up",
    },
    OptionSpec {
        name: "seed",
        scopes: &[DatagenSource],
        kind: Some(ValueKind::Number),
        default: "1",
        about: "what the rows are drawn from: the same seed, the same rows",
    },
    OptionSpec {
        name: "columns.*",
        scopes: &[DatagenSource],
        kind: Some(ValueKind::AnyText),
        default: "by the column's type",
        about: "how a column is drawn, such as `columns.price.max`: see below",
    },
    OptionSpec {
        name: "idle_timeout",
        scopes: ANY_SOURCE,
        kind: Some(ValueKind::Duration { or: None }),
        default: "10 s",
        about: "how long nothing comes from a Kafka partition that was read to its end before it holds back no window; a file, a generator and a read with an end are never idle",
    },
    OptionSpec {
        name: "idle_advance",
        scopes: ANY_SOURCE,
        kind: Some(ValueKind::Choice {
            now: &["clock", "none"],
            later: &[],
        }),
        default: "clock",
        about: "what the watermark does when all partitions are idle: runs on with the clock, so that open windows are delivered, or stands",
    },
    OptionSpec {
        name: "watermark.emit",
        scopes: ANY_SOURCE,
        kind: Some(ValueKind::WatermarkEmit),
        default: "record",
        about: "what moves a partition's watermark to its highest event time minus the bound: every record, the clock at each multiple of the interval, a record for which the expression over the stream's columns is true, or either",
    },
    OptionSpec {
        name: "watermark.max_drift",
        scopes: ANY_SOURCE,
        kind: Some(ValueKind::Duration { or: Some("off") }),
        default: "off",
        about: "how far the watermark of a Kafka partition, a file or a generator may run ahead of the slowest input of the queries that it feeds; what is further ahead is paused",
    },
    OptionSpec {
        name: "max_future_skew",
        scopes: ANY_BYTES_SOURCE,
        kind: Some(ValueKind::Duration { or: Some("off") }),
        default: "1 h for a Kafka stream without end, else off",
        about: "how far ahead of the clock an event time may be; a record beyond it is bad, and moves no watermark",
    },
    OptionSpec {
        name: "exchange",
        scopes: &[Query],
        kind: Some(ValueKind::Choice {
            now: &["auto", "hash", "smart", "sticky", "round_robin", "fan_in"],
            later: &[],
        }),
        default: "auto: smart for keyed queries, fan_in for a global group, none for stateless ones",
        about: "how records reach the shard that owns their key",
    },
    OptionSpec {
        name: "late",
        scopes: &[Query],
        kind: Some(ValueKind::Choice {
            now: &["drop", "dead_letter", "update"],
            later: &[],
        }),
        default: "drop",
        about: "what is done with a late record: it is left out, or that and its bytes go to the stream's `dead_letter`; it is counted in any case. `update`: a window fires at its end, and records within its GRACE PERIOD correct its rows",
    },
    OptionSpec {
        name: "late.warn",
        scopes: &[Query],
        kind: Some(ValueKind::Fraction),
        default: "off",
        about: "the fraction of late records above which the log and the report warn",
    },
    OptionSpec::later("max_groups", &[Query]),
    OptionSpec::later("state_bytes", &[Query]),
    OptionSpec::later("max_open_windows", &[Query]),
    OptionSpec {
        name: "job.name",
        scopes: &[Query],
        kind: Some(ValueKind::Text),
        default: "`name` of `[job]`, else the SQL file's name without `.sql`",
        about: "the job's name: letters, digits, `.`, `_` and `-`",
    },
];

impl ValueKind {
    /// What may be written, for messages and the documentation.
    pub fn allowed(&self) -> String {
        match self {
            ValueKind::Choice { now, .. } => now.join(", "),
            ValueKind::Boolean => "true, false".into(),
            ValueKind::Number => "a whole number".into(),
            ValueKind::Text => "text".into(),
            ValueKind::AnyText => "text, possibly empty".into(),
            ValueKind::Character => "one ASCII character, or \\t".into(),
            ValueKind::Columns => "column names, separated by commas".into(),
            ValueKind::Target => "file:PATH, kafka:TOPIC".into(),
            ValueKind::Fraction => "a fraction such as 0.01".into(),
            ValueKind::Duration { or: None } => "a duration such as 500ms or 10s".into(),
            ValueKind::Duration { or: Some(word) } => {
                format!("{word}, or a duration such as 500ms or 10s")
            }
            ValueKind::WatermarkEmit => {
                "record, interval:200ms, punctuated:EXPRESSION, hybrid:EXPRESSION,200ms".into()
            }
            ValueKind::Position { now, .. } => format!(
                "{}, offsets:0=17,1=4, timestamp:2026-03-01T10:00:00Z",
                now.join(", ")
            ),
        }
    }

    fn later(&self) -> &'static [&'static str] {
        match self {
            ValueKind::Choice { later, .. } | ValueKind::Position { later, .. } => later,
            _ => &[],
        }
    }
}

/// The table as documentation.
pub fn markdown() -> String {
    let mut page = String::from(
        "| option | where | takes | default | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    let mut later = Vec::new();
    for option in OPTIONS {
        let Some(kind) = option.kind else {
            let name = format!("`{}`", option.name);
            let partly = OPTIONS
                .iter()
                .any(|other| other.name == option.name && other.kind.is_some());
            later.push(if partly {
                format!("{name} of a {}", scope_names(option.scopes))
            } else {
                name
            });
            continue;
        };
        let name = match option.name {
            "columns.*" => "columns.<name>.<property>".to_owned(),
            name => name.replace('*', "<property>"),
        };
        let (scopes, takes) = (scope_names(option.scopes), kind.allowed());
        writeln!(
            page,
            "| `{name}` | {scopes} | {takes} | {} | {} |",
            option.default, option.about
        )
        .expect("writing to a string does not fail");
        later.extend(
            kind.later()
                .iter()
                .map(|value| format!("`{} = '{value}'`", option.name)),
        );
    }
    writeln!(
        page,
        "\nNot available yet, and refused with that message: {}.",
        later.join(", ")
    )
    .expect("writing to a string does not fail");
    page
}

fn scope_names(scopes: &[Scope]) -> String {
    match scopes {
        _ if scopes == ANY_BYTES => "any source or sink".into(),
        _ if scopes == ANY_SOURCE => "any source".into(),
        _ => scopes
            .iter()
            .map(|scope| scope.name())
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_says_what_the_table_says() {
        let page = include_str!("../../../docs/SQL.md");
        let (start, end) = (
            "<!-- options: made from the code -->\n",
            "<!-- end of options -->",
        );
        let from = page
            .find(start)
            .expect("docs/SQL.md marks where the options start")
            + start.len();
        let to = page
            .find(end)
            .expect("docs/SQL.md marks where the options end");
        assert!(
            page[from..to].trim() == markdown().trim(),
            "docs/SQL.md must hold, between its markers:\n{}",
            markdown()
        );
    }

    #[test]
    fn a_name_stands_for_one_option_in_each_scope() {
        for (place, option) in OPTIONS.iter().enumerate() {
            for other in &OPTIONS[place + 1..] {
                assert!(
                    option.name != other.name || !option.applies(other.scopes),
                    "{} stands twice",
                    option.name
                );
            }
        }
    }
}
