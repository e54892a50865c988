//! Latency: a recorder on each shard, and one summary of all of them.
//!
//! The law: histograms merge by adding, so the merged one says exactly what a single recorder of
//! all values would have said; percentiles are never averaged. A value is kept to three significant
//! digits; the largest is kept exactly.

mod summary;

use hdrhistogram::Histogram;

pub use summary::Summary;

/// Values above this are recorded as this: one hour.
pub const LONGEST_US: u64 = 3_600_000_000;

const SIGNIFICANT_DIGITS: u8 = 3;

/// Records durations in microseconds. One writer: the shard that owns it.
#[derive(Clone, Debug)]
pub struct Recorder {
    histogram: Histogram<u64>,
    max_us: u64,
}

impl Recorder {
    /// An empty recorder. It grows with the values it sees, up to one hour.
    pub fn new() -> Recorder {
        Recorder {
            histogram: Histogram::new(SIGNIFICANT_DIGITS)
                .expect("three significant digits are within hdrhistogram's limits"),
            max_us: 0,
        }
    }

    /// Records one duration of `us` microseconds.
    pub fn record(&mut self, us: u64) {
        self.record_n(us, 1);
    }

    /// Records the same duration `count` times, as for the records of a batch.
    pub fn record_n(&mut self, us: u64, count: u64) {
        let us = us.min(LONGEST_US);
        self.histogram
            .record_n(us, count)
            .expect("the histogram grows to one hour, and no value is longer");
        if count > 0 {
            self.max_us = self.max_us.max(us);
        }
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Adds all that `other` recorded.
    pub fn merge(&mut self, other: &Recorder) {
        self.histogram
            .add(&other.histogram)
            .expect("the histogram grows to what any other recorder holds");
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many of the durations were no longer than each of `bounds_us` (ascending), and the sum of all, microseconds; both as
    /// exact as the digits that are kept. Looks at every value that was recorded: for whoever asks, not for a turn.
    pub fn cumulative(&self, bounds_us: &[u64]) -> (Vec<u64>, u64) {
        assert!(bounds_us.is_sorted(), "bounds ascend");
        let mut counts = vec![0; bounds_us.len()];
        let mut sum_us = 0u64;
        for step in self.histogram.iter_recorded() {
            let us = self.histogram.lowest_equivalent(step.value_iterated_to());
            let count = step.count_since_last_iteration();
            sum_us = sum_us.saturating_add(us.saturating_mul(count));
            let first = bounds_us.partition_point(|bound| *bound < us);
            if let Some(of_bound) = counts.get_mut(first) {
                *of_bound += count;
            }
        }
        for bound in 1..counts.len() {
            counts[bound] += counts[bound - 1];
        }
        (counts, sum_us)
    }

    /// What was recorded, in figures.
    pub fn summary(&self) -> Summary {
        let at = |quantile: f64| self.histogram.value_at_quantile(quantile).min(self.max_us);
        Summary {
            count: self.histogram.len(),
            p50: at(0.50),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: self.max_us,
        }
    }
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorder(values: &[u64]) -> Recorder {
        let mut recorder = Recorder::new();
        for &us in values {
            recorder.record(us);
        }
        recorder
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        assert_eq!(Recorder::new().summary(), Summary::default());
    }

    #[test]
    fn percentiles_are_of_the_values() {
        let summary = recorder(&(1..=1_000).collect::<Vec<u64>>()).summary();
        assert_eq!(summary.count, 1_000);
        assert_eq!((summary.p50, summary.p95, summary.p99), (500, 950, 990));
        assert_eq!((summary.p999, summary.max), (999, 1_000));
    }

    #[test]
    fn longer_than_an_hour_counts_as_an_hour() {
        let summary = recorder(&[u64::MAX]).summary();
        assert_eq!(
            (summary.count, summary.max, summary.p50),
            (1, LONGEST_US, LONGEST_US)
        );
    }

    #[test]
    fn the_same_duration_many_times_is_one_call() {
        let mut at_once = Recorder::new();
        at_once.record_n(7, 3);
        at_once.record_n(9, 0);
        assert_eq!(at_once.summary(), recorder(&[7, 7, 7]).summary());
    }

    #[test]
    fn durations_are_counted_up_to_each_bound() {
        let recorded = recorder(&[10, 100, 100, 101, 2_000_000]);
        let (counts, sum_us) = recorded.cumulative(&[9, 10, 100, 1_000]);
        assert_eq!(counts, [0, 1, 3, 4]);
        let exact = 2_000_311;
        assert!(
            sum_us <= exact && exact - sum_us <= exact / 1_000,
            "{sum_us}"
        );
        assert_eq!(Recorder::new().cumulative(&[1]), (vec![0], 0));
    }

    proptest! {
        #[test]
        fn merging_is_the_same_as_recording_together(
            one in prop::collection::vec(0u64..5_000_000_000, 0..200),
            other in prop::collection::vec(0u64..100_000, 0..200),
        ) {
            let mut merged = recorder(&one);
            merged.merge(&recorder(&other));
            let together: Vec<u64> = one.into_iter().chain(other).collect();
            prop_assert_eq!(merged.summary(), recorder(&together).summary());
        }

        #[test]
        fn a_quantile_is_within_a_thousandth(values in prop::collection::vec(1u64..LONGEST_US, 1..300)) {
            let summary = recorder(&values).summary();
            let mut sorted = values;
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * 99).div_ceil(100) - 1];
            let allowed = exact..=exact + exact / 1_000 + 1;
            prop_assert!(allowed.contains(&summary.p99), "{} for {exact}", summary.p99);
            prop_assert_eq!(summary.max, sorted[sorted.len() - 1]);
        }
    }
}
