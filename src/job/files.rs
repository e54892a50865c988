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

use crate::error::{Error, Result};
use crate::plan::{JobPlan, SinkSpec, SourceConnector};

/// Refuses sinks that would empty or overwrite what a source reads or another sink writes.
pub(super) fn refuse_shared(plan: &JobPlan) -> Result<()> {
    let read = plan.sources.iter().filter_map(|source| {
        let SourceConnector::File(file) = &source.stream.connector else {
            return None;
        };
        Some(Used {
            identity: at(&file.path)?,
            name: Name::Path(&file.path),
            reader: Some(&source.stream.name),
        })
    });
    let mut known: Vec<Used<'_>> = read.collect();
    let mut refused = Vec::new();
    for sink in &plan.sinks {
        let (identity, name) = match &sink.spec {
            SinkSpec::File(file) => (at(&file.path), Name::Path(&file.path)),
            SinkSpec::Stdout => (of_stdout(), Name::Stdout),
            SinkSpec::Kafka(_) | SinkSpec::Checksum(_) | SinkSpec::Stream(_) => continue,
        };
        let Some(identity) = identity else { continue };
        match known.iter().find(|used| used.identity == identity) {
            Some(other) => refused.push(shared(&name, other)),
            None => known.push(Used {
                identity,
                name,
                reader: None,
            }),
        }
    }
    Error::all(refused.into_iter())
}

/// A file that the job reads or writes.
struct Used<'p> {
    identity: Identity,
    name: Name<'p>,
    /// The stream that reads it, if one does.
    reader: Option<&'p str>,
}

/// What people call a file.
enum Name<'p> {
    Path(&'p Path),
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
    Error::Config(match other.reader {
        Some(stream) => format!(
            "{sink} and {name} are one file: stream {stream} reads it, and the rows written to it would destroy it; write \
             them to another path"
        ),
        None => format!(
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
            Name::Stdout => f.write_str("standard output"),
        }
    }
}
