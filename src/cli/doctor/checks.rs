//! The checks, one a function, in the order in which they are shown.
//!
//! Law: a check says what it found and what that means to the shards, in one line, and if there is something to mend, the
//! command. What makes a run impossible is decided as `velo run` decides it.

use velostream_shards::core_map::written_cpus as ranges;
use velostream_shards::{MEMLOCK_BYTES_A_SHARD, Numa, ReactorChoice, ReactorError};

use super::host::Host;
use super::{Finding, Impossible, State, Wanted};

/// Descriptors without which shards do not start: their doorbells and rings, and the files of a small job.
const OPEN_FILES_LEAST: u64 = 64;

/// The same for each shard.
const OPEN_FILES_LEAST_A_SHARD: u64 = 16;

/// Descriptors with which a job over a Kafka cluster has enough: a client of each shard holds a connection to each broker.
const OPEN_FILES_ENOUGH: u64 = 1024;

/// The same for each shard.
const OPEN_FILES_ENOUGH_A_SHARD: u64 = 128;

/// Clocks that are read without a system call.
const FAST_CLOCKS: [&str; 5] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
    "riscv_clocksource",
];

/// A check.
type Check = fn(&Host, &Wanted) -> Finding;

/// All checks.
const ALL: [Check; 9] = [
    memlock,
    io_uring,
    governor,
    huge_pages,
    transparent_huge_pages,
    isolcpus,
    numa_balancing,
    clock_source,
    open_files,
];

/// Those of which a run would say nothing by itself: without memory or rings, its reactor says so.
const BEFORE_RUN: [Check; 5] = [
    governor,
    transparent_huge_pages,
    numa_balancing,
    clock_source,
    open_files,
];

/// What every check finds.
pub(super) fn all(host: &Host, wanted: &Wanted) -> Vec<Finding> {
    ALL.iter().map(|check| check(host, wanted)).collect()
}

/// What a run has to say before it starts.
pub(super) fn before_run(host: &Host, wanted: &Wanted) -> Vec<Finding> {
    BEFORE_RUN.iter().map(|check| check(host, wanted)).collect()
}

fn ok(check: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        check,
        state: State::Ok,
        found: found.into(),
        fix: None,
        impossible: None,
    }
}

fn advice(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        state: State::Advice,
        fix: Some(fix.into()),
        ..ok(check, found)
    }
}

fn fails(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding {
        state: State::Fails,
        ..advice(check, found, fix)
    }
}

/// How much memory may be locked: io_uring's rings are.
fn memlock(host: &Host, wanted: &Wanted) -> Finding {
    const CHECK: &str = "memlock";
    if wanted.reactor == ReactorChoice::Poll {
        return ok(CHECK, "shards on poll lock no memory");
    }
    let needed = MEMLOCK_BYTES_A_SHARD * wanted.shards as u64 / 1024;
    match host.limit("Max locked memory") {
        None => ok(CHECK, "the kernel does not say how much may be locked"),
        Some(u64::MAX) => ok(CHECK, "any amount may be locked"),
        Some(bytes) if bytes / 1024 >= needed => ok(
            CHECK,
            format!(
                "{} KiB may be locked, {} need {needed}",
                bytes / 1024,
                counted(wanted.shards, "shard")
            ),
        ),
        Some(bytes) => Finding {
            impossible: (wanted.reactor == ReactorChoice::Glommio)
                .then_some(Impossible::Permission),
            ..fails(
                CHECK,
                format!(
                    "{} KiB may be locked, {} need {needed}; shards may have to run on poll",
                    bytes / 1024,
                    counted(wanted.shards, "shard")
                ),
                format!("ulimit -l {needed} (in a systemd unit: LimitMEMLOCK={needed}K)"),
            )
        },
    }
}

