//! Figures of a running job for whoever watches it from outside: `/metrics` for Prometheus, `/livez` and `/readyz` for a supervisor.
//!
//! ```text
//!   a scraper --HTTP--> endpoint (its own thread) --Question--> the job's thread, between two rounds
//!                             <------------- text, or why not -------------/
//!   names.rs (every metric, once) <-- exposition.rs (how values are written) <-- the job fills them in
//! ```
//!
//! Laws:
//! 1. The job's thread owns every value and answers when it is asked, so the data path knows nothing of metrics, and a process
//!    that nobody asks pays nothing for them. That it answers is what `/livez` means.
//! 2. A metric is declared in `names` and nowhere else, and an exposition holds each of them once.
//! 3. Nothing that a client sends or leaves unsent holds up the job or another client: requests are bounded in bytes, in time
//!    and in number.

mod endpoint;
mod exposition;
mod http;
pub mod names;

pub use endpoint::{Answer, Endpoint, Phase, Question};
pub use exposition::{Exposition, Family};
