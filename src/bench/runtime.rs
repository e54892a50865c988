//! What the runtime itself costs, without a query: `velo bench runtime`.
//!
//! ```text
//!   turn       one shard, busy, doing nothing                                  a turn
//!   block      shard 0 --blocks of 1,024 numbers--> shard 1 adds them up       a block, an item
//!   ping_pong  shard 0 --> shard 1 --> shard 0, neither parks                  a round
//!   wake       shard 0 posts when shard 1 has been parked for long             from the post to the turn that takes it
//!   pauses     a chain over all shards that rest at random                     how often the safety tick found work
//! ```
//!
//! Law: each part runs on the shards, lanes and doorbells of production, by the reactor that is configured. `wake` and
//! `pauses` rest by the profile that is configured, the others never park. The medians and quantiles are of many short spans
//! of one run.

use serde::Serialize;
use velostream_shards::{
    Context, CoreMap, Endpoint, NodeMemory, Placement, Profile, Progress, ReactorKind, Recorder,
    Runtime, RuntimeOptions, Shard, ShardFigures, ShardId, Summary, SystemClock, mesh,
};

use super::machine::Machine;
use crate::config::Config;
use crate::config::limits::{BENCH_RUNTIME_SHARDS_MIN, LANE_BLOCKS_DEFAULT};
use crate::error::{Error, Result};
use crate::job::{open_doorbells, start_error};

/// Numbers in a block.
const ITEMS: usize = 1024;

/// How long each part runs, but for the chain, which has its messages.
const PART_NS: u64 = 1_500_000_000;

/// Blocks that are timed together.
const BLOCKS_TIMED: u64 = 200;

/// Rounds of ping-pong that are timed together.
const ROUNDS_TIMED: u64 = 20;

/// Turns that are timed together.
const TURNS_TIMED: u64 = 1_000;

/// Least and most time between two wakes: longer than a shard looks before it parks.
const WAKE_PAUSE_US: (u64, u64) = (300, 2_000);

/// The figures of the runtime.
#[derive(Clone, Debug, Serialize)]
pub struct RuntimeLine {
    /// The contract's version.
    pub schema: u32,
    /// `runtime`.
    pub bench: &'static str,
    /// What drove the shards: `glommio` or `poll`.
    pub reactor: &'static str,
    /// When they parked: `latency`, `balanced` or `eco`.
    pub profile: &'static str,
    /// Number of shards.
    pub shards: usize,
    /// A turn that does nothing, nanoseconds.
    pub turn_ns: Span,
    /// A block of 1,024 numbers filled, posted, taken and added up, nanoseconds.
    pub block_ns: Span,
    /// The median of that over 1,024.
    pub item_ns: f64,
    /// A block from shard 0 to shard 1 and back, neither of them parked, nanoseconds.
    pub ping_pong_ns: Span,
    /// From a post to the turn of the parked shard that takes it, nanoseconds.
    pub wake_ns: Span,
    /// A chain of shards that rest at random.
    pub pauses: Pauses,
    /// The machine.
    pub machine: Machine,
}

/// Quantiles of a span of time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Span {
    /// Half were no longer.
    pub p50: u64,
    /// 99 % were no longer.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// What was seen while shards rested at random.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pauses {
    /// Messages that came to the end of the chain, in order.
    pub messages: u64,
    /// How often a shard was parked.
    pub parks: u64,
    /// How often the safety tick found work. Zero, or a ring was forgotten.
    pub safety_tick_found_work: u64,
    /// How long it took.
    pub elapsed_s: f64,
}

impl From<Summary> for Span {
    fn from(summary: Summary) -> Span {
        Span {
            p50: summary.p50,
            p99: summary.p99,
            max: summary.max,
        }
    }
}

