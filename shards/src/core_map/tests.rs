use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::topology::described::{limited, regular};

fn request(cores: CoreRequest, smt: Smt) -> CoreMapRequest {
    CoreMapRequest {
        cores,
        arrangement: Arrangement::Spread,
        smt,
        housekeeping: CoreRequest::Count(0),
        oversubscribe: false,
    }
}

fn cpus(map: &CoreMap) -> Vec<u32> {
    map.placements().iter().map(|seat| seat.cpu).collect()
}

fn refusal(machine: &Machine, cores: CoreRequest, smt: Smt) -> String {
    CoreMap::plan(machine, &request(cores, smt))
        .expect_err("the request cannot be met")
        .to_string()
}

#[test]
fn shards_alternate_over_nodes_then_l3_domains_then_cores() {
    // cpus 0..4 are L3 0 of node 0, 4..8 L3 1 of node 0, 8..12 and 12..16 are node 1; 16 and up
    // their siblings.
    let machine = regular(2, 1, 2, 4, 2);
    let map = CoreMap::plan(&machine, &request(CoreRequest::Count(8), Smt::Avoid))
        .expect("eight of sixteen cores");
    assert_eq!(cpus(&map), [0, 8, 4, 12, 1, 9, 5, 13]);
    assert_eq!(map.placements()[1].smt, [8, 24]);
    assert!(!map.oversubscribed());
}

#[test]
fn siblings_come_last_and_only_when_asked_for() {
    let machine = regular(1, 1, 1, 2, 2);
    let map = CoreMap::plan(&machine, &request(CoreRequest::Count(4), Smt::Use))
        .expect("four hardware threads");
    assert_eq!(cpus(&map), [0, 1, 2, 3]);
    let text = refusal(&machine, CoreRequest::Count(4), Smt::Avoid);
    assert!(
        text.contains("2 usable cores with 4 hardware threads"),
        "{text}"
    );
    assert!(
        text.contains("shards.smt") && text.contains("shards.oversubscribe"),
        "{text}"
    );
}

#[test]
fn a_remedy_that_would_not_help_is_not_named() {
    let text = refusal(&regular(1, 1, 1, 2, 1), CoreRequest::Count(3), Smt::Avoid);
    assert!(!text.contains("shards.smt"), "{text}");
}

#[test]
fn a_core_whose_first_thread_is_not_ours_serves_with_its_second() {
    let machine = limited(&regular(1, 1, 1, 2, 2), |cpu| cpu != 0);
    let map = CoreMap::plan(&machine, &request(CoreRequest::Auto, Smt::Avoid))
        .expect("both cores have a usable thread");
    assert_eq!(cpus(&map), [2, 1]);
}

#[test]
fn what_cannot_be_met_is_refused_with_the_reason() {
    let machine = limited(&regular(1, 1, 1, 4, 2), |cpu| cpu != 3);
    let list = |cpus: &[u32]| CoreRequest::List(cpus.to_vec());
    for (cores, smt, reason) in [
        (CoreRequest::Count(0), Smt::Avoid, "zero shards"),
        (CoreRequest::Count(5000), Smt::Avoid, "256 is the most"),
        (CoreRequest::Count(8), Smt::Use, "7 hardware threads"),
        (list(&[]), Smt::Avoid, "the list of cpus is empty"),
        (
            list(&[0, 8]),
            Smt::Avoid,
            "no cpu 8 on this machine; there are 0-7",
        ),
        (list(&[3]), Smt::Avoid, "not run on cpu 3, only on 0-2,4-7"),
        (list(&[1, 1]), Smt::Use, "cpu 1 is listed twice"),
        (
            list(&[1, 5]),
            Smt::Avoid,
            "cpus 1 and 5 are SMT siblings on core 1",
        ),
    ] {
        let text = refusal(&machine, cores, smt);
        assert!(text.contains(reason), "{text}");
    }
    let none = limited(&machine, |_| false);
    assert!(refusal(&none, CoreRequest::Auto, Smt::Avoid).contains("no cpu of this machine"));
}

#[test]
fn a_list_is_taken_as_written() {
    let machine = regular(1, 1, 1, 4, 2);
    let list = CoreRequest::List(vec![2, 6, 0]);
    let map = CoreMap::plan(&machine, &request(list, Smt::Use)).expect("three hardware threads");
    assert_eq!(cpus(&map), [2, 6, 0]);
}

fn kept(map: &CoreMap) -> Vec<u32> {
    map.housekeeping().iter().map(|cpu| cpu.cpu).collect()
}

fn asking(
    cores: CoreRequest,
    arrangement: Arrangement,
    housekeeping: CoreRequest,
) -> CoreMapRequest {
    CoreMapRequest {
        cores,
        arrangement,
        housekeeping,
        ..CoreMapRequest::default()
    }
}

