//! The core map: which shard is pinned to which core.
//!
//! ```text
//!   node 0            node 1               spread: over the nodes first, then over the L3 domains of a node,
//!   L3 0     L3 1     L3 2     L3 3        then over the cores; SMT siblings last, and only when they are
//!   0  4     2  6     1  5     3  7        asked for
//! ```
//!
//! The law: without `oversubscribe` no cpu carries two shards, and under [`Smt::Avoid`] no core
//! does. A request that cannot be met is refused with the reason and the remedy, never bent.
//! Planning asks the operating system nothing: the same machine and request give the same map.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::shard::ShardId;
use crate::topology::{Cpu, Machine};

/// The most shards a core map admits.
pub const MAX_SHARDS: usize = 256;
const _: () = assert!(
    MAX_SHARDS <= u16::MAX as usize,
    "a ShardId numbers every shard"
);

/// Which cores are asked for.
///
/// Written as `auto`; as a bare number, which is a count (`8`: eight shards, spread); or as a list
/// of cpus by the operating system's index, which has a comma or a dash (`2-9,12`; one cpu alone is
/// `3-3`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreRequest {
    /// One shard on each usable physical core.
    Auto,
    /// This many shards, spread over the usable cores.
    Count(usize),
    /// One shard on each of these cpus, in this order.
    List(Vec<u32>),
}

/// Whether two shards may share a core as SMT siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smt {
    /// One shard a core.
    Avoid,
    /// One shard a hardware thread, where the request needs that many.
    Use,
}

/// What is asked of the core map: the `[shards]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreMapRequest {
    /// Which cores.
    pub cores: CoreRequest,
    /// Whether SMT siblings may carry shards of their own.
    pub smt: Smt,
    /// Whether more shards than cores wrap round the usable cpus. Has no bearing on a list.
    pub oversubscribe: bool,
}

/// Where one shard sits. `cpu`, `node` and `smt` are the operating system's indexes, the rest
/// hwloc's logical ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The shard.
    pub shard: ShardId,
    /// The cpu it is pinned to.
    pub cpu: u32,
    /// The core of that cpu.
    pub core: u32,
    /// Its package.
    pub package: u32,
    /// Its NUMA node.
    pub node: u32,
    /// Its L3 domain.
    pub l3: u32,
    /// All hardware threads of its core.
    pub smt: Vec<u32>,
}

/// One placement for each shard, in the order of the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreMap {
    placements: Vec<Placement>,
    foreign: bool,
    oversubscribed: bool,
}

impl CoreMap {
    /// Places the shards.
    ///
    /// # Errors
    /// Whatever of the request cannot be met on this machine: see [`CoreMapError`].
    pub fn plan(machine: &Machine, request: &CoreMapRequest) -> Result<CoreMap, CoreMapError> {
        let seats = match &request.cores {
            CoreRequest::Auto => spread(machine, Smt::Avoid),
            CoreRequest::Count(count) => counted(machine, *count, request)?,
            CoreRequest::List(cpus) => listed(machine, cpus, request.smt)?,
        };
        match seats.len() {
            0 => return Err(CoreMapError::NoUsableCpu),
            count if count > MAX_SHARDS => return Err(CoreMapError::AboveLimit { asked: count }),
            _ => {}
        }

        let placements: Vec<Placement> = seats
            .into_iter()
            .enumerate()
            .map(|(index, cpu)| Placement {
                shard: ShardId::from_index(index),
                cpu: cpu.cpu,
                core: cpu.core,
                package: cpu.package,
                node: cpu.node,
                l3: cpu.l3,
                smt: cpu.smt.clone(),
            })
            .collect();
        let mut cpus: Vec<u32> = placements.iter().map(|placement| placement.cpu).collect();
        cpus.sort_unstable();
        let oversubscribed = cpus.windows(2).any(|pair| pair[0] == pair[1]);
        assert!(
            request.oversubscribe || !oversubscribed,
            "a cpu carries two shards only when that was asked for"
        );
        Ok(CoreMap {
            placements,
            foreign: machine.foreign,
            oversubscribed,
        })
    }

    /// Where each shard sits, in the order of the shards.
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.placements.len()
    }

    /// Whether it was planned for a machine that is not the one we run on: it can be printed, not
    /// started.
    pub fn foreign(&self) -> bool {
        self.foreign
    }

    /// Whether some cpu carries more than one shard.
    pub fn oversubscribed(&self) -> bool {
        self.oversubscribed
    }
}

