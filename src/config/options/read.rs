//! From what was written to what it means, by the one table.
//!
//! First everything written is held against the table (admit.rs), so that a wrong word is named before a missing one;
//! then each connector takes its options by name.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::admit::{Admitted, find, hold_value, refuse, unknown, watermark_emit, wrong_value};
use super::duration::{micros, moment_ms};
use super::fraction::millionths;
use super::table::{Scope, ValueKind};
use super::{
    Compression, CsvOptions, DatagenOptions, DeadLetterTarget, End, FileOptions, Format,
    JsonValidate, KafkaSinkOptions, KafkaSourceOptions, KeyFormat, Late, OnError, OptionError,
    QueryOptions, RequestedExchange, SinkConnector, SinkOptions, Start, StreamConnector,
    StreamOptions, Tier, TimeOptions, TimeUnit, WrittenEmit, WrittenOption,
};
use crate::config::job_name_is_wrong;
use crate::config::limits::{
    FUTURE_SKEW_US, FUTURE_SKEW_US_DEFAULT, IDLE_TIMEOUT_US, WATERMARK_DRIFT_US,
    WATERMARK_INTERVAL_US,
};

/// Reads WITH of a CREATE STREAM that declares its columns.
pub fn stream_options(written: &[WrittenOption]) -> Result<StreamOptions, OptionError> {
    let sources = [Scope::KafkaSource, Scope::FileSource, Scope::DatagenSource];
    let scope = match connector(written, &sources)? {
        "kafka" => Scope::KafkaSource,
        "datagen" => Scope::DatagenSource,
        _ => Scope::FileSource,
    };
    let scopes = [scope];
    let options = Admitted::hold(written, &scopes)?;
    let connector = match scope {
        Scope::KafkaSource => StreamConnector::Kafka(kafka_source(&options)?),
        Scope::DatagenSource => StreamConnector::Datagen(datagen(&options)?),
        _ => StreamConnector::File(file(&options)?),
    };
    Ok(StreamOptions {
        time: time(&options, &connector)?,
        watermark_emit: emit(&options)?,
        connector,
        on_error: match options.word("on_error") {
            Some("skip") => OnError::Skip,
            Some("dead_letter") => OnError::DeadLetter,
            _ => OnError::Fail,
        },
        dead_letter: dead_letter(&options)?,
        event_time_unit: match options.word("event_time.unit") {
            Some("s") => TimeUnit::Seconds,
            Some("us") => TimeUnit::Microseconds,
            Some("ns") => TimeUnit::Nanoseconds,
            _ => TimeUnit::Milliseconds,
        },
    })
}

/// What is said of silence, and of times that lie ahead.
fn time(options: &Admitted<'_>, connector: &StreamConnector) -> Result<TimeOptions, OptionError> {
    let defaults = TimeOptions::default();
    let endless = matches!(connector, StreamConnector::Kafka(kafka) if kafka.end == End::Never);
    Ok(TimeOptions {
        idle_timeout_us: duration(options, "idle_timeout", &IDLE_TIMEOUT_US)?
            .unwrap_or(defaults.idle_timeout_us),
        idle_advances: options.word("idle_advance") != Some("none"),
        skew_us: match options.word("max_future_skew") {
            None => endless.then_some(FUTURE_SKEW_US_DEFAULT),
            Some("off") => None,
            Some(_) => duration(options, "max_future_skew", &FUTURE_SKEW_US)?,
        },
        max_drift_us: match options.word("watermark.max_drift") {
            None | Some("off") => None,
            Some(_) => duration(options, "watermark.max_drift", &WATERMARK_DRIFT_US)?,
        },
    })
}

/// What moves the watermarks.
fn emit(options: &Admitted<'_>) -> Result<WrittenEmit, OptionError> {
    let Some(option) = options.get("watermark.emit") else {
        return Ok(WrittenEmit::default());
    };
    let emit = watermark_emit(&option.value).expect("admitted as such");
    match emit.interval_us {
        Some(interval_us) => {
            within(option, interval_us, &WATERMARK_INTERVAL_US)?;
            Ok(emit)
        }
        None => Ok(emit),
    }
}

