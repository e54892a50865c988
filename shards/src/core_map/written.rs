//! Core requests as they are written: `auto`, `8`, `2-9,12`.

use std::fmt;
use std::str::FromStr;

use super::{CoreRequest, MAX_SHARDS};

/// A list of cpus as [`CoreRequest`] reads it, in this order: `2-9,12`, and one cpu alone `3-3`.
pub fn written_cpus(cpus: &[u32]) -> String {
    match cpus {
        [one] => format!("{one}-{one}"),
        cpus => Ranges(cpus).to_string(),
    }
}

/// Indexes as they are written in a request, in their order.
pub(crate) struct Ranges<'a>(pub(crate) &'a [u32]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|one, next| one + 1 == *next);
        for (index, run) in runs.enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match run {
                [one] => write!(f, "{one}")?,
                run => write!(f, "{}-{}", run[0], run[run.len() - 1])?,
            }
        }
        Ok(())
    }
}

/// Why the text of a [`CoreRequest`] was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreRequestError {
    text: String,
    reason: String,
}

impl fmt::Display for CoreRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is no choice of cores, {}: write `auto`, a count such as `8`, or a list of cpus such as `2-9,12`",
            self.text, self.reason
        )
    }
}

impl std::error::Error for CoreRequestError {}

impl FromStr for CoreRequest {
    type Err = CoreRequestError;

    fn from_str(text: &str) -> Result<CoreRequest, CoreRequestError> {
        let written = text.trim();
        let request = match written {
            "auto" => Ok(CoreRequest::Auto),
            list if list.contains([',', '-']) => cpu_list(list).map(CoreRequest::List),
            count => count
                .parse()
                .map(CoreRequest::Count)
                .map_err(|_| format!("`{count}` is no number")),
        };
        request.map_err(|reason| CoreRequestError {
            text: text.to_owned(),
            reason,
        })
    }
}

fn cpu_list(list: &str) -> Result<Vec<u32>, String> {
    let mut cpus = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (cpu_index(first)?, cpu_index(last)?),
            None => (cpu_index(part)?, cpu_index(part)?),
        };
        if first > last {
            return Err(format!("the range `{part}` runs backwards"));
        }
        if cpus.len() + (last - first) as usize >= MAX_SHARDS {
            return Err(format!("it names more than {MAX_SHARDS} cpus"));
        }
        cpus.extend(first..=last);
    }
    Ok(cpus)
}

fn cpu_index(text: &str) -> Result<u32, String> {
    match text.trim() {
        "" => Err("a number is missing beside a comma or a dash".to_owned()),
        index => index.parse().map_err(|_| format!("`{index}` is no cpu")),
    }
}