/// Measures the runtime with the shards of `core_map`; `messages` go along the chain.
///
/// # Errors
/// `Error::Config` with one shard only: there is nobody to send to.
pub fn measure(config: &Config, core_map: &CoreMap, messages: u64) -> Result<RuntimeLine> {
    let shards = core_map.shards();
    if shards < BENCH_RUNTIME_SHARDS_MIN {
        return Err(Error::Config(format!(
            "velo bench runtime needs {BENCH_RUNTIME_SHARDS_MIN} shards, one to send and one to take; --shards {shards} \
             gives {shards}, and --set shards.oversubscribe=true lets them share a cpu"
        )));
    }
    let bench = Bench { config, core_map };
    let turn = bench.run(Profile::Latency, Turning::new)?;
    let block = bench.run(Profile::Latency, Streaming::new)?;
    let ping_pong = bench.run(Profile::Latency, Playing::new)?;
    let wake = bench.run(config.shards.profile, Waking::new)?;
    let chain = bench.run(config.shards.profile, move |endpoint, shard| {
        Chain::new(endpoint, shard, messages)
    })?;
    let block_ns = Span::from(block.merged());
    Ok(RuntimeLine {
        schema: 1,
        bench: "runtime",
        reactor: turn.reactor.name(),
        profile: config.shards.profile.name(),
        shards,
        turn_ns: turn.merged().into(),
        block_ns,
        item_ns: block_ns.p50 as f64 / ITEMS as f64,
        ping_pong_ns: ping_pong.merged().into(),
        wake_ns: wake.merged().into(),
        pauses: Pauses {
            messages,
            parks: chain.sum(|figures| figures.parks),
            safety_tick_found_work: chain.sum(|figures| figures.safety_tick_found_work),
            elapsed_s: chain.elapsed_s,
        },
        machine: Machine::read(),
    })
}

struct Bench<'b> {
    config: &'b Config,
    core_map: &'b CoreMap,
}

/// What a run left.
struct Ran {
    reactor: ReactorKind,
    recorders: Vec<Recorder>,
    figures: Vec<ShardFigures>,
    elapsed_s: f64,
}

impl Ran {
    fn merged(&self) -> Summary {
        let mut all = Recorder::new();
        self.recorders.iter().for_each(|one| all.merge(one));
        all.summary()
    }

    fn sum(&self, figure: impl Fn(&ShardFigures) -> u64) -> u64 {
        self.figures.iter().map(figure).sum()
    }
}

impl Bench<'_> {
    /// Runs one shard of this kind on each placement, to their end.
    fn run<S, F>(&self, profile: Profile, make: F) -> Result<Ran>
    where
        S: Shard<Summary = Recorder> + 'static,
        F: Fn(Endpoint<Block>, ShardId) -> S + Clone + Send + 'static,
    {
        let doorbells = open_doorbells(self.core_map.shards(), 0)?.0;
        let seats = mesh(&doorbells, 1, LANE_BLOCKS_DEFAULT)
            .into_iter()
            .map(|endpoint| {
                let make = make.clone();
                move |placement: &Placement, _: &NodeMemory| make(endpoint, placement.shard)
            })
            .collect();
        let mut options = RuntimeOptions::new(self.core_map.clone(), &doorbells);
        options.numa = self.config.shards.numa;
        options.reactor = self.config.shards.reactor;
        options.profile = profile;
        let runtime = Runtime::start(options, seats).map_err(|error| start_error(&error))?;
        let reactor = runtime.reactor();
        let ends = runtime.join();
        let ends = ends.map_err(|failure| Error::Runtime(failure.to_string()))?;
        let elapsed_s = ends
            .iter()
            .map(|end| end.figures.elapsed_s)
            .fold(0.0, f64::max);
        let (recorders, figures) = ends
            .into_iter()
            .map(|end| (end.summary, end.figures))
            .unzip();
        Ok(Ran {
            reactor,
            recorders,
            figures,
            elapsed_s,
        })
    }
}

/// What crosses the lanes: numbers, or the end.
type Block = Option<Vec<u64>>;

const ZERO: ShardId = ShardId(0);
const ONE: ShardId = ShardId(1);

fn now_ns() -> u64 {
    SystemClock.monotonic_ns()
}

/// Records the mean of every so many events.
struct Timer {
    recorder: Recorder,
    every: u64,
    events: u64,
    begun_ns: u64,
    since_ns: u64,
}

impl Timer {
    fn new(every: u64) -> Timer {
        Timer {
            recorder: Recorder::new(),
            every,
            events: 0,
            begun_ns: now_ns(),
            since_ns: 0,
        }
    }

    /// Counts an event; false when the time of the part is over.
    fn event(&mut self) -> bool {
        let mut goes_on = true;
        if self.events.is_multiple_of(self.every) {
            let now_ns = now_ns();
            if self.events > 0 {
                self.recorder.record((now_ns - self.since_ns) / self.every);
            }
            self.since_ns = now_ns;
            goes_on = now_ns - self.begun_ns < PART_NS;
        }
        self.events += 1;
        goes_on
    }
}

/// Shard 0 takes turns and does nothing in them.
struct Turning {
    timer: Timer,
}

