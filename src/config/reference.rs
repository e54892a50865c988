//! References: where a value is kept, in the place of the value.
//!
//! Law: an error names the key, the file or the variable, and never a value. What is shown of a reference is the reference.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::limits::SECRET_BYTES_MAX;
use super::secret::{SHOWN, Secret};

/// Where a value is kept, instead of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `{ file = "PATH" }`: all that the file holds, without the end of its last line.
    File(PathBuf),
    /// Text with `${NAME}` in it.
    Variables(Vec<Piece>),
}

/// A piece of a text that refers to variables.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// The value of an environment variable.
    Variable(String),
}

/// A piece beside a variable may be half of a secret.
impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Piece::Text(_) => f.write_str(SHOWN),
            Piece::Variable(name) => write!(f, "${{{name}}}"),
        }
    }
}

/// How a variable of the environment is looked up.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<OsString>;

/// The variables of this process.
pub fn process_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

impl Reference {
    /// The reference that `text` is, `None` where it is the value itself. `$${` stands for `${`.
    pub fn of(text: &str) -> Result<Option<Reference>, String> {
        if text.trim_start().starts_with('{') {
            return Reference::inline_table(text).map(Some);
        }
        if !text.contains("${") {
            return Ok(None);
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                plain += &rest[..at];
                plain.push('{');
                rest = &rest[at + 2..];
                continue;
            }
            plain += &rest[..at];
            let name = rest[at + 2..].split_once('}');
            let Some((name, behind)) = name.filter(|(name, _)| is_variable_name(name)) else {
                return Err(
                    "holds ${ without the name of a variable; write ${NAME}, or $${ for the two letters themselves"
                        .into(),
                );
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Variable(name.to_owned()));
            rest = behind;
        }
        plain += rest;
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Some(Reference::Variables(pieces)))
    }

    fn inline_table(text: &str) -> Result<Reference, String> {
        let path = || {
            let table = format!("reference = {text}").parse::<Table>().ok()?;
            let Some(Value::Table(reference)) = table.get("reference") else {
                return None;
            };
            let path = reference.get("file").and_then(Value::as_str)?;
            (reference.len() == 1).then(|| PathBuf::from(path))
        };
        path()
            .map(Reference::File)
            .ok_or_else(|| "begins with { and is no reference; write { file = \"PATH\" }".into())
    }

    /// The value, read from where it is kept. The error names that, and nothing that was read.
    pub fn resolve(&self, variables: Variables<'_>) -> Result<Secret, String> {
        match self {
            Reference::File(path) => read(path),
            Reference::Variables(pieces) => {
                let mut value = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => value += text,
                        Piece::Variable(name) => value += &variable(name, variables)?,
                    }
                }
                Ok(Secret::new(value))
            }
        }
    }
}

/// As it was written, but text beside variables is not shown.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::File(path) => write!(f, "{{ file = \"{}\" }}", path.display()),
            Reference::Variables(pieces) => match pieces.as_slice() {
                [Piece::Variable(name)] => write!(f, "${{{name}}}"),
                _ => f.write_str(SHOWN),
            },
        }
    }
}

fn is_variable_name(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !name.is_empty()
        && name.chars().all(letter)
        && !name.starts_with(|one: char| one.is_ascii_digit())
}

fn variable(name: &str, variables: Variables<'_>) -> Result<String, String> {
    let Some(value) = variables(name) else {
        return Err(format!(
            "needs the environment variable {name}, which is not set; export it, or write {{ file = \"PATH\" }}"
        ));
    };
    value.into_string().map_err(|_| {
        format!("needs the environment variable {name}, whose value is not UTF-8; mend that")
    })
}

fn read(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let cannot = |cause: std::io::Error| {
        format!(
            "is kept in the file {shown}, which cannot be read: {cause}; correct the path, or allow this user to read it"
        )
    };
    let file = std::fs::File::open(path).map_err(cannot)?;
    let mut bytes = Vec::new();
    let most = SECRET_BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(format!(
            "is kept in the file {shown}, which holds more than {SECRET_BYTES_MAX} bytes; name the file of the secret alone"
        ));
    }
    let value = String::from_utf8(bytes).map_err(|_| {
        format!("is kept in the file {shown}, which is not UTF-8; name a file of text")
    })?;
    let value = value.strip_suffix('\n').unwrap_or(&value);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        return Err(format!(
            "is kept in the file {shown}, which is empty; write the secret into it"
        ));
    }
    Ok(Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<OsString> {
        None
    }

    fn resolved(text: &str) -> Result<String, String> {
        let variables = |name: &str| match name {
            "PASSWORD" => Some(OsString::from("hunter2")),
            "EMPTY" => Some(OsString::new()),
            _ => None,
        };
        let reference = Reference::of(text)?.ok_or("is the value itself")?;
        Ok(reference.resolve(&variables)?.reveal().to_owned())
    }

    #[test]
    fn a_reference_is_a_file_or_variables() {
        assert_eq!(resolved("${PASSWORD}").as_deref(), Ok("hunter2"));
        assert_eq!(
            resolved("a${PASSWORD}b${EMPTY}").as_deref(),
            Ok("ahunter2b")
        );
        assert_eq!(resolved("$${x}${PASSWORD}").as_deref(), Ok("${x}hunter2"));
        assert_eq!(resolved("a $ sign"), Err("is the value itself".into()));
        assert_eq!(
            Reference::of(" { file = \"a b\" }"),
            Ok(Some(Reference::File("a b".into())))
        );
        for wrong in [
            "${",
            "${}",
            "${A B}",
            "${1}",
            "{ path = 'x' }",
            "{ file = 1 }",
            "{",
        ] {
            assert!(Reference::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_named_and_nothing_else() {
        let missing = resolved("hunter2${ABSENT}").expect_err("there is no such variable");
        assert!(
            missing.contains("ABSENT") && !missing.contains("hunter2"),
            "{missing}"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        let absent = Reference::File(path.clone()).resolve(&none);
        assert!(
            absent
                .expect_err("no file")
                .contains(&path.display().to_string())
        );
        for (content, wrong) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"hunter2\xff", "is not UTF-8"),
            (&[b'x'; SECRET_BYTES_MAX + 1], "more than"),
        ] {
            std::fs::write(&path, content).expect("a file");
            let refused = Reference::File(path.clone())
                .resolve(&none)
                .expect_err(wrong);
            assert!(
                refused.contains(wrong) && !refused.contains("hunter2"),
                "{refused}"
            );
        }
        std::fs::write(&path, "hunter2\r\n").expect("a file");
        let read = Reference::File(path.clone())
            .resolve(&none)
            .expect("a secret");
        assert_eq!(read.reveal(), "hunter2");
        std::fs::write(&path, "two\nlines\n").expect("a file");
        let read = Reference::File(path).resolve(&none).expect("a secret");
        assert_eq!(read.reveal(), "two\nlines");
    }

    #[test]
    fn a_reference_shows_where_it_leads_and_no_text_beside() {
        let shown = |text| {
            let reference = Reference::of(text).expect("a reference").expect("one");
            format!("{reference} {reference:?}")
        };
        assert_eq!(shown("${A}"), "${A} Variables([${A}])");
        assert_eq!(shown("hunter2${A}"), "(secret) Variables([(secret), ${A}])");
        assert!(shown("{ file = 'x' }").starts_with("{ file = \"x\" } "));
    }
}
