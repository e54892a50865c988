//! A parked shard is woken by whoever has work for it, never by the safety tick; and while it is
//! parked it costs next to nothing.

use std::thread;
use std::time::{Duration, Instant};

use velostream_shards::{
    Context, CoreMap, CoreMapRequest, CoreRequest, Doorbells, Endpoint, ExitOutbox, Machine,
    NodeMemory, Placement, Profile, Progress, ReactorChoice, Runtime, RuntimeOptions, Shard,
    ShardFigures, ShardId, Smt, StopHandle, SystemClock, exit_lane, mesh,
};

const REACTORS: [ReactorChoice; 2] = [ReactorChoice::Glommio, ReactorChoice::Poll];

fn options(
    doorbells: &Doorbells,
    reactor: ReactorChoice,
    profile: Profile,
) -> (RuntimeOptions, StopHandle) {
    let machine = Machine::read().expect("hwloc reads this machine");
    let request = CoreMapRequest {
        cores: CoreRequest::Count(doorbells.shards()),
        smt: Smt::Use,
        oversubscribe: true,
        ..CoreMapRequest::default()
    };
    let core_map = CoreMap::plan(&machine, &request).expect("oversubscribed shards always fit");
    let mut options = RuntimeOptions::new(core_map, doorbells);
    options.reactor = reactor;
    options.profile = profile;
    let stop = options.stop.clone();
    (options, stop)
}

/// Numbers without a pattern, the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Rests now and then, mostly for as long as a park takes to begin, sometimes for longer than a tick.
struct Pauses {
    random: Random,
    until_ns: u64,
    blocks: u64,
}

impl Pauses {
    fn new(seed: u64) -> Pauses {
        Pauses {
            random: Random(seed),
            until_ns: 0,
            blocks: 20,
        }
    }

    /// Whether it rests in this turn.
    fn rests(&mut self, cx: &mut Context) -> bool {
        if SystemClock.monotonic_ns() >= self.until_ns {
            return false;
        }
        cx.wake_at(self.until_ns);
        true
    }

    /// A block was handled.
    fn block(&mut self) {
        self.blocks -= 1;
        if self.blocks == 0 {
            self.blocks = 1 + self.random.below(100);
            let pause_us = match self.random.below(50) {
                0 => 5_000 + self.random.below(20_000),
                1..10 => 0,
                _ => self.random.below(1_000),
            };
            self.until_ns = SystemClock.monotonic_ns() + pause_us * 1_000;
        }
    }
}

/// Blocks of messages, each the next number; `None` at the end.
type Block = Option<Vec<u64>>;

/// Shard 0 sends, shard 1 passes on, the last hands over to the thread of the job.
struct Link {
    endpoint: Endpoint<Block>,
    exit: ExitOutbox<Block>,
    pauses: Pauses,
    next: u64,
    messages: u64,
    ended: bool,
}

impl Link {
    fn has_room(&self, last: bool) -> bool {
        match last {
            true => self.exit.has_room(),
            false => self.endpoint.outboxes[0].has_room(),
        }
    }

    fn send(&mut self, to: Option<ShardId>, block: Block) {
        match to {
            Some(shard) => self.endpoint.outboxes[0].post(shard, block),
            None => self.exit.post(block),
        }
    }

    /// What comes next, if anything: made by the first shard, taken by the others.
    fn get(&mut self, first: bool) -> Option<Block> {
        if !first {
            return self.endpoint.inboxes[0].take().map(|(_, block)| block);
        }
        if self.next == self.messages {
            return Some(None);
        }
        let end = self
            .messages
            .min(self.next + 1 + self.pauses.random.below(64));
        let block = (self.next..end).collect();
        self.next = end;
        Some(Some(block))
    }
}

impl Shard for Link {
    type Summary = ();

    fn turn(&mut self, cx: &mut Context) -> Progress {
        let shards = self.endpoint.outboxes[0].peers().count() + 1;
        let place = cx.shard().index();
        let to = (place + 1 < shards).then(|| ShardId::from_index(place + 1));
        let mut progressed = self.endpoint.outboxes[0].flush() + self.exit.flush() > 0;
        if !self.ended && !self.pauses.rests(cx) {
            for _ in 0..4 {
                if self.ended || !self.has_room(to.is_none()) {
                    break;
                }
                let Some(block) = self.get(place == 0) else {
                    break;
                };
                progressed = true;
                self.ended = block.is_none();
                self.send(to, block);
                self.pauses.block();
            }
        }
        let sent = self.endpoint.outboxes[0].has_room() && self.exit.has_room();
        match (self.ended && sent, progressed) {
            (true, _) => Progress::Done,
            (false, true) => Progress::Busy,
            (false, false) => Progress::Idle,
        }
    }

    fn finish(self) {}
}

