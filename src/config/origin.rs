//! Where a value was written, so that an error and `velo config show --origin` can say so.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is built in.
    #[default]
    Default,
    /// In the configuration's file.
    File {
        /// As it was named.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// In an environment variable of this name.
    Environment(String),
    /// On the command line, by this flag.
    Flag(&'static str),
    /// In the SQL text.
    Sql {
        /// The file's name as typed, or `-e`.
        name: String,
        /// From 1.
        line: usize,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => f.write_str(variable),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Sql { name, line } => write!(f, "{name}:{line}"),
        }
    }
}
