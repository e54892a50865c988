//! The whole list of metrics: name, what it says, labels, kind. docs/OPERATIONS.md has the same list, and a test compares them.
//!
//! Law: base units (seconds, bytes, ratios), totals end in `_total`, and no label has a value for each record, key or
//! partition.

/// What a value does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound, with a sum.
    Histogram,
}

impl Kind {
    /// Its word in the text format.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it says, one line.
    pub help: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        help,
        kind,
        labels,
    }
}

use Kind::{Counter, Gauge, Histogram};

/// Records taken from each stream.
pub static RECORDS_IN: Metric = metric(
    "velo_records_in_total",
    Counter,
    &["job", "stream"],
    "Records taken from the stream, bad ones included.",
);

/// Rows acknowledged.
pub static ROWS_OUT: Metric = metric(
    "velo_rows_out_total",
    Counter,
    &[],
    "Rows that the sinks acknowledged.",
);

/// Bad records, by where they were found to be bad.
pub static BAD_RECORDS: Metric = metric(
    "velo_bad_records_total",
    Counter,
    &["code"],
    "Bad records left out: decode (the record), evaluate (an expression over it), output (a value of its row out of range).",
);

/// Late records.
pub static LATE_RECORDS: Metric = metric(
    "velo_late_records_total",
    Counter,
    &[],
    "Late records left out.",
);

/// Corrections.
pub static CORRECTIONS: Metric = metric(
    "velo_corrections_total",
    Counter,
    &[],
    "Records that corrected rows of windows which had fired (late = 'update').",
);

/// How long things took.
pub static LATENCY: Metric = metric(
    "velo_latency_seconds",
    Histogram,
    &["stage"],
    "ingest: due to applied; emit: reason for a row to handed over; end_to_end: due to acknowledged.",
);

/// How far event time is behind.
pub static WATERMARK_LAG: Metric = metric(
    "velo_watermark_lag_seconds",
    Gauge,
    &[],
    "How far the least watermark stands behind the wall clock; no sample before the first promise and after the end.",
);

/// Blocks in lanes.
pub static LANE_DEPTH: Metric = metric(
    "velo_lane_depth",
    Gauge,
    &["from", "to"],
    "Blocks that wait in the lanes from a shard to another, or to the job.",
);

/// How hard a shard is pressed.
pub static BACKPRESSURE: Metric = metric(
    "velo_backpressure_state",
    Gauge,
    &["shard"],
    "0 healthy, 1 warning, 2 critical, 3 saturated.",
);

/// How busy a shard is.
pub static BUSY_RATIO: Metric = metric(
    "velo_shard_busy_ratio",
    Gauge,
    &["shard"],
    "Share of the last whole second that the shard spent in turns that made progress.",
);

/// Turns over their budget.
pub static STALLS: Metric = metric(
    "velo_stalls_total",
    Counter,
    &["shard", "stage"],
    "Turns of more CPU time than shards.turn_budget_us, by the stage that took the most.",
);

/// Forgotten rings.
pub static SAFETY_TICK_FOUND_WORK: Metric = metric(
    "velo_safety_tick_found_work_total",
    Counter,
    &["shard"],
    "Work for which nobody had rung a parked shard; above zero is a mistake to be reported.",
);

/// Groups in state.
pub static GROUPS: Metric = metric(
    "velo_groups",
    Gauge,
    &["job"],
    "Groups in the state of all shards, those of first phases included.",
);

/// Bytes of state.
pub static STATE_BYTES: Metric = metric(
    "velo_state_bytes",
    Gauge,
    &["shard"],
    "Bytes that groups and dictionaries take.",
);

/// Windows with groups.
pub static OPEN_WINDOWS: Metric = metric(
    "velo_open_windows",
    Gauge,
    &["job"],
    "Windows that hold groups: for each query the most of any shard, added up.",
);

/// All of them, in the order in which they are written.
pub static ALL: [&Metric; 15] = [
    &RECORDS_IN,
    &ROWS_OUT,
    &BAD_RECORDS,
    &LATE_RECORDS,
    &CORRECTIONS,
    &LATENCY,
    &WATERMARK_LAG,
    &LANE_DEPTH,
    &BACKPRESSURE,
    &BUSY_RATIO,
    &STALLS,
    &SAFETY_TICK_FOUND_WORK,
    &GROUPS,
    &STATE_BYTES,
    &OPEN_WINDOWS,
];

/// The upper bounds of a latency histogram, microseconds, ascending; one without bound follows.
pub const LATENCY_BOUNDS_US: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Where a bad record was found to be one, by the value of the label `code`.
pub mod code {
    /// It could not be decoded.
    pub const DECODE: &str = "decode";
    /// An expression over it failed.
    pub const EVALUATE: &str = "evaluate";
    /// A value of its row is out of range.
    pub const OUTPUT: &str = "output";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_prometheus_expects() {
        for metric in ALL {
            let fits = |text: &str| {
                text.bytes()
                    .all(|letter| letter.is_ascii_lowercase() || letter == b'_')
            };
            assert!(metric.name.starts_with("velo_") && fits(metric.name));
            let is_total = metric.name.ends_with("_total");
            assert_eq!(is_total, metric.kind == Counter, "{}", metric.name);
            assert!(metric.labels.iter().all(|label| fits(label)));
            assert!(!metric.help.is_empty() && !metric.help.contains('\n'));
        }
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "a name twice");
        assert!(LATENCY_BOUNDS_US.is_sorted());
    }

    /// Whoever writes alerts goes by the documentation.
    #[test]
    fn the_documentation_lists_every_metric_with_its_labels_and_no_other() {
        let text = include_str!("../../docs/OPERATIONS.md");
        let (_, section) = text.split_once("\n## Metrics\n").expect("a section");
        let (section, _) = section.split_once("\n## ").expect("another behind it");
        let rows = section.lines().filter(|line| line.starts_with("| `velo_"));
        let documented: Vec<String> = rows
            .map(|row| {
                let cell = row.split('`').nth(1).expect("a name in code");
                cell.to_owned()
            })
            .collect();
        let listed: Vec<String> = ALL
            .iter()
            .map(|metric| match metric.labels {
                [] => metric.name.to_owned(),
                labels => format!("{}{{{}}}", metric.name, labels.join(",")),
            })
            .collect();
        assert_eq!(documented, listed);
    }
}
