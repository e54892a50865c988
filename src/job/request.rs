//! What a run was asked to do beyond its plan and configuration.

use std::path::PathBuf;
use std::time::Duration;

/// What a run was asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// How rows on standard output are written.
    pub rows: RowFormat,
    /// When to stop, as a signal would; `None` for the end of the inputs.
    pub duration: Option<Duration>,
    /// Where the report goes; `None` for nowhere.
    pub report: Option<PathBuf>,
    /// The file in which the statements stand; `None` if they were typed.
    pub script: Option<PathBuf>,
    /// Whether streams start over, whatever their groups have committed.
    pub discard_commits: bool,
}

/// How rows on standard output are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowFormat {
    /// For a person.
    Table,
    /// One object a line.
    #[default]
    Json,
    /// A header line, then comma-separated values.
    Csv,
}
