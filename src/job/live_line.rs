//! What a person sees of a running job: one line on the terminal, drawn anew twice a second.
//!
//! ```text
//!   velo: 42 % read; 10,003 records/s in, 1,790 rows/s out; watermark 2.0 s behind; end to end p50 12.5 ms p95 .. p99 ..; backpressure healthy
//! ```
//!
//! Law: only where standard error is a terminal, and not where the rows themselves run over that terminal. No colour, so
//! `NO_COLOR` has nothing to forbid. Latencies are those since the start.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use velostream_shards::{Backpressure, Summary};

use super::{Standing, wall_us};
use crate::time::Watermark;

/// How often it is drawn: as often as the shards tell of latencies.
const EVERY: Duration = Duration::from_millis(500);

/// The line.
pub(super) struct LiveLine {
    bar: ProgressBar,
    before: Counts,
}

/// What the job had done when the line was drawn.
#[derive(Clone, Copy, Default)]
struct Counts {
    elapsed: Duration,
    records_in: u64,
    rows_out: u64,
}

impl LiveLine {
    /// The line, where somebody sees it; `rows_on_stdout` says whether rows go to standard output.
    pub(super) fn on_terminal(rows_on_stdout: bool) -> Option<LiveLine> {
        let seen = std::io::stderr().is_terminal();
        let rows_run_over_it = rows_on_stdout && std::io::stdout().is_terminal();
        if !seen || rows_run_over_it {
            return None;
        }
        let style = ProgressStyle::with_template("velo: {wide_msg}");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Some(LiveLine {
            bar: bar.with_style(style.expect("the template is one")),
            before: Counts::default(),
        })
    }

    /// Draws the line if it is time to.
    pub(super) fn show(&mut self, standing: &Standing<'_>) {
        if standing.elapsed < self.before.elapsed + EVERY {
            return;
        }
        let now = Counts {
            elapsed: standing.elapsed,
            records_in: standing.records_in,
            rows_out: standing.rows_out,
        };
        let end_to_end = standing.latency.end_to_end.summary();
        let behind_us = behind_us(standing.watermark, wall_us());
        let line = text(
            self.before,
            now,
            standing.share_read(),
            behind_us,
            end_to_end,
            standing.backpressure,
        );
        self.bar.set_message(line);
        self.bar.tick();
        self.before = now;
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// How far the watermark stands behind the wall clock; `None` before the first promise and after the end.
pub(super) fn behind_us(watermark: Watermark, now_us: i64) -> Option<i64> {
    match watermark {
        Watermark::NONE | Watermark::END => None,
        Watermark(us) => Some(now_us.saturating_sub(us)),
    }
}

fn text(
    before: Counts,
    now: Counts,
    share_read: Option<f64>,
    behind_us: Option<i64>,
    end_to_end: Summary,
    backpressure: Backpressure,
) -> String {
    let seconds = (now.elapsed - before.elapsed).as_secs_f64();
    let rate = |before: u64, now: u64| HumanCount(((now - before) as f64 / seconds).round() as u64);
    let read = share_read.map(|share| format!("{:.0} % read; ", (100.0 * share).floor()));
    let mut line = format!(
        "{}{} records/s in, {} rows/s out",
        read.unwrap_or_default(),
        rate(before.records_in, now.records_in),
        rate(before.rows_out, now.rows_out)
    );
    let mut put = |part: std::fmt::Arguments<'_>| {
        line.write_fmt(part)
            .expect("writing to a string does not fail");
    };
    if let Some(behind_us) = behind_us {
        put(format_args!(
            "; watermark {:.1} s behind",
            behind_us as f64 / 1e6
        ));
    }
    if end_to_end.count > 0 {
        let milliseconds = |us: u64| us as f64 / 1e3;
        put(format_args!(
            "; end to end p50 {:.1} ms p95 {:.1} ms p99 {:.1} ms",
            milliseconds(end_to_end.p50),
            milliseconds(end_to_end.p95),
            milliseconds(end_to_end.p99)
        ));
    }
    put(format_args!("; backpressure {backpressure}"));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_rates_of_the_last_interval_and_latencies() {
        let before = Counts {
            elapsed: Duration::from_secs(1),
            records_in: 1_000,
            rows_out: 10,
        };
        let now = Counts {
            elapsed: Duration::from_millis(1_500),
            records_in: 6_000,
            rows_out: 10,
        };
        let end_to_end = Summary {
            count: 10,
            p50: 12_500,
            p95: 20_000,
            p99: 31_249,
            ..Summary::default()
        };
        assert_eq!(
            text(
                before,
                now,
                Some(0.4299),
                Some(2_040_000),
                end_to_end,
                Backpressure::Healthy
            ),
            "42 % read; 10,000 records/s in, 0 rows/s out; watermark 2.0 s behind; end to end p50 12.5 ms p95 20.0 ms p99 31.2 ms; \
             backpressure healthy"
        );
        assert_eq!(
            text(
                before,
                now,
                None,
                None,
                Summary::default(),
                Backpressure::Saturated
            ),
            "10,000 records/s in, 0 rows/s out; backpressure saturated"
        );
    }

    #[test]
    fn a_watermark_that_promises_nothing_or_everything_is_not_behind() {
        assert_eq!(behind_us(Watermark::NONE, 5), None);
        assert_eq!(behind_us(Watermark::END, 5), None);
        assert_eq!(behind_us(Watermark(2), 5), Some(3));
    }
}
