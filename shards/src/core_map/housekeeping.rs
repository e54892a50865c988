//! Which cores are kept for housekeeping, and where the shards then go.
//!
//! ```text
//!   listed:          keep these ──> shards on the rest
//!   auto, a count:   shards on all ──> keep a core of a node that has some ──> shards on the rest ──> another?
//! ```
//!
//! The law: what was asked for by number or by name is met or refused. Only `auto` gives way: it
//! keeps what the shards leave, at most one core of a node, and never makes a request impossible. It
//! keeps the first core of a node, since that is where the kernel does most of its own work, and a
//! shard would rather be elsewhere.

use std::collections::BTreeSet;

use super::order::{grouped, order};
use super::refusal::indexes;
use super::{CoreMapError, CoreMapRequest, CoreRequest, HOUSEKEEPING_FROM_CORES, MAX_SHARDS, Smt};
use crate::topology::{Cpu, Machine};

/// Cpus for the shards, in their order, and cpus kept for housekeeping.
pub(super) type Shares<'a> = (Vec<&'a Cpu>, Vec<&'a Cpu>);

/// Shares the usable cores out between shards and housekeeping.
pub(super) fn share_out<'a>(
    machine: &'a Machine,
    request: &CoreMapRequest,
) -> Result<Shares<'a>, CoreMapError> {
    match &request.housekeeping {
        CoreRequest::List(cpus) => {
            let kept = listed(machine, cpus, Smt::Use)
                .map_err(|wrong| CoreMapError::Housekeeping(Box::new(wrong)))?;
            let seats = seats(machine, &kept, request)?;
            let shared = kept
                .iter()
                .find_map(|kept| Some((kept, seats.iter().find(|seat| seat.core == kept.core)?)));
            match shared {
                Some((kept, seat)) => Err(CoreMapError::KeptCore {
                    cpu: seat.cpu,
                    kept: kept.cpu,
                }),
                None => Ok((seats, kept)),
            }
        }
        CoreRequest::Count(count) => {
            let (seats, kept) = keep(machine, request, *count, usize::MAX)?;
            match kept.len() == *count {
                true => Ok((seats, kept)),
                false => Err(CoreMapError::TooMuchHousekeeping {
                    asked: *count,
                    left: kept.len(),
                    shards: seats.len(),
                }),
            }
        }
        CoreRequest::Auto => {
            let cores = grouped(&usable_without(machine, &[]), |cpu| cpu.core).len();
            match cores < HOUSEKEEPING_FROM_CORES {
                true => keep(machine, request, 0, 0),
                false => keep(machine, request, usize::MAX, 1),
            }
        }
    }
}

/// Keeps cores of nodes that have shards, one after the other, up to so many in all and of a node,
/// as long as the shards that were asked for still find their place, one of them on that node.
fn keep<'a>(
    machine: &'a Machine,
    request: &CoreMapRequest,
    most: usize,
    most_of_a_node: usize,
) -> Result<Shares<'a>, CoreMapError> {
    let mut kept: Vec<&Cpu> = Vec::new();
    let mut taken = seats(machine, &kept, request)?;
    while kept.len() < most {
        let kept_of = |node: u32| kept.iter().filter(|cpu| cpu.node == node).count();
        let mut nodes: Vec<u32> = taken.iter().map(|seat| seat.node).collect();
        nodes.sort_unstable_by_key(|node| (kept_of(*node), *node));
        nodes.dedup();
        let next = nodes
            .into_iter()
            .filter(|node| kept_of(*node) < most_of_a_node)
            .find_map(|node| {
                let mut cores = usable_without(machine, &kept).into_iter();
                cores.find_map(|cpu| {
                    let wished: Vec<&Cpu> = kept.iter().copied().chain([cpu]).collect();
                    let then = (cpu.node == node).then(|| seats(machine, &wished, request));
                    let seats = then?.ok()?;
                    let fits = seats.iter().any(|seat| seat.node == node)
                        && seats.iter().all(|seat| seat.core != cpu.core)
                        && (request.housekeeping != CoreRequest::Auto || are_distinct(&seats));
                    fits.then_some((wished, seats))
                })
            });
        let Some(next) = next else { break };
        (kept, taken) = next;
    }
    Ok((taken, kept))
}

fn are_distinct(seats: &[&Cpu]) -> bool {
    let cpus: BTreeSet<u32> = seats.iter().map(|seat| seat.cpu).collect();
    cpus.len() == seats.len()
}

/// The usable cpus on cores of which nothing is kept.
fn usable_without<'a>(machine: &'a Machine, kept: &[&Cpu]) -> Vec<&'a Cpu> {
    let free = |cpu: &&Cpu| cpu.usable && kept.iter().all(|kept| kept.core != cpu.core);
    machine.cpus.iter().filter(free).collect()
}

/// The cpus that the shards take when these are kept; listed ones whatever is kept.
fn seats<'a>(
    machine: &'a Machine,
    kept: &[&Cpu],
    request: &CoreMapRequest,
) -> Result<Vec<&'a Cpu>, CoreMapError> {
    let free = usable_without(machine, kept);
    match &request.cores {
        CoreRequest::Auto => Ok(order(&free, request.arrangement, Smt::Avoid)),
        CoreRequest::Count(count) => counted(&free, *count, request),
        CoreRequest::List(cpus) => listed(machine, cpus, request.smt),
    }
}

/// The first `count` of these cpus in the order that is asked for, wrapping round where that is
/// allowed.
fn counted<'a>(
    free: &[&'a Cpu],
    count: usize,
    request: &CoreMapRequest,
) -> Result<Vec<&'a Cpu>, CoreMapError> {
    if count == 0 {
        return Err(CoreMapError::NoShards);
    }
    if count > MAX_SHARDS {
        return Err(CoreMapError::AboveLimit { asked: count });
    }
    let order = order(free, request.arrangement, request.smt);
    if count > order.len() && !request.oversubscribe {
        return Err(CoreMapError::TooManyShards {
            asked: count,
            cores: grouped(free, |cpu| cpu.core).len(),
            cpus: free.len(),
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
