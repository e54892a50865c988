//! Benchmarks through the shipped pipeline, each beside a plain loop over the same bytes.
//!
//! ```text
//!   orders --> MemoryInput --> the job, as in production --> Checksum --\
//!                  \---------> baseline: a hand-written loop ----------- equal? --> Line: figures and their ratio
//! ```
//!
//! `runtime` has no query and no baseline: it measures the lanes and the doorbells alone. `kafka` reads a real broker by each
//! consumer tier.
//!
//! Laws of the scenarios: what is measured is planned from SQL text and run as `velo run` runs a file; only source and sink
//! are in memory. A figure stands for an answer: rows and checksum of every run are those of the baseline, or there is no
//! figure. Runs of engine and baseline alternate in one process, because machines are noisy, and the median of their ratios
//! is what counts.

mod baseline;
pub mod kafka;
mod line;
mod machine;
mod orders;
pub mod runtime;
mod scenario;

pub use line::{BaselineFigures, Line};
pub use machine::Machine;
pub use scenario::{Explained, Input, Scenario, ScenarioRequest, explain, run};
