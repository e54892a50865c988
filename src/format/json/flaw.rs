//! What makes a record no JSON object, and the clause that says so.

use crate::config::limits::JSON_NESTING_MAX;
use crate::format::token::shortened;

/// What is wrong with a record, and at which byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Nothing but whitespace.
    Empty,
    /// Something must stand here that does not.
    Missing(&'static str, usize),
    /// A string that is not closed; where it opens.
    OpenText(usize),
    /// A control character in a string.
    Control(usize),
    /// A backslash with nothing behind it that JSON knows, or half a surrogate pair.
    Escape(usize),
    /// Something of which no value is made: it starts here.
    NoValue(usize),
    /// A string, or a record, that is not UTF-8; where it starts.
    NotUtf8(usize),
    /// Brackets in brackets beyond the bound.
    TooDeep,
    /// Something behind the object; where it starts.
    Behind(usize),
}

impl Flaw {
    /// The reason for which a record is bad.
    #[cold]
    pub(super) fn clause(self, record: &[u8]) -> String {
        let flaw = match self {
            Flaw::Empty => return "it is empty".to_owned(),
            Flaw::TooDeep => return format!("it nests deeper than {JSON_NESTING_MAX} levels"),
            Flaw::Behind(at) => {
                return format!("its object is followed by '{}'", shown(&record[at..]));
            }
            Flaw::Missing(what, at) if at >= record.len() => {
                format!("it ends where {what} must stand")
            }
            Flaw::Missing(what, at) => {
                format!(
                    "{what} must stand at byte {at}, not '{}'",
                    shown(&record[at..])
                )
            }
            Flaw::OpenText(at) => format!("the string at byte {at} is never closed"),
            Flaw::Control(at) => {
                format!("a control character stands in a string, at byte {at}")
            }
            Flaw::Escape(at) => {
                format!(
                    "the escape at byte {at} is broken: '{}'",
                    shown(&record[at..])
                )
            }
            Flaw::NoValue(at) if at >= record.len() => {
                "it ends where a value must stand".to_owned()
            }
            Flaw::NoValue(at) => {
                format!("no value starts at byte {at}: '{}'", shown(&record[at..]))
            }
            Flaw::NotUtf8(at) => format!("what starts at byte {at} is not UTF-8"),
        };
        format!("it is not a JSON object: {flaw}")
    }
}

fn shown(bytes: &[u8]) -> String {
    /// More than are shown: a character has up to four bytes.
    const LOOKED_AT_MAX: usize = 256;
    let bytes = &bytes[..bytes.len().min(LOOKED_AT_MAX)];
    shortened(&String::from_utf8_lossy(bytes.trim_ascii_end()))
}
