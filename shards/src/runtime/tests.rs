//! The laws of the runtime: all or none, a panic ends all and is named, no thread is left.

use std::os::unix::process::CommandExt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::alone;
use crate::backpressure::Load;
use crate::clock::thread_cpu_ns;
use crate::core_map::{CoreMapRequest, CoreRequest, Smt};
use crate::memory::MemoryRange;
use crate::shard::{Context, Progress};
use crate::stage::Stage;
use crate::topology::Machine;

/// Each test of a start runs on both.
const REACTORS: [ReactorChoice; 2] = [ReactorChoice::Glommio, ReactorChoice::Poll];

fn doorbells(shards: usize) -> Doorbells {
    Doorbells::open(shards).expect("there are descriptors")
}

fn options(shards: usize, reactor: ReactorChoice) -> RuntimeOptions {
    let machine = Machine::read().expect("hwloc reads this machine");
    let request = CoreMapRequest {
        cores: CoreRequest::Count(shards),
        smt: Smt::Use,
        oversubscribe: true,
        ..CoreMapRequest::default()
    };
    let core_map = CoreMap::plan(&machine, &request).expect("oversubscribed shards always fit");
    let mut options = RuntimeOptions::new(core_map, &doorbells(shards));
    options.reactor = reactor;
    options
}

/// A shard of one function; it counts itself while it lives.
struct Acting {
    act: Box<dyn FnMut(&mut Context) -> Progress>,
    alive: Arc<AtomicUsize>,
    turns: u64,
}

impl Shard for Acting {
    type Summary = u64;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        assert_eq!(cx.turn(), self.turns, "turns are counted from zero");
        self.turns += 1;
        (self.act)(cx)
    }

    fn finish(self) -> u64 {
        self.turns
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The same seat for each shard.
fn seats(
    shards: usize,
    alive: &Arc<AtomicUsize>,
    act: fn(&mut Context) -> Progress,
) -> Vec<impl FnOnce(&Placement, &NodeMemory) -> Acting + Send + 'static> {
    (0..shards)
        .map(|_| {
            let alive = Arc::clone(alive);
            move |_: &Placement, _: &NodeMemory| {
                alive.fetch_add(1, Ordering::SeqCst);
                Acting {
                    act: Box::new(act),
                    alive,
                    turns: 0,
                }
            }
        })
        .collect()
}

fn until_stopped(cx: &mut Context) -> Progress {
    match cx.stopping() {
        true => Progress::Done,
        false => Progress::Idle,
    }
}

#[test]
fn each_shard_is_built_on_its_own_pinned_thread() {
    for reactor in REACTORS {
        let seats: Vec<_> = (0..3)
            .map(|index: u16| {
                move |placement: &Placement, _: &NodeMemory| {
                    assert_eq!(placement.shard, ShardId(index));
                    pin::assert_pinned(placement.cpu);
                    assert_eq!(
                        thread::current().name(),
                        Some(format!("shard-{index}").as_str())
                    );
                    Acting {
                        act: Box::new(move |cx| {
                            assert_eq!(cx.shard(), ShardId(index));
                            Progress::Done
                        }),
                        alive: Arc::new(AtomicUsize::new(1)),
                        turns: 0,
                    }
                }
            })
            .collect();
        let runtime = Runtime::start(options(3, reactor), seats).expect("this host allows shards");
        let ends = runtime.join().expect("no shard panics");
        for (index, end) in ends.iter().enumerate() {
            assert_eq!(end.figures.shard.index(), index);
            assert_eq!((end.summary, end.figures.turns), (1, 1));
        }
    }
}

