//! The core map: which shard is pinned to which core, and which cores are kept for everything else.
//!
//! ```text
//!   node 0            node 1               spread: over the nodes first, then over the L3 domains of a node, then
//!   L3 0     L3 1     L3 2     L3 3        over the cores; pack: a node, and in it an L3 domain, is filled before
//!   h  4     2  6     h  5     3  7        the next. SMT siblings last, and only when they are asked for.
//!                                          h: housekeeping, the first core of each node that has shards
//! ```
//!
//! The law: without `oversubscribe` no cpu carries two shards, under [`Smt::Avoid`] no core does, and
//! no core carries both a shard and housekeeping. A request that cannot be met is refused with the
//! reason and the remedy, never bent. Planning asks the operating system nothing: the same machine
//! and request give the same map.

mod housekeeping;
mod order;
mod refusal;
mod written;

pub use refusal::CoreMapError;
pub use written::{CoreRequestError, written_cpus};

pub(crate) use written::Ranges;

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
/// Written as `auto`; as a bare number, which is a count (`8`); or as a list of cpus by the operating
/// system's index, which has a comma or a dash (`2-9,12`; one cpu alone is `3-3`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreRequest {
    /// For shards, one on each usable physical core that is not kept for housekeeping. For
    /// housekeeping, see [`CoreMapRequest::housekeeping`].
    Auto,
    /// This many, where they are best put.
    Count(usize),
    /// Each of these cpus, in this order.
    List(Vec<u32>),
}

/// In which order shards take cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Over as many NUMA nodes and L3 domains as there are: each shard has the most cache and memory
    /// bandwidth.
    Spread,
    /// Into one NUMA node and one L3 domain before the next: what shards hand to each other stays
    /// close.
    Pack,
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
    /// Which cores carry shards.
    pub cores: CoreRequest,
    /// In which order they are taken, unless they are listed.
    pub arrangement: Arrangement,
    /// Whether SMT siblings may carry shards of their own.
    pub smt: Smt,
    /// Which cores carry no shard, for client and control threads. `Auto`: on a machine of
    /// [`HOUSEKEEPING_FROM_CORES`] usable cores or more the first core of every NUMA node that has
    /// shards, as far as the shards leave one; with fewer none.
    pub housekeeping: CoreRequest,
    /// Whether more shards than cores wrap round the usable cpus. Has no bearing on a list.
    pub oversubscribe: bool,
}

impl Default for CoreMapRequest {
    /// One shard on each core that is not kept for housekeeping, spread.
    fn default() -> CoreMapRequest {
        CoreMapRequest {
            cores: CoreRequest::Auto,
            arrangement: Arrangement::Spread,
            smt: Smt::Avoid,
            housekeeping: CoreRequest::Auto,
            oversubscribe: false,
        }
    }
}

/// From this many usable cores on, some are kept for housekeeping unless asked otherwise.
pub const HOUSEKEEPING_FROM_CORES: usize = 4;

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

/// One placement for each shard, in the order of the shards, and the cores kept for housekeeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreMap {
    placements: Vec<Placement>,
    housekeeping: Vec<Cpu>,
    /// All hardware threads kept with them.
    client_cpus: Vec<Cpu>,
    foreign: bool,
    oversubscribed: bool,
}

impl CoreMap {
    /// Places the shards and keeps cores for housekeeping.
    ///
    /// # Errors
    /// Whatever of the request cannot be met on this machine: see [`CoreMapError`].
    pub fn plan(machine: &Machine, request: &CoreMapRequest) -> Result<CoreMap, CoreMapError> {
        if machine.cpus.iter().all(|cpu| !cpu.usable) {
            return Err(CoreMapError::NoUsableCpu);
        }
        let (seats, kept) = housekeeping::share_out(machine, request)?;
        match seats.len() {
            0 => return Err(CoreMapError::NoCoreLeft),
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
        assert!(
            kept.iter()
                .all(|kept| placements.iter().all(|seat| seat.core != kept.core)),
            "no core carries both a shard and housekeeping"
        );
        Ok(CoreMap {
            placements,
            client_cpus: match &request.housekeeping {
                CoreRequest::List(_) => kept.iter().copied().cloned().collect(),
                CoreRequest::Auto | CoreRequest::Count(_) => {
                    let on_kept = |cpu: &&Cpu| kept.iter().any(|kept| kept.core == cpu.core);
                    let usable = machine.cpus.iter().filter(|cpu| cpu.usable);
                    usable.filter(on_kept).cloned().collect()
                }
            },
            housekeeping: kept.into_iter().cloned().collect(),
            foreign: machine.foreign,
            oversubscribed,
        })
    }

    /// Where each shard sits, in the order of the shards.
    pub fn placements(&self) -> &[Placement] {
        &self.placements
    }

    /// What is kept for client and control threads: a cpu of each core, or the cpus that were listed.
    pub fn housekeeping(&self) -> &[Cpu] {
        &self.housekeeping
    }

    /// The cpus on which the client threads of shards on this node run: all hardware threads kept on
    /// the node, those of other nodes when it has none, and none at all when nothing is kept, which
    /// means wherever the process may run.
    pub fn client_cpus(&self, node: u32) -> Vec<u32> {
        let own: Vec<u32> = self
            .client_cpus
            .iter()
            .filter(|cpu| cpu.node == node)
            .map(|cpu| cpu.cpu)
            .collect();
        match own.is_empty() {
            true => self.control_cpus(),
            false => own,
        }
    }

    /// The cpus on which threads that serve all shards run: everything kept. None when nothing is.
    pub fn control_cpus(&self) -> Vec<u32> {
        self.client_cpus.iter().map(|cpu| cpu.cpu).collect()
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

#[cfg(test)]
mod tests;
