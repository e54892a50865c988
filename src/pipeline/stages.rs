//! The stages of a turn, by which a stall is named in figures.
//!
//! Law: a turn enters each a few times, never once a record; the numbers are distinct (checked below) and the names are
//! those of docs/OPERATIONS.md.

use velostream_shards::Stage;

/// Blocks that were held are moved on.
pub const FLUSH: Stage = Stage::new(1, "flush");

/// Windows are fired, a slice of groups, and their rows encoded.
pub const FIRE: Stage = Stage::new(2, "fire");

/// Groups of a first phase are sent to the owners of their keys, a slice.
pub const PARTIALS: Stage = Stage::new(7, "partials");

/// Blocks of other shards are taken from the lanes and applied.
pub const DRAIN: Stage = Stage::new(3, "drain");

/// Records are taken from the source and decoded.
pub const READ: Stage = Stage::new(4, "read");

/// Records are filtered, their columns computed, and they are aggregated, sent to the owners of their keys, or encoded.
pub const APPLY: Stage = Stage::new(5, "apply");

/// The job is told of what was taken and how long it took.
pub const TELL: Stage = Stage::new(6, "tell");

/// All of them, and what a turn does before it enters one.
pub const ALL: [Stage; 8] = [Stage::TURN, FLUSH, FIRE, PARTIALS, DRAIN, READ, APPLY, TELL];

const _: () = {
    let mut seen = 0u32;
    let mut place = 0;
    while place < ALL.len() {
        let bit = 1 << ALL[place].index();
        assert!(seen & bit == 0, "a number names one stage");
        seen |= bit;
        place += 1;
    }
};
