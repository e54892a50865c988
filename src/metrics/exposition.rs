//! How values are written: the text format of Prometheus, version 0.0.4.
//!
//! ```text
//!   # HELP velo_rows_out_total Rows that the sinks acknowledged.
//!   # TYPE velo_rows_out_total counter
//!   velo_rows_out_total 60142
//! ```
//!
//! Law: each metric of `names::ALL` is written once, in that order, with all its samples together and a value for each of its
//! labels; asserted here, since it is the programmer who writes them.

use std::fmt::{Display, Write as _};

use velostream_shards::Recorder;

use super::names::{ALL, Kind, LATENCY_BOUNDS_US, Metric};

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
    written: usize,
}

/// The samples of one metric.
#[derive(Debug)]
pub struct Family<'e> {
    metric: &'static Metric,
    text: &'e mut String,
}

impl Exposition {
    /// What its content type is called.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// The next metric, of which the samples follow.
    pub fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        assert_eq!(
            ALL.get(self.written).copied(),
            Some(metric),
            "metrics are written in the order of the list"
        );
        self.written += 1;
        let Metric {
            name, help, kind, ..
        } = metric;
        put(
            &mut self.text,
            format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()),
        );
        Family {
            metric,
            text: &mut self.text,
        }
    }

    /// The whole text.
    pub fn finish(self) -> String {
        assert_eq!(
            self.written,
            ALL.len(),
            "every metric of the list is written"
        );
        self.text
    }
}

impl Family<'_> {
    /// One value, with the values of the metric's labels.
    pub fn sample(&mut self, labels: &[&dyn Display], value: impl Display) {
        assert_ne!(self.metric.kind, Kind::Histogram, "a histogram has several");
        self.line("", labels, None, &value);
    }

    /// A histogram of seconds, with the values of the metric's labels.
    pub fn histogram(&mut self, labels: &[&dyn Display], recorded: &Recorder) {
        assert_eq!(self.metric.kind, Kind::Histogram);
        let (counts, sum_us) = recorded.cumulative(&LATENCY_BOUNDS_US);
        let count = recorded.summary().count;
        for (bound_us, count) in LATENCY_BOUNDS_US.iter().zip(counts) {
            let bound = (*bound_us as f64 / 1e6).to_string();
            self.line("_bucket", labels, Some(&bound), &count);
        }
        self.line("_bucket", labels, Some("+Inf"), &count);
        self.line("_sum", labels, None, &(sum_us as f64 / 1e6));
        self.line("_count", labels, None, &count);
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[&dyn Display],
        bound: Option<&str>,
        value: &dyn Display,
    ) {
        let Metric {
            name,
            labels: names,
            ..
        } = self.metric;
        assert_eq!(labels.len(), names.len(), "a value for each label");
        put(self.text, format_args!("{name}{suffix}"));
        let mut pairs: Vec<String> = names
            .iter()
            .zip(labels)
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(&value.to_string())))
            .collect();
        pairs.extend(bound.map(|bound| format!("le=\"{bound}\"")));
        if !pairs.is_empty() {
            put(self.text, format_args!("{{{}}}", pairs.join(",")));
        }
        put(self.text, format_args!(" {value}\n"));
    }
}

fn put(text: &mut String, part: std::fmt::Arguments<'_>) {
    text.write_fmt(part)
        .expect("writing to a string does not fail");
}

/// A label's value as it stands between quotes.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names;

    fn family(metric: &'static Metric, fill: impl Fn(&mut Family<'_>)) -> String {
        let mut text = String::new();
        fill(&mut Family {
            metric,
            text: &mut text,
        });
        text
    }

    #[test]
    fn a_sample_has_its_labels_and_odd_letters_are_escaped() {
        let text = family(&names::RECORDS_IN, |family| {
            family.sample(&[&"a\"b\\c", &"two\nlines"], 7);
        });
        assert_eq!(
            text,
            "velo_records_in_total{job=\"a\\\"b\\\\c\",stream=\"two\\nlines\"} 7\n"
        );
        let text = family(&names::WATERMARK_LAG, |family| family.sample(&[], 0.25));
        assert_eq!(text, "velo_watermark_lag_seconds 0.25\n");
    }

    #[test]
    fn a_histogram_is_cumulative_in_seconds_and_ends_without_bound() {
        let mut recorded = Recorder::new();
        recorded.record_n(200, 3);
        recorded.record(70_000_000);
        let text = family(&names::LATENCY, |family| {
            family.histogram(&[&"emit"], &recorded)
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), names::LATENCY_BOUNDS_US.len() + 3);
        assert_eq!(
            lines[..2],
            [
                "velo_latency_seconds_bucket{stage=\"emit\",le=\"0.0001\"} 0",
                "velo_latency_seconds_bucket{stage=\"emit\",le=\"0.00025\"} 3"
            ]
        );
        assert_eq!(
            lines[17..19],
            [
                "velo_latency_seconds_bucket{stage=\"emit\",le=\"60\"} 3",
                "velo_latency_seconds_bucket{stage=\"emit\",le=\"+Inf\"} 4"
            ]
        );
        assert!(lines[19].starts_with("velo_latency_seconds_sum{stage=\"emit\"} 69."));
        assert_eq!(lines[20], "velo_latency_seconds_count{stage=\"emit\"} 4");
    }

    #[test]
    #[should_panic(expected = "in the order of the list")]
    fn a_metric_out_of_turn_is_a_programmers_error() {
        Exposition::default().family(&names::ROWS_OUT);
    }

    #[test]
    #[should_panic(expected = "every metric of the list is written")]
    fn a_metric_that_is_left_out_is_a_programmers_error() {
        let mut exposition = Exposition::default();
        exposition.family(&names::RECORDS_IN);
        exposition.finish();
    }
}
