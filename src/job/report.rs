//! The `--report` document: what one run did, in figures.
//!
//! Law: the document is there whole or not at all (a temporary file, then a rename; what is no file is written to), and a
//! failed run has one too. Outside scripts read it by the names of the fields here, so none is renamed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use velostream_shards::Summary;

use super::Latency;
use crate::error::{Error, Result};
use crate::format::write_timestamp;
use crate::time::Watermark;

/// What one run did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Version of this document.
    pub schema: u32,
    /// The job's name.
    pub job: String,
    /// What ended the run.
    pub end: End,
    /// The exit code of the process.
    pub exit_code: u8,
    /// From the start of the shards to the last acknowledged row, seconds.
    pub elapsed_s: f64,
    /// Records taken from the sources, bad ones included.
    pub records_in: u64,
    /// Rows that the sinks acknowledged.
    pub rows_out: u64,
    /// Tombstones among what a keyed sink took, for rows that hold no more; not among `rows_out`.
    pub tombstones: u64,
    /// Bad records left out.
    pub bad_records: u64,
    /// Late records left out.
    pub late_records: u64,
    /// Those of them that their partition had accepted, but whose window the query had closed.
    pub late_after_idle: u64,
    /// Records that corrected rows of windows which had fired.
    pub corrections: u64,
    /// What the run warned of: queries of which more records were late than their `late.warn` says.
    pub warnings: Vec<String>,
    /// Bad and late records, and keys of withheld rows, that a dead letter has acknowledged.
    pub dead_letters: u64,
    /// `records_in` a second.
    pub records_per_s: f64,
    /// Where the inputs stood at the end, without the idle ones unless all are: UTC, `end` after the end of a bounded input, or
    /// null before the first promise.
    #[serde(serialize_with = "watermark")]
    pub watermark: Watermark,
    /// Records that a restart read again for what was open; not among `records_in`.
    pub replayed_records: u64,
    /// The most memory that the process held in RAM, bytes.
    pub peak_rss_bytes: u64,
    /// Heap allocations on the shards for each batch, once they ran steadily; null where a run was too short for that.
    pub allocations_per_batch: Option<f64>,
    /// Most bytes that groups and dictionaries have taken at once, the shards' maxima added up.
    pub peak_state_bytes: u64,
    /// Searches for a group or a dictionary entry that went past many others: 0, or nearly.
    pub long_probes: u64,
    /// What was read.
    pub streams: Vec<StreamReport>,
    /// What was computed.
    pub queries: Vec<QueryReport>,
    /// Where it ran.
    pub shards: Vec<ShardReport>,
    /// How long it took.
    pub latency_us: LatencyReport,
}

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The bounded input.
    Input,
    /// SIGTERM or SIGINT.
    Signal,
    /// `--duration`.
    Duration,
    /// An error.
    Error,
}

/// One stream that was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamReport {
    /// Its name.
    pub stream: String,
    /// Records taken, bad ones included.
    pub records_in: u64,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionReport>,
}

/// One partition; partition 0 of a file is the file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PartitionReport {
    /// Its number.
    pub partition: i32,
    /// The next offset (line) to be read.
    pub next_offset: i64,
    /// Its watermark.
    #[serde(serialize_with = "watermark")]
    pub watermark: Watermark,
}

/// One query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueryReport {
    /// Its name.
    pub query: String,
    /// Where its rows went: `stdout`, `file:PATH`, `kafka:TOPIC` or `stream:NAME`.
    pub sink: String,
    /// Rows that the sink acknowledged; for a stream, rows that its readers were given.
    pub rows_out: u64,
    /// Late records left out.
    pub late_records: u64,
    /// The exchange that was used.
    pub exchange: String,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardReport {
    /// Its number.
    pub shard: usize,
    /// The CPU that it was pinned to (OS index).
    pub cpu: u32,
    /// Its core (logical index).
    pub core: u32,
    /// Its NUMA node (OS index).
    pub node: u32,
    /// Its L3 domain (logical index).
    pub l3: u32,
    /// Records that it took from its sources.
    pub records_in: u64,
    /// Share of the run that it spent in turns that made progress.
    pub busy_ratio: f64,
    /// Share of the run that it spent parked.
    pub parked_ratio: f64,
    /// Turns of more CPU time than `shards.turn_budget_us`.
    pub stalls: u64,
    /// The same by the stage that took the most of the turn.
    pub stalls_by_stage: BTreeMap<&'static str, u64>,
    /// The most CPU time that a turn took.
    pub turn_us_max: u64,
    /// How often its safety tick found work that nobody had rung for: zero, or a mistake.
    pub safety_tick_found_work: u64,
    /// How hard it was pressed at worst: `healthy`, `warning`, `critical` or `saturated`.
    pub backpressure: &'static str,
    /// CPU time that its thread used, seconds.
    pub cpu_s: f64,
    /// Pages of its state that lay on its node at the end.
    pub numa_pages_local: u64,
    /// Pages of its state that lay on another.
    pub numa_pages_remote: u64,
}