impl Turning {
    fn new(_: Endpoint<Block>, _: ShardId) -> Turning {
        Turning {
            timer: Timer::new(TURNS_TIMED),
        }
    }
}

impl Shard for Turning {
    type Summary = Recorder;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        match cx.shard() == ZERO && self.timer.event() {
            true => Progress::Busy,
            false => Progress::Done,
        }
    }

    fn finish(self) -> Recorder {
        self.timer.recorder
    }
}

/// Shard 0 sends blocks, shard 1 adds up what is in them and sends them back to be filled again.
struct Streaming {
    endpoint: Endpoint<Block>,
    timer: Timer,
    /// Blocks sent, or taken.
    blocks: u64,
    ended: bool,
}

impl Streaming {
    fn new(endpoint: Endpoint<Block>, _: ShardId) -> Streaming {
        Streaming {
            endpoint,
            timer: Timer::new(BLOCKS_TIMED),
            blocks: 0,
            ended: false,
        }
    }

    fn send(&mut self) -> Progress {
        let Endpoint { outboxes, inboxes } = &mut self.endpoint;
        let moved = outboxes[0].flush() > 0;
        if !outboxes[0].has_room() {
            return progress(moved);
        }
        if self.ended {
            return Progress::Done;
        }
        // Blocks come back, so that none is allocated once the lane has been full.
        let mut block = match inboxes[0].take() {
            Some((_, block)) => block.unwrap_or_default(),
            None if self.blocks < 2 * LANE_BLOCKS_DEFAULT as u64 => Vec::with_capacity(ITEMS),
            None => return progress(moved),
        };
        block.clear();
        block.extend(self.blocks..self.blocks + ITEMS as u64);
        outboxes[0].post(ONE, Some(block));
        self.blocks += 1;
        if !self.timer.event() {
            outboxes[0].post(ONE, None);
            self.ended = true;
        }
        Progress::Busy
    }

    fn take(&mut self) -> Progress {
        let Endpoint { outboxes, inboxes } = &mut self.endpoint;
        let moved = outboxes[0].flush() > 0;
        let block = match inboxes[0].take() {
            None => return progress(moved),
            Some((_, None)) => return Progress::Done,
            Some((_, Some(block))) => block,
        };
        let count = ITEMS as u64;
        assert_eq!(
            block.iter().sum::<u64>(),
            count * self.blocks + count * (count - 1) / 2,
            "blocks come whole and in order"
        );
        self.blocks += 1;
        outboxes[0].post(ZERO, Some(block));
        Progress::Busy
    }
}

impl Shard for Streaming {
    type Summary = Recorder;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        match cx.shard() {
            ZERO => self.send(),
            ONE => self.take(),
            _ => Progress::Done,
        }
    }

    fn finish(self) -> Recorder {
        self.timer.recorder
    }
}

/// A block goes to and fro between shard 0 and shard 1.
struct Playing {
    endpoint: Endpoint<Block>,
    timer: Timer,
}

impl Playing {
    fn new(endpoint: Endpoint<Block>, _: ShardId) -> Playing {
        Playing {
            endpoint,
            timer: Timer::new(ROUNDS_TIMED),
        }
    }
}

impl Shard for Playing {
    type Summary = Recorder;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        let Endpoint { outboxes, inboxes } = &mut self.endpoint;
        let (first, peer) = match cx.shard() {
            ZERO => (true, ONE),
            ONE => (false, ZERO),
            _ => return Progress::Done,
        };
        let block = match inboxes[0].take() {
            Some((_, block)) => block,
            None if first && cx.turn() == 0 => Some(Vec::new()),
            None => return Progress::Idle,
        };
        let block = block.filter(|_| !first || self.timer.event());
        let goes_on = block.is_some();
        if first || goes_on {
            outboxes[0].post(peer, block);
        }
        match goes_on {
            true => Progress::Busy,
            false => Progress::Done,
        }
    }

    fn finish(self) -> Recorder {
        self.timer.recorder
    }
}

/// Shard 0 posts the time now and then; shard 1 says how long ago that was.
struct Waking {
    endpoint: Endpoint<Block>,
    recorder: Recorder,
    random: Random,
    due_ns: u64,
    timer: Timer,
}

impl Waking {
    fn new(endpoint: Endpoint<Block>, _: ShardId) -> Waking {
        Waking {
            endpoint,
            recorder: Recorder::new(),
            random: Random(9),
            due_ns: 0,
            timer: Timer::new(1),
        }
    }

