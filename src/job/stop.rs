//! What asks a job to stop from outside: SIGTERM and SIGINT.
//!
//! Law: the first signal asks for a clean stop (drain, flush); a second one ends the process at once, as if nothing had been
//! caught. A file that grows beyond what the process may write (`ulimit -f`) is an error of that write, and no signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use crate::error::{Error, Result};

/// Caught signals.
pub struct Signals {
    asked: Arc<AtomicBool>,
}

impl Signals {
    /// Catches SIGTERM and SIGINT from now on.
    pub fn catch() -> Result<Signals> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the shutdown looks at the flag as it was before this signal.
            flag::register_conditional_default(signal, Arc::clone(&asked))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .map_err(|cause| Error::Failed(format!("cannot catch signals: {cause}")))?;
        }
        // Caught is enough: the write then fails with EFBIG.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))
            .map_err(|cause| Error::Failed(format!("cannot catch signals: {cause}")))?;
        Ok(Signals { asked })
    }

    /// Whether one has come.
    pub fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
