//! The query once more, as plainly as it can be written: a map, a loop, and nothing of the engine.
//!
//! Law: a row is right only if text and integers are exactly those recomputed, doubles within 1e-9 relative, and it came
//! once. Times are compared as text, and the calendar here is its own.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::flights::Flight;

/// How far a double may be from the recomputed one, relative to it.
const TOLERANCE: f64 = 1e-9;

/// How many differences are kept as examples; all are counted.
const EXAMPLES_MAX: usize = 8;

/// A row of the result. The names are those of the query's columns.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The airline's code.
    pub carrier: String,
    /// `2013-01-01T10:00:00Z`.
    pub window_start: String,
    /// An hour later.
    pub window_end: String,
    /// How many flights were to leave in that hour.
    pub flights: u64,
    /// How far they went together.
    pub miles: i64,
    /// Over those that left; `None` if none did. So the two below.
    pub mean_delay: Option<f64>,
    /// Minutes.
    pub min_delay: Option<i64>,
    /// Minutes.
    pub max_delay: Option<i64>,
}

/// What must come, and what has come of it.
pub struct Recomputation {
    hours: BTreeMap<(String, String), Hour>,
    differences: Differences,
}

/// What was found to differ.
#[derive(Debug, Default)]
pub struct Differences {
    /// How many rows are wrong, doubled, unexpected or missing.
    pub count: u64,
    /// Some of them, in words.
    pub examples: Vec<String>,
}

/// One airline's hour.
#[derive(Default)]
struct Hour {
    flights: u64,
    miles: i64,
    delays: Vec<i64>,
    came: u64,
}

impl Recomputation {
    /// What the query must give for these flights.
    pub fn of(flights: &[Flight]) -> Recomputation {
        let mut hours: BTreeMap<(String, String), Hour> = BTreeMap::new();
        for flight in flights {
            let start = format!("{}:00:00Z", &flight.ts[..13]);
            let hour = hours.entry((flight.carrier.clone(), start)).or_default();
            hour.flights += 1;
            hour.miles += flight.distance;
            hour.delays.extend(flight.dep_delay);
        }
        Recomputation {
            hours,
            differences: Differences::default(),
        }
    }

    /// How many rows there must be.
    pub fn rows(&self) -> u64 {
        self.hours.len() as u64
    }

    /// Compares a record of the result. The row, if it can be read as one.
    pub fn compare(&mut self, value: &[u8]) -> Option<Row> {
        let row: Row = match serde_json::from_slice(value) {
            Ok(row) => row,
            Err(cause) => {
                let text = String::from_utf8_lossy(value);
                self.differences.add(format!("{text} is no row: {cause}"));
                return None;
            }
        };
        let key = (row.carrier.clone(), row.window_start.clone());
        match self.hours.get_mut(&key) {
            None => self.differences.add(format!("{row:?} is not expected")),
            Some(hour) => {
                hour.came += 1;
                let expected = hour.row(&key);
                if hour.came > 1 {
                    self.differences.add(format!("{row:?} came again"));
                } else if !equal(&row, &expected) {
                    self.differences
                        .add(format!("{row:?} came where {expected:?} is right"));
                }
            }
        }
        Some(row)
    }

    /// Counts the rows that have not come as different.
    pub fn expect_no_more(&mut self) {
        let missing = self.hours.iter().filter(|(_, hour)| hour.came == 0);
        for (key, hour) in missing {
            self.differences
                .add(format!("{:?} has not come", hour.row(key)));
        }
    }

    /// What differs so far.
    pub fn differences(self) -> Differences {
        self.differences
    }
}

impl Differences {
    fn add(&mut self, example: String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }
}

impl Hour {
    fn row(&self, (carrier, start): &(String, String)) -> Row {
        let sum: i64 = self.delays.iter().sum();
        Row {
            carrier: carrier.clone(),
            window_start: start.clone(),
            window_end: an_hour_after(start),
            flights: self.flights,
            miles: self.miles,
            mean_delay: (!self.delays.is_empty()).then(|| sum as f64 / self.delays.len() as f64),
            min_delay: self.delays.iter().min().copied(),
            max_delay: self.delays.iter().max().copied(),
        }
    }
}

fn equal(row: &Row, expected: &Row) -> bool {
    let near = match (row.mean_delay, expected.mean_delay) {
        (Some(mean), Some(expected)) => (mean - expected).abs() <= TOLERANCE * expected.abs(),
        (mean, expected) => mean == expected,
    };
    let rest = Row {
        mean_delay: expected.mean_delay,
        ..row.clone()
    };
    near && rest == *expected
}

