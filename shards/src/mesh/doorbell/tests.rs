//! The laws of the doorbell that one thread can see: who is woken for what, and what is owed.

use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::mesh::mesh;

const LONG: Duration = Duration::from_secs(20);
const ZERO: ShardId = ShardId(0);
const ONE: ShardId = ShardId(1);

fn doorbells(shards: usize) -> Doorbells {
    Doorbells::open(shards).expect("there are descriptors")
}

/// How long a sleep of at most `LONG` takes.
fn slept(bell: &Doorbell) -> Duration {
    let begun = Instant::now();
    bell.sleep(LONG);
    begun.elapsed()
}

#[test]
fn a_ring_wakes_whoever_is_armed_and_costs_nothing_otherwise() {
    let doorbells = doorbells(1);
    let bell = doorbells.of_shard(ZERO);
    let ringer = doorbells.ringer(ZERO);
    ringer.ring();
    bell.arm();
    assert!(bell.is_armed(), "a ring before it is armed is forgotten");
    ringer.ring();
    ringer.ring();
    assert!(!bell.is_armed());
    assert!(slept(&bell) < LONG / 2);
    assert!(bell.disarm(), "somebody has rung");

    bell.arm();
    bell.sleep(Duration::from_millis(1));
    assert!(!bell.disarm(), "nobody has rung");
}

#[test]
fn a_sleeping_thread_is_woken_at_once() {
    let doorbells = doorbells(1);
    let ringer = doorbells.ringer_of_job();
    let bell = doorbells.of_job();
    bell.arm();
    let begun = Instant::now();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        ringer.ring();
    });
    bell.sleep(LONG);
    assert!(begun.elapsed() < LONG / 2);
    assert!(bell.disarm());
    thread.join().expect("ringing does not panic");
}

#[test]
fn a_lane_owes_its_ring_until_the_turn_is_over() {
    let doorbells = doorbells(2);
    let (mut zero, mut one) = {
        let mut endpoints = mesh(&doorbells, 1, 1).into_iter();
        let mut next = || endpoints.next().expect("two shards, two endpoints");
        (next(), next())
    };
    let bells = [doorbells.of_shard(ZERO), doorbells.of_shard(ONE)];

    // A block: its reader is woken, whatever it waits for.
    bells[1].arm();
    zero.outboxes[0].post(ONE, 'a');
    assert!(bells[1].is_armed() && bells[1].is_owed());
    bells[0].ring_owed();
    assert!(!bells[1].is_armed() && !bells[1].is_owed());

    // Room: its writer is woken only if it holds something.
    bells[0].arm();
    assert_eq!(one.inboxes[0].take(), Some((ZERO, 'a')));
    bells[1].ring_owed();
    assert!(bells[0].is_armed(), "it waits for input only");
    assert!(!bells[0].disarm());
    zero.outboxes[0].post(ONE, 'b');
    zero.outboxes[0].post(ONE, 'c');
    bells[0].arm();
    assert_eq!(one.inboxes[0].take(), Some((ZERO, 'b')));
    bells[1].ring_owed();
    assert!(!bells[0].is_armed());
    assert_eq!(zero.outboxes[0].flush(), 1);
    bells[0].arm();
    assert_eq!(one.inboxes[0].take(), Some((ZERO, 'c')));
    bells[1].ring_owed();
    assert!(bells[0].is_armed(), "it holds nothing any more");

    // Nothing taken: nothing owed.
    bells[0].ring_owed();
    assert_eq!(one.inboxes[0].take(), None);
    assert!(!bells[0].is_owed() && !bells[1].is_owed() && !doorbells.of_job().is_owed());
}

#[test]
fn with_as_many_shards_as_there_may_be_each_is_owed_its_own() {
    let doorbells = doorbells(MAX_SHARDS);
    let mut endpoint = mesh(&doorbells, 1, 1).remove(0);
    for to in [1, 63, 64, 255] {
        let to = ShardId(to);
        endpoint.outboxes[0].post(to, ());
        let owed: Vec<usize> = (0..MAX_SHARDS)
            .filter(|&shard| doorbells.at(shard).is_owed())
            .collect();
        assert_eq!(owed, [to.index()]);
        doorbells.of_shard(ZERO).ring_owed();
    }
}
