//! The checks, on hosts that the tests make: a folder with the files of `/proc` and `/sys` that matter.

use std::fs;

use tempfile::TempDir;
use velostream_shards::CoreMapRequest;

use super::*;

/// A host as it should be: eight cores of two nodes, isolated but for two.
const BEST: [(&str, &str); 12] = [
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            20000                20000                files     \n\
         Max locked memory         8388608              8388608              bytes     \n",
    ),
    (
        "proc/meminfo",
        "MemTotal:       16000000 kB\nHugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n",
    ),
    ("proc/sys/kernel/osrelease", "6.12.0\n"),
    ("proc/sys/kernel/io_uring_disabled", "0\n"),
    ("proc/sys/kernel/numa_balancing", "0\n"),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always [madvise] never\n",
    ),
    (
        "sys/kernel/mm/transparent_hugepage/khugepaged/defrag",
        "1\n",
    ),
    ("sys/devices/system/cpu/isolated", "1-3,5-7\n"),
    ("sys/devices/system/cpu/nohz_full", "1-3,5-7\n"),
    (
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
        "performance\n",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "tsc\n",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/available_clocksource",
        "tsc hpet acpi_pm\n",
    ),
];

fn best() -> Wanted {
    Wanted {
        shards: 6,
        cpus: vec![1, 2, 3, 5, 6, 7],
        cpus_all: 8,
        keeps_cores: true,
        nodes: 2,
        reactor: ReactorChoice::Auto,
        numa: Numa::Prefer,
        io_uring: None,
    }
}

/// The findings of a host that is the best one but for `file`, which holds `text`, or is not there.
fn found_with(file: &str, text: Option<&str>, wanted: &Wanted) -> Vec<Finding> {
    let root = TempDir::new().expect("a temporary folder");
    let others = BEST.into_iter().filter(|(path, _)| *path != file);
    for (path, text) in others.chain(text.map(|text| (file, text))) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    checks::all(&Host::at(root.path()), wanted)
}

/// The one check that is not ok.
fn only(findings: Vec<Finding>) -> Finding {
    let mut wrong = findings.into_iter().filter(|one| one.state != State::Ok);
    let first = wrong.next().expect("something is not ok");
    let second = wrong.next();
    assert!(second.is_none(), "{first:?} and {second:?}");
    first
}

#[test]
fn a_host_as_it_should_be_has_nothing_to_mend() {
    let findings = found_with("", None, &best());
    let names: Vec<&str> = findings.iter().map(|one| one.check).collect();
    assert_eq!(
        names,
        [
            "memlock",
            "io_uring",
            "governor",
            "huge_pages",
            "thp",
            "isolcpus",
            "numa_balancing",
            "clock_source",
            "open_files"
        ]
    );
    for finding in &findings {
        assert_eq!(
            (finding.state, &finding.fix),
            (State::Ok, &None),
            "{finding:?}"
        );
    }
    verdict(&findings).expect("nothing is impossible");
}

#[test]
fn each_fault_is_found_by_its_check_and_has_its_command() {
    const LIMITS: &str = "proc/self/limits";
    for (file, text, check, state, found, fix) in [
        (
            LIMITS,
            "Max open files  20000  20000  files\nMax locked memory  65536  65536  bytes\n",
            "memlock",
            State::Fails,
            "64 KiB may be locked, 6 shards need 3072",
            "ulimit -l 3072",
        ),
        (
            LIMITS,
            "Max open files  100  20000  files\nMax locked memory  unlimited  unlimited  bytes\n",
            "open_files",
            State::Fails,
            "6 shards need 160",
            "ulimit -n 1024",
        ),
        (
            LIMITS,
            "Max open files  1000  20000  files\nMax locked memory  unlimited  unlimited  bytes\n",
            "open_files",
            State::Advice,
            "1000 may be open",
            "LimitNOFILE=1024",
        ),
        (
            "proc/sys/kernel/io_uring_disabled",
            "1\n",
            "io_uring",
            State::Advice,
            "kernel.io_uring_disabled is 1",
            "sudo sysctl -w kernel.io_uring_disabled=0",
        ),
        (
            "sys/devices/system/cpu/cpu5/cpufreq/scaling_governor",
            "powersave\n",
            "governor",
            State::Fails,
            "powersave on cpu 5",
            "echo performance | sudo tee /sys/devices/system/cpu/",
        ),
        (
            "proc/meminfo",
            "HugePages_Total:    512\nHugePages_Free:     512\nHugepagesize:       2048 kB\n",
            "huge_pages",
            State::Advice,
            "1024 MiB are set aside",
            "sudo sysctl -w vm.nr_hugepages=0",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/khugepaged/defrag",
            "0\n",
            "huge_pages",
            State::Advice,
            "khugepaged",
            "echo 1 | sudo tee /sys/kernel/mm/transparent_hugepage/khugepaged/defrag",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "[always] madvise never\n",
            "thp",
            State::Fails,
            "always",
            "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always madvise [never]\n",
            "thp",
            State::Advice,
            "never",
            "echo madvise | sudo tee",
        ),
        (
            "sys/devices/system/cpu/isolated",
            "\n",
            "isolcpus",
            State::Advice,
            "other work to cpu 1-3,5-7",
            "isolcpus=managed_irq,domain,1-3,5-7 nohz_full=1-3,5-7 rcu_nocbs=1-3,5-7",
        ),
        (
            "sys/devices/system/cpu/isolated",
            "0,4\n",
            "isolcpus",
            State::Advice,
            "cpu 0,4 are isolated, and the shards sit on others",
            "taskset -c 0-7",
        ),
        (
            "sys/devices/system/cpu/nohz_full",
            "1-3\n",
            "isolcpus",
            State::Advice,
            "ticks on cpu 5-7",
            "nohz_full=1-3,5-7",
        ),
        (
            "proc/sys/kernel/numa_balancing",
            "1\n",
            "numa_balancing",
            State::Fails,
            "on:",
            "sudo sysctl -w kernel.numa_balancing=0",
        ),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet\n",
            "clock_source",
            State::Fails,
            "hpet",
            "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
    ] {
        let finding = only(found_with(file, Some(text), &best()));
        assert_eq!(
            (finding.check, finding.state),
            (check, state),
            "{finding:?}"
        );
        assert!(finding.found.contains(found), "{finding:?}");
        let command = finding.fix.as_deref().unwrap_or_default();
        assert!(command.contains(fix), "{finding:?}");
    }
}

