//! What a stop and a failure consist of, without the doorbells that are rung for them, so that a
//! model checker can try them (`mesh/doorbell/models.rs`).
//!
//! The law: whoever sees a failure raised finds the failure that was first.

#![cfg_attr(
    not(loom),
    expect(
        clippy::disallowed_types,
        reason = "a failure is told once, by whichever thread was first, when no shard turns any more"
    )
)]

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::ShardFailure;

/// Whether a stop was asked for.
pub(crate) struct StopFlag {
    asked: AtomicBool,
}

impl StopFlag {
    pub(crate) fn new() -> StopFlag {
        StopFlag {
            asked: AtomicBool::new(false),
        }
    }

    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The epoch that was asked for last. It carries nothing but itself.
pub(crate) struct EpochCell {
    asked: AtomicU64,
}

impl EpochCell {
    pub(crate) fn new() -> EpochCell {
        EpochCell {
            asked: AtomicU64::new(0),
        }
    }

    pub(crate) fn ask(&self, epoch: u64) {
        self.asked.store(epoch, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Whether all shards must end, and the failure because of which.
pub(crate) struct FailureCell {
    raised: AtomicBool,
    first: Mutex<Option<ShardFailure>>,
}

impl FailureCell {
    pub(crate) fn new() -> FailureCell {
        FailureCell {
            raised: AtomicBool::new(false),
            first: Mutex::new(None),
        }
    }

    /// Ends every shard; the first failure is the one remembered.
    pub(crate) fn raise(&self, failure: ShardFailure) {
        self.first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(failure);
        self.abandon();
    }

    /// Ends every shard without a failure of any.
    pub(crate) fn abandon(&self) {
        self.raised.store(true, Ordering::Release);
    }

    pub(crate) fn raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }

    pub(crate) fn first(&self) -> Option<ShardFailure> {
        self.first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
