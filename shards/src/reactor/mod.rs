//! What drives the turns of one shard on its pinned thread.
//!
//! ```text
//!   open (pin, io_uring) ── run: next() ──> Turn: again at once    GiveWay: let others run    Park: sleep    End
//! ```
//!
//! The law: a reactor decides nothing. It asks [`Turns`] what comes next and does it; when to park
//! and when to end is decided in `idle.rs` and `runtime.rs`, so that another reactor needs those
//! two verbs and no more.

mod glommio;
mod idle;
mod refusal;

use std::time::Duration;

pub(crate) use glommio::GlommioReactor;
pub(crate) use idle::Idle;
pub use refusal::ReactorError;

/// What a shard's loop wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another turn at once.
    Turn,
    /// Another turn, after whoever else wants this core.
    GiveWay,
    /// Another turn after this time.
    Park(Duration),
    /// Nothing more.
    End,
}

/// A shard's loop, one step at a time.
pub(crate) trait Turns {
    /// Takes a turn and says what comes next. Not asked again after `End`; must not unwind.
    fn next(&mut self) -> Next;
}
