//! The laws of the mesh: order, fairness, no loss, no deadlock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::core_map::{CoreMap, CoreMapRequest, CoreRequest, Smt};
use crate::reactor::ReactorChoice;
use crate::runtime::{Runtime, RuntimeOptions};
use crate::shard::{Context, Progress, Shard};
use crate::topology::Machine;

fn doorbells(shards: usize) -> Doorbells {
    Doorbells::open(shards).expect("there are descriptors")
}

fn two<B: Send>(lane_blocks: usize) -> (Endpoint<B>, Endpoint<B>) {
    let mut endpoints = mesh(&doorbells(2), 1, lane_blocks).into_iter();
    let mut next = || {
        endpoints
            .next()
            .expect("a mesh has an endpoint for each shard")
    };
    (next(), next())
}

const ZERO: ShardId = ShardId(0);
const ONE: ShardId = ShardId(1);

#[test]
fn what_finds_no_room_is_held_in_order() {
    let (mut zero, mut one) = two(2);
    let (outbox, inbox) = (&mut zero.outboxes[0], &mut one.inboxes[0]);
    for number in 0..5 {
        outbox.post(ONE, number);
    }
    assert_eq!(outbox.held(), 3);
    assert!(!outbox.has_room());
    assert_eq!(outbox.fill(), 1.0);
    assert!(!outbox.has_room_for(ONE));
    assert_eq!(inbox.take(), Some((ZERO, 0)));
    assert!(
        !outbox.has_room_for(ONE),
        "the room is for what is held already"
    );
    outbox.post(ONE, 5);
    assert_eq!(
        outbox.held(),
        4,
        "what is held goes first, although there is room"
    );
    assert_eq!(outbox.flush(), 1);
    let mut taken = Vec::new();
    while let Some((_, number)) = inbox.take() {
        taken.push(number);
        outbox.flush();
    }
    assert_eq!(taken, [1, 2, 3, 4, 5]);
    assert!(outbox.has_room() && outbox.has_room_for(ONE));
    assert_eq!(outbox.fill(), 0.0);
}

#[test]
fn a_busy_peer_does_not_starve_the_others() {
    let mut endpoints = mesh(&doorbells(4), 1, 8);
    let mut inbox = endpoints.remove(3).inboxes.remove(0);
    for (endpoint, count) in endpoints.iter_mut().zip([6, 1, 2]) {
        for number in 0..count {
            endpoint.outboxes[0].post(ShardId(3), number);
        }
    }
    let order: Vec<u16> = std::iter::from_fn(|| inbox.take())
        .map(|(peer, _)| peer.0)
        .collect();
    assert_eq!(order, [0, 1, 2, 0, 2, 0, 0, 0, 0]);
}

#[test]
fn what_a_peer_sent_outlives_it() {
    let (mut zero, mut one) = two(1);
    zero.outboxes[0].post(ONE, 'a');
    drop(zero);
    assert_eq!(one.inboxes[0].take(), Some((ZERO, 'a')));
    assert_eq!(one.inboxes[0].take(), None);
}

#[test]
fn a_peer_that_is_gone_holds_nothing_up() {
    let (mut zero, one) = two(1);
    let outbox = &mut zero.outboxes[0];
    outbox.post(ONE, 'a');
    outbox.post(ONE, 'b');
    drop(one);
    outbox.flush();
    assert!(outbox.has_room());
    outbox.post(ONE, 'c');
    assert!(outbox.has_room());
}

#[test]
fn a_shard_alone_has_no_peers() {
    let mut endpoint = mesh::<()>(&doorbells(1), 2, 1).remove(0);
    assert_eq!((endpoint.outboxes.len(), endpoint.inboxes.len()), (2, 2));
    assert_eq!(endpoint.outboxes[1].peers().count(), 0);
    assert_eq!(endpoint.outboxes[1].fill(), 0.0);
    assert_eq!(endpoint.inboxes[1].take(), None);
}

#[test]
#[should_panic(expected = "what a shard sends to itself never crosses a lane")]
fn a_block_to_oneself_is_the_programmers_error() {
    let (mut zero, _one) = two(1);
    zero.outboxes[0].post(ZERO, ());
}

