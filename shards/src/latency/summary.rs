//! The figures of a recorder, and how they read.

use std::fmt;

/// Count, quantiles and maximum of recorded durations, in microseconds. All zero when nothing was
/// recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many were recorded.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// 95 % took no longer.
    pub p95: u64,
    /// 99 % took no longer.
    pub p99: u64,
    /// 99.9 % took no longer.
    pub p999: u64,
    /// The longest, exactly.
    pub max: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {}  p95 {}  p99 {}  p99.9 {}  max {}  of {}",
            Span(self.p50),
            Span(self.p95),
            Span(self.p99),
            Span(self.p999),
            Span(self.max),
            self.count
        )
    }
}

/// Microseconds in the unit that reads best.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us if us < 1_000 => write!(f, "{us} us"),
            us if us < 1_000_000 => write!(f, "{:.2} ms", us as f64 / 1e3),
            us => write!(f, "{:.2} s", us as f64 / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn a_summary_reads_in_fitting_units() {
        let summary = Summary {
            count: 4,
            p50: 12,
            p95: 999,
            p99: 1_500,
            p999: 2_000_000,
            max: 3_600_000_000,
        };
        assert_eq!(
            summary.to_string(),
            "p50 12 us  p95 999 us  p99 1.50 ms  p99.9 2.00 s  max 3600.00 s  of 4"
        );
    }
}