/// The duration that option `name` says, microseconds, which has to lie in `range`; `None` where it is not written.
fn duration(
    options: &Admitted<'_>,
    name: &str,
    range: &RangeInclusive<i64>,
) -> Result<Option<i64>, OptionError> {
    let Some(option) = options.get(name) else {
        return Ok(None);
    };
    let micros = micros(&option.value).expect("admitted as a duration");
    within(option, micros, range)?;
    Ok(Some(micros))
}

/// Refuses `option` where the `micros` that it says lie outside `range`.
fn within(
    option: &WrittenOption,
    micros: i64,
    range: &RangeInclusive<i64>,
) -> Result<(), OptionError> {
    if range.contains(&micros) {
        return Ok(());
    }
    Err(refuse(
        option,
        format!("option {} cannot be {}", option.key, option.value),
        Some(&format!(
            "from {} ms to {}",
            range.start() / 1_000,
            match range.end() / 86_400_000_000 {
                1 => "1 day".to_owned(),
                days => format!("{days} days"),
            }
        )),
    ))
}

/// Reads WITH of a CREATE STREAM AS: where its rows go, and what it says of its query.
pub fn sink_options(written: &[WrittenOption]) -> Result<SinkOptions, OptionError> {
    let sinks = [Scope::KafkaSink, Scope::FileSink, Scope::Query];
    let kafka = connector(written, &sinks)? == "kafka";
    let scopes = [
        if kafka {
            Scope::KafkaSink
        } else {
            Scope::FileSink
        },
        Scope::Query,
    ];
    let options = Admitted::hold(written, &scopes)?;
    Ok(SinkOptions {
        connector: if kafka {
            SinkConnector::Kafka(kafka_sink(&options)?)
        } else {
            SinkConnector::File(file(&options)?)
        },
        query: query(&options)?,
    })
}

/// Reads what SET says before a query.
pub fn query_options(written: &[WrittenOption]) -> Result<QueryOptions, OptionError> {
    query(&Admitted::hold(written, &[Scope::Query])?)
}

fn query(options: &Admitted<'_>) -> Result<QueryOptions, OptionError> {
    if let Some(name) = options.get("job.name")
        && let Some(wrong) = job_name_is_wrong(&name.value)
    {
        return Err(refuse(name, format!("job.name {wrong}"), None));
    }
    Ok(QueryOptions {
        exchange: options.word("exchange").map(|word| match word {
            "hash" => RequestedExchange::Hash,
            "smart" => RequestedExchange::Smart,
            "sticky" => RequestedExchange::Sticky,
            "round_robin" => RequestedExchange::RoundRobin,
            "fan_in" => RequestedExchange::FanIn,
            _ => RequestedExchange::Auto,
        }),
        late: options.word("late").map(|word| match word {
            "dead_letter" => Late::DeadLetter,
            "update" => Late::Update,
            _ => Late::Drop,
        }),
        late_warn: options.word("late.warn").and_then(millionths),
        job_name: options.text("job.name"),
    })
}

/// Where bad records go: said exactly when they go somewhere.
fn dead_letter(options: &Admitted<'_>) -> Result<Option<DeadLetterTarget>, OptionError> {
    match (options.get("on_error"), options.get("dead_letter")) {
        (Some(policy), None) if policy.value == "dead_letter" => Err(refuse(
            policy,
            "on_error = 'dead_letter' does not say where bad records go".into(),
            Some("add dead_letter = 'file:PATH' or dead_letter = 'kafka:TOPIC' to WITH"),
        )),
        (Some(policy), Some(target)) if policy.value == "dead_letter" => {
            Ok(Some(dead_letter_target(target)?))
        }
        (_, Some(stray)) => Err(refuse(
            stray,
            "option dead_letter is only for on_error = 'dead_letter'".into(),
            Some("add on_error = 'dead_letter', or leave it out"),
        )),
        (_, None) => Ok(None),
    }
}