/// Two exchange edges in a row. Each shard makes parcels for a middle shard, which sends each on to
/// a last shard.
struct Relay {
    id: ShardId,
    endpoint: Endpoint<Option<Parcel>>,
    shards: usize,
    made: usize,
    count: usize,
    /// Ends heard, by edge; each edge ends when all shards, this one included, said so.
    ends: [usize; 2],
    passed: Vec<Parcel>,
    arrived: Vec<Parcel>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    origin: usize,
    number: usize,
    middle: usize,
    last: usize,
}

/// How many parcels a stage takes or makes in one turn.
const BUDGET: usize = 3;

fn parcel(origin: usize, number: usize, shards: usize) -> Parcel {
    Parcel {
        origin,
        number,
        middle: (origin + number * 3) % shards,
        last: (origin * 5 + number) % shards,
    }
}

impl Relay {
    fn all(doorbells: &Doorbells, count: usize, lane_blocks: usize) -> Vec<Relay> {
        let shards = doorbells.shards();
        let endpoints = mesh(doorbells, 2, lane_blocks);
        endpoints
            .into_iter()
            .enumerate()
            .map(|(index, endpoint)| Relay {
                id: ShardId::from_index(index),
                endpoint,
                shards,
                made: 0,
                count,
                ends: [0; 2],
                passed: Vec::new(),
                arrived: Vec::new(),
            })
            .collect()
    }

    fn make(&mut self) -> bool {
        if !self.endpoint.outboxes[0].has_room() || self.made > self.count {
            return false;
        }
        if self.made == self.count {
            self.say_end(0);
        } else {
            let made = parcel(self.id.index(), self.made, self.shards);
            match made.middle == self.id.index() {
                true => self.pass(made),
                false => {
                    self.endpoint.outboxes[0].post(ShardId::from_index(made.middle), Some(made))
                }
            }
        }
        self.made += 1;
        true
    }

    fn pass(&mut self, parcel: Parcel) {
        self.passed.push(parcel);
        match parcel.last == self.id.index() {
            true => self.arrived.push(parcel),
            false => self.endpoint.outboxes[1].post(ShardId::from_index(parcel.last), Some(parcel)),
        }
    }

    fn say_end(&mut self, edge: usize) {
        let outbox = &mut self.endpoint.outboxes[edge];
        for peer in outbox.peers() {
            outbox.post(peer, None);
        }
        self.hear_end(edge);
    }

    fn hear_end(&mut self, edge: usize) {
        self.ends[edge] += 1;
        if edge == 0 && self.ends[0] == self.shards {
            self.say_end(1);
        }
    }

    /// Takes one block of an edge, if its operator's output has room.
    fn take(&mut self, edge: usize) -> bool {
        if edge == 0 && !self.endpoint.outboxes[1].has_room() {
            return false;
        }
        let Some((_, block)) = self.endpoint.inboxes[edge].take() else {
            return false;
        };
        match (block, edge) {
            (None, _) => self.hear_end(edge),
            (Some(parcel), 0) => self.pass(parcel),
            (Some(parcel), _) => self.arrived.push(parcel),
        }
        true
    }
}

impl Shard for Relay {
    type Summary = (Vec<Parcel>, Vec<Parcel>);

    fn turn(&mut self, _cx: &mut Context) -> Progress {
        let mut moved: usize = self.endpoint.outboxes.iter_mut().map(Outbox::flush).sum();
        for edge in [1, 0] {
            moved += (0..BUDGET).take_while(|_| self.take(edge)).count();
        }
        // What a shard passes to itself must find room behind edge 0 as well.
        if self.endpoint.outboxes[1].has_room() {
            moved += (0..BUDGET).take_while(|_| self.make()).count();
        }
        let sent = self.endpoint.outboxes.iter().all(Outbox::has_room);
        match (self.ends[1] == self.shards && sent, moved) {
            (true, _) => Progress::Done,
            (false, 0) => Progress::Idle,
            (false, _) => Progress::Busy,
        }
    }

    fn finish(self) -> Self::Summary {
        (self.passed, self.arrived)
    }
}

