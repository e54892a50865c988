//! Reading the machine through hwloc.
//!
//! Three traps, each met once:
//! - NUMA nodes live at a special depth on which the crate panics, so a node is never looked up: it
//!   is read from the `nodeset` of each hardware thread.
//! - hwloc knows nothing of `taskset`, so what it lists is intersected with the affinity of the
//!   calling thread; on the real machine only, since a described one has other cpus.
//! - A description that hwloc cannot parse makes it fall back to the real machine. That is refused,
//!   so that a typing error never runs as if nothing had been said.

use std::collections::BTreeMap;
use std::{env, fmt, io};

use hwloc2::{ObjectType, Topology, TopologyObject};

use super::{Cpu, Machine};
use crate::pin;

/// The variables by which hwloc is given another machine.
const DESCRIPTIONS: [&str; 2] = ["HWLOC_SYNTHETIC", "HWLOC_XMLFILE"];

/// By this one a description is declared to be of the machine we run on.
const DECLARED_OURS: &str = "HWLOC_THISSYSTEM";

/// Why the machine could not be read.
#[derive(Debug)]
pub enum TopologyError {
    /// hwloc could not load any topology.
    Load,
    /// hwloc ignored the machine that this variable describes.
    Description {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// A cpu without a NUMA node, or no cpu at all.
    Incomplete,
    /// The affinity of this thread could not be read.
    Affinity(io::Error),
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopologyError::Load => write!(
                f,
                "hwloc could not read this machine: /sys must be readable, and HWLOC_XMLFILE, if set, must name a \
                 topology file"
            ),
            TopologyError::Description { variable, value } => write!(
                f,
                "hwloc does not accept {variable}=\"{value}\": correct it or unset it"
            ),
            TopologyError::Incomplete => write!(
                f,
                "hwloc lists no cpu, or a cpu without a NUMA node: check /sys/devices/system/node"
            ),
            TopologyError::Affinity(error) => {
                write!(f, "the affinity of this process cannot be read: {error}")
            }
        }
    }
}

impl std::error::Error for TopologyError {}

impl Machine {
    /// Reads the machine we run on, or the one that `HWLOC_SYNTHETIC` or `HWLOC_XMLFILE` describes.
    ///
    /// # Errors
    /// See [`TopologyError`].
    pub fn read() -> Result<Machine, TopologyError> {
        let topology = Topology::new().ok_or(TopologyError::Load)?;
        // hwloc offers no binding on a machine that it does not believe to be this one.
        let foreign = !topology.support().cpu().set_current_thread();
        if !foreign && env::var_os(DECLARED_OURS).is_none() {
            refuse_ignored_description()?;
        }

        let affinity = match foreign {
            true => None,
            false => Some(pin::affinity().map_err(TopologyError::Affinity)?),
        };
        let threads = topology
            .objects_with_type(&ObjectType::PU)
            .map_err(|_| TopologyError::Incomplete)?;
        let mut cpus = threads
            .into_iter()
            .map(|thread| {
                let cpu = place(thread)?;
                let usable = affinity
                    .as_ref()
                    .is_none_or(|allowed| allowed.contains(&cpu.cpu));
                Some(Cpu { usable, ..cpu })
            })
            .collect::<Option<Vec<Cpu>>>()
            .filter(|cpus| !cpus.is_empty())
            .ok_or(TopologyError::Incomplete)?;
        name_siblings(&mut cpus);
        Ok(Machine::new(cpus, foreign))
    }
}

fn refuse_ignored_description() -> Result<(), TopologyError> {
    for variable in DESCRIPTIONS {
        if let Some(value) = env::var_os(variable) {
            return Err(TopologyError::Description {
                variable,
                value: value.to_string_lossy().into_owned(),
            });
        }
    }
    Ok(())
}

/// Where a hardware thread sits; its siblings are not known yet. A machine that shows no cores has
/// one thread a core, one without L3 shares it by package, one without packages has a single
/// package.
fn place(thread: &TopologyObject) -> Option<Cpu> {
    let cpu = thread.os_index();
    let package = ancestor(thread, &ObjectType::Package).unwrap_or(0);
    Some(Cpu {
        cpu,
        core: ancestor(thread, &ObjectType::Core).unwrap_or(thread.logical_index()),
        package,
        node: u32::try_from(thread.nodeset()?.first()).ok()?,
        l3: ancestor(thread, &ObjectType::L3Cache).unwrap_or(package),
        smt: Vec::new(),
        usable: false,
    })
}

