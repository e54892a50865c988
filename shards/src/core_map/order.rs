//! The order in which shards take cpus.
//!
//! ```text
//!   spread:  node 0 L3 0 core 0, node 1 L3 2 core 8, node 0 L3 1 core 4, ..    one from each in turn
//!   pack:    node 0 L3 0 core 0, node 0 L3 0 core 1, ..                        one after the other
//! ```
//!
//! The law: every usable cpu comes once, and no sibling of a core comes before it must: with spread
//! after all first threads of the machine, with pack after those of its own L3 domain.

use std::collections::BTreeMap;

use super::{Arrangement, Smt};
use crate::topology::Cpu;

/// These cpus in the order in which shards take them; under [`Smt::Avoid`] the first of each core
/// only.
pub(super) fn order<'a>(cpus: &[&'a Cpu], arrangement: Arrangement, smt: Smt) -> Vec<&'a Cpu> {
    match arrangement {
        Arrangement::Spread => spread(cpus, smt),
        Arrangement::Pack => grouped(cpus, |cpu| cpu.node)
            .iter()
            .flat_map(|node| grouped(node, |cpu| cpu.l3))
            .flat_map(|l3| by_rank(&l3, smt).into_iter().flatten())
            .collect(),
    }
}

/// The first threads of all cores, dealt over nodes, L3 domains and cores; then the second ones in
/// the same way, and so on.
fn spread<'a>(cpus: &[&'a Cpu], smt: Smt) -> Vec<&'a Cpu> {
    let mut order = Vec::new();
    for threads in by_rank(cpus, smt) {
        let nodes = grouped(&threads, |cpu| cpu.node);
        order.extend(deal(
            nodes
                .iter()
                .map(|node| deal(grouped(node, |cpu| cpu.l3).into_iter())),
        ));
    }
    order
}

/// The first thread of every core, the second ones, and so on, as far as siblings are asked for.
fn by_rank<'a>(cpus: &[&'a Cpu], smt: Smt) -> Vec<Vec<&'a Cpu>> {
    let cores = grouped(cpus, |cpu| cpu.core);
    let deepest = cores.iter().map(Vec::len).max().unwrap_or(0);
    let ranks = match smt {
        Smt::Avoid => deepest.min(1),
        Smt::Use => deepest,
    };
    (0..ranks)
        .map(|rank| {
            let threads = cores.iter().filter_map(|core| core.get(rank).copied());
            threads.collect()
        })
        .collect()
}

/// Puts equal places together, in the order of their indexes.
pub(super) fn grouped<'a>(cpus: &[&'a Cpu], place: impl Fn(&Cpu) -> u32) -> Vec<Vec<&'a Cpu>> {
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
