//! Where a job's ordinary threads run: on the cores that are kept for them, beside the shards and not among them.
//!
//! ```text
//!   this thread: all kept cores --> a shard's client is made: those of the shard's node --> all kept cores --> .. --> as before
//!                                       \--> the client's own threads stay there
//! ```
//!
//! Law: a thread runs where the thread stood that started it, so this thread stands aside before anything is opened. Where
//! nothing is kept, as on fewer than four cores, nobody is confined.

use velostream_shards::pin::{Confined, confine_current_thread};

use crate::error::{Error, Result};

/// Confines this thread to `cpus` until what it returns is dropped; to none if there are none.
pub(super) fn stand_on(cpus: &[u32]) -> Result<Option<Confined>> {
    if cpus.is_empty() {
        return Ok(None);
    }
    confine_current_thread(cpus)
        .map(Some)
        .map_err(|cause| Error::Config(format!("shards.housekeeping: {cause}")))
}
