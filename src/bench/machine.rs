//! The machine that a figure comes from: without it, a figure means nothing.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// What a figure depends on beside the code, and the code's commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// As the processor calls itself.
    pub cpu_model: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The commit of the working directory's checkout, with `-dirty` behind it where a file differs; else that of the build;
    /// else `unknown`.
    pub commit: String,
}

const UNKNOWN: &str = "unknown";

impl Machine {
    /// This one, now.
    pub fn read() -> Machine {
        Machine {
            cpu_model: cpu_model().unwrap_or_else(|| UNKNOWN.into()),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| UNKNOWN.into(), |release| release.trim().to_owned()),
            commit: checked_out()
                .or_else(|| option_env!("VELO_COMMIT").map(str::to_owned))
                .unwrap_or_else(|| UNKNOWN.into()),
        }
    }
}

fn cpu_model() -> Option<String> {
    let processors = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = processors
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The commit of the checkout around the working directory, if that is one of this project.
fn checked_out() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let root = git(&["rev-parse", "--show-toplevel"])?;
    let manifest = fs::read_to_string(format!("{root}/Cargo.toml")).ok()?;
    if !manifest.contains("name = \"velostream\"") {
        return None;
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let same = git(&["diff", "--quiet", "HEAD"]).is_some();
    Some(format!("{commit}{}", if same { "" } else { "-dirty" }))
}
