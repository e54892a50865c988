//! Errors by cause and remedy.
//!
//! Law: every error says what happened, where, and what to do about it, and its cause alone decides the exit code. A
//! programmer's error is not here: it panics, every shard stops, and the process ends with 70. Bad records are not here
//! either, unless `on_error = fail` makes one the end of the run.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

/// What an operation of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Exit codes of `velo`, after sysexits where it has one.
pub mod exit {
    /// The run ended as asked.
    pub const OK: u8 = 0;
    /// A failed run with no better code, such as a demo whose rows were not equal.
    pub const FAILED: u8 = 1;
    /// The command line could not be understood.
    pub const USAGE: u8 = 2;
    /// Bad SQL, or bad data with `on_error = fail`.
    pub const DATA: u8 = 65;
    /// A broker could not be reached.
    pub const UNAVAILABLE: u8 = 69;
    /// A panic; if there were shards, every one was stopped.
    pub const INTERNAL: u8 = 70;
    /// A file could not be read or written.
    pub const DISK: u8 = 73;
    /// The host forbids what the run needs.
    pub const PERMISSION: u8 = 77;
    /// Configuration: an unknown key, an impossible core map, a wrong option.
    pub const CONFIG: u8 = 78;
}

/// A span of the SQL text: byte offsets, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// An error in the SQL text, with the place it stands at.
#[derive(Clone, Debug)]
pub struct SqlError {
    /// Stable code, such as `V0201`; golden tests and documentation name it.
    pub code: &'static str,
    /// One sentence: what is wrong.
    pub message: String,
    /// Where it stands; `None` when it concerns the whole statement.
    pub span: Option<Span>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The whole SQL text, for the rendering.
    pub source_text: String,
    /// The file's name as typed, or `-e`.
    pub source_name: String,
}

/// Where a record came from, as an operator can find it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, counted from 1.
    Line {
        /// The file as named in the stream's options.
        file: String,
        /// Line number, from 1.
        line: u64,
    },
    /// A record of a Kafka topic.
    Offset {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
    },
    /// A row that was generated.
    Drawn {
        /// The stream's name.
        stream: String,
        /// The generator's partition.
        partition: i32,
        /// The row's number there, from 0.
        offset: i64,
    },
    /// A row of a query's result.
    Output {
        /// The query's name.
        query: String,
    },
    /// A row of an in-memory stream.
    Row {
        /// The stream's name.
        stream: String,
    },
}

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub enum Error {
    /// The SQL text is wrong.
    Sql(Box<SqlError>),
    /// The command line asks for something that does not exist.
    Usage(String),
    /// Configuration or options are wrong, or ask for the impossible on this machine.
    Config(String),
    /// A broker, topic or other peer could not be reached or refused.
    Connector(String),
    /// A bad record under `on_error = fail`.
    Data {
        /// The stream or query it was bad for.
        stream: String,
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be read or written.
    Disk(String),
    /// What ended the reading of a file.
    Reading {
        /// The file as named in the stream's options.
        file: String,
        /// The line that was to be read next, from 1.
        line: u64,
        /// What it was; it alone is told, and decides the exit code.
        cause: Box<Error>,
    },
    /// The host forbids what the run needs; the message names the command that allows it.
    Permission(String),
    /// A panic: of a shard, and every shard was stopped, or of the command itself.
    Runtime(String),
    /// The run itself came to a wrong end, such as rows that were not equal.
    Failed(String),
    /// Whoever reads the rows has seen enough (`velo run .. | head`): the run ends quietly.
    Closed(String),
    /// Several things are wrong, each for itself; never empty.
    Several(Vec<Error>),
}

impl Error {
    /// Whether both are of one file, and this one stands before the other: what ended its reading stands behind its records.
    pub fn is_before(&self, other: &Error) -> bool {
        match (self.line(), other.line()) {
            (Some((file, line)), Some((other_file, other_line))) => {
                file == other_file && line < other_line
            }
            _ => false,
        }
    }

    /// The file and the line of a bad record of a file, or of what ended its reading.
    fn line(&self) -> Option<(&str, u64)> {
        match self {
            Error::Reading { file, line, .. } => Some((file, *line)),
            Error::Data {
                place: Place::Line { file, line },
                ..
            } => Some((file, *line)),
            _ => None,
        }
    }

    /// The exit code that this error's cause decides.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Sql(_) | Error::Data { .. } => exit::DATA,
            Error::Usage(_) => exit::USAGE,
            Error::Config(_) => exit::CONFIG,
            Error::Connector(_) => exit::UNAVAILABLE,
            Error::Disk(_) => exit::DISK,
            Error::Reading { cause, .. } => cause.exit_code(),
            Error::Permission(_) => exit::PERMISSION,
            Error::Runtime(_) => exit::INTERNAL,
            Error::Failed(_) => exit::FAILED,
            Error::Closed(_) => exit::OK,
            Error::Several(errors) => errors.first().map_or(exit::FAILED, Error::exit_code),
        }
    }

    /// Nothing wrong, the one thing that is, or all of them. What has no place in a text is told once, however many things it
    /// is wrong for.
    pub fn all(found: impl Iterator<Item = Error>) -> Result<()> {
        let mut errors: Vec<Error> = Vec::new();
        for error in found {
            let is_known = |known: &Error| known.to_string() == error.to_string();
            if matches!(error, Error::Sql(_)) || !errors.iter().any(is_known) {
                errors.push(error);
            }
        }
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Error::Several(errors)),
        }
    }

    /// A file that could not be opened, read or written.
    pub fn disk(doing: &str, path: &Path, cause: &std::io::Error) -> Error {
        let remedy = match cause.kind() {
            ErrorKind::NotFound => "; correct the path, which is relative to the working directory",
            ErrorKind::PermissionDenied => "; allow this user to do that",
            ErrorKind::StorageFull => "; make room",
            _ => "",
        };
        Error::Disk(format!(
            "cannot {doing} {}: {cause}{remedy}",
            path.display()
        ))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line { file, line } => write!(f, "{file} line {line}"),
            Place::Offset {
                topic,
                partition,
                offset,
            } => write!(f, "topic {topic} partition {partition} offset {offset}"),
            Place::Drawn {
                stream,
                partition,
                offset,
            } => write!(
                f,
                "row {offset} of partition {partition} of stream {stream}"
            ),
            Place::Output { query } => write!(f, "a result row of query {query}"),
            Place::Row { stream } => write!(f, "a row of the in-memory stream {stream}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Sql(error) => write!(f, "{}: {}", error.code, error.message),
            Error::Data {
                stream,
                place,
                reason,
            } => write!(
                f,
                "bad record of {stream} at {place}: {reason}; mend it, or set on_error = 'skip' on the stream"
            ),
            Error::Reading { cause, .. } => cause.fmt(f),
            Error::Usage(message)
            | Error::Config(message)
            | Error::Connector(message)
            | Error::Disk(message)
            | Error::Permission(message)
            | Error::Runtime(message)
            | Error::Failed(message)
            | Error::Closed(message) => f.write_str(message),
            Error::Several(errors) => {
                for (place, error) in errors.iter().enumerate() {
                    let between = if place == 0 { "" } else { "; " };
                    write!(f, "{between}{error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}
