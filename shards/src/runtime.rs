//! Starting, stopping and joining the shards.
//!
//! ```text
//!   start ──> thread shard-0: pin, open ──┐            ┌──> build the shard ──┐            ┌──> turns .. Done, finish
//!         ──> thread shard-1: pin, open ──┼── reactor ─┼──> build the shard ──┼── all up ──┼──> turns .. Done, finish ──> join
//!         ──> thread shard-2: pin, open ──┘            └──> build the shard ──┘            └──> turns .. Done, finish
//! ```
//!
//! Four laws:
//! - One reactor for all: if it is to be chosen and the host refuses glommio to any shard, all run on
//!   poll.
//! - All or none: no shard takes a turn before every shard is up and pinned where the core map
//!   says; if one cannot be, all are ended and the reason is returned.
//! - A panic in one shard ends all of them, whatever they are doing, and is remembered with the
//!   shard and the message.
//! - No thread outlives its runtime: dropping one ends the shards and waits for them.

mod figures;
mod stall;
mod turns;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

pub use figures::{ShardEnd, ShardFigures};

use crate::backpressure::Backpressure;
use crate::control::{FailureFlag, ShardFailure, StopHandle};
use crate::core_map::{CoreMap, Placement};
use crate::memory::{MemoryRefusal, NodeMemory, Numa};
use crate::mesh::Doorbells;
use crate::pin::{self, PinError};
use crate::reactor::{
    GlommioReactor, Idle, PollReactor, Profile, Reactor, ReactorChoice, ReactorError, ReactorKind,
};
use crate::shard::{Shard, ShardId};
use crate::shown::Shown;
use turns::{Ends, Rests, ShardLoop, Watched};

/// The budget of a turn unless the caller says another, microseconds of CPU time.
pub const TURN_BUDGET_US: u64 = 100;

/// How the shards are started.
#[derive(Clone)]
pub struct RuntimeOptions {
    /// Which shard sits where.
    pub core_map: CoreMap,
    /// How firmly the memory of each shard is kept on its node.
    pub numa: Numa,
    /// By these the shards and the thread of the job are woken; the lanes were made with them.
    pub doorbells: Doorbells,
    /// A turn that takes more CPU time, in microseconds, is a stall. Above zero.
    pub turn_budget_us: u64,
    /// By this the shards are asked to stop. Made by the caller, who may need it before the shards
    /// are up.
    pub stop: StopHandle,
    /// What drives the shards.
    pub reactor: ReactorChoice,
    /// When an idle shard parks.
    pub profile: Profile,
}

impl RuntimeOptions {
    /// Memory preferably on its node, the reactor that the host allows, the balanced profile.
    pub fn new(core_map: CoreMap, doorbells: &Doorbells) -> RuntimeOptions {
        RuntimeOptions {
            core_map,
            numa: Numa::Prefer,
            turn_budget_us: TURN_BUDGET_US,
            doorbells: doorbells.clone(),
            stop: StopHandle::new(doorbells),
            reactor: ReactorChoice::default(),
            profile: Profile::default(),
        }
    }
}

/// Running shards.
pub struct Runtime<S: Shard> {
    threads: Vec<JoinHandle<Option<ShardEnd<S::Summary>>>>,
    reactor: ReactorKind,
    stop: StopHandle,
    failure: FailureFlag,
    notices: Vec<String>,
    /// How many shards have not ended.
    running: Arc<AtomicUsize>,
    shown: Vec<Shown>,
}