/// Whether the kernel grants rings to this process.
fn io_uring(host: &Host, wanted: &Wanted) -> Finding {
    const CHECK: &str = "io_uring";
    if wanted.reactor == ReactorChoice::Poll {
        return ok(CHECK, "shards on poll use none");
    }
    let release = host.text("proc/sys/kernel/osrelease");
    let release = release.map_or("this kernel".to_owned(), |release| {
        format!("Linux {release}")
    });
    let level = host.text("proc/sys/kernel/io_uring_disabled");
    let Some(refusal) = &wanted.io_uring else {
        return match level.as_deref() {
            None | Some("0") => ok(CHECK, format!("{release} allows it")),
            Some(level) => advice(
                CHECK,
                format!(
                    "allowed to this user, but not to others: kernel.io_uring_disabled is {level}"
                ),
                "sudo sysctl -w kernel.io_uring_disabled=0",
            ),
        };
    };
    let (found, fix) = match refusal {
        ReactorError::Forbidden {
            disabled: Some(level @ 1..),
        } => (
            format!("forbidden: kernel.io_uring_disabled is {level}"),
            "sudo sysctl -w kernel.io_uring_disabled=0",
        ),
        ReactorError::Forbidden { .. } => (
            "forbidden by a seccomp policy".to_owned(),
            "docker run --security-opt seccomp=unconfined",
        ),
        ReactorError::Memlock { limit_kib, .. } => (
            format!("no ring fits into the {limit_kib} KiB that may be locked"),
            "see memlock",
        ),
        ReactorError::Unsupported { .. } => (
            format!("{release} does not offer what is needed, or hides it"),
            "boot Linux 5.8 or newer",
        ),
        ReactorError::Other { reason } => (
            format!("the kernel grants no ring: {reason}"),
            "set shards.reactor = \"poll\"",
        ),
    };
    let why = match refusal.is_permission() {
        true => Impossible::Permission,
        false => Impossible::Config,
    };
    Finding {
        impossible: (wanted.reactor == ReactorChoice::Glommio).then_some(why),
        ..fails(CHECK, format!("{found}; shards run on poll"), fix)
    }
}