/// Every parcel passed its middle and reached its last shard exactly once, and no lane changed the
/// order of what it carried.
fn assert_delivered(ends: &[(Vec<Parcel>, Vec<Parcel>)], count: usize) {
    let shards = ends.len();
    let mut expected: Vec<Parcel> = (0..shards)
        .flat_map(|origin| (0..count).map(move |number| parcel(origin, number, shards)))
        .collect();
    expected.sort_unstable();
    for stage in [0, 1] {
        let mut seen = Vec::new();
        for (shard, end) in ends.iter().enumerate() {
            let parcels = if stage == 0 { &end.0 } else { &end.1 };
            let mut newest: BTreeMap<(usize, usize), usize> = BTreeMap::new();
            for parcel in parcels {
                let here = if stage == 0 {
                    parcel.middle
                } else {
                    parcel.last
                };
                assert_eq!(here, shard, "{parcel:?} is where it belongs");
                let lane = (parcel.origin, if stage == 0 { 0 } else { parcel.middle });
                let before = newest.insert(lane, parcel.number);
                assert!(
                    before.is_none_or(|before| before < parcel.number),
                    "{parcel:?} overtook {before:?}"
                );
            }
            seen.extend_from_slice(parcels);
        }
        seen.sort_unstable();
        assert_eq!(seen, expected);
    }
}

/// Two edges in a row, lanes of one block, seven shards on as many cpus as there are.
fn relay(reactor: ReactorChoice) {
    const SHARDS: usize = 7;
    const COUNT: usize = 3_000;
    let machine = Machine::read().expect("hwloc reads this machine");
    let request = CoreMapRequest {
        cores: CoreRequest::Count(SHARDS),
        smt: Smt::Use,
        oversubscribe: true,
        ..CoreMapRequest::default()
    };
    let core_map = CoreMap::plan(&machine, &request).expect("oversubscribed shards always fit");
    let doorbells = doorbells(SHARDS);
    let mut options = RuntimeOptions::new(core_map, &doorbells);
    options.reactor = reactor;
    let seats = Relay::all(&doorbells, COUNT, 1)
        .into_iter()
        .map(|relay| move |_: &_, _: &_| relay);
    let begun = Instant::now();
    let runtime = Runtime::start(options, seats.collect()).expect("this host allows shards");
    while !runtime.is_finished() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the shards are in a deadlock"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("{reactor:?}: {:?}", begun.elapsed());
    let ends = runtime.join().expect("no shard panics");
    for end in &ends {
        assert_eq!(end.figures.safety_tick_found_work, 0, "{:?}", end.figures);
    }
    let ends: Vec<_> = ends.into_iter().map(|end| end.summary).collect();
    assert_delivered(&ends, COUNT);
}

#[test]
fn two_edges_in_a_row_with_lanes_of_one_block_deliver_all_on_seven_shards() {
    for reactor in [ReactorChoice::Glommio, ReactorChoice::Poll] {
        relay(reactor);
    }
}

proptest! {
    /// Whoever has the turn, the shards come to their end: a full round of idle turns would be a
    /// deadlock.
    #[test]
    fn any_schedule_delivers_all(
        shards in 1usize..6,
        count in 0usize..40,
        lane_blocks in 1usize..3,
        schedule in prop::collection::vec(0usize..6, 0..200),
    ) {
        let relays = Relay::all(&doorbells(shards), count, lane_blocks);
        let mut relays: Vec<Option<Relay>> = relays.into_iter().map(Some).collect();
        let mut ends: Vec<_> = (0..shards).map(|_| None).collect();
        let mut turn = |index: usize, ends: &mut Vec<Option<_>>| {
            let mut relay = relays[index].take()?;
            let progress = relay.turn(&mut Context::new(relay.id, 0, false));
            match progress {
                Progress::Done => ends[index] = Some(relay.finish()),
                _ => relays[index] = Some(relay),
            }
            Some(progress)
        };
        for index in schedule {
            turn(index % shards, &mut ends);
        }
        while ends.iter().any(Option::is_none) {
            let round = (0..shards).filter_map(|index| turn(index, &mut ends));
            let moved = round.filter(|progress| *progress != Progress::Idle).count();
            prop_assert!(moved > 0, "a full round of idle turns is a deadlock");
        }
        let ends: Vec<_> = ends.into_iter().flatten().collect();
        assert_delivered(&ends, count);
    }
}