/// How long it took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyReport {
    /// From when a record was due to when it was applied to state.
    pub ingest: Quantiles,
    /// From when there was reason to make a row to when it was handed to the sink.
    pub emit: Quantiles,
    /// From when a record was due to when the rows it caused were acknowledged.
    pub end_to_end: Quantiles,
}

impl LatencyReport {
    /// The figures of these histograms.
    pub fn of(latency: &Latency) -> LatencyReport {
        LatencyReport {
            ingest: latency.ingest.summary().into(),
            emit: latency.emit.summary().into(),
            end_to_end: latency.end_to_end.summary().into(),
        }
    }
}

/// Quantiles of a latency, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many were measured.
    pub count: u64,
    /// Half were no longer.
    pub p50: u64,
    /// 95 % were no longer.
    pub p95: u64,
    /// 99 % were no longer.
    pub p99: u64,
    /// 99.9 % were no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl From<Summary> for Quantiles {
    fn from(summary: Summary) -> Quantiles {
        let Summary {
            count,
            p50,
            p95,
            p99,
            p999,
            max,
        } = summary;
        Quantiles {
            count,
            p50,
            p95,
            p99,
            p999,
            max,
        }
    }
}

impl Report {
    /// Version of the document.
    pub const SCHEMA: u32 = 1;

    /// Writes the document to `path`, replacing what is there.
    ///
    /// # Errors
    /// `Error::Disk` when the folder or the file cannot be written; what was at `path` is then still there.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text =
            serde_json::to_string_pretty(self).expect("figures and names are always JSON");
        text.push('\n');
        // A rename would put a file in the place of a device, a pipe or a link such as /dev/stdout; there, it is written.
        let is_special = std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file());
        if is_special {
            let written = std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()));
            return written.map_err(|cause| Error::disk("write the report", path, &cause));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.unfinished", std::process::id()));
        let unfinished = Path::new(&unfinished);
        let written = std::fs::File::create(unfinished)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
            })
            .and_then(|()| std::fs::rename(unfinished, path));
        written.map_err(|cause| {
            // Nothing more can be done if even this fails; the first cause is the one to tell.
            let _ = std::fs::remove_file(unfinished);
            Error::disk("write the report", path, &cause)
        })
    }
}

