//! Why a core map was refused, and what to do about it.

use std::fmt;

use super::written::Ranges;
use super::{MAX_SHARDS, Smt};
use crate::topology::Cpu;

/// Why a core map was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreMapError {
    /// Zero shards were asked for.
    NoShards,
    /// The list of cpus is empty.
    EmptyList,
    /// This process may run on no cpu of the machine.
    NoUsableCpu,
    /// More than [`MAX_SHARDS`].
    AboveLimit {
        /// The shards asked for.
        asked: usize,
    },
    /// More shards than the request has cores for.
    TooManyShards {
        /// The shards asked for.
        asked: usize,
        /// The usable physical cores.
        cores: usize,
        /// The usable hardware threads.
        cpus: usize,
        /// Whether SMT siblings were allowed to count.
        smt: Smt,
    },
    /// Housekeeping was asked for, and it leaves no core for a shard.
    NoCoreLeft,
    /// More cores were asked for housekeeping than the shards leave.
    TooMuchHousekeeping {
        /// The cores asked for.
        asked: usize,
        /// Those that the shards leave on the nodes where they are.
        left: usize,
        /// The shards.
        shards: usize,
    },
    /// A cpu listed for a shard whose core is listed for housekeeping.
    KeptCore {
        /// The cpu.
        cpu: u32,
        /// The cpu of its core, or itself, that is listed for housekeeping.
        kept: u32,
    },
    /// What is listed for housekeeping is wrong.
    Housekeeping(Box<CoreMapError>),
    /// A listed cpu that the machine does not have.
    UnknownCpu {
        /// The cpu.
        cpu: u32,
        /// The cpus it has.
        known: Vec<u32>,
    },
    /// A listed cpu outside this process's affinity.
    NotUsable {
        /// The cpu.
        cpu: u32,
        /// The cpus inside.
        usable: Vec<u32>,
    },
    /// A cpu listed twice.
    Repeated {
        /// The cpu.
        cpu: u32,
    },
    /// Two listed cpus that are SMT siblings, under [`Smt::Avoid`].
    SharedCore {
        /// The second of them.
        cpu: u32,
        /// The first.
        sibling: u32,
        /// Their core, by hwloc's logical index.
        core: u32,
    },
}

impl fmt::Display for CoreMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreMapError::NoShards => write!(
                f,
                "zero shards were asked for: write `auto`, a count of at least 1, or a list of cpus"
            ),
            CoreMapError::EmptyList => write!(
                f,
                "the list of cpus is empty: write `auto`, a count, or a list such as `2-9,12`"
            ),
            CoreMapError::NoUsableCpu => write!(
                f,
                "this process may run on no cpu of this machine: check its cpuset and `taskset`"
            ),
            CoreMapError::AboveLimit { asked } => write!(
                f,
                "{asked} shards were asked for, and {MAX_SHARDS} is the most there can be"
            ),
            CoreMapError::TooManyShards {
                asked,
                cores,
                cpus,
                smt,
            } => {
                write!(
                    f,
                    "{asked} shards were asked for, and there are {cores} usable cores with {cpus} hardware threads: ask for \
                     fewer"
                )?;
                if *smt == Smt::Avoid && cpus >= asked {
                    write!(f, ", let SMT siblings carry shards (shards.smt = \"use\")")?;
                }
                write!(
                    f,
                    ", or let shards share cpus (shards.oversubscribe = true; for tests)"
                )
            }
            CoreMapError::NoCoreLeft => write!(
                f,
                "housekeeping takes every usable core, and a shard needs one: keep fewer (shards.housekeeping)"
            ),
            CoreMapError::TooMuchHousekeeping {
                asked,
                left,
                shards,
            } => write!(
                f,
                "{asked} cores were asked for housekeeping, and {shards} shards leave {left} on the nodes where they are: ask \
                 for fewer of either (shards.housekeeping, shards.cores)"
            ),
            CoreMapError::KeptCore { cpu, kept } if cpu == kept => write!(
                f,
                "cpu {cpu} is listed for a shard and for housekeeping: list it once (shards.cores, shards.housekeeping)"
            ),
            CoreMapError::KeptCore { cpu, kept } => write!(
                f,
                "cpu {cpu} is listed for a shard, and its SMT sibling {kept} for housekeeping: list another (shards.cores, \
                 shards.housekeeping)"
            ),
            CoreMapError::Housekeeping(wrong) => {
                let wrong = wrong.to_string();
                let wrong = wrong.strip_prefix("shards.cores: ").unwrap_or(&wrong);
                write!(f, "shards.housekeeping: {wrong}")
            }
            CoreMapError::UnknownCpu { cpu, known } => write!(
                f,
                "shards.cores: there is no cpu {cpu} on this machine; there are {}",
                Ranges(known)
            ),
            CoreMapError::NotUsable { cpu, usable } => write!(
                f,
                "shards.cores: this process may not run on cpu {cpu}, only on {}: list these, or widen its cpuset or `taskset`",
                Ranges(usable)
            ),
            CoreMapError::Repeated { cpu } => {
                write!(
                    f,
                    "shards.cores: cpu {cpu} is listed twice: list each cpu once"
                )
            }
            CoreMapError::SharedCore { cpu, sibling, core } => write!(
                f,
                "shards.cores: cpus {sibling} and {cpu} are SMT siblings on core {core}: list one of them, or set shards.smt = \"use\""
            ),
        }
    }
}

impl std::error::Error for CoreMapError {}

/// The operating system's indexes of these cpus, ascending.
pub(super) fn indexes<'a>(cpus: impl Iterator<Item = &'a Cpu>) -> Vec<u32> {
    let mut indexes: Vec<u32> = cpus.map(|cpu| cpu.cpu).collect();
    indexes.sort_unstable();
    indexes
}
