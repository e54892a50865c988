//! The result, read back and compared while the query runs, on an ordinary thread of its own.
//!
//! Law: reading ends when everything that the topic holds has been read, and the topic's end is asked for only when
//! nothing can be written any more. So a row too many is found as surely as a missing one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::kafka::BROKER_PATIENCE;

use super::joined;
use super::read_back::ReadBack;
use super::recompute::{Differences, Recomputation, Row};

/// How long the thread sleeps when there was nothing to read.
const PAUSE: Duration = Duration::from_millis(1);

/// How many rows are kept to be shown.
const SAMPLE_ROWS: usize = 8;

/// How the query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its input: every row must be there.
    Whole,
    /// Before: the rows that are there must be right.
    Early,
    /// With an error: nothing is worth comparing any more.
    Failed,
}

/// What came of it.
pub struct Compared {
    /// Rows read back.
    pub rows: u64,
    /// The busiest hours among them, in that order.
    pub sample: Vec<Row>,
    /// What was found to differ.
    pub differences: Differences,
}

/// A comparison under way.
pub struct Comparison {
    ending: Arc<OnceLock<Ending>>,
    rows: Arc<AtomicU64>,
    thread: JoinHandle<Result<Compared>>,
}

impl Comparison {
    /// Compares what `read_back` gives from now on.
    pub fn start(read_back: ReadBack, recomputation: Recomputation) -> Result<Comparison> {
        let ending = Arc::new(OnceLock::new());
        let rows = Arc::new(AtomicU64::new(0));
        let comparing = Comparing {
            ending: Arc::clone(&ending),
            rows: Arc::clone(&rows),
            read_back,
            recomputation,
            sample: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("velo-compare".into())
            .spawn(move || comparing.run())
            .map_err(|cause| {
                Error::Permission(format!(
                    "the comparison's thread cannot start: {cause}; see ulimit -u"
                ))
            })?;
        Ok(Comparison {
            ending,
            rows,
            thread,
        })
    }

    /// Rows read back so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Whether it has ended, which it does by itself only when it failed.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Nothing is written any more: compares what is left, and says what was found.
    pub fn end(self, ending: Ending) -> Result<Compared> {
        self.ending
            .set(ending)
            .expect("a comparison is ended once, which consumes it");
        joined(self.thread, "comparison")
    }
}

/// What the thread owns.
struct Comparing {
    ending: Arc<OnceLock<Ending>>,
    rows: Arc<AtomicU64>,
    read_back: ReadBack,
    recomputation: Recomputation,
    sample: Vec<Row>,
}

impl Comparing {
    fn run(mut self) -> Result<Compared> {
        let ending = loop {
            if let Some(ending) = self.ending.get() {
                break *ending;
            }
            self.poll()?;
        };
        if ending != Ending::Failed {
            self.read_to_the_end()?;
        }
        if ending == Ending::Whole {
            self.recomputation.expect_no_more();
        }
        Ok(Compared {
            rows: self.rows.load(Ordering::Relaxed),
            sample: self.sample,
            differences: self.recomputation.differences(),
        })
    }

    fn read_to_the_end(&mut self) -> Result<()> {
        let ends = self.read_back.ends()?;
        let mut last_read = Instant::now();
        while self.read_back.next_offsets() != ends {
            if self.poll()? > 0 {
                last_read = Instant::now();
            } else if last_read.elapsed() > BROKER_PATIENCE {
                return Err(Error::Connector(format!(
                    "{} rows were read back, and the rest does not come",
                    self.rows.load(Ordering::Relaxed)
                )));
            }
        }
        Ok(())
    }

