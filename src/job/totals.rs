//! What a job has handed to its sinks, and what they have acknowledged.

use super::latency::Latency;
use super::ledger::Ledger;
use crate::pipeline::target_of;
use crate::sink::{Acknowledged, RowBlock};

/// What has been handed over and acknowledged.
pub struct Totals {
    /// Rows and dead letters handed to the sinks.
    pub written: u64,
    /// Rows and tombstones acknowledged, by query.
    pub acknowledged: Vec<u64>,
    /// Tombstones among those that were handed over, by query.
    pub tombstones: Vec<u64>,
    /// Acknowledged.
    pub dead_letters: u64,
    /// By epoch.
    pub ledger: Ledger,
    pub latency: Latency,
}

impl Totals {
    pub fn rows_out(&self) -> u64 {
        self.rows_out_by_query().sum()
    }

    /// Rows acknowledged, by query. While tombstones are under way they are counted as if they had arrived.
    pub fn rows_out_by_query(&self) -> impl Iterator<Item = u64> {
        let both = self.acknowledged.iter().zip(&self.tombstones);
        both.map(|(all, tombstones)| all.saturating_sub(*tombstones))
    }

    /// Rows and dead letters that the sinks hold.
    pub fn unacknowledged(&self) -> u64 {
        self.written - self.acknowledged.iter().sum::<u64>() - self.dead_letters
    }

    /// A block is being handed to its sink.
    pub fn hand_over(&mut self, block: &mut RowBlock) {
        let rows = block.values.len() as u64;
        self.written += rows;
        block.epoch = self.ledger.handed_over(rows);
        if target_of(block.query).is_none() {
            self.tombstones[usize::from(block.query)] += rows - block.rows();
            self.latency.handed_over(block);
        }
    }

    pub fn add(&mut self, acknowledged: Acknowledged) {
        match target_of(acknowledged.query) {
            Some(_) => self.dead_letters += acknowledged.rows,
            None => {
                self.acknowledged[usize::from(acknowledged.query)] += acknowledged.rows;
                self.latency.acknowledged(acknowledged);
            }
        }
        self.ledger
            .acknowledged(acknowledged.epoch, acknowledged.rows);
    }
}