#[test]
fn packed_shards_fill_a_node_and_an_l3_domain_before_the_next() {
    // As above: four cores an L3 domain, two domains a node.
    let machine = regular(2, 1, 2, 4, 2);
    let pack = |count, smt| {
        let request = CoreMapRequest {
            smt,
            ..asking(
                CoreRequest::Count(count),
                Arrangement::Pack,
                CoreRequest::Count(0),
            )
        };
        cpus(&CoreMap::plan(&machine, &request).expect("the machine is larger"))
    };
    assert_eq!(pack(6, Smt::Avoid), [0, 1, 2, 3, 4, 5]);
    assert_eq!(pack(10, Smt::Avoid)[7..], [7, 8, 9]);
    // Siblings come after the first threads of their own L3 domain, not of the machine.
    assert_eq!(pack(9, Smt::Use), [0, 1, 2, 3, 16, 17, 18, 19, 4]);
}

#[test]
fn from_four_cores_on_a_core_of_each_node_with_shards_is_kept() {
    let auto = |machine: &Machine, arrangement, cores| {
        let map = CoreMap::plan(machine, &asking(cores, arrangement, CoreRequest::Auto))
            .expect("auto always fits");
        (cpus(&map), kept(&map))
    };
    let spread = Arrangement::Spread;
    assert_eq!(
        auto(&regular(1, 1, 1, 3, 2), spread, CoreRequest::Auto),
        (vec![0, 1, 2], vec![])
    );
    assert_eq!(
        auto(&regular(1, 1, 1, 4, 1), spread, CoreRequest::Auto),
        (vec![1, 2, 3], vec![0])
    );
    let two = regular(2, 1, 2, 4, 2);
    assert_eq!(
        auto(&two, spread, CoreRequest::Count(8)),
        (vec![1, 9, 4, 12, 2, 10, 5, 13], vec![0, 8])
    );
    // The seventh packed shard still fits on node 0, the eighth does not and opens node 1.
    assert_eq!(
        auto(&two, Arrangement::Pack, CoreRequest::Count(7)),
        (vec![1, 2, 3, 4, 5, 6, 7], vec![0])
    );
    assert_eq!(
        auto(&two, Arrangement::Pack, CoreRequest::Count(8)),
        (vec![1, 2, 3, 4, 5, 6, 7, 9], vec![0, 8])
    );
}

#[test]
fn auto_keeps_what_the_shards_leave() {
    let machine = regular(2, 1, 1, 4, 2);
    let plan = |request: &CoreMapRequest| CoreMap::plan(&machine, request).expect("auto fits");
    for (count, housekeeping) in [(6, vec![0, 4]), (7, vec![0]), (8, vec![])] {
        let map = plan(&asking(
            CoreRequest::Count(count),
            Arrangement::Spread,
            CoreRequest::Auto,
        ));
        assert_eq!(kept(&map), housekeeping, "{count} shards");
    }
    let wrapped = plan(&CoreMapRequest {
        cores: CoreRequest::Count(20),
        oversubscribe: true,
        ..CoreMapRequest::default()
    });
    assert_eq!(kept(&wrapped), [0; 0]);
    // Listed shards stay where they are listed; what is left of their nodes is kept.
    let listed = plan(&asking(
        CoreRequest::List(vec![0, 1, 2]),
        Arrangement::Spread,
        CoreRequest::Auto,
    ));
    assert_eq!((cpus(&listed), kept(&listed)), (vec![0, 1, 2], vec![3]));
    // A node with a single core keeps it for its shard.
    let thin = limited(&machine, |cpu| (3..8).contains(&cpu));
    let map = CoreMap::plan(&thin, &CoreMapRequest::default()).expect("auto fits");
    assert_eq!((cpus(&map), kept(&map)), (vec![3, 5, 6, 7], vec![4]));
}

