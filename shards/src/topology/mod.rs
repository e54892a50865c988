//! The machine as plain data: packages, NUMA nodes, L3 domains, cores and SMT siblings.
//!
//! ```text
//!   package ⊇ L3 domain ⊇ core ⊇ cpu (hardware thread)        NUMA node ⊇ cpu
//! ```
//!
//! The law: a [`Machine`] holds at least one cpu, each once, and every cpu names all hardware
//! threads of its core. Nothing here asks the operating system anything: `read.rs` does, and a test
//! may write a machine down instead.

mod read;

use std::collections::BTreeSet;

pub use read::TopologyError;

/// One hardware thread and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The operating system's index: what a thread is pinned to.
    pub cpu: u32,
    /// The core, by hwloc's logical index.
    pub core: u32,
    /// The package, by hwloc's logical index.
    pub package: u32,
    /// The NUMA node, by the operating system's index.
    pub node: u32,
    /// The L3 domain, by hwloc's logical index; the package's index where there is no L3.
    pub l3: u32,
    /// All hardware threads of the core, this one included, by the operating system's index.
    pub smt: Vec<u32>,
    /// Whether this process may run on it.
    pub usable: bool,
}

/// All hardware threads of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The hardware threads, in hwloc's logical order.
    pub cpus: Vec<Cpu>,
    /// Whether this is a described machine (`HWLOC_SYNTHETIC`, `HWLOC_XMLFILE`) and not the one we
    /// run on. Core maps can be planned for it; shards cannot be started on it.
    pub foreign: bool,
}

impl Machine {
    /// A machine of these hardware threads, in hwloc's logical order. `foreign` says that it is not
    /// the one we run on.
    ///
    /// # Panics
    /// When there is no cpu, when two have the same index, or when one is missing from its own
    /// `smt`.
    pub fn new(cpus: Vec<Cpu>, foreign: bool) -> Machine {
        assert!(!cpus.is_empty(), "a machine has at least one cpu");
        let distinct: BTreeSet<u32> = cpus.iter().map(|cpu| cpu.cpu).collect();
        assert_eq!(
            distinct.len(),
            cpus.len(),
            "each cpu appears once in a machine"
        );
        for cpu in &cpus {
            assert!(
                cpu.smt.contains(&cpu.cpu),
                "cpu {} is a hardware thread of its own core",
                cpu.cpu
            );
        }
        Machine { cpus, foreign }
    }

    /// The hardware thread with this operating-system index.
    pub fn cpu(&self, cpu: u32) -> Option<&Cpu> {
        self.cpus.iter().find(|known| known.cpu == cpu)
    }

    /// How many packages there are.
    pub fn packages(&self) -> usize {
        self.distinct(|cpu| cpu.package)
    }

    /// How many NUMA nodes have cpus.
    pub fn nodes(&self) -> usize {
        self.distinct(|cpu| cpu.node)
    }

    /// How many L3 domains there are.
    pub fn l3_domains(&self) -> usize {
        self.distinct(|cpu| cpu.l3)
    }

    /// How many physical cores there are.
    pub fn cores(&self) -> usize {
        self.distinct(|cpu| cpu.core)
    }

    fn distinct(&self, place: impl Fn(&Cpu) -> u32) -> usize {
        self.cpus.iter().map(place).collect::<BTreeSet<u32>>().len()
    }
}

/// Machines written down for tests.
#[cfg(test)]
pub(crate) mod described {
    use super::{Cpu, Machine};

    /// A regular machine; nodes are counted inside a package, L3 domains inside a node, cores
    /// inside an L3 domain. The operating-system index runs over the cores first and over the SMT
    /// siblings last, as on most servers.
    pub(crate) fn regular(
        packages: u32,
        nodes: u32,
        l3_domains: u32,
        cores: u32,
        threads: u32,
    ) -> Machine {
        let core_count = packages * nodes * l3_domains * cores;
        let cpus = (0..core_count).flat_map(|core| {
            let l3 = core / cores;
            let node = l3 / l3_domains;
            let smt: Vec<u32> = (0..threads)
                .map(|thread| thread * core_count + core)
                .collect();
            smt.clone().into_iter().map(move |cpu| Cpu {
                cpu,
                core,
                package: node / nodes,
                node,
                l3,
                smt: smt.clone(),
                usable: true,
            })
        });
        Machine::new(cpus.collect(), true)
    }

    /// The same machine with only these cpus usable.
    pub(crate) fn limited(machine: &Machine, usable: impl Fn(u32) -> bool) -> Machine {
        let cpus = machine.cpus.iter().cloned().map(|cpu| Cpu {
            usable: usable(cpu.cpu),
            ..cpu
        });
        Machine::new(cpus.collect(), machine.foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::described::regular;

    #[test]
    fn a_machine_counts_its_parts() {
        let machine = regular(2, 2, 2, 4, 2);
        assert_eq!(machine.packages(), 2);
        assert_eq!(machine.nodes(), 4);
        assert_eq!(machine.l3_domains(), 8);
        assert_eq!(machine.cores(), 32);
        assert_eq!(machine.cpus.len(), 64);
        assert_eq!(machine.cpu(33).map(|cpu| cpu.core), Some(1));
        assert_eq!(machine.cpu(64), None);
    }
}