/// Whether the cores of the shards run at their full clock.
fn governor(host: &Host, wanted: &Wanted) -> Finding {
    const CHECK: &str = "governor";
    let governors = wanted.cpus.iter().filter_map(|cpu| {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor");
        Some((*cpu, host.text(&path)?))
    });
    let governors: Vec<(u32, String)> = governors.collect();
    let slow: Vec<u32> = governors
        .iter()
        .filter(|(_, governor)| governor != "performance")
        .map(|(cpu, _)| *cpu)
        .collect();
    match (
        governors.first(),
        governors.iter().find(|(cpu, _)| slow.contains(cpu)),
    ) {
        (None, _) => ok(CHECK, "Linux does not set the clock of these cores"),
        (_, None) => ok(CHECK, "performance"),
        (_, Some((_, governor))) => fails(
            CHECK,
            format!(
                "{governor} on cpu {}: a shard that wakes begins slowly",
                written_cpus(&slow)
            ),
            "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        ),
    }
}

/// Whether the kernel makes huge pages of large state in the background, and none are withheld from it.
fn huge_pages(host: &Host, _: &Wanted) -> Finding {
    const CHECK: &str = "huge_pages";
    const DEFRAG: &str = "sys/kernel/mm/transparent_hugepage/khugepaged/defrag";
    let pages = |name| host.memory(name).unwrap_or(0);
    let (reserved, free) = (pages("HugePages_Total"), pages("HugePages_Free"));
    if reserved > 0 && reserved == free {
        let mib = reserved * pages("Hugepagesize") / 1024;
        return advice(
            CHECK,
            format!(
                "{mib} MiB are set aside as huge pages that nobody uses; velo uses transparent ones"
            ),
            "sudo sysctl -w vm.nr_hugepages=0",
        );
    }
    match host.text(DEFRAG).as_deref() {
        None => advice(
            CHECK,
            "this kernel makes none: large state is slower",
            "boot a kernel with CONFIG_TRANSPARENT_HUGEPAGE",
        ),
        Some("0") => advice(
            CHECK,
            "khugepaged finds no room for them once memory is fragmented",
            format!("echo 1 | sudo tee /{DEFRAG}"),
        ),
        Some(_) => ok(CHECK, "made of large state in the background"),
    }
}

/// Whether huge pages are made where they are asked for, and nowhere else.
fn transparent_huge_pages(host: &Host, _: &Wanted) -> Finding {
    const CHECK: &str = "thp";
    const ENABLED: &str = "sys/kernel/mm/transparent_hugepage/enabled";
    let fix = || format!("echo madvise | sudo tee /{ENABLED}");
    match host.chosen(ENABLED).as_deref() {
        None => ok(CHECK, "this kernel has no transparent huge pages"),
        Some("madvise") => ok(CHECK, "madvise"),
        Some("always") => fails(
            CHECK,
            "always: a huge page is cleared within the turn that touches it first",
            fix(),
        ),
        Some(other) => advice(
            CHECK,
            format!("{other}: large state has small pages, and is slower"),
            fix(),
        ),
    }
}

/// Whether the kernel keeps other work off the cores of the shards.
fn isolcpus(host: &Host, wanted: &Wanted) -> Finding {
    const CHECK: &str = "isolcpus";
    if !wanted.keeps_cores {
        return ok(
            CHECK,
            "every core carries a shard: there is none for other work",
        );
    }
    let listed = |path| host.cpus(path).unwrap_or_default();
    let isolated = listed("sys/devices/system/cpu/isolated");
    let tickless = listed("sys/devices/system/cpu/nohz_full");
    let without = |list: &[u32]| -> Vec<u32> {
        let cpus = wanted.cpus.iter().copied();
        cpus.filter(|cpu| !list.contains(cpu)).collect()
    };
    let cpus = written_cpus(&wanted.cpus);
    if !isolated.is_empty() && without(&isolated).len() == wanted.cpus.len() {
        let isolated = written_cpus(&isolated);
        return advice(
            CHECK,
            format!(
                "cpu {isolated} are isolated, and the shards sit on others: this process may not run there"
            ),
            format!(
                "taskset -c 0-{} velo .. (in a systemd unit: CPUAffinity=)",
                wanted.cpus_all.saturating_sub(1)
            ),
        );
    }
    let fix = || {
        format!(
            "add to the kernel's command line and boot: isolcpus=managed_irq,domain,{cpus} nohz_full={cpus} rcu_nocbs={cpus}"
        )
    };
    match (without(&isolated).as_slice(), without(&tickless).as_slice()) {
        ([], []) => ok(CHECK, format!("cpu {cpus} are isolated and without ticks")),
        ([], ticking) => advice(
            CHECK,
            format!(
                "isolated, but the timer ticks on cpu {}",
                written_cpus(ticking)
            ),
            fix(),
        ),
        (shared, _) => advice(
            CHECK,
            format!(
                "the kernel gives other work to cpu {} too",
                written_cpus(shared)
            ),
            fix(),
        ),
    }
}

/// Whether the kernel leaves placed memory where it is.
fn numa_balancing(host: &Host, wanted: &Wanted) -> Finding {
    const CHECK: &str = "numa_balancing";
    match host.text("proc/sys/kernel/numa_balancing").as_deref() {
        _ if wanted.nodes == 1 => ok(CHECK, "one NUMA node: nothing to balance"),
        _ if wanted.numa == Numa::Off => ok(CHECK, "shards.numa is off: memory may lie anywhere"),
        None | Some("0") => ok(CHECK, "off"),
        Some(_) => fails(
            CHECK,
            "on: the kernel unmaps pages, in order to move them, that were placed already",
            "sudo sysctl -w kernel.numa_balancing=0",
        ),
    }
}

/// Whether the time is read without a system call.
fn clock_source(host: &Host, _: &Wanted) -> Finding {
    const CHECK: &str = "clock_source";
    const FOLDER: &str = "sys/devices/system/clocksource/clocksource0";
    let Some(current) = host.text(&format!("{FOLDER}/current_clocksource")) else {
        return ok(CHECK, "the kernel does not say");
    };
    if FAST_CLOCKS.contains(&current.as_str()) {
        return ok(CHECK, current);
    }
    let available = host.text(&format!("{FOLDER}/available_clocksource"));
    let available = available.unwrap_or_default();
    let faster = FAST_CLOCKS
        .into_iter()
        .find(|fast| available.split_whitespace().any(|clock| clock == *fast));
    fails(
        CHECK,
        format!("{current}: each turn reads the time, and each reading is a system call"),
        match faster {
            Some(faster) => format!("echo {faster} | sudo tee /{FOLDER}/current_clocksource"),
            None => {
                "the kernel found the machine's clock unsound: see dmesg | grep -i tsc".to_owned()
            }
        },
    )
}

/// How many descriptors this process may have.
fn open_files(host: &Host, wanted: &Wanted) -> Finding {
    const CHECK: &str = "open_files";
    let shards = wanted.shards as u64;
    let least = OPEN_FILES_LEAST + OPEN_FILES_LEAST_A_SHARD * shards;
    let enough = OPEN_FILES_ENOUGH.max(OPEN_FILES_ENOUGH_A_SHARD * shards);
    let fix = || format!("ulimit -n {enough} (in a systemd unit: LimitNOFILE={enough})");
    match host.limit("Max open files") {
        None => ok(CHECK, "the kernel does not say how many there may be"),
        Some(u64::MAX) => ok(CHECK, "any number"),
        Some(files) if files >= enough => ok(CHECK, format!("{files} may be open")),
        Some(files) if files >= least => advice(
            CHECK,
            format!("{files} may be open: few, if there are many brokers"),
            fix(),
        ),
        Some(files) => Finding {
            impossible: Some(Impossible::Config),
            ..fails(
                CHECK,
                format!(
                    "{files} may be open, {} need {least}",
                    counted(wanted.shards, "shard")
                ),
                fix(),
            )
        },
    }
}

/// Cpus as people write them: `2-9,12`.
fn written_cpus(cpus: &[u32]) -> String {
    match cpus {
        [one] => one.to_string(),
        cpus => ranges(cpus),
    }
}

fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