impl<S: Shard + 'static> Runtime<S> {
    /// Starts one shard for each placement of the core map. Each seat builds its shard on the
    /// shard's own pinned thread, so that the shard's memory is local and need not be `Send`.
    /// Returns when every shard is up.
    ///
    /// # Errors
    /// See [`StartError`]; no thread is left then.
    ///
    /// # Panics
    /// When there is not one seat, and one doorbell, for each placement.
    pub fn start<F>(options: RuntimeOptions, seats: Vec<F>) -> Result<Runtime<S>, StartError>
    where
        F: FnOnce(&Placement, &NodeMemory) -> S + Send + 'static,
    {
        let RuntimeOptions {
            core_map,
            numa,
            doorbells,
            turn_budget_us,
            stop,
            reactor: choice,
            profile,
        } = options;
        let shards = core_map.shards();
        assert_eq!(seats.len(), shards, "there is one seat for each shard");
        assert_eq!(
            doorbells.shards(),
            shards,
            "there is one doorbell for each shard"
        );
        if core_map.foreign() {
            return Err(StartError::ForeignMachine);
        }

        let mut runtime = Runtime {
            threads: Vec::with_capacity(shards),
            reactor: ReactorKind::Poll,
            stop,
            failure: FailureFlag::new(&doorbells),
            notices: Vec::new(),
            running: Arc::new(AtomicUsize::new(shards)),
            shown: core_map
                .placements()
                .iter()
                .map(|_| Shown::default())
                .collect(),
        };
        let (report, reports) = mpsc::channel();
        let mut orders = Vec::with_capacity(shards);
        for (placement, seat) in core_map.placements().iter().zip(seats) {
            let (order, obey) = mpsc::channel();
            orders.push(order);
            let shard = placement.shard;
            let thread = ShardThread {
                placement: placement.clone(),
                shards,
                numa,
                choice,
                idle: Idle::new(profile, core_map.oversubscribed()),
                doorbells: doorbells.clone(),
                watched: Watched {
                    turn_budget_us,
                    shown: runtime.shown[shard.index()].clone(),
                },
                stop: runtime.stop.clone(),
                failure: runtime.failure.clone(),
                running: Arc::clone(&runtime.running),
                report: report.clone(),
                obey,
            };
            let spawned = thread::Builder::new()
                .name(format!("shard-{}", shard.0))
                .spawn(move || thread.run(seat))
                .map_err(|source| StartError::Thread { shard, source })?;
            runtime.threads.push(spawned);
        }
        drop(report);

        // A shard that cannot come up reports why; dropping the orders and the runtime ends the
        // others.
        let mut refused = None;
        for opened in hear(&reports, shards) {
            let Opened {
                withheld,
                refused: by_this,
            } = opened?;
            refused = refused.or(by_this);
            if let Some(notice) = withheld.filter(|notice| !runtime.notices.contains(notice)) {
                runtime.notices.push(notice);
            }
        }
        runtime.reactor = match (choice, refused) {
            (ReactorChoice::Poll, _) => ReactorKind::Poll,
            (_, None) => ReactorKind::Glommio,
            (_, Some(reason)) => {
                let notice = format!("shards run on poll instead of io_uring: {reason}");
                runtime.notices.push(notice);
                ReactorKind::Poll
            }
        };
        give(&orders, Order::Build(runtime.reactor));
        for up in hear(&reports, shards) {
            up?;
        }
        give(&orders, Order::Turn);
        Ok(runtime)
    }

    /// By this the shards are asked to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What drives the shards.
    pub fn reactor(&self) -> ReactorKind {
        self.reactor
    }

    /// What the host withholds of what was wished for, a line each, told once for all shards.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How hard each shard is pressed at this moment, in their order.
    pub fn backpressure(&self) -> impl Iterator<Item = Backpressure> {
        self.shown.iter().map(Shown::backpressure)
    }

    /// What may be seen of each shard while it runs, in their order.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Whether every shard has ended, by being done or by a failure; [`join`](Runtime::join) then
    /// hardly waits. The thread of the job is rung when a shard ends.
    pub fn is_finished(&self) -> bool {
        self.running.load(Ordering::Acquire) == 0
    }

    /// The panic that stopped the shards, if there was one.
    pub fn failure(&self) -> Option<ShardFailure> {
        self.failure.first()
    }

    /// Waits for every shard to end. Returns what they left, in their order.
    ///
    /// # Errors
    /// The first panic of any shard.
    pub fn join(mut self) -> Result<Vec<ShardEnd<S::Summary>>, ShardFailure> {
        let ends: Vec<Option<ShardEnd<S::Summary>>> =
            self.threads.drain(..).map(join_thread).collect();
        match self.failure.first() {
            Some(failure) => Err(failure),
            None => Ok(ends
                .into_iter()
                .map(|end| end.expect("a shard ends by being done or by a failure"))
                .collect()),
        }
    }
}