fn watermark<S: serde::Serializer>(
    watermark: &Watermark,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match *watermark {
        Watermark::NONE => serializer.serialize_none(),
        Watermark::END => serializer.serialize_str("end"),
        Watermark(us) => {
            let mut text = Vec::new();
            write_timestamp(&mut text, us);
            serializer.serialize_str(std::str::from_utf8(&text).expect("a timestamp is ASCII"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            schema: Report::SCHEMA,
            job: "flights".into(),
            end: End::Input,
            exit_code: 0,
            elapsed_s: 2.0,
            records_in: 10,
            rows_out: 3,
            tombstones: 0,
            bad_records: 0,
            late_records: 1,
            late_after_idle: 0,
            corrections: 0,
            warnings: vec!["a warning".to_owned()],
            dead_letters: 0,
            records_per_s: 5.0,
            watermark: Watermark::END,
            replayed_records: 0,
            peak_rss_bytes: 1 << 20,
            allocations_per_batch: Some(12.5),
            peak_state_bytes: 0,
            long_probes: 0,
            streams: vec![StreamReport {
                stream: "flights".into(),
                records_in: 10,
                partitions: vec![
                    PartitionReport {
                        partition: 0,
                        next_offset: 11,
                        watermark: Watermark(1_500_000),
                    },
                    PartitionReport {
                        partition: 1,
                        next_offset: 0,
                        watermark: Watermark::NONE,
                    },
                ],
            }],
            queries: vec![QueryReport {
                query: "busy".into(),
                sink: "stdout".into(),
                rows_out: 3,
                late_records: 1,
                exchange: "hash".into(),
            }],
            shards: vec![ShardReport {
                shard: 0,
                cpu: 0,
                core: 0,
                node: 0,
                l3: 0,
                records_in: 10,
                busy_ratio: 0.5,
                parked_ratio: 0.25,
                stalls: 1,
                stalls_by_stage: BTreeMap::from([("compute", 1)]),
                turn_us_max: 90,
                safety_tick_found_work: 0,
                backpressure: "healthy",
                cpu_s: 1.0,
                numa_pages_local: 7,
                numa_pages_remote: 0,
            }],
            latency_us: LatencyReport {
                ingest: Quantiles::default(),
                emit: Quantiles::default(),
                end_to_end: Quantiles {
                    count: 3,
                    max: 7,
                    ..Quantiles::default()
                },
            },
        }
    }

    #[test]
    fn the_names_and_values_are_those_of_the_contract() {
        let document = serde_json::to_value(report()).expect("it is plain");
        assert_eq!(document["schema"], 1);
        assert_eq!(document["end"], "input");
        assert_eq!(document["watermark"], "end");
        let partitions = &document["streams"][0]["partitions"];
        assert_eq!(partitions[0]["watermark"], "1970-01-01T00:00:01.500000Z");
        assert!(partitions[1]["watermark"].is_null());
        assert_eq!(document["latency_us"]["end_to_end"]["max"], 7);
    }

    /// The fields of a document: `streams[].stream` for one of an object in a list.
    fn fields(document: &serde_json::Value, path: &str, found: &mut Vec<String>) {
        for (name, value) in document.as_object().expect("an object") {
            let name = format!("{path}{name}");
            match value {
                // Its names are those of stages.
                serde_json::Value::Object(_) if name.ends_with("stalls_by_stage") => {
                    found.push(name);
                }
                serde_json::Value::Object(_) => fields(value, &format!("{name}."), found),
                serde_json::Value::Array(list) if list[0].is_object() => {
                    fields(&list[0], &format!("{name}[]."), found);
                }
                serde_json::Value::Array(_) => found.push(format!("{name}[]")),
                _ => found.push(name),
            }
        }
    }

    /// Outside scripts go by the documentation: every field stands there, and nothing else does.
    #[test]
    fn the_documentation_names_every_field_and_no_other() {
        let text = include_str!("../../docs/OPERATIONS.md");
        let (_, section) = text.split_once("\n## The report\n").expect("a section");
        let (section, _) = section.split_once("\n## ").expect("another behind it");
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let named = |row: &'static str| {
            let cell = row[1..].split('|').next().expect("a first cell");
            cell.split('`').skip(1).step_by(2)
        };
        let mut documented: Vec<&str> = rows.flat_map(named).collect();
        let mut written = Vec::new();
        fields(
            &serde_json::to_value(report()).expect("it is plain"),
            "",
            &mut written,
        );
        documented.sort();
        written.sort();
        assert_eq!(documented, written);
    }

    #[test]
    fn the_document_replaces_an_older_one_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("report.json");
        std::fs::write(&path, "old").expect("it can be written");
        report().write(&path).expect("it can be written");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert!(text.ends_with("}\n") && serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert_eq!(
            std::fs::read_dir(folder.path())
                .expect("it is a folder")
                .count(),
            1
        );
        let linked = folder.path().join("link.json");
        std::os::unix::fs::symlink(&path, &linked).expect("a link");
        report().write(&linked).expect("it can be written");
        assert!(
            std::fs::symlink_metadata(&linked)
                .expect("it is there")
                .is_symlink(),
            "the link was replaced"
        );
        let nowhere = folder.path().join("no/such/report.json");
        assert!(matches!(report().write(&nowhere), Err(Error::Disk(_))));
    }
}
