//! What drives the turns of one shard on its pinned thread.
//!
//! ```text
//!   open ── run: next() ──> Turn: again at once    GiveWay: let others run    Park: sleep by the doorbell    End
//! ```
//!
//! There are two: `glommio.rs`, an executor over io_uring, and `poll.rs`, a plain thread for hosts
//! that forbid io_uring and for tools that do not know it.
//!
//! The law: a reactor decides nothing. It asks [`Turns`] what comes next and does it; when to park
//! and when to end is decided in `idle.rs` and `runtime.rs`, so that a reactor needs those verbs and
//! no more. Which reactor it is is decided once a run, at its start: the loop is compiled for each.

mod glommio;
mod idle;
mod poll;
mod refusal;

use std::time::Duration;

use crate::mesh::Doorbell;

pub(crate) use glommio::GlommioReactor;
pub use idle::Profile;
pub(crate) use idle::{Idle, Rest};
pub(crate) use poll::PollReactor;
pub use refusal::{MEMLOCK_BYTES_A_SHARD, ReactorError, io_uring_refusal};

/// Which reactor is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReactorChoice {
    /// Glommio where the host allows it, else poll.
    #[default]
    Auto,
    /// Glommio, or the reason why it cannot be.
    Glommio,
    /// Poll.
    Poll,
}

/// Which reactor drives the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReactorKind {
    /// A glommio executor over io_uring.
    Glommio,
    /// A plain thread.
    Poll,
}

impl ReactorKind {
    /// Its name in the configuration and in reports.
    pub fn name(self) -> &'static str {
        match self {
            ReactorKind::Glommio => "glommio",
            ReactorKind::Poll => "poll",
        }
    }
}

/// What a shard's loop wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another turn at once.
    Turn,
    /// Another turn, after whoever else wants this core.
    GiveWay,
    /// Another turn when the doorbell is rung, or after this time.
    Park(Duration),
    /// Nothing more.
    End,
}

/// A shard's loop, one step at a time.
pub(crate) trait Turns {
    /// Takes a turn and says what comes next. Not asked again after `End`; must not unwind.
    fn next(&mut self) -> Next;

    /// By this the loop is parked.
    fn doorbell(&self) -> &Doorbell;
}

/// Runs loops.
///
/// # Contract
/// 1. `run` does what `next` says until it says `End`, on the calling thread. Checked by the tests of
///    the runtime, which run on both.
/// 2. A parked loop goes on soon after a ring, and at the latest when its time is over. Checked by the
///    same, and by `velo bench runtime`.
pub(crate) trait Reactor {
    /// Runs the loop to its end and gives it back.
    fn run<T: Turns + 'static>(self, turns: T) -> T;
}