#[test]
fn housekeeping_by_number_or_by_name_is_met_or_refused() {
    let machine = regular(2, 1, 1, 4, 2);
    let plan = |cores, housekeeping| {
        CoreMap::plan(&machine, &asking(cores, Arrangement::Spread, housekeeping))
    };
    let map = plan(CoreRequest::Auto, CoreRequest::Count(3)).expect("three of eight cores");
    assert_eq!(
        (cpus(&map), kept(&map)),
        (vec![2, 5, 3, 6, 7], vec![0, 4, 1])
    );
    let map = plan(CoreRequest::Count(2), CoreRequest::List(vec![1, 9])).expect("both of a core");
    assert_eq!((cpus(&map), kept(&map)), (vec![0, 4], vec![1, 9]));

    let refused = |cores, housekeeping| {
        plan(cores, housekeeping)
            .expect_err("it cannot be met")
            .to_string()
    };
    let list = |cpus: &[u32]| CoreRequest::List(cpus.to_vec());
    for (cores, housekeeping, reason) in [
        (
            CoreRequest::Count(6),
            CoreRequest::Count(3),
            "3 cores were asked for housekeeping, and 6 shards leave 2",
        ),
        (
            CoreRequest::Auto,
            CoreRequest::Count(8),
            "8 cores were asked for housekeeping, and 2 shards leave 6",
        ),
        (
            CoreRequest::Auto,
            list(&[0, 1, 2, 3, 4, 5, 6, 7]),
            "takes every usable core",
        ),
        (
            CoreRequest::Auto,
            list(&[99]),
            "shards.housekeeping: there is no cpu 99",
        ),
        (
            list(&[0, 1]),
            list(&[1, 2]),
            "cpu 1 is listed for a shard and for housekeeping",
        ),
        (
            list(&[0, 1]),
            list(&[9]),
            "cpu 1 is listed for a shard, and its SMT sibling 9",
        ),
    ] {
        let text = refused(cores, housekeeping);
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn client_threads_run_on_what_is_kept_on_their_node() {
    let machine = regular(2, 1, 1, 4, 2);
    let map = CoreMap::plan(&machine, &CoreMapRequest::default()).expect("auto fits");
    assert_eq!(kept(&map), [0, 4]);
    assert_eq!(map.client_cpus(0), [0, 8]);
    assert_eq!(map.client_cpus(1), [4, 12]);
    assert_eq!(map.control_cpus(), [0, 8, 4, 12]);
    let one = CoreMap::plan(
        &machine,
        &asking(
            CoreRequest::Auto,
            Arrangement::Spread,
            CoreRequest::List(vec![2]),
        ),
    )
    .expect("one core less");
    assert_eq!(one.client_cpus(0), [2]);
    assert_eq!(one.client_cpus(1), [2], "there is none on its own node");
    let none = CoreMap::plan(&regular(1, 1, 1, 2, 1), &CoreMapRequest::default());
    let none = none.expect("two shards on two cores");
    assert_eq!((none.client_cpus(0), none.control_cpus()), (vec![], vec![]));
}

#[test]
fn a_request_reads_as_it_is_written() {
    for (text, cores) in [
        ("auto", CoreRequest::Auto),
        ("8", CoreRequest::Count(8)),
        ("0", CoreRequest::Count(0)),
        ("3-3", CoreRequest::List(vec![3])),
        (" 2-4, 12 ", CoreRequest::List(vec![2, 3, 4, 12])),
    ] {
        assert_eq!(text.parse(), Ok(cores), "{text}");
    }
    for (text, reason) in [
        ("all", "`all` is no number"),
        ("", "`` is no number"),
        ("4-2", "`4-2` runs backwards"),
        ("1,,2", "a number is missing"),
        ("-3", "a number is missing"),
        ("1,x", "`x` is no cpu"),
        ("0-4294967295", "more than 256 cpus"),
    ] {
        let refused = text.parse::<CoreRequest>().expect_err(text).to_string();
        assert!(refused.contains(reason), "{refused}");
    }
}

prop_compose! {
    fn any_machine()(
        packages in 1u32..3,
        nodes in 1u32..4,
        l3_domains in 1u32..4,
        cores in 1u32..5,
        threads in 1u32..3,
        hidden in any::<u128>(),
    ) -> Machine {
        let whole = regular(packages, nodes, l3_domains, cores, threads);
        limited(&whole, |cpu| hidden >> (cpu % 128) & 1 == 0)
    }
}

fn usable_cores(machine: &Machine) -> BTreeSet<u32> {
    machine
        .cpus
        .iter()
        .filter(|cpu| cpu.usable)
        .map(|cpu| cpu.core)
        .collect()
}

proptest! {
    #[test]
    fn any_plan_keeps_the_law(
        machine in any_machine(),
        count in 0usize..80,
        smt in any::<bool>(),
        oversubscribe in any::<bool>(),
    ) {
        let smt = if smt { Smt::Use } else { Smt::Avoid };
        let request = CoreMapRequest { oversubscribe, ..request(CoreRequest::Count(count), smt) };
        let cores = usable_cores(&machine).len();
        let cpus = machine.cpus.iter().filter(|cpu| cpu.usable).count();
        let room = if smt == Smt::Use { cpus } else { cores };
        match CoreMap::plan(&machine, &request) {
            Ok(map) => {
                prop_assert_eq!(map.shards(), count);
                prop_assert!(count <= room || oversubscribe);
                prop_assert_eq!(map.oversubscribed(), count > room);
                let first = &map.placements()[..count.min(room)];
                let seats: BTreeSet<u32> = first.iter().map(|seat| seat.cpu).collect();
                prop_assert_eq!(seats.len(), first.len());
                let on_cores: BTreeSet<u32> = first.iter().map(|seat| seat.core).collect();
                prop_assert_eq!(on_cores.len(), first.len().min(cores));
                for (index, seat) in map.placements().iter().enumerate() {
                    let cpu = machine.cpu(seat.cpu).expect("a placement is on the machine");
                    prop_assert!(cpu.usable);
                    prop_assert_eq!((seat.core, seat.node), (cpu.core, cpu.node));
                    prop_assert_eq!((seat.l3, seat.package), (cpu.l3, cpu.package));
                    prop_assert_eq!(seat.shard.index(), index);
                }
            }
            Err(_) => prop_assert!(count == 0 || room == 0 || (count > room && !oversubscribe)),
        }
    }

    #[test]
    fn any_plan_with_housekeeping_keeps_the_law(
        machine in any_machine(),
        count in 1usize..40,
        by_number in prop::option::of(1usize..6),
        pack in any::<bool>(),
        smt in any::<bool>(),
    ) {
        let request = CoreMapRequest {
            cores: CoreRequest::Count(count),
            arrangement: if pack { Arrangement::Pack } else { Arrangement::Spread },
            smt: if smt { Smt::Use } else { Smt::Avoid },
            housekeeping: by_number.map_or(CoreRequest::Auto, CoreRequest::Count),
            oversubscribe: false,
        };
        let bare = CoreMapRequest { housekeeping: CoreRequest::Count(0), ..request.clone() };
        let fits = CoreMap::plan(&machine, &bare).is_ok();
        let Ok(map) = CoreMap::plan(&machine, &request) else {
            prop_assert!(!fits || by_number.is_some(), "auto never makes a request impossible");
            return Ok(());
        };
        let seats = |wanted: &dyn Fn(&Placement) -> bool| {
            map.placements().iter().filter(|seat| wanted(seat)).count()
        };
        prop_assert_eq!(map.shards(), count);
        for cpu in map.housekeeping() {
            prop_assert!(cpu.usable);
            prop_assert_eq!(seats(&|seat| seat.core == cpu.core), 0);
            prop_assert!(seats(&|seat| seat.node == cpu.node) > 0);
        }
        let nodes: BTreeSet<u32> = map.housekeeping().iter().map(|cpu| cpu.node).collect();
        match by_number {
            Some(number) => prop_assert_eq!(map.housekeeping().len(), number),
            None => prop_assert_eq!(map.housekeeping().len(), nodes.len()),
        }
        for seat in map.placements() {
            for cpu in map.client_cpus(seat.node) {
                prop_assert!(!seat.smt.contains(&cpu));
            }
        }
    }

    #[test]
    fn a_plan_written_down_as_lists_is_the_same_plan(
        machine in any_machine(),
        pack in any::<bool>(),
    ) {
        let request = CoreMapRequest {
            arrangement: if pack { Arrangement::Pack } else { Arrangement::Spread },
            ..CoreMapRequest::default()
        };
        let Ok(map) = CoreMap::plan(&machine, &request) else { return Ok(()) };
        let list = |cpus: &[u32]| written_cpus(cpus).parse::<CoreRequest>();
        let written = CoreMapRequest {
            cores: list(&cpus(&map)).expect("a plan can be written down"),
            housekeeping: match kept(&map).as_slice() {
                [] => CoreRequest::Count(0),
                kept => list(kept).expect("a plan can be written down"),
            },
            ..request
        };
        let again = CoreMap::plan(&machine, &written).expect("the same machine");
        prop_assert_eq!(again.placements(), map.placements());
        prop_assert_eq!(again.housekeeping(), map.housekeeping());
    }

    #[test]
    fn nodes_and_l3_domains_fill_evenly(
        nodes in 1u32..5,
        l3_domains in 1u32..4,
        cores in 1u32..5,
        share in 0.0f64..1.0,
    ) {
        let machine = regular(1, nodes, l3_domains, cores, 2);
        let count = 1 + (share * f64::from(nodes * l3_domains * cores - 1)) as usize;
        let map = CoreMap::plan(&machine, &request(CoreRequest::Count(count), Smt::Avoid))
            .expect("not more than there are cores");
        let uneven = |place: fn(&Placement) -> u32, places: u32| {
            let seats = |one| map.placements().iter().filter(|seat| place(seat) == one).count();
            let most = (0..places).map(seats).max().unwrap_or(0);
            most - (0..places).map(seats).min().unwrap_or(0)
        };
        prop_assert!(uneven(|seat| seat.node, nodes) <= 1);
        prop_assert!(uneven(|seat| seat.l3, nodes * l3_domains) <= 1);
    }
}