impl<S: Shard> Drop for Runtime<S> {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        self.failure.abandon();
        for thread in self.threads.drain(..) {
            join_thread(thread);
        }
    }
}

fn join_thread<T>(thread: JoinHandle<T>) -> T {
    thread
        .join()
        .expect("a shard thread catches the panics of its shard")
}

/// What a thread reports when it is pinned and has what the host gave it. When its shard is built
/// it reports the same again, with nothing in it.
#[derive(Default)]
struct Opened {
    /// What the host withholds of the shard's memory.
    withheld: Option<String>,
    /// Why there is no glommio, where poll will do.
    refused: Option<ReactorError>,
}

/// What every thread reports next.
fn hear(
    reports: &Receiver<Result<Opened, StartError>>,
    shards: usize,
) -> impl Iterator<Item = Result<Opened, StartError>> {
    (0..shards).map(|_| {
        reports
            .recv()
            .expect("every shard thread reports before it ends")
    })
}

fn give(orders: &[Sender<Order>], order: Order) {
    for thread in orders {
        thread
            .send(order)
            .expect("a shard that has reported waits for the order");
    }
}

/// What a shard's thread is told to do, when all have done what went before. Dropping the sender
/// tells it to end.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Build the shard, for this reactor.
    Build(ReactorKind),
    /// Begin.
    Turn,
}

/// What one shard's thread is given.
struct ShardThread {
    placement: Placement,
    shards: usize,
    numa: Numa,
    choice: ReactorChoice,
    idle: Idle,
    doorbells: Doorbells,
    watched: Watched,
    stop: StopHandle,
    failure: FailureFlag,
    running: Arc<AtomicUsize>,
    report: Sender<Result<Opened, StartError>>,
    obey: Receiver<Order>,
}

impl ShardThread {
    /// The whole life of the thread. No panic leaves it.
    fn run<S, F>(self, seat: F) -> Option<ShardEnd<S::Summary>>
    where
        S: Shard + 'static,
        F: FnOnce(&Placement, &NodeMemory) -> S,
    {
        let running = Arc::clone(&self.running);
        let doorbells = self.doorbells.clone();
        let end = self.live(seat);
        // The lanes are closed. Those who wait for this shard have nothing to wait for any more.
        running.fetch_sub(1, Ordering::Release);
        doorbells.ring_all();
        end
    }

    fn live<S, F>(self, seat: F) -> Option<ShardEnd<S::Summary>>
    where
        S: Shard + 'static,
        F: FnOnce(&Placement, &NodeMemory) -> S,
    {
        let memory = NodeMemory::new(self.placement.node, self.numa);
        let mut opened = Opened::default();
        let glommio = self.guarded(|| self.open(&memory, &mut opened))?;
        self.send(Ok(opened));
        match self.obey.recv().ok()? {
            Order::Build(ReactorKind::Glommio) => {
                let reactor = glommio.expect("glommio was chosen because all opened it");
                self.turn_by(reactor, memory, seat)
            }
            Order::Build(ReactorKind::Poll) => {
                drop(glommio);
                self.turn_by(PollReactor, memory, seat)
            }
            Order::Turn => unreachable!("a shard is built before it takes a turn"),
        }
    }

    /// Pinned first, so that the reactor's rings and the shard are first touched on their own node.
    fn open(
        &self,
        memory: &NodeMemory,
        opened: &mut Opened,
    ) -> Result<Option<GlommioReactor>, StartError> {
        let Placement { shard, cpu, .. } = self.placement;
        pin::pin_current_thread(cpu).map_err(|source| StartError::Pin { shard, source })?;
        let withheld = memory
            .claim_thread()
            .map_err(|source| StartError::Memory { shard, source })?;
        opened.withheld = withheld.map(|refusal| refusal.to_string());
        if self.choice == ReactorChoice::Poll {
            return Ok(None);
        }
        match GlommioReactor::open(cpu, self.shards) {
            Ok(reactor) => {
                pin::assert_pinned(cpu);
                Ok(Some(reactor))
            }
            Err(refused) if self.choice == ReactorChoice::Auto => {
                opened.refused = Some(refused);
                Ok(None)
            }
            Err(source) => Err(StartError::Reactor { shard, source }),
        }
    }