#[test]
fn a_panic_in_one_shard_ends_all_within_a_second_and_is_named() {
    for reactor in REACTORS {
        let alive = Arc::new(AtomicUsize::new(0));
        let seats = seats(3, &alive, |cx| {
            if cx.shard() == ShardId(1) && cx.turn() == 20 {
                panic!("planted in {}", cx.shard());
            }
            Progress::Idle
        });
        let runtime = Runtime::start(options(3, reactor), seats).expect("this host allows shards");
        let begun = Instant::now();
        while !runtime.is_finished() {
            assert!(begun.elapsed() < Duration::from_secs(1), "the others go on");
            thread::sleep(Duration::from_millis(1));
        }
        let failure = runtime.failure().expect("a shard panicked");
        assert_eq!(failure.to_string(), "shard 1 panicked: planted in shard 1");
        assert_eq!(runtime.join().expect_err("a shard panicked"), failure);
        assert_eq!(alive.load(Ordering::SeqCst), 0, "every shard is dropped");
    }
}

#[test]
fn a_panic_while_a_shard_is_built_starts_none() {
    for reactor in REACTORS {
        let alive = Arc::new(AtomicUsize::new(0));
        let seats: Vec<_> = seats(3, &alive, |_| panic!("no shard takes a turn"))
            .into_iter()
            .map(|seat| {
                |placement: &Placement, memory: &NodeMemory| {
                    assert_ne!(placement.shard, ShardId(2), "planted");
                    seat(placement, memory)
                }
            })
            .collect();
        let refused = Runtime::start(options(3, reactor), seats)
            .err()
            .expect("a shard could not be built");
        assert!(!refused.is_permission());
        let text = refused.to_string();
        assert!(
            text.starts_with("shard 2 panicked: ") && text.contains("planted"),
            "{text}"
        );
        assert_eq!(alive.load(Ordering::SeqCst), 0, "no thread is left");
    }
}

#[test]
fn a_panic_while_a_shard_is_finished_is_named_too() {
    for reactor in REACTORS {
        struct Finishing;
        impl Shard for Finishing {
            type Summary = ();
            fn turn(&mut self, _cx: &mut Context) -> Progress {
                Progress::Done
            }
            fn finish(self) {
                panic!("planted at the end");
            }
        }
        let runtime = Runtime::start(
            options(1, reactor),
            vec![|_: &Placement, _: &NodeMemory| Finishing],
        )
        .expect("this host allows shards");
        let failure = runtime.join().expect_err("the shard panicked");
        assert_eq!(failure.to_string(), "shard 0 panicked: planted at the end");
    }
}