fn dead_letter_target(option: &WrittenOption) -> Result<DeadLetterTarget, OptionError> {
    if let Some(topic) = option.value.strip_prefix("kafka:") {
        return Ok(DeadLetterTarget::Topic(topic.trim().to_owned()));
    }
    let path = option
        .value
        .strip_prefix("file:")
        .expect("admitted as one of two")
        .trim();
    if let (_, Some(extension)) = extensions(path) {
        return Err(refuse(
            option,
            format!("a dead letter file is not compressed, and .{extension} says that it is"),
            Some("name it .jsonl"),
        ));
    }
    Ok(DeadLetterTarget::File(PathBuf::from(path)))
}

fn kafka_source(options: &Admitted<'_>) -> Result<KafkaSourceOptions, OptionError> {
    let format = message_format(options);
    Ok(KafkaSourceOptions {
        topic: options.needed("topic")?.value.clone(),
        format,
        csv: csv(options, format)?,
        json_validate: json_validate(options, format)?,
        key_columns: options.columns("key.columns")?.unwrap_or_default(),
        group: options.text("group"),
        start: match options.get("start") {
            None => Start::Earliest,
            Some(start) => match start.value.as_str() {
                "earliest" => Start::Earliest,
                "latest" => Start::Latest,
                "committed" => Start::Committed,
                _ => match moment(start)? {
                    Some(milliseconds) => Start::Timestamp(milliseconds),
                    None => Start::Offsets(offsets(start)?),
                },
            },
        },
        start_written: options.get("start").is_some(),
        end: match options.get("end") {
            None => End::Never,
            Some(end) => match end.value.as_str() {
                "never" => End::Never,
                "latest" => End::Latest,
                _ => match moment(end)? {
                    Some(milliseconds) => End::Timestamp(milliseconds),
                    None => End::Offsets(offsets(end)?),
                },
            },
        },
        tier: match options.word("tier") {
            Some("standard") => Tier::Standard,
            Some("dedicated") => Tier::Dedicated,
            _ => Tier::Buffered,
        },
        properties: options.properties()?,
    })
}

fn datagen(options: &Admitted<'_>) -> Result<DatagenOptions, OptionError> {
    let columns = options
        .iter()
        .filter(|option| option.key.starts_with("columns."));
    let [rows, rate, seed] = ["rows", "rate", "seed"].map(|name| options.get(name));
    DatagenOptions::new(rows, rate, seed, columns.cloned().collect())
}

fn kafka_sink(options: &Admitted<'_>) -> Result<KafkaSinkOptions, OptionError> {
    let format = message_format(options);
    Ok(KafkaSinkOptions {
        topic: options.needed("topic")?.value.clone(),
        format,
        csv: csv(options, format)?,
        key_columns: options.columns("key.columns")?,
        key_format: options.word("key.format").map(|word| match word {
            "raw" => KeyFormat::Raw,
            _ => KeyFormat::Json,
        }),
        properties: options.properties()?,
    })
}

fn file(options: &Admitted<'_>) -> Result<FileOptions, OptionError> {
    let path = options.needed("path")?;
    let (by_name, compressed) = extensions(&path.value);
    let compression = match (options.word("compression"), compressed.as_deref()) {
        (Some("zst"), _) | (None, Some("zst")) => Compression::Zstd,
        (Some("gz"), _) | (None, Some("gz")) => Compression::Gzip,
        _ => Compression::None,
    };
    let format = match options.word("format") {
        Some("csv") => Format::Csv,
        Some(_) => Format::Json,
        None => match by_name {
            Some(format) => format,
            None => {
                let message = format!("the extension of {} does not say its format", path.value);
                return Err(refuse(
                    path,
                    message,
                    Some("add format = 'json' or format = 'csv'"),
                ));
            }
        },
    };
    let csv = csv(options, format)?;
    let json_validate = json_validate(options, format)?;
    Ok(FileOptions {
        path: PathBuf::from(&path.value),
        format,
        compression,
        csv,
        json_validate,
        deal: options.word("deal") == Some("true"),
    })
}

