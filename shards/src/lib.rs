//! The thread-per-core runtime of Velostream: shards on pinned cores, and lanes of blocks between
//! them.
//!
//! It knows cores, lanes, turns, time and latency. It knows nothing of SQL, Arrow or Kafka; what a
//! block is and what a turn does is the engine's affair.
//!
//! Read in this order:
//!
//! | module | what it says |
//! | --- | --- |
//! | [`shard`] | what a shard is: a turn, its progress, its end |
//! | [`stage`] | what a turn says it is doing |
//! | [`topology`] | the machine as plain data |
//! | [`core_map`] | which shard is pinned to which core |
//! | [`pin`] | pinning a thread, and reading it back |
//! | [`memory`] | memory kept on a node, and looked up again |
//! | [`mesh`](mod@mesh) | lanes from every shard to every other, by edge |
//! | [`control`] | the one crossing between shards and ordinary threads |
//! | [`helper`] | a thread off the shard cores that works ahead of a shard |
//! | `reactor` | what drives the turns on a pinned thread, and when it parks |
//! | [`runtime`] | start all, stop all, join |
//! | [`backpressure`] | how hard a shard is pressed |
//! | [`shown`] | what other threads may see of a shard |
//! | [`clock`] | time, passed in |
//! | [`latency`] | recorders that merge exactly |
//! | [`usage`] | what the process has used |
//! | [`allocations`] | heap allocations, counted by thread |
//!
//! The laws of a shard:
//! 1. It is built, turned, finished and dropped on one thread, pinned to one cpu, and nothing else
//!    touches what it owns.
//! 2. It never blocks: posting never waits, taking never waits, a stop is a flag, and an idle shard
//!    is parked by the runtime and woken by its doorbell.
//! 3. It produces only while its output has room, and a bounded amount each turn; so lanes of one
//!    block are enough and nothing deadlocks.
//! 4. A lane keeps its order. Between lanes there is none.
//! 5. A panic anywhere ends every shard.
//!
//! Under the model checker (`--cfg loom`, see `scripts/loom`) the helpers, the reactor and the runtime are
//! left out: what is modelled is how threads wake each other, not the threads.
//!
//! Deliberately absent: work stealing (a record's place is decided by its key, not by who is free),
//! locks and shared maps on the way of a block, async functions in shards (a turn is a plain call),
//! and unbounded queues (what is held is bounded by law 3).

pub mod shard;

pub mod stage;

pub mod topology;

pub mod core_map;

pub mod pin;

pub mod memory;

pub mod mesh;

pub mod control;

#[cfg(not(loom))]
pub mod helper;

#[cfg(not(loom))]
mod reactor;

#[cfg(not(loom))]
pub mod runtime;

pub mod backpressure;

pub mod shown;

pub mod clock;

pub mod latency;

pub mod usage;

pub mod writable;

pub mod allocations;

#[cfg(test)]
mod alone;

pub use backpressure::{Backpressure, Load};
pub use clock::SystemClock;
pub use control::{EpochHandle, ExitInbox, ExitOutbox, ShardFailure, StopHandle, exit_lane};
pub use core_map::{
    Arrangement, CoreMap, CoreMapError, CoreMapRequest, CoreRequest, Placement, Smt,
};
#[cfg(not(loom))]
pub use helper::{Help, Helper};
pub use latency::{Recorder, Summary};
pub use memory::{HugePageOffer, MemoryRange, MemoryRefusal, NodeMemory, Numa, Pages};
pub use mesh::{Doorbell, Doorbells, Endpoint, HelperSeat, Inbox, Outbox, Ringer, mesh};
#[cfg(not(loom))]
pub use reactor::{
    MEMLOCK_BYTES_A_SHARD, Profile, ReactorChoice, ReactorError, ReactorKind, io_uring_refusal,
};
#[cfg(not(loom))]
pub use runtime::{Runtime, RuntimeOptions, ShardEnd, ShardFigures, StartError, panic_message};
pub use shard::{Context, Progress, Shard, ShardId};
pub use shown::Shown;
pub use stage::Stage;
pub use topology::{Cpu, Machine, TopologyError};
pub use usage::{peak_rss_bytes, process_cpu_ns, thread_cpu_ns};
pub use writable::wait_writable;