#[test]
fn a_stop_is_seen_and_a_shard_may_be_done_before_the_others() {
    for reactor in REACTORS {
        let alive = Arc::new(AtomicUsize::new(0));
        let seats = seats(3, &alive, |cx| match cx.shard() {
            ShardId(0) => Progress::Done,
            _ => until_stopped(cx),
        });
        let runtime = Runtime::start(options(3, reactor), seats).expect("this host allows shards");
        let begun = Instant::now();
        while alive.load(Ordering::SeqCst) > 2 {
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "a done shard ends at once"
            );
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(alive.load(Ordering::SeqCst), 2);
        assert!(!runtime.is_finished());
        runtime.stop_handle().request();
        let ends = runtime.join().expect("no shard panics");
        assert_eq!(ends[0].summary, 1);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_runtime_that_is_dropped_takes_its_shards_along() {
    for reactor in REACTORS {
        let alive = Arc::new(AtomicUsize::new(0));
        let runtime = Runtime::start(options(2, reactor), seats(2, &alive, |_| Progress::Busy))
            .expect("this host allows shards");
        assert_eq!(alive.load(Ordering::SeqCst), 2);
        drop(runtime);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn the_figures_tell_a_busy_shard_from_an_idle_one() {
    for reactor in REACTORS {
        let alive = Arc::new(AtomicUsize::new(0));
        let seats = seats(2, &alive, |cx| match (cx.stopping(), cx.shard()) {
            (true, _) => Progress::Done,
            (false, ShardId(0)) => {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_micros(50) {}
                Progress::Busy
            }
            (false, _) => Progress::Idle,
        });
        let runtime = Runtime::start(options(2, reactor), seats).expect("this host allows shards");
        thread::sleep(Duration::from_millis(300));
        runtime.stop_handle().request();
        let ends = runtime.join().expect("no shard panics");
        let (busy, idle) = (&ends[0].figures, &ends[1].figures);
        // By the turns that there were: how many fit into the time is the machine's matter.
        let in_turns_s = busy.busy_turns as f64 * 50e-6;
        assert!(
            busy.busy_ratio * busy.elapsed_s > 0.999 * in_turns_s && busy.parked_ratio == 0.0,
            "{busy:?}"
        );
        assert!(
            busy.turn_ns_max >= 50_000 && busy.busy_turns + 1 == busy.turns,
            "{busy:?}"
        );
        assert!(
            idle.busy_ratio == 0.0 && idle.parked_ratio > 0.5,
            "{idle:?}"
        );
        assert!(idle.cpu_s < 0.1 && idle.elapsed_s > 0.25, "{idle:?}");
    }
}

#[test]
fn shards_are_not_started_on_a_described_machine() {
    let machine = crate::topology::described::regular(1, 1, 1, 1, 1);
    let request = CoreMapRequest {
        housekeeping: CoreRequest::Count(0),
        ..CoreMapRequest::default()
    };
    let core_map = CoreMap::plan(&machine, &request).expect("one core carries one shard");
    let options = RuntimeOptions::new(core_map, &doorbells(1));
    let alive = Arc::new(AtomicUsize::new(0));
    let refused = Runtime::start(options, seats(1, &alive, until_stopped))
        .err()
        .expect("the machine is another");
    assert!(matches!(refused, StartError::ForeignMachine));
    assert!(refused.to_string().contains("HWLOC_SYNTHETIC"));
}

/// A shard whose whole state is one bound range.
struct Holding {
    state: Vec<u8>,
}

impl Holding {
    const BYTES: usize = 4 << 20;

    fn seat(_: &Placement, memory: &NodeMemory) -> Holding {
        let mut state = Vec::with_capacity(Holding::BYTES);
        let start = NonNull::new(state.as_mut_ptr()).expect("a vector with room has an address");
        memory.bind(start, Holding::BYTES);
        Holding { state }
    }
}

impl Shard for Holding {
    type Summary = ();

    fn turn(&mut self, cx: &mut Context) -> Progress {
        self.state.resize(Holding::BYTES / 2, cx.shard().0 as u8);
        Progress::Done
    }

    fn memory(&self) -> Vec<MemoryRange> {
        let start = NonNull::new(self.state.as_ptr().cast_mut());
        vec![MemoryRange {
            start: start.expect("a vector with room has an address"),
            bytes: Holding::BYTES,
        }]
    }

    fn finish(self) {}
}

#[test]
fn the_pages_of_a_shards_state_are_looked_up_at_its_end() {
    for (numa, reactor) in [
        (Numa::Strict, ReactorChoice::Glommio),
        (Numa::Prefer, ReactorChoice::Poll),
        (Numa::Off, ReactorChoice::Glommio),
    ] {
        let options = RuntimeOptions {
            numa,
            ..options(2, reactor)
        };
        let runtime =
            Runtime::start(options, vec![Holding::seat; 2]).expect("this host allows shards");
        assert_eq!(runtime.notices(), [] as [&str; 0]);
        for end in runtime.join().expect("no shard panics") {
            let ShardFigures {
                pages,
                memory_refused,
                ..
            } = end.figures;
            assert!(pages.local >= 500 && pages.remote == 0, "{pages:?}");
            assert_eq!(memory_refused, 0);
        }
    }
}

/// Run in a process of its own by the test below, where mbind is forbidden.
#[test]
fn shards_under_a_policy_against_mbind() {
    if std::env::var_os("VELO_TEST_NO_MBIND").is_none() {
        return;
    }
    let strict = RuntimeOptions {
        numa: Numa::Strict,
        ..options(2, ReactorChoice::Auto)
    };
    let refused = Runtime::start(strict, vec![Holding::seat; 2])
        .err()
        .expect("strictly, or not at all");
    assert!(refused.is_permission());
    let text = refused.to_string();
    assert!(
        text.contains("NUMA node") && text.contains("--cap-add SYS_NICE"),
        "{text}"
    );

    let runtime = Runtime::start(options(2, ReactorChoice::Auto), vec![Holding::seat; 2])
        .expect("where it prefers, it runs");
    assert_eq!(runtime.notices().len(), 1, "told once for both shards");
    for end in runtime.join().expect("no shard panics") {
        assert_eq!(end.figures.memory_refused, 1);
        assert!(end.figures.pages.local >= 500, "{:?}", end.figures.pages);
    }
}

#[test]
fn memory_that_cannot_be_bound_ends_a_strict_start_and_is_told_otherwise() {
    let mut command = alone::command("runtime::tests::shards_under_a_policy_against_mbind");
    command.env("VELO_TEST_NO_MBIND", "1");
    // SAFETY: between fork and exec the closure makes two system calls and touches only its own
    // stack.
    unsafe { command.pre_exec(|| alone::forbid(libc::SYS_mbind)) };
    let done = command.output().expect("the test binary starts itself");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stdout)
    );
}

/// A shard that does nothing but what each turn is told, and says that its output has no room.
struct Pressed(Box<dyn FnMut(&mut Context) -> Progress>);

impl Shard for Pressed {
    type Summary = ();

    fn turn(&mut self, cx: &mut Context) -> Progress {
        (self.0)(cx)
    }

    fn load(&self) -> Load {
        Load {
            held_blocks: 1,
            ..Load::default()
        }
    }

    fn finish(self) {}
}

fn work(us: u64) {
    let until = thread_cpu_ns() + us * 1_000;
    while thread_cpu_ns() < until {}
}

#[test]
fn a_turn_over_budget_is_counted_by_shard_and_stage() {
    const READ: Stage = Stage::new(1, "read");
    const FIRE: Stage = Stage::new(2, "fire");
    let seat = |_: &Placement, _: &NodeMemory| {
        Pressed(Box::new(|cx| {
            cx.enter(READ);
            work(20);
            if cx.shard() == ShardId(1) && cx.turn() % 10 == 0 {
                cx.enter(FIRE);
                work(3_000);
                cx.enter(READ);
            }
            match cx.turn() {
                99 => Progress::Done,
                _ => Progress::Busy,
            }
        }))
    };
    let options = RuntimeOptions {
        turn_budget_us: 1_500,
        ..options(2, ReactorChoice::Auto)
    };
    let ends = Runtime::start(options, vec![seat; 2])
        .expect("this host allows shards")
        .join()
        .expect("no shard panics");
    assert_eq!(ends[0].figures.stalls, [] as [(&str, u64); 0]);
    let figures = &ends[1].figures;
    assert_eq!(figures.stalls, [("fire", 10)]);
    assert!(figures.turn_cpu_ns_max >= 3_000_000, "{figures:?}");
    assert!(
        figures.turn_ns_max >= figures.turn_cpu_ns_max,
        "{figures:?}"
    );
}

#[test]
fn how_hard_a_shard_is_pressed_is_seen_while_it_runs_and_at_its_end() {
    let seats = vec![|_: &Placement, _: &NodeMemory| Pressed(Box::new(until_stopped)); 1];
    let runtime =
        Runtime::start(options(1, ReactorChoice::Auto), seats).expect("this host allows shards");
    let begun = Instant::now();
    while runtime.backpressure().next() != Some(Backpressure::Saturated) {
        assert!(begun.elapsed() < Duration::from_secs(5), "it has no room");
        thread::sleep(Duration::from_millis(1));
    }
    runtime.stop_handle().request();
    let ends = runtime.join().expect("no shard panics");
    assert_eq!(ends[0].figures.backpressure, Backpressure::Saturated);
    assert_eq!(ends[0].figures.backpressure_worst, Backpressure::Saturated);
}
