//! What a shard leaves behind: its summary, and how its thread spent its time.

use crate::backpressure::Backpressure;
use crate::core_map::Placement;
use crate::memory::Pages;
use crate::shard::ShardId;

/// What one shard left when it was done.
#[derive(Clone, Debug)]
pub struct ShardEnd<Summary> {
    /// What [`Shard::finish`](crate::Shard::finish) returned.
    pub summary: Summary,
    /// How its thread spent its time.
    pub figures: ShardFigures,
}

/// How a shard's thread spent its time, from its first turn to its last.
#[derive(Clone, Debug)]
pub struct ShardFigures {
    /// The shard.
    pub shard: ShardId,
    /// Where it sat.
    pub placement: Placement,
    /// All turns.
    pub turns: u64,
    /// Those that did something.
    pub busy_turns: u64,
    /// The longest turn of any kind, by the wall clock.
    pub turn_ns_max: u64,
    /// The most CPU time that a turn took; a thread that lost its cpu meanwhile used none.
    pub turn_cpu_ns_max: u64,
    /// Turns of more CPU time than the budget, by the stage that took the most of them.
    pub stalls: Vec<(&'static str, u64)>,
    /// How hard the shard was pressed at the end.
    pub backpressure: Backpressure,
    /// The worst of that.
    pub backpressure_worst: Backpressure,
    /// The share of the elapsed time spent in busy turns, 0 to 1.
    pub busy_ratio: f64,
    /// How often it was parked.
    pub parks: u64,
    /// The share spent parked, 0 to 1; what remains was spent looking for work.
    pub parked_ratio: f64,
    /// How often the safety tick found work for which nobody had rung. More than zero is a mistake in
    /// whatever should have.
    pub safety_tick_found_work: u64,
    /// CPU time of the thread in seconds, its start included.
    pub cpu_s: f64,
    /// Seconds from the first turn to the last.
    pub elapsed_s: f64,
    /// Where the pages of [`Shard::memory`](crate::Shard::memory) lay at the end.
    pub pages: Pages,
    /// How often the kernel refused to bind memory or to say where it lies.
    pub memory_refused: u64,
}