/// The first `count` cpus of the spread, wrapping round where that is allowed.
fn counted<'a>(
    machine: &'a Machine,
    count: usize,
    request: &CoreMapRequest,
) -> Result<Vec<&'a Cpu>, CoreMapError> {
    if count == 0 {
        return Err(CoreMapError::NoShards);
    }
    if count > MAX_SHARDS {
        return Err(CoreMapError::AboveLimit { asked: count });
    }
    let order = spread(machine, request.smt);
    if count > order.len() && !request.oversubscribe {
        return Err(CoreMapError::TooManyShards {
            asked: count,
            cores: spread(machine, Smt::Avoid).len(),
            cpus: spread(machine, Smt::Use).len(),
            smt: request.smt,
        });
    }
    Ok(order.into_iter().cycle().take(count).collect())
}

/// The cpus as listed, each checked.
fn listed<'a>(machine: &'a Machine, cpus: &[u32], smt: Smt) -> Result<Vec<&'a Cpu>, CoreMapError> {
    if cpus.is_empty() {
        return Err(CoreMapError::EmptyList);
    }
    let mut seats: Vec<&Cpu> = Vec::with_capacity(cpus.len());
    for &asked in cpus {
        let cpu = machine.cpu(asked).ok_or_else(|| CoreMapError::UnknownCpu {
            cpu: asked,
            known: indexes(machine.cpus.iter()),
        })?;
        if !cpu.usable {
            return Err(CoreMapError::NotUsable {
                cpu: asked,
                usable: indexes(machine.cpus.iter().filter(|cpu| cpu.usable)),
            });
        }
        if seats.iter().any(|seat| seat.cpu == asked) {
            return Err(CoreMapError::Repeated { cpu: asked });
        }
        if smt == Smt::Avoid
            && let Some(sibling) = seats.iter().find(|seat| seat.core == cpu.core)
        {
            return Err(CoreMapError::SharedCore {
                cpu: asked,
                sibling: sibling.cpu,
                core: cpu.core,
            });
        }
        seats.push(cpu);
    }
    Ok(seats)
}

/// The usable cpus in the order in which shards take them: the first usable hardware thread of
/// every core, dealt over nodes, L3 domains and cores; under [`Smt::Use`] then the second ones in
/// the same way, and so on.
fn spread(machine: &Machine, smt: Smt) -> Vec<&Cpu> {
    let cores = grouped(machine.cpus.iter().filter(|cpu| cpu.usable), |cpu| cpu.core);
    let deepest = cores.iter().map(Vec::len).max().unwrap_or(0);
    let ranks = match smt {
        Smt::Avoid => deepest.min(1),
        Smt::Use => deepest,
    };
    let mut order = Vec::new();
    for rank in 0..ranks {
        let threads = cores.iter().filter_map(|core| core.get(rank).copied());
        let nodes = grouped(threads, |cpu| cpu.node);
        order.extend(deal(nodes.into_iter().map(|node| {
            deal(grouped(node.into_iter(), |cpu| cpu.l3).into_iter())
        })));
    }
    order
}

/// Puts equal places together, in the order of their indexes.
fn grouped<'a>(
    cpus: impl Iterator<Item = &'a Cpu>,
    place: impl Fn(&Cpu) -> u32,
) -> Vec<Vec<&'a Cpu>> {
    let mut groups: BTreeMap<u32, Vec<&Cpu>> = BTreeMap::new();
    for cpu in cpus {
        groups.entry(place(cpu)).or_default().push(cpu);
    }
    groups.into_values().collect()
}

/// Takes one from each group in turn until all are empty.
fn deal<'a>(groups: impl Iterator<Item = Vec<&'a Cpu>>) -> Vec<&'a Cpu> {
    let mut rounds: BTreeMap<usize, Vec<&Cpu>> = BTreeMap::new();
    for group in groups {
        for (round, cpu) in group.into_iter().enumerate() {
            rounds.entry(round).or_default().push(cpu);
        }
    }
    rounds.into_values().flatten().collect()
}

fn indexes<'a>(cpus: impl Iterator<Item = &'a Cpu>) -> Vec<u32> {
    let mut indexes: Vec<u32> = cpus.map(|cpu| cpu.cpu).collect();
    indexes.sort_unstable();
    indexes
}

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
            CoreMapError::UnknownCpu { cpu, known } => write!(
                f,
                "there is no cpu {cpu} on this machine; there are {}",
                Ranges(known)
            ),
            CoreMapError::NotUsable { cpu, usable } => write!(
                f,
                "this process may not run on cpu {cpu}, only on {}: list these, or widen its cpuset or `taskset`",
                Ranges(usable)
            ),
            CoreMapError::Repeated { cpu } => {
                write!(f, "cpu {cpu} is listed twice: list each cpu once")
            }
            CoreMapError::SharedCore { cpu, sibling, core } => write!(
                f,
                "cpus {sibling} and {cpu} are SMT siblings on core {core}: list one of them, or set shards.smt = \"use\""
            ),
        }
    }
}

impl std::error::Error for CoreMapError {}

/// Ascending indexes as they are written in a request.
struct Ranges<'a>(&'a [u32]);

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

#[cfg(test)]
mod tests;
