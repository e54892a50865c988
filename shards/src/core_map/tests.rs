use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::topology::described::{limited, regular};

fn request(cores: CoreRequest, smt: Smt) -> CoreMapRequest {
    CoreMapRequest {
        cores,
        smt,
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
        let request = CoreMapRequest { cores: CoreRequest::Count(count), smt, oversubscribe };
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