/// The format that a file's name tells, and the extension of its compression.
fn extensions(path: &str) -> (Option<Format>, Option<String>) {
    let mut path = PathBuf::from(path);
    let extension = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
    let compressed = extension(&path).filter(|name| matches!(name.as_str(), "zst" | "gz"));
    if compressed.is_some() {
        path.set_extension("");
    }
    let format = match extension(&path).as_deref() {
        Some("csv") => Some(Format::Csv),
        Some("json" | "jsonl" | "ndjson") => Some(Format::Json),
        _ => None,
    };
    (format, compressed)
}

fn message_format(options: &Admitted<'_>) -> Format {
    match options.word("format") {
        Some("csv") => Format::Csv,
        _ => Format::Json,
    }
}

fn csv(options: &Admitted<'_>, format: Format) -> Result<CsvOptions, OptionError> {
    let mut csv_options = options
        .iter()
        .filter(|option| option.key.starts_with("csv."));
    if format != Format::Csv
        && let Some(stray) = csv_options.next()
    {
        let message = format!(
            "option {} is only for CSV, and the format is json",
            stray.key
        );
        return Err(refuse(
            stray,
            message,
            Some("add format = 'csv', or leave it out"),
        ));
    }
    let delimiter = match options.get("csv.delimiter") {
        None => b',',
        Some(option) => match option.value.as_bytes() {
            b"\\t" => b'\t',
            [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => *byte,
            _ => return Err(wrong_value(option, &ValueKind::Character)),
        },
    };
    if let Some(null) = options.get("csv.null") {
        hold_null(null, delimiter)?;
    }
    Ok(CsvOptions {
        header: options.applies("csv.header") && options.word("csv.header") != Some("false"),
        delimiter,
        null: options.text("csv.null").unwrap_or_default(),
    })
}

/// The text for NULL stands bare between delimiters: what would end the field or the record, or begin a quoted field, would be
/// read back as something else.
fn hold_null(null: &WrittenOption, delimiter: u8) -> Result<(), OptionError> {
    let value = null.value.as_bytes();
    let wrong = if value.contains(&delimiter) {
        "holds the delimiter"
    } else if value.contains(&b'\n') || value.contains(&b'\r') {
        "holds the end of a line"
    } else if value.starts_with(b"\"") {
        "begins with a quote, and NULL is never quoted"
    } else {
        return Ok(());
    };
    Err(refuse(
        null,
        format!("option csv.null cannot be read back: it {wrong}"),
        Some("write a word such as NULL, or leave it out for the empty field"),
    ))
}

fn json_validate(options: &Admitted<'_>, format: Format) -> Result<JsonValidate, OptionError> {
    match options.get("json.validate") {
        Some(stray) if format != Format::Json => Err(refuse(
            stray,
            "option json.validate is only for JSON, and the format is csv".into(),
            Some("add format = 'json', or leave it out"),
        )),
        Some(option) if option.value == "strict" => Ok(JsonValidate::Strict),
        _ => Ok(JsonValidate::Wanted),
    }
}

/// Reads `timestamp:2026-03-01T10:00:00Z`, milliseconds since the epoch; `None` where it is not written so.
fn moment(option: &WrittenOption) -> Result<Option<i64>, OptionError> {
    let Some(written) = option.value.strip_prefix("timestamp:") else {
        return Ok(None);
    };
    if let Some(milliseconds) = moment_ms(written) {
        return Ok(Some(milliseconds));
    }
    let message = format!("option {}: '{written}' is no moment", option.key);
    let hint = "write ISO-8601, such as timestamp:2026-03-01T10:00:00Z, or milliseconds since 1970, such as timestamp:1772359200000";
    Err(refuse(option, message, Some(hint)))
}

/// Reads `offsets:0=17,1=4`.
fn offsets(option: &WrittenOption) -> Result<Vec<(i32, i64)>, OptionError> {
    let wrong = |what: &str| {
        let message = format!("option {}: {what}", option.key);
        refuse(
            option,
            message,
            Some("write each partition once with its offset, such as offsets:0=17,1=4"),
        )
    };
    let list = option
        .value
        .strip_prefix("offsets:")
        .expect("admitted as a word or as offsets");
    let mut offsets = Vec::new();
    for pair in list.split(',') {
        let parsed = pair.split_once('=').and_then(|(partition, offset)| {
            Some((
                partition.trim().parse::<i32>().ok()?,
                offset.trim().parse::<i64>().ok()?,
            ))
        });
        match parsed {
            Some((partition, offset)) if partition >= 0 && offset >= 0 => {
                offsets.push((partition, offset))
            }
            _ => {
                return Err(wrong(&format!(
                    "'{pair}' is not a partition and its offset"
                )));
            }
        }
    }
    offsets.sort_unstable();
    if let Some(twice) = offsets.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(wrong(&format!("partition {} stands twice", twice[0].0)));
    }
    Ok(offsets)
}

