//! The flights that the demo feeds: all that left New York in 2013, in the order in which they really left.
//!
//! They stand in the binary as the prepared file of the tests (event time is the scheduled departure, so a delayed flight is
//! an out-of-order record). Taken from it are the columns that the query needs, and no others: what the broker keeps is
//! little.

use serde::{Deserialize, Serialize};

use super::feed::FeedRecord;

static FILE: &[u8] = include_bytes!("../../tests/data/flights.csv.zst");

/// A flight. The names are those of the file's columns and of the records' fields.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Flight {
    /// Scheduled departure: `2013-01-01T10:15:00Z`.
    pub ts: String,
    /// The airline's code.
    pub carrier: String,
    /// Minutes; `None` for a cancelled flight.
    pub dep_delay: Option<i64>,
    /// Miles.
    pub distance: i64,
}

/// All flights, in the order of their departure.
pub fn read() -> Vec<Flight> {
    let text = zstd::decode_all(FILE).expect("the file in this binary is whole");
    csv::Reader::from_reader(text.as_slice())
        .deserialize()
        .map(|flight| flight.expect("every line of the file in this binary is a flight"))
        .collect()
}

/// How many flights in a row go to the same partition. One at a time, each would be a batch of its own in the broker, which
/// looks for an offset from a partition's first batch on: at 10,000 records/s it was busy with nothing else.
const RUN: usize = 16;

/// Deals flights to partitions in turn, `RUN` at a time, as JSON; and how many each partition gets.
pub fn deal(flights: &[Flight], partitions: i32) -> (Vec<FeedRecord>, Vec<i64>) {
    let mut counts = vec![0; partitions as usize];
    let records = flights
        .iter()
        .enumerate()
        .map(|(number, flight)| {
            let partition = (number / RUN % partitions as usize) as i32;
            counts[partition as usize] += 1;
            FeedRecord {
                partition,
                value: serde_json::to_vec(flight).expect("texts and numbers are always JSON"),
            }
        })
        .collect();
    (records, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flight_is_read_and_a_cancelled_one_has_no_delay() {
        let flights = read();
        assert_eq!(flights.len(), 336_776);
        let first = Flight {
            ts: "2013-01-01T10:15:00Z".into(),
            carrier: "UA".into(),
            dep_delay: Some(2),
            distance: 1400,
        };
        assert_eq!(flights[0], first);
        let cancelled = flights.iter().filter(|flight| flight.dep_delay.is_none());
        assert_eq!(cancelled.count(), 8_255);
    }

    #[test]
    fn records_are_dealt_in_turn_and_counted_exactly() {
        let flight = |distance| Flight {
            ts: "2013-01-01T10:15:00Z".into(),
            carrier: "UA".into(),
            dep_delay: None,
            distance,
        };
        let flights: Vec<Flight> = (0..40).map(flight).collect();
        let (records, counts) = deal(&flights, 2);
        assert_eq!(counts, [24, 16]);
        let partitions: Vec<_> = records.iter().map(|record| record.partition).collect();
        assert_eq!(partitions[15..17], [0, 1]);
        assert_eq!(partitions[31..33], [1, 0]);
        assert_eq!(
            String::from_utf8_lossy(&records[2].value),
            r#"{"ts":"2013-01-01T10:15:00Z","carrier":"UA","dep_delay":null,"distance":2}"#
        );
    }
}