    /// Compares what is there, or sleeps a little. How many rows there were.
    fn poll(&mut self) -> Result<usize> {
        let Comparing {
            read_back,
            recomputation,
            sample,
            ..
        } = self;
        let count = read_back.poll(|record| {
            // A record without a value is no row, as an empty one is none.
            if let Some(row) = recomputation.compare(record.value().unwrap_or_default()) {
                keep(sample, row);
            }
        })?;
        self.rows.fetch_add(count as u64, Ordering::Relaxed);
        if count == 0 {
            std::thread::sleep(PAUSE);
        }
        Ok(count)
    }
}

/// Keeps `row` if it is among the busiest; equally busy ones in the order of time and carrier.
fn keep(sample: &mut Vec<Row>, row: Row) {
    let before = |kept: &Row| {
        let order = kept.flights.cmp(&row.flights).reverse();
        order
            .then_with(|| kept.window_start.cmp(&row.window_start))
            .then_with(|| kept.carrier.cmp(&row.carrier))
            .is_lt()
    };
    let place = sample.partition_point(before);
    if place < SAMPLE_ROWS {
        sample.insert(place, row);
        sample.truncate(SAMPLE_ROWS);
    }
}

#[cfg(test)]
mod tests {
    use super::super::broker::Broker;
    use super::super::feed::tests::{settings, wall_clock_us};
    use super::super::feed::{Feed, FeedRecord};
    use super::super::flights::Flight;
    use super::*;

    /// Compares the topic that holds `rows` with one hour in which `UA` had `flights` flights of a mile.
    fn compared(flights: usize, rows: &[&str], ending: Ending) -> Compared {
        let flight = Flight {
            ts: "2013-01-01T10:15:00Z".into(),
            carrier: "UA".into(),
            dep_delay: None,
            distance: 1,
        };
        let recomputation = Recomputation::of(&vec![flight; flights]);
        let broker = Broker::start(&["out"], 4).expect("a broker");
        let (reading, writing) = settings(&broker);
        let records = rows.iter().zip(0..).map(|(row, number)| FeedRecord {
            partition: number % 4,
            value: row.as_bytes().to_vec(),
        });
        let read_back = ReadBack::open(&reading, "out").expect("a reader");
        let comparison = Comparison::start(read_back, recomputation).expect("a thread");
        let feed = Feed::start(
            &writing,
            "out",
            records.collect(),
            1_000,
            || 0,
            wall_clock_us,
        );
        feed.expect("a feed").join().expect("fed");
        comparison.end(ending).expect("no gap")
    }

    const TWO: &str = r#"{"carrier":"UA","window_start":"2013-01-01T10:00:00Z","window_end":"2013-01-01T11:00:00Z","flights":2,"miles":2,"mean_delay":null,"min_delay":null,"max_delay":null}"#;

    #[test]
    fn a_topic_is_read_to_its_end_whatever_it_holds() {
        let right = compared(2, &[TWO], Ending::Whole);
        assert_eq!((right.rows, right.differences.count), (1, 0));
        assert_eq!(right.sample.len(), 1);
        let more = compared(2, &[TWO, TWO, "x"], Ending::Whole);
        assert_eq!((more.rows, more.differences.count), (3, 2));
        let wrong = compared(3, &[TWO], Ending::Whole);
        assert_eq!((wrong.rows, wrong.differences.count), (1, 1));
    }

    #[test]
    fn a_missing_row_is_a_difference_only_when_the_input_has_ended() {
        assert_eq!(compared(2, &[], Ending::Whole).differences.count, 1);
        assert_eq!(compared(2, &[], Ending::Early).differences.count, 0);
    }

    #[test]
    fn the_busiest_hours_are_kept_whatever_the_order() {
        let row = |flights: u64, start: &str| Row {
            carrier: "UA".into(),
            window_start: start.into(),
            window_end: String::new(),
            flights,
            miles: 0,
            mean_delay: None,
            min_delay: None,
            max_delay: None,
        };
        let mut sample = Vec::new();
        for flights in [3, 12, 7, 1, 9, 2, 11, 4, 10, 8] {
            keep(&mut sample, row(flights, "b"));
        }
        keep(&mut sample, row(12, "a"));
        let kept: Vec<_> = sample
            .iter()
            .map(|row| (row.flights, row.window_start.as_str()))
            .collect();
        let fewer = [11, 10, 9, 8, 7, 4].map(|flights| (flights, "b"));
        assert_eq!(kept[..2], [(12, "a"), (12, "b")]);
        assert_eq!(kept[2..], fewer);
    }
}