#[test]
fn what_a_machine_does_not_have_is_ok() {
    for (file, check) in [
        ("proc/self/limits", "memlock"),
        (
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor",
            "governor",
        ),
        ("proc/sys/kernel/numa_balancing", "numa_balancing"),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "clock_source",
        ),
    ] {
        let findings = found_with(file, None, &best());
        assert!(findings.iter().all(|one| one.state == State::Ok), "{check}");
    }
    let small = Wanted {
        keeps_cores: false,
        nodes: 1,
        ..best()
    };
    let findings = found_with("sys/devices/system/cpu/isolated", None, &small);
    assert!(findings.iter().all(|one| one.state == State::Ok));
    let findings = found_with("proc/sys/kernel/numa_balancing", Some("1"), &small);
    assert!(findings.iter().all(|one| one.state == State::Ok));
}

#[test]
fn a_refused_io_uring_makes_a_run_impossible_only_where_glommio_is_asked_for() {
    let little = "Max open files  20000  20000  files\nMax locked memory  65536  65536  bytes\n";
    for (refusal, code, fix) in [
        (
            ReactorError::Forbidden { disabled: Some(2) },
            77,
            "sysctl -w kernel.io_uring_disabled=0",
        ),
        (
            ReactorError::Forbidden { disabled: None },
            77,
            "seccomp=unconfined",
        ),
        (
            ReactorError::Unsupported {
                reason: "old".to_owned(),
            },
            78,
            "Linux 5.8",
        ),
    ] {
        let wanted = |reactor| Wanted {
            reactor,
            io_uring: Some(refusal.clone()),
            ..best()
        };
        let findings = found_with("", None, &wanted(ReactorChoice::Glommio));
        let refused = verdict(&findings).expect_err("glommio was asked for");
        assert_eq!(refused.exit_code(), code);
        assert!(
            refused.to_string().contains("see io_uring above"),
            "{refused}"
        );
        let finding = only(findings);
        assert!(finding.fix.is_some_and(|command| command.contains(fix)));
        verdict(&found_with("", None, &wanted(ReactorChoice::Auto))).expect("poll will do");
    }
    let wanted = Wanted {
        reactor: ReactorChoice::Glommio,
        ..best()
    };
    let refused = verdict(&found_with("proc/self/limits", Some(little), &wanted));
    assert_eq!(refused.expect_err("it locks memory").exit_code(), 77);
    let poll = Wanted {
        reactor: ReactorChoice::Poll,
        ..best()
    };
    let findings = found_with("proc/self/limits", Some(little), &poll);
    assert!(findings.iter().all(|one| one.state == State::Ok));
}

#[test]
fn a_finding_is_one_line_in_every_format() {
    let findings = found_with("proc/sys/kernel/numa_balancing", Some("1"), &best());
    let json = text(&findings, OutputFormat::Json);
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    assert_eq!(lines.len(), 9);
    assert_eq!(
        lines[6],
        serde_json::json!({
            "schema": 1, "check": "numa_balancing", "state": "fails",
            "found": "on: the kernel unmaps pages, in order to move them, that were placed already",
            "fix": "sudo sysctl -w kernel.numa_balancing=0", "prevents_run": false
        })
    );
    assert!(lines[0]["fix"].is_null());
    let csv = text(&findings, OutputFormat::Csv);
    assert_eq!(csv.lines().count(), 10);
    assert!(csv.starts_with("check,state,found,fix\n"), "{csv}");
    let table = text(&findings, OutputFormat::Table);
    assert!(
        table.contains("sudo sysctl -w kernel.numa_balancing=0"),
        "{table}"
    );
}

#[test]
fn a_run_says_what_fails_and_keeps_the_rest_to_itself() {
    let map = |oversubscribe| {
        let machine = Machine::read().expect("hwloc reads this machine");
        let request = CoreMapRequest {
            cores: velostream_shards::CoreRequest::Count(machine.cpus.len() * 2),
            oversubscribe,
            ..CoreMapRequest::default()
        };
        let plain = CoreMapRequest::default();
        let request = if oversubscribe { request } else { plain };
        CoreMap::plan(&machine, &request).expect("it fits")
    };
    let findings = found_with("proc/sys/kernel/numa_balancing", Some("1"), &best());
    assert_eq!(
        failing(&findings, &map(false)),
        [
            "host: numa_balancing: on: the kernel unmaps pages, in order to move them, that were placed already; \
             sudo sysctl -w kernel.numa_balancing=0"
        ]
    );
    assert_eq!(failing(&findings, &map(true)), Vec::<String>::new());
    let few = "Max open files  100  20000  files\n";
    let findings = found_with("proc/self/limits", Some(few), &best());
    assert_eq!(
        failing(&findings, &map(true)).len(),
        1,
        "no run without files"
    );
    let advised = found_with("sys/devices/system/cpu/isolated", Some(""), &best());
    assert_eq!(failing(&advised, &map(false)), Vec::<String>::new());
}
