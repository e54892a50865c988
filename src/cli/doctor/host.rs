//! A host as its files say it is: `/proc` and `/sys` below a root folder, which a test may make.
//!
//! Law: read only, and what is not there is `None`: kernels, virtual machines and containers leave out what they will.

use std::path::{Path, PathBuf};

/// A host whose files lie below a root.
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// The host whose root folder is `root`.
    pub(super) fn at(root: &Path) -> Host {
        Host {
            root: root.to_owned(),
        }
    }

    /// What the file `path` (without the leading `/`) holds, without space around it.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The word in brackets of a file that lists its choices: `always [madvise] never`.
    pub(super) fn chosen(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let (_, rest) = text.split_once('[')?;
        let (word, _) = rest.split_once(']')?;
        Some(word.to_owned())
    }

    /// The soft limit of this process that the kernel calls `name`; the most there is for `unlimited`.
    pub(super) fn limit(&self, name: &str) -> Option<u64> {
        let text = self.text("proc/self/limits")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        match line.split_whitespace().next()? {
            "unlimited" => Some(u64::MAX),
            number => number.parse().ok(),
        }
    }

    /// A number of `/proc/meminfo`, in its own unit.
    pub(super) fn memory(&self, name: &str) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let number = line.strip_prefix(':')?.split_whitespace().next()?;
        number.parse().ok()
    }

    /// The cpus that a file lists, as in `2-9,12`.
    pub(super) fn cpus(&self, path: &str) -> Option<Vec<u32>> {
        let text = self.text(path)?;
        let mut cpus = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            cpus.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
        }
        Some(cpus)
    }
}
