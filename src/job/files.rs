//! The files of a job, held against each other before one of them is emptied.
//!
//! Law: a file is read or written by a job, not both, and written by one sink, whatever it is called. The planner compares
//! paths as text; here a link, and a path through one, is the file to which it leads. What is no regular file (`/dev/null`,
//! a FIFO, a terminal) loses nothing when it is opened, and may be shared.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::options::DeadLetterTarget;
use crate::error::{Error, Result};
use crate::plan::{JobPlan, SinkSpec, SourceConnector};

use super::RunRequest;

/// Refuses sinks that would empty or overwrite what a source reads or another sink writes, and a report that would.
pub(super) fn refuse_shared(plan: &JobPlan, request: &RunRequest) -> Result<()> {
    let mut known = Vec::new();
    if let Some(script) = &request.script
        && let Some(identity) = at(script)
    {
        known.push(Used {
            identity,
            name: Name::Path(script),
            by: By::Script,
        });
    }
    let read = plan.sources.iter().filter_map(|source| {
        let SourceConnector::File(file) = &source.stream.connector else {
            return None;
        };
        Some(Used {
            identity: at(&file.path)?,
            name: Name::Path(&file.path),
            by: By::Reader(&source.stream.name),
        })
    });
    known.extend(read);
    let sinks = plan.sinks.iter().filter_map(|sink| match &sink.spec {
        SinkSpec::File(file) => Some((at(&file.path)?, Name::Path(&file.path))),
        SinkSpec::Stdout => Some((of_stdout()?, Name::Stdout)),
        SinkSpec::Kafka(_) | SinkSpec::Checksum(_) | SinkSpec::Stream(_) => None,
    });
    let report = request.report.iter();
    let report = report.filter_map(|path| Some((at(path)?, Name::Report(path))));
    let mut refused = Vec::new();
    let letters = plan.dead_letters.iter();
    let letters = letters.filter_map(|spec| match &spec.target {
        DeadLetterTarget::File(path) => Some((at(path)?, Name::Path(path))),
        DeadLetterTarget::Topic(_) => None,
    });
    for (identity, name) in sinks.chain(letters).chain(report) {
        match known.iter().find(|used| used.identity == identity) {
            Some(other) => refused.push(shared(&name, other)),
            None => known.push(Used {
                identity,
                name,
                by: By::Writer,
            }),
        }
    }
    Error::all(refused.into_iter())
}

/// A file that the job reads or writes.
struct Used<'p> {
    identity: Identity,
    name: Name<'p>,
    by: By<'p>,
}

/// Who uses a file.
#[derive(Clone, Copy)]
enum By<'p> {
    /// The statements of the job stand in it.
    Script,
    /// This stream reads it.
    Reader(&'p str),
    /// Rows are written to it.
    Writer,
}

/// What people call a file.
enum Name<'p> {
    Path(&'p Path),
    Report(&'p Path),
    Stdout,
}

/// What makes two files one.
#[derive(PartialEq, Eq)]
enum Identity {
    /// Device and inode.
    There(u64, u64),
    /// Device and inode of the folder in which it will be made, and its name there.
    ToBeMade(u64, u64, PathBuf),
}

fn shared(sink: &Name<'_>, other: &Used<'_>) -> Error {
    let name = &other.name;
    let what = match sink {
        Name::Report(_) => "what is written to it",
        Name::Path(_) | Name::Stdout => "the rows written to it",
    };
    Error::Config(match (other.by, sink) {
        (By::Script, _) => format!(
            "{sink} and {name} are one file: the statements of the job stand in it, and {what} would destroy them; write \
             to another path"
        ),
        (By::Reader(stream), _) => format!(
            "{sink} and {name} are one file: stream {stream} reads it, and {what} would destroy it; write to another path"
        ),
        (By::Writer, Name::Report(_)) => format!(
            "{sink} and {name} are one file: the report would destroy the rows; write it to another path"
        ),
        (By::Writer, _) => format!(
            "{sink} and {name} are one file: rows written to one would overwrite those of the other; give one of them \
             another path, or write both into one stream with INSERT INTO"
        ),
    })
}

/// The file at `path`, or the one that will be made there; `None` for what may be shared, and for what cannot be made, which is
/// told when it is opened.
fn at(path: &Path) -> Option<Identity> {
    match fs::metadata(path) {
        Ok(found) => regular(&found),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = match path.parent() {
                Some(folder) if folder != Path::new("") => folder,
                _ => Path::new("."),
            };
            // A link that leads to nothing yet: the file is made at its far end. A circle of links is another error than
            // that nothing is found, so this ends.
            if let Ok(target) = fs::read_link(path) {
                return at(&folder.join(target));
            }
            let found = fs::metadata(folder).ok()?;
            let name = PathBuf::from(path.file_name()?);
            Some(Identity::ToBeMade(found.dev(), found.ino(), name))
        }
        Err(_) => None,
    }
}

/// The file to which standard output goes, if it goes to one.
fn of_stdout() -> Option<Identity> {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().ok()?;
    regular(&File::from(stdout).metadata().ok()?)
}

fn regular(found: &Metadata) -> Option<Identity> {
    let identity = || Identity::There(found.dev(), found.ino());
    found.is_file().then(identity)
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Path(path) => path.display().fmt(f),
            Name::Report(path) => write!(f, "the report {}", path.display()),
            Name::Stdout => f.write_str("standard output"),
        }
    }
}