/// What `connector` says; it must be there and be known in `scopes`, those that it may decide for.
fn connector<'w>(written: &'w [WrittenOption], scopes: &[Scope]) -> Result<&'w str, OptionError> {
    if let Some(connector) = written.iter().find(|option| option.key == "connector") {
        let spec = find("connector", scopes).expect("every stream has a connector");
        hold_value(connector, spec)?;
        return Ok(&connector.value);
    }
    // A slip in the word itself is a better answer than that the word is missing.
    for option in written {
        if find(&option.key, scopes).is_none() {
            return Err(unknown(option, scopes));
        }
    }
    Err(OptionError {
        option: "connector".into(),
        span: None,
        message: "a stream without a connector is not available yet".into(),
        hint: Some("add connector = 'kafka' or connector = 'file' to WITH".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use crate::config::options::OPTIONS;
    use crate::error::Span;

    fn with(options: &[(&str, &str)]) -> Vec<WrittenOption> {
        options
            .iter()
            .enumerate()
            .map(|(place, (key, value))| WrittenOption {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                span: Span {
                    start: place * 10,
                    end: place * 10 + 9,
                },
                origin: Origin::Default,
            })
            .collect()
    }

    fn kafka_with(more: &[(&str, &str)]) -> Vec<WrittenOption> {
        let mut all = vec![("connector", "kafka"), ("topic", "flights")];
        all.extend_from_slice(more);
        with(&all)
    }

    fn refused(more: &[(&str, &str)]) -> String {
        stream_options(&kafka_with(more))
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn a_kafka_source_takes_its_defaults_from_the_table() {
        let options = stream_options(&kafka_with(&[])).expect("a topic is enough");
        let StreamConnector::Kafka(kafka) = options.connector else {
            panic!("kafka was asked for")
        };
        assert_eq!(
            (kafka.start, kafka.end, kafka.format),
            (Start::Earliest, End::Never, Format::Json)
        );
        assert_eq!(
            (options.on_error, options.event_time_unit),
            (OnError::Fail, TimeUnit::Milliseconds)
        );
        assert!(!kafka.csv.header, "a message has no header line");
        assert!(
            kafka.key_columns.is_empty() && kafka.group.is_none() && kafka.properties.is_empty()
        );
    }

    #[test]
    fn every_written_option_is_used() {
        let options = stream_options(&kafka_with(&[
            ("format", "csv"),
            ("csv.delimiter", "\\t"),
            ("csv.null", "NA"),
            ("key.columns", "Carrier, \"Origin\""),
            ("group", "g"),
            ("start", "offsets:1=4,0=17"),
            ("end", "offsets:0=170,1=44"),
            ("on_error", "skip"),
            ("event_time.unit", "ns"),
            ("kafka.bootstrap.servers", "localhost:9092"),
        ]))
        .expect("all are known");
        let StreamConnector::Kafka(kafka) = options.connector else {
            panic!("kafka was asked for")
        };
        assert_eq!(
            kafka.csv,
            CsvOptions {
                header: false,
                delimiter: b'\t',
                null: "NA".into()
            }
        );
        assert_eq!(kafka.key_columns, ["carrier", "Origin"]);
        assert_eq!(kafka.start, Start::Offsets(vec![(0, 17), (1, 4)]));
        assert_eq!(kafka.end, End::Offsets(vec![(0, 170), (1, 44)]));
        assert_eq!(kafka.group.as_deref(), Some("g"));
        let property = &kafka.properties[0];
        assert_eq!(
            (property.name.as_str(), property.value.to_string().as_str()),
            ("bootstrap.servers", "localhost:9092")
        );
        assert_eq!(
            (options.on_error, options.event_time_unit),
            (OnError::Skip, TimeUnit::Nanoseconds)
        );
    }

    #[test]
    fn every_word_that_the_table_admits_is_read_and_every_later_one_refused() {
        let needed = [("connector", "kafka"), ("topic", "t"), ("path", "p.csv")];
        for spec in OPTIONS {
            let (now, later) = match spec.kind {
                Some(ValueKind::Choice { now, later })
                | Some(ValueKind::Position { now, later }) => (now, later),
                Some(_) => continue,
                None => (&[][..], &["1"][..]),
            };
            if spec.name == "connector" {
                continue;
            }
            for scope in spec.scopes {
                let (connector, sink) = match scope {
                    Scope::KafkaSource => ("kafka", false),
                    Scope::DatagenSource => ("datagen", false),
                    Scope::FileSource => ("file", false),
                    Scope::KafkaSink | Scope::Query => ("kafka", true),
                    Scope::FileSink => ("file", true),
                };
                let read = |value: &str| {
                    let place = match (connector, spec.name.starts_with("json.")) {
                        ("kafka", _) => needed[1],
                        ("file", true) => ("path", "p.json"),
                        ("file", false) => needed[2],
                        _ => ("rows", "1"),
                    };
                    let mut options = vec![("connector", connector), place, (spec.name, value)];
                    if (spec.name, value) == ("on_error", "dead_letter") {
                        options.push(("dead_letter", "file:d.jsonl"));
                    }
                    let options = with(&options);
                    if sink {
                        sink_options(&options).map(|_| ())
                    } else {
                        stream_options(&options).map(|_| ())
                    }
                };
                for value in now {
                    assert_eq!(read(value), Ok(()), "{} = {value}", spec.name);
                }
                for value in later {
                    let refusal = read(value).expect_err("belongs to later work").to_string();
                    assert!(refusal.contains(" yet"), "{refusal}");
                }
            }
        }
    }

    #[test]
    fn what_moves_a_watermark_is_read_with_its_commas_and_bounds() {
        let read = |value: &str| {
            let options = stream_options(&kafka_with(&[("watermark.emit", value)]));
            options.map(|options| options.watermark_emit)
        };
        let emit = |interval_us, text: Option<&str>| {
            Ok(WrittenEmit {
                interval_us,
                punctuation: text.map(str::to_owned),
            })
        };
        for (value, expected) in [
            ("record", emit(None, None)),
            ("interval:200ms", emit(Some(200_000), None)),
            ("interval: 1 day ", emit(Some(86_400_000_000), None)),
            ("punctuated: a IN (1, 2) ", emit(None, Some("a IN (1, 2)"))),
            ("punctuated:b = 'x:y'", emit(None, Some("b = 'x:y'"))),
            (
                "hybrid:coalesce(a, b), 2 s",
                emit(Some(2_000_000), Some("coalesce(a, b)")),
            ),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
        for wrong in [
            "",
            "records",
            "interval",
            "interval:",
            "interval:5",
            "punctuated: ",
            "hybrid:a",
            "hybrid:,1s",
            "hybrid:a,b",
            "record:1s",
        ] {
            let refusal = read(wrong).expect_err(wrong).to_string();
            assert!(
                refusal.contains("allowed: record, interval:200ms"),
                "{refusal}"
            );
        }
        for far in ["interval:0ms", "interval:2 days", "hybrid:a,25h"] {
            let refusal = read(far).expect_err(far).to_string();
            assert!(refusal.contains("from 1 ms to 1 day"), "{refusal}");
            assert!(!refusal.contains("1 days"), "{refusal}");
        }
    }

    #[test]
    fn what_is_said_of_silence_and_of_times_ahead_is_read_and_has_its_defaults() {
        let time = |more: &[(&str, &str)]| {
            let options = stream_options(&kafka_with(more)).expect("right options");
            options.time
        };
        let endless = TimeOptions {
            skew_us: Some(FUTURE_SKEW_US_DEFAULT),
            ..TimeOptions::default()
        };
        assert_eq!(time(&[]), endless);
        assert_eq!(time(&[("end", "latest")]).skew_us, None);
        let said = time(&[
            ("end", "timestamp:0"),
            ("idle_timeout", "1500ms"),
            ("idle_advance", "none"),
            ("max_future_skew", "2 days"),
            ("watermark.max_drift", "5 MINUTES"),
        ]);
        assert_eq!(
            said,
            TimeOptions {
                idle_timeout_us: 1_500_000,
                idle_advances: false,
                skew_us: Some(172_800_000_000),
                max_drift_us: Some(300_000_000),
            }
        );
        assert_eq!(time(&[("max_future_skew", "off")]).skew_us, None);
        let moments = stream_options(&kafka_with(&[
            ("start", "timestamp:2026-01-01T00:00:00Z"),
            ("end", "timestamp:1767225600001"),
        ]));
        let StreamConnector::Kafka(kafka) = moments.expect("moments").connector else {
            panic!("a topic was asked for")
        };
        assert_eq!(kafka.start, Start::Timestamp(1_767_225_600_000));
        assert_eq!(kafka.end, End::Timestamp(1_767_225_600_001));
        let file = stream_options(&with(&[
            ("connector", "file"),
            ("path", "p.json"),
            ("max_future_skew", "1h"),
        ]));
        assert_eq!(file.expect("right").time.skew_us, Some(3_600_000_000));
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_known_one_and_its_place() {
        let error = stream_options(&kafka_with(&[("on_eror", "skip")])).expect_err("a slip");
        assert_eq!(error.span, Some(Span { start: 20, end: 29 }));
        assert_eq!(
            error.to_string(),
            "unknown option on_eror of a kafka source; did you mean on_error?"
        );
        assert_eq!(
            refused(&[("bootstrap.servers", "x")]),
            "unknown option bootstrap.servers of a kafka source; a property of librdkafka is written kafka.bootstrap.servers"
        );
        let slip = stream_options(&with(&[("conector", "kafka")]))
            .expect_err("a slip")
            .to_string();
        assert!(slip.ends_with("did you mean connector?"), "{slip}");
    }

    #[test]
    fn an_option_of_another_scope_is_refused_with_its_scope() {
        assert_eq!(
            refused(&[("path", "x.csv")]),
            "option path does not apply to a kafka source; it is an option of a file source or a file sink"
        );
        assert_eq!(
            refused(&[("exchange", "hash")]),
            "option exchange does not apply to a kafka source; it is an option of a query"
        );
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_is_allowed() {
        assert_eq!(
            refused(&[("on_error", "skp")]),
            "option on_error cannot be 'skp'; did you mean 'skip'? allowed: fail, skip, dead_letter"
        );
        assert_eq!(
            refused(&[("format", "avro")]),
            "format = 'avro' is not available yet; allowed: json, csv"
        );
        assert_eq!(
            refused(&[("start", "comitted")]),
            "option start cannot be 'comitted'; did you mean 'committed'? allowed: committed, earliest, latest, offsets:0=17,1=4, timestamp:2026-03-01T10:00:00Z"
        );
        assert!(refused(&[("start", "timestamp:soon")]).contains("'soon' is no moment"));
        assert!(refused(&[("idle_timeout", "10")]).contains("a duration such as 500ms"));
        assert!(refused(&[("idle_timeout", "31 days")]).contains("from 1 ms to 30 days"));
        assert!(refused(&[("max_future_skew", "none")]).contains("off, or a duration"));
        assert!(refused(&[("start", "offsets:0=1,0=2")]).contains("partition 0 stands twice"));
        assert!(refused(&[("end", "offsets:0")]).contains("'0' is not a partition and its offset"));
        assert!(refused(&[("end", "offsets:0=-1")]).contains("is not a partition and its offset"));
        assert!(refused(&[("key.columns", "a,,b")]).contains("column names"));
        assert!(refused(&[("topic", "t")]).contains("stands twice"));
        assert!(refused(&[("csv.null", "")]).contains("only for CSV"));
        assert!(
            refused(&[("format", "csv"), ("json.validate", "strict")]).contains("only for JSON")
        );
        let null = |null, delimiter| {
            let more = [
                ("format", "csv"),
                ("csv.null", null),
                ("csv.delimiter", delimiter),
            ];
            stream_options(&kafka_with(&more)).map_err(|error| error.to_string())
        };
        for (text, delimiter, says) in [
            ("N,A", ",", "holds the delimiter"),
            ("N\tA", "\\t", "holds the delimiter"),
            ("N\nA", ",", "holds the end of a line"),
            ("NA\r", ",", "holds the end of a line"),
            ("\"NA\"", ",", "begins with a quote"),
        ] {
            let refusal = null(text, delimiter).expect_err("must be refused");
            assert!(refusal.contains(says), "{text:?}: {refusal}");
        }
        for text in ["", "\\N", "N;A", "a\"b", " ", "NULL"] {
            assert!(null(text, ",").is_ok(), "{text:?}");
        }
        assert!(refused(&[("json.validate", "all")]).contains("allowed: wanted, strict"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = stream_options(&with(&[("connector", "kafka")])).expect_err("no topic");
        assert_eq!((error.option.as_str(), error.span), ("topic", None));
        assert_eq!(
            error.to_string(),
            "a kafka source needs the option topic; add topic = '..' to WITH"
        );
        assert_eq!(
            stream_options(&[]).expect_err("nothing at all").option,
            "connector"
        );
    }

    #[test]
    fn a_files_name_tells_its_format_and_compression() {
        let read = |path: &str| {
            let options = stream_options(&with(&[("connector", "file"), ("path", path)]))?;
            let StreamConnector::File(file) = options.connector else {
                panic!("a file was asked for")
            };
            Ok::<_, OptionError>((file.format, file.compression))
        };
        assert_eq!(
            read("a/flights.csv.zst"),
            Ok((Format::Csv, Compression::Zstd))
        );
        assert_eq!(read("flights.JSONL"), Ok((Format::Json, Compression::None)));
        assert_eq!(
            read("flights.json.GZ"),
            Ok((Format::Json, Compression::Gzip))
        );
        assert!(
            read("flights")
                .expect_err("no extension")
                .to_string()
                .contains("add format = 'json'")
        );
    }

    #[test]
    fn a_sink_carries_the_options_of_its_query_and_with_goes_before_set() {
        let sink = sink_options(&kafka_with(&[
            ("exchange", "hash"),
            ("key.format", "raw"),
            ("job.name", "a.b-c_1"),
        ]))
        .expect("all are known");
        assert_eq!(sink.query.job_name.as_deref(), Some("a.b-c_1"));
        let set = query_options(&with(&[("exchange", "fan_in"), ("late", "drop")]))
            .expect("both are known");
        let both = sink.query.or(set);
        assert_eq!(
            (both.exchange, both.late),
            (Some(RequestedExchange::Hash), Some(Late::Drop))
        );
        assert!(query_options(&with(&[("job.name", "a b")])).is_err());
    }
}