/// The hour after the one that starts at `start`, written as that is.
fn an_hour_after(start: &str) -> String {
    let part = |from: usize, to: usize| -> u32 {
        let digits = start[from..to].parse();
        digits.expect("times of flights are digits at fixed places")
    };
    let (mut year, mut month, mut day, mut hour) =
        (part(0, 4), part(5, 7), part(8, 10), part(11, 13) + 1);
    if hour == 24 {
        (hour, day) = (0, day + 1);
    }
    if day > days_of(year, month) {
        (day, month) = (1, month + 1);
    }
    if month > 12 {
        (month, year) = (1, year + 1);
    }
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:00:00Z")
}

fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(ts: &str, dep_delay: Option<i64>, distance: i64) -> Flight {
        Flight {
            ts: ts.into(),
            carrier: "UA".into(),
            dep_delay,
            distance,
        }
    }

    fn three_flights() -> Recomputation {
        Recomputation::of(&[
            flight("2013-12-31T23:15:00Z", Some(2), 1400),
            flight("2013-12-31T23:59:00Z", None, 100),
            flight("2014-01-01T00:00:00Z", None, 7),
        ])
    }

    const FIRST: &str = r#"{"carrier":"UA","window_start":"2013-12-31T23:00:00Z","window_end":"2014-01-01T00:00:00Z","flights":2,"miles":1500,"mean_delay":2.0,"min_delay":2,"max_delay":2}"#;
    const SECOND: &str = r#"{"carrier":"UA","window_start":"2014-01-01T00:00:00Z","window_end":"2014-01-01T01:00:00Z","flights":1,"miles":7,"mean_delay":null,"min_delay":null,"max_delay":null}"#;

    /// What differs when these rows come.
    fn found(rows: &[&str]) -> Vec<String> {
        let mut recomputation = three_flights();
        for row in rows {
            recomputation.compare(row.as_bytes());
        }
        recomputation.expect_no_more();
        let found = recomputation.differences();
        assert_eq!(found.count, found.examples.len() as u64);
        found.examples
    }

    #[test]
    fn the_right_rows_do_not_differ_in_any_order() {
        assert_eq!(three_flights().rows(), 2);
        assert_eq!(found(&[FIRST, SECOND]), [] as [String; 0]);
        assert_eq!(found(&[SECOND, FIRST]), [] as [String; 0]);
    }

    #[test]
    fn whatever_is_wrong_with_a_row_is_found() {
        for (right, wrong) in [
            (r#""UA""#, r#""UB""#),
            ("2013-12-31T23:00", "2013-12-31T22:00"),
            ("2014-01-01T00:00", "2014-01-01T00:01"),
            (r#""flights":2"#, r#""flights":3"#),
            (r#""miles":1500"#, r#""miles":1501"#),
            (r#""mean_delay":2.0"#, r#""mean_delay":2.00000001"#),
            (r#""mean_delay":2.0"#, r#""mean_delay":null"#),
            (r#""min_delay":2"#, r#""min_delay":1"#),
            (r#""max_delay":2"#, r#""max_delay":null"#),
            (r#""miles""#, r#""more":1,"miles""#),
            (r#""miles":1500,"#, ""),
        ] {
            let row = FIRST.replace(right, wrong);
            assert_ne!(row, FIRST);
            assert!(!found(&[&row, SECOND]).is_empty(), "{row}");
        }
        assert!(found(&[&SECOND.replace("null", "0"), FIRST]).len() == 1);
    }

    #[test]
    fn a_row_that_is_missing_or_comes_twice_is_found() {
        let missing = found(&[FIRST]);
        assert!(missing[0].ends_with("has not come"), "{missing:?}");
        let twice = found(&[FIRST, SECOND, FIRST]);
        assert!(twice[0].ends_with("came again"), "{twice:?}");
    }

    #[test]
    fn the_hour_after_crosses_days_months_and_leap_years() {
        for (start, end) in [
            ("2013-01-01T09:00:00Z", "2013-01-01T10:00:00Z"),
            ("2013-01-31T23:00:00Z", "2013-02-01T00:00:00Z"),
            ("2013-02-28T23:00:00Z", "2013-03-01T00:00:00Z"),
            ("2012-02-28T23:00:00Z", "2012-02-29T00:00:00Z"),
            ("2013-12-31T23:00:00Z", "2014-01-01T00:00:00Z"),
        ] {
            assert_eq!(an_hour_after(start), end);
        }
    }
}
