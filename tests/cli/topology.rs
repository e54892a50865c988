//! `velo topology` on machines that are only described.

use std::collections::BTreeSet;

use super::{done, empty_folder, velo};

const TWO_NODES: &str = "package:2 numa:1 l3:2 core:4 pu:2";

fn on(machine: &str, args: &[&str]) -> String {
    done(
        velo(&empty_folder())
            .env("HWLOC_SYNTHETIC", machine)
            .arg("topology")
            .args(args),
    )
}

#[test]
fn eight_shards_spread_over_both_nodes_beside_a_housekeeping_core_each() {
    let text = on(TWO_NODES, &["--shards", "8", "--format", "json"]);
    insta::assert_snapshot!(text, @r#"
    exit 0
    out| {"schema":1,"role":"shard","shard":0,"cpu":2,"core":1,"package":0,"node":0,"l3":0,"smt":[2,3]}
    out| {"schema":1,"role":"shard","shard":1,"cpu":18,"core":9,"package":1,"node":1,"l3":2,"smt":[18,19]}
    out| {"schema":1,"role":"shard","shard":2,"cpu":8,"core":4,"package":0,"node":0,"l3":1,"smt":[8,9]}
    out| {"schema":1,"role":"shard","shard":3,"cpu":24,"core":12,"package":1,"node":1,"l3":3,"smt":[24,25]}
    out| {"schema":1,"role":"shard","shard":4,"cpu":4,"core":2,"package":0,"node":0,"l3":0,"smt":[4,5]}
    out| {"schema":1,"role":"shard","shard":5,"cpu":20,"core":10,"package":1,"node":1,"l3":2,"smt":[20,21]}
    out| {"schema":1,"role":"shard","shard":6,"cpu":10,"core":5,"package":0,"node":0,"l3":1,"smt":[10,11]}
    out| {"schema":1,"role":"shard","shard":7,"cpu":26,"core":13,"package":1,"node":1,"l3":3,"smt":[26,27]}
    out| {"schema":1,"role":"housekeeping","shard":null,"cpu":0,"core":0,"package":0,"node":0,"l3":0,"smt":[0,1]}
    out| {"schema":1,"role":"housekeeping","shard":null,"cpu":16,"core":8,"package":1,"node":1,"l3":2,"smt":[16,17]}
    "#);
    let lines: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("out| "))
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    let distinct = |key: &str| {
        lines
            .iter()
            .map(|line| line[key].to_string())
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert_eq!(
        [
            lines.len(),
            distinct("core"),
            distinct("cpu"),
            distinct("node")
        ],
        [10, 10, 10, 2],
        "no core twice, shards and housekeeping together"
    );
    let siblings: Vec<u64> = lines
        .iter()
        .flat_map(|line| line["smt"].as_array().expect("siblings").clone())
        .map(|cpu| cpu.as_u64().expect("an index"))
        .collect();
    assert_eq!(
        siblings.len(),
        siblings.iter().collect::<BTreeSet<_>>().len(),
        "no sibling twice"
    );
}

#[test]
fn a_list_of_cpus_is_taken_as_written() {
    insta::assert_snapshot!(on(TWO_NODES, &["--set", "shards.cores=2,0", "--set", "shards.smt=use", "--format", "csv"]), @r"
    exit 0
    out| role,shard,cpu,core,package,node,l3,smt
    out| shard,0,2,1,0,0,0,2 3
    out| shard,1,0,0,0,0,0,0 1
    out| housekeeping,,4,2,0,0,0,4 5
    ");
}

#[test]
fn packed_shards_leave_the_other_node_alone() {
    insta::assert_snapshot!(on(TWO_NODES, &["--shards", "7", "--set", "shards.placement=pack", "--format", "csv"]), @r"
    exit 0
    out| role,shard,cpu,core,package,node,l3,smt
    out| shard,0,2,1,0,0,0,2 3
    out| shard,1,4,2,0,0,0,4 5
    out| shard,2,6,3,0,0,0,6 7
    out| shard,3,8,4,0,0,1,8 9
    out| shard,4,10,5,0,0,1,10 11
    out| shard,5,12,6,0,0,1,12 13
    out| shard,6,14,7,0,0,1,14 15
    out| housekeeping,,0,0,0,0,0,0 1
    ");
}

#[test]
fn housekeeping_is_as_it_was_asked_for() {
    let housekeeping = |value: &str| {
        let setting = format!("shards.housekeeping={value}");
        on(
            "package:1 l3:2 core:3 pu:2",
            &["--shards", "2", "--set", &setting, "--format", "csv"],
        )
    };
    insta::assert_snapshot!(housekeeping("0"), @r"
    exit 0
    out| role,shard,cpu,core,package,node,l3,smt
    out| shard,0,0,0,0,0,0,0 1
    out| shard,1,6,3,0,0,1,6 7
    ");
    insta::assert_snapshot!(housekeeping("3"), @r"
    exit 0
    out| role,shard,cpu,core,package,node,l3,smt
    out| shard,0,6,3,0,0,1,6 7
    out| shard,1,8,4,0,0,1,8 9
    out| housekeeping,,0,0,0,0,0,0 1
    out| housekeeping,,2,1,0,0,0,2 3
    out| housekeeping,,4,2,0,0,0,4 5
    ");
    insta::assert_snapshot!(housekeeping("2,10"), @r"
    exit 0
    out| role,shard,cpu,core,package,node,l3,smt
    out| shard,0,0,0,0,0,0,0 1
    out| shard,1,6,3,0,0,1,6 7
    out| housekeeping,,2,1,0,0,0,2 3
    out| housekeeping,,10,5,0,0,1,10 11
    ");
    insta::assert_snapshot!(housekeeping("5"), @r"
    exit 78
    err| velo: 5 cores were asked for housekeeping, and 2 shards leave 4 on the nodes where they are: ask for fewer of either (shards.housekeeping, shards.cores)
    ");
    insta::assert_snapshot!(housekeeping("12-12"), @r"
    exit 78
    err| velo: shards.housekeeping: there is no cpu 12 on this machine; there are 0-11
    ");
}

#[test]
fn a_suggestion_names_what_was_decided_by_rule_and_gives_the_same_map() {
    let suggestion = on(TWO_NODES, &["--shards", "6", "--suggest"]);
    insta::assert_snapshot!(suggestion, @r#"
    exit 0
    out| # packages 2, NUMA nodes 2, L3 domains 4, cores 16, hardware threads 32, of them usable 32
    out| [shards]
    out| cores = "2,18,8,24,4,20"
    out| housekeeping = "0,16"
    out| placement = "spread"
    out| smt = "avoid"
    out| numa = "prefer"
    "#);
    let folder = empty_folder();
    let section: String = suggestion
        .lines()
        .filter_map(|line| line.strip_prefix("out| "))
        .flat_map(|line| [line, "\n"])
        .collect();
    std::fs::write(folder.path().join("velostream.toml"), section).expect("it can be written");
    let written = done(
        velo(&folder)
            .env("HWLOC_SYNTHETIC", TWO_NODES)
            .arg("topology"),
    );
    assert_eq!(written, on(TWO_NODES, &["--shards", "6"]));
    insta::assert_snapshot!(on("package:1 core:1 pu:1", &["--suggest"]), @r#"
    exit 0
    out| # packages 1, NUMA nodes 1, L3 domains 1, cores 1, hardware threads 1, of them usable 1
    out| [shards]
    out| cores = "0-0"
    out| housekeeping = 0
    out| placement = "spread"
    out| smt = "avoid"
    out| numa = "prefer"
    "#);
}

#[test]
fn a_person_reads_a_table() {
    insta::assert_snapshot!(on("package:1 core:2 pu:1", &["--format", "table"]), @r"
    exit 0
    out| ┌────────────────────────────────────────────────────────┐
    out| │ role    shard   cpu   core   package   node   l3   smt │
    out| ╞════════════════════════════════════════════════════════╡
    out| │ shard   0       0     0      0         0      0    0   │
    out| │ shard   1       1     1      0         0      0    1   │
    out| └────────────────────────────────────────────────────────┘
    ");
}

#[test]
fn more_shards_than_cores_are_refused_with_the_reason() {
    insta::assert_snapshot!(on(TWO_NODES, &["--shards", "17"]), @r#"
    exit 78
    err| velo: 17 shards were asked for, and there are 16 usable cores with 32 hardware threads: ask for fewer, let SMT siblings carry shards (shards.smt = "use"), or let shards share cpus (shards.oversubscribe = true; for tests)
    "#);
    insta::assert_snapshot!(on("package:1 core:2 pu:1", &["--shards", "3"]), @r"
    exit 78
    err| velo: 3 shards were asked for, and there are 2 usable cores with 2 hardware threads: ask for fewer, or let shards share cpus (shards.oversubscribe = true; for tests)
    ");
}

#[test]
fn shards_do_not_start_on_a_machine_that_is_only_described() {
    let folder = empty_folder();
    let mut command = velo(&folder);
    command
        .env("HWLOC_SYNTHETIC", TWO_NODES)
        .args(["run", "-e", "SELECT 1"]);
    insta::assert_snapshot!(done(&mut command), @r"
    exit 78
    err| velo: this machine is only described (HWLOC_SYNTHETIC, HWLOC_XMLFILE), and shards cannot start on it; unset that, or see its core map with velo topology
    ");
}
