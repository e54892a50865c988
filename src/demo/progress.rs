//! How far the demo is, on standard error: a bar on a terminal, elsewhere a line now and then.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(100);

/// How often a line is written where there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far it is.
pub struct Progress {
    /// `None` where nobody sees it move.
    bar: Option<ProgressBar>,
    records: u64,
    /// The time of the run at which it is shown next.
    next: Duration,
}

impl Progress {
    /// Of a run that takes `records` records.
    pub fn new(records: u64) -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr();
            let style = ProgressStyle::with_template(
                "{elapsed:>4} {bar:32} {human_pos} of {human_len} records in, {msg}",
            );
            ProgressBar::with_draw_target(Some(records), target)
                .with_style(style.expect("the template is one"))
        });
        let every = if bar.is_some() { BAR_EVERY } else { LINE_EVERY };
        Progress {
            bar,
            records,
            next: every,
        }
    }

    /// `elapsed` into the run, so many records are in and so many rows compared.
    pub fn show(&mut self, elapsed: Duration, records_in: u64, rows: u64) {
        if elapsed < self.next {
            return;
        }
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{} rows compared", HumanCount(rows)));
                bar.set_position(records_in);
                self.next = elapsed + BAR_EVERY;
            }
            None => {
                eprintln!(
                    "velo: {} s: {} of {} records in, {} rows compared",
                    elapsed.as_secs(),
                    HumanCount(records_in),
                    HumanCount(self.records),
                    HumanCount(rows)
                );
                self.next = elapsed + LINE_EVERY;
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