    fn post(&mut self, cx: &mut Context) -> Progress {
        if now_ns() < self.due_ns {
            cx.wake_at(self.due_ns);
            return Progress::Idle;
        }
        if !self.timer.event() {
            self.endpoint.outboxes[0].post(ONE, None);
            return Progress::Done;
        }
        let (least, most) = WAKE_PAUSE_US;
        self.endpoint.outboxes[0].post(ONE, Some(vec![now_ns()]));
        self.due_ns = now_ns() + 1_000 * (least + self.random.below(most - least));
        Progress::Busy
    }

    fn take(&mut self) -> Progress {
        let taken_at_ns = now_ns();
        match self.endpoint.inboxes[0].take() {
            None => Progress::Idle,
            Some((_, None)) => Progress::Done,
            Some((_, Some(block))) => {
                let took_ns = taken_at_ns.saturating_sub(block[0]);
                self.recorder.record(took_ns);
                Progress::Busy
            }
        }
    }
}

impl Shard for Waking {
    type Summary = Recorder;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        match cx.shard() {
            ZERO => self.post(cx),
            ONE => self.take(),
            _ => Progress::Done,
        }
    }

    fn finish(self) -> Recorder {
        self.recorder
    }
}

/// Shard 0 makes blocks of numbers, each other one passes them on to the next, the last one counts. All rest now and then.
struct Chain {
    endpoint: Endpoint<Block>,
    random: Random,
    next: u64,
    messages: u64,
    blocks_until_rest: u64,
    rest_until_ns: u64,
    ended: bool,
}

impl Chain {
    fn new(endpoint: Endpoint<Block>, shard: ShardId, messages: u64) -> Chain {
        Chain {
            endpoint,
            random: Random(77 * shard.index() as u64 + 5),
            next: 0,
            messages,
            blocks_until_rest: 20,
            rest_until_ns: 0,
            ended: false,
        }
    }

    /// The next block, if there is one: made by the first shard, taken by the others.
    fn get(&mut self, first: bool) -> Option<Block> {
        if !first {
            return self.endpoint.inboxes[0].take().map(|(_, block)| block);
        }
        if self.next == self.messages {
            return Some(None);
        }
        let end = self.messages.min(self.next + 1 + self.random.below(64));
        let block = (self.next..end).collect();
        self.next = end;
        Some(Some(block))
    }

    /// Keeps the block, on the last shard, or sends it on.
    fn put(&mut self, to: Option<ShardId>, block: Block) {
        match (to, block) {
            (Some(shard), block) => self.endpoint.outboxes[0].post(shard, block),
            (None, None) => assert_eq!(self.next, self.messages, "no message was lost"),
            (None, Some(block)) => {
                let whole = block
                    .iter()
                    .copied()
                    .eq(self.next..self.next + block.len() as u64);
                assert!(whole, "messages come in order");
                self.next += block.len() as u64;
            }
        }
    }

    /// Mostly for about as long as it takes to park, now and then for longer than the tick.
    fn rest(&mut self) {
        self.blocks_until_rest = 1 + self.random.below(100);
        let rest_us = match self.random.below(100) {
            0 => 5_000 + self.random.below(20_000),
            1..20 => 0,
            _ => self.random.below(500),
        };
        self.rest_until_ns = now_ns() + 1_000 * rest_us;
    }
}

impl Shard for Chain {
    type Summary = Recorder;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        let shards = self.endpoint.outboxes[0].peers().count() + 1;
        let place = cx.shard().index();
        let to = (place + 1 < shards).then(|| ShardId::from_index(place + 1));
        let mut progressed = self.endpoint.outboxes[0].flush() > 0;
        if now_ns() < self.rest_until_ns {
            cx.wake_at(self.rest_until_ns);
        } else {
            for _ in 0..4 {
                if self.ended || !self.endpoint.outboxes[0].has_room() {
                    break;
                }
                let Some(block) = self.get(place == 0) else {
                    break;
                };
                progressed = true;
                self.ended = block.is_none();
                self.put(to, block);
                self.blocks_until_rest -= 1;
                if self.blocks_until_rest == 0 {
                    self.rest();
                    break;
                }
            }
        }
        match (
            self.ended && self.endpoint.outboxes[0].has_room(),
            progressed,
        ) {
            (true, _) => Progress::Done,
            (false, progressed) => progress(progressed),
        }
    }

    fn finish(self) -> Recorder {
        Recorder::new()
    }
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

fn progress(progressed: bool) -> Progress {
    match progressed {
        true => Progress::Busy,
        false => Progress::Idle,
    }
}
