//! Data on standard output, and the choice of its format.

use std::io::{ErrorKind, IsTerminal, Write};

use super::args::{OutputArgs, OutputFormat};
use crate::error::{Error, Result};

impl OutputArgs {
    /// The format that was asked for; else a table on a terminal and json elsewhere.
    pub fn chosen(&self) -> OutputFormat {
        match self.format {
            Some(format) => format,
            None if std::io::stdout().is_terminal() => OutputFormat::Table,
            None => OutputFormat::Json,
        }
    }
}

/// Writes data to standard output. Somebody who stops reading has had enough, which is no error.
pub fn print(data: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    match output
        .write_all(data.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => Err(Error::Disk(format!(
            "cannot write to standard output: {cause}"
        ))),
        _ => Ok(()),
    }
}

/// One line of CSV.
pub fn csv_line(fields: &[&str]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer
        .write_record(fields)
        .expect("writing to memory does not fail");
    let bytes = writer
        .into_inner()
        .expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("text stays text between quotes")
}

#[cfg(test)]
mod tests {
    use super::csv_line;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        assert_eq!(
            csv_line(&["a", "b,c", "d\"e", ""]),
            "a,\"b,c\",\"d\"\"e\",\n"
        );
    }
}