/// Sends messages along a chain of shards to this thread, which sleeps by its doorbell too.
fn chain(
    shards: usize,
    reactor: ReactorChoice,
    profile: Profile,
    messages: u64,
) -> Vec<ShardFigures> {
    const LANE_BLOCKS: usize = 4;
    /// Slept through to its end it would show in the time that the test takes.
    const LONG: Duration = Duration::from_secs(30);
    let doorbells = Doorbells::open(shards).expect("there are descriptors");
    let (options, _) = options(&doorbells, reactor, profile);
    let mut exits = Vec::new();
    let mut seats = Vec::new();
    for (index, endpoint) in mesh(&doorbells, 1, LANE_BLOCKS).into_iter().enumerate() {
        let (exit, inbox) = exit_lane(&doorbells, ShardId::from_index(index), LANE_BLOCKS);
        exits.push(inbox);
        seats.push(move |_: &Placement, _: &NodeMemory| Link {
            endpoint,
            exit,
            pauses: Pauses::new(index as u64 * 77 + 5),
            next: 0,
            messages,
            ended: false,
        });
    }
    let bell = doorbells.of_job();
    let begun = Instant::now();
    let runtime = Runtime::start(options, seats).expect("this host allows shards");
    let mut expected = 0;
    loop {
        let finished = runtime.is_finished();
        let mut progressed = false;
        for block in exits.iter_mut().filter_map(|exit| exit.take()) {
            progressed = true;
            for number in block.into_iter().flatten() {
                assert_eq!(number, expected, "messages come in order, none is lost");
                expected += 1;
            }
        }
        bell.ring_owed();
        match (progressed, bell.is_armed()) {
            (false, _) if finished => break,
            (true, true) => {
                bell.disarm();
            }
            (true, false) => {}
            (false, false) => bell.arm(),
            (false, true) => bell.sleep(LONG),
        }
    }
    assert!(begun.elapsed() < LONG, "this thread slept over a block");
    assert_eq!(expected, messages);
    let ends = runtime.join().expect("no shard panics");
    ends.into_iter().map(|end| end.figures).collect()
}

#[test]
fn the_safety_tick_finds_no_work() {
    for (shards, profile) in [(2, Profile::Balanced), (2, Profile::Eco), (3, Profile::Eco)] {
        for reactor in REACTORS {
            let figures = chain(shards, reactor, profile, 200_000);
            assert!(
                figures.iter().map(|shard| shard.parks).sum::<u64>() > 20,
                "nobody was parked: {figures:?}"
            );
            for shard in figures {
                assert_eq!(shard.safety_tick_found_work, 0, "{reactor:?}: {shard:?}");
            }
        }
    }
}

/// A shard to which work comes by a flag, for which nobody rings.
struct Forgotten {
    turns_until_work: u32,
}

impl Shard for Forgotten {
    type Summary = ();

    fn turn(&mut self, cx: &mut Context) -> Progress {
        self.turns_until_work = self.turns_until_work.saturating_sub(1);
        match (cx.stopping(), self.turns_until_work) {
            (true, _) => Progress::Done,
            (false, 1) => Progress::Busy,
            (false, _) => Progress::Idle,
        }
    }

    fn finish(self) {}
}

#[test]
fn work_that_the_safety_tick_finds_is_counted() {
    for reactor in REACTORS {
        let doorbells = Doorbells::open(1).expect("there are descriptors");
        let (options, stop) = options(&doorbells, reactor, Profile::Eco);
        // Two turns before it sleeps, some of the tick, then work.
        let seat = |_: &Placement, _: &NodeMemory| Forgotten {
            turns_until_work: 7,
        };
        let runtime = Runtime::start(options, vec![seat]).expect("this host allows shards");
        thread::sleep(Duration::from_millis(300));
        stop.request();
        let ends = runtime.join().expect("no shard panics");
        assert_eq!(
            ends[0].figures.safety_tick_found_work, 1,
            "{:?}",
            ends[0].figures
        );
    }
}

/// A shard that has work every twelve milliseconds, by the clock.
struct Timed {
    due_ns: u64,
    /// How late the most punctual of its turns was.
    late_ns_min: u64,
}

impl Shard for Timed {
    type Summary = u64;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        if cx.stopping() {
            return Progress::Done;
        }
        let now_ns = SystemClock.monotonic_ns();
        if now_ns < self.due_ns {
            cx.wake_at(self.due_ns);
            return Progress::Idle;
        }
        if self.due_ns > 0 {
            self.late_ns_min = self.late_ns_min.min(now_ns - self.due_ns);
        }
        self.due_ns = now_ns + 12_000_000;
        Progress::Busy
    }

    fn finish(self) -> u64 {
        self.late_ns_min
    }
}

#[test]
fn a_time_that_a_shard_asked_for_wakes_it_and_is_no_forgotten_ring() {
    for reactor in REACTORS {
        let doorbells = Doorbells::open(1).expect("there are descriptors");
        let (options, stop) = options(&doorbells, reactor, Profile::Eco);
        let seat = |_: &Placement, _: &NodeMemory| Timed {
            due_ns: 0,
            late_ns_min: u64::MAX,
        };
        let runtime = Runtime::start(options, vec![seat]).expect("this host allows shards");
        thread::sleep(Duration::from_millis(800));
        stop.request();
        let ends = runtime.join().expect("no shard panics");
        let figures = &ends[0].figures;
        // By the tick of five milliseconds alone it would be three of them late.
        let late_ns = ends[0].summary;
        assert!(late_ns < 1_500_000, "{late_ns} ns late: {figures:?}");
        assert_eq!(figures.safety_tick_found_work, 0, "{figures:?}");
    }
}

#[test]
fn a_parked_shard_uses_less_than_three_percent_of_a_cpu() {
    for reactor in REACTORS {
        for profile in [Profile::Balanced, Profile::Eco] {
            let doorbells = Doorbells::open(2).expect("there are descriptors");
            let (options, stop) = options(&doorbells, reactor, profile);
            let seats = vec![
                |_: &Placement, _: &NodeMemory| Forgotten {
                    turns_until_work: 0,
                };
                2
            ];
            let runtime = Runtime::start(options, seats).expect("this host allows shards");
            thread::sleep(Duration::from_secs(2));
            stop.request();
            for end in runtime.join().expect("no shard panics") {
                let figures = end.figures;
                let share = figures.cpu_s / figures.elapsed_s;
                println!("{reactor:?} {profile:?}: {:.2} %", share * 100.0);
                assert!(share < 0.03, "{share}: {figures:?}");
            }
        }
    }
}
