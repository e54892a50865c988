//! What was configured, in the form the rest of the crate asks for.

pub mod options;