fn ancestor(thread: &TopologyObject, wanted: &ObjectType) -> Option<u32> {
    let mut above = thread.parent();
    while let Some(object) = above {
        if object.object_type() == *wanted {
            return Some(object.logical_index());
        }
        above = object.parent();
    }
    None
}

fn name_siblings(cpus: &mut [Cpu]) {
    let mut by_core: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for cpu in cpus.iter() {
        by_core.entry(cpu.core).or_default().push(cpu.cpu);
    }
    for cpu in cpus {
        cpu.smt.clone_from(&by_core[&cpu.core]);
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::Machine;
    use crate::alone;
    use crate::core_map::{CoreMap, CoreMapRequest, CoreRequest};
    use crate::pin;

    #[test]
    fn the_real_machine_is_ours_and_offers_what_our_affinity_allows() {
        let machine = Machine::read().expect("hwloc reads this machine");
        assert!(!machine.foreign);
        let mut usable: Vec<u32> = machine
            .cpus
            .iter()
            .filter(|cpu| cpu.usable)
            .map(|cpu| cpu.cpu)
            .collect();
        usable.sort_unstable();
        assert_eq!(usable, pin::affinity().expect("affinity is readable"));
    }

    /// Run in a process of its own by the test below, because hwloc reads its description from the
    /// environment.
    #[test]
    fn the_described_machine_is_as_described() {
        let Ok(expected) = env::var("VELO_TEST_MACHINE") else {
            return;
        };
        let counts: Vec<usize> = expected
            .split(' ')
            .map(|count| count.parse().expect("the parent test writes numbers"))
            .collect();
        let machine = Machine::read().expect("hwloc reads the description");
        assert!(machine.foreign);
        assert!(machine.cpus.iter().all(|cpu| cpu.usable));
        assert_eq!(
            [
                machine.packages(),
                machine.nodes(),
                machine.l3_domains(),
                machine.cores(),
                machine.cpus.len()
            ],
            counts[..]
        );

        let request = CoreMapRequest {
            housekeeping: CoreRequest::Count(0),
            ..CoreMapRequest::default()
        };
        let map = CoreMap::plan(&machine, &request).expect("one shard a core always fits");
        assert!(map.foreign());
        assert_eq!(map.shards(), machine.cores());
        let first: Vec<u32> = map
            .placements()
            .iter()
            .take(machine.nodes())
            .map(|seat| seat.node)
            .collect();
        let mut distinct = first.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(
            distinct.len(),
            machine.nodes(),
            "the first shards sit on different nodes: {first:?}"
        );
    }

    #[test]
    fn any_machine_can_be_described_to_hwloc() {
        for (description, counts) in [
            ("package:2 numa:1 l3:2 core:4 pu:2", "2 2 4 16 32"),
            ("package:1 numa:4 l3:2 core:8 pu:1", "1 4 8 64 64"),
            ("package:1 core:2 pu:1", "1 1 1 2 2"),
            ("pu:3", "1 1 1 3 3"),
        ] {
            let done =
                alone::command("topology::read::tests::the_described_machine_is_as_described")
                    .env("HWLOC_SYNTHETIC", description)
                    .env("VELO_TEST_MACHINE", counts)
                    .output()
                    .expect("the test binary starts itself");
            assert!(
                done.status.success(),
                "{description}: {}",
                String::from_utf8_lossy(&done.stdout)
            );
        }
    }

    /// Run in a process of its own by the test below.
    #[test]
    fn the_described_machine_is_refused() {
        if env::var_os("VELO_TEST_REFUSED").is_some() {
            let refused = Machine::read().expect_err("hwloc falls back to the real machine");
            assert!(
                refused
                    .to_string()
                    .contains("HWLOC_SYNTHETIC=\"package:two\""),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_description_that_hwloc_ignores_is_refused() {
        let done = alone::command("topology::read::tests::the_described_machine_is_refused")
            .env("HWLOC_SYNTHETIC", "package:two")
            .env("VELO_TEST_REFUSED", "1")
            .output()
            .expect("the test binary starts itself");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stdout)
        );
    }
}