    fn turn_by<S, F, R>(
        self,
        reactor: R,
        memory: NodeMemory,
        seat: F,
    ) -> Option<ShardEnd<S::Summary>>
    where
        S: Shard + 'static,
        F: FnOnce(&Placement, &NodeMemory) -> S,
        R: Reactor,
    {
        let built = self.guarded(|| Ok(seat(&self.placement, &memory)))?;
        self.send(Ok(Opened::default()));

        let failure = self.failure.clone();
        let shard = self.placement.shard;
        let life = catch_unwind(AssertUnwindSafe(move || {
            // The order comes when all are up, and never when one is not.
            self.obey.recv().ok()?;
            let rests = Rests {
                doorbell: self.doorbells.of_shard(shard),
                idle: self.idle,
            };
            let ends = Ends {
                stop: self.stop,
                failure: self.failure,
            };
            let watched = self.watched;
            let turns = ShardLoop::new(built, self.placement, memory, rests, ends, watched);
            let (summary, figures) = reactor.run(turns).finish()?;
            Some(ShardEnd { summary, figures })
        }));
        life.unwrap_or_else(|panic| {
            failure.raise(ShardFailure {
                shard,
                message: panic_message(&*panic),
            });
            None
        })
    }

    /// What `step` gives; reports why, if it gives nothing.
    fn guarded<T>(&self, step: impl FnOnce() -> Result<T, StartError>) -> Option<T> {
        let error = match catch_unwind(AssertUnwindSafe(step)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => error,
            Err(panic) => StartError::Panicked(ShardFailure {
                shard: self.placement.shard,
                message: panic_message(&*panic),
            }),
        };
        self.send(Err(error));
        None
    }

    /// Nobody listens any more when another shard could not come up; that is reported already.
    fn send(&self, report: Result<Opened, StartError>) {
        let _heard = self.report.send(report).is_ok();
    }
}

/// What a panic said: its payload, as `catch_unwind` gives it.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// Why the shards were not started.
#[derive(Debug)]
pub enum StartError {
    /// The core map is for a described machine.
    ForeignMachine,
    /// A shard's thread could not be created.
    Thread {
        /// The shard.
        shard: ShardId,
        /// What the operating system said.
        source: io::Error,
    },
    /// A shard's thread could not be pinned to its cpu.
    Pin {
        /// The shard.
        shard: ShardId,
        /// Where it may run instead.
        source: PinError,
    },
    /// A shard's memory cannot be kept on its node, and that was asked for strictly.
    Memory {
        /// The shard.
        shard: ShardId,
        /// What is refused, and what to do about it.
        source: MemoryRefusal,
    },
    /// A shard's reactor could not be opened.
    Reactor {
        /// The shard.
        shard: ShardId,
        /// Why, and what to do about it.
        source: ReactorError,
    },
    /// A shard panicked while it was pinned or built.
    Panicked(ShardFailure),
}

impl StartError {
    /// Whether the remedy is a permission or a limit that the host withholds.
    pub fn is_permission(&self) -> bool {
        match self {
            StartError::Memory { source, .. } => source.is_permission(),
            StartError::Reactor { source, .. } => source.is_permission(),
            _ => false,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::ForeignMachine => write!(
                f,
                "the core map is for a described machine, not for this one: unset HWLOC_SYNTHETIC and HWLOC_XMLFILE"
            ),
            StartError::Thread { shard, source } => write!(
                f,
                "the thread of {shard} could not be created: {source}; check `ulimit -u`"
            ),
            StartError::Pin { shard, source } => write!(f, "{shard}: {source}"),
            StartError::Memory { shard, source } => write!(f, "{shard}: {source}"),
            StartError::Reactor { shard, source } => write!(f, "{shard}: {source}"),
            StartError::Panicked(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

#[cfg(test)]
mod tests;
