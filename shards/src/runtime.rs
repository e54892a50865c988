//! Starting, stopping and joining the shards.
//!
//! ```text
//!   start ──> thread shard-0: pin, open the reactor, build the shard ──> up ──┐            ┌──> turns .. Done, finish
//!         ──> thread shard-1: ..                                      ──> up ──┼── all up ──┼──> turns .. Done, finish ──> join
//!         ──> thread shard-2: ..                                      ──> up ──┘            └──> turns .. Done, finish
//! ```
//!
//! Three laws:
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
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::{fmt, io};

pub use figures::{ShardEnd, ShardFigures};

use crate::backpressure::{Backpressure, Shown};
use crate::control::{FailureFlag, ShardFailure, StopHandle};
use crate::core_map::{CoreMap, Placement};
use crate::memory::{MemoryRefusal, NodeMemory, Numa};
use crate::pin::{self, PinError};
use crate::reactor::{GlommioReactor, Idle, ReactorError};
use crate::shard::{Shard, ShardId};
use turns::{ShardLoop, Watched};

/// How the shards are started.
#[derive(Clone, Debug)]
pub struct RuntimeOptions {
    /// Which shard sits where.
    pub core_map: CoreMap,
    /// How firmly the memory of each shard is kept on its node.
    pub numa: Numa,
    /// A turn that takes more CPU time, in microseconds, is a stall. Above zero.
    pub turn_budget_us: u64,
    /// By this the shards are asked to stop. Made by the caller, who may need it before the shards
    /// are up.
    pub stop: StopHandle,
}

/// Running shards.
pub struct Runtime<S: Shard> {
    threads: Vec<JoinHandle<Option<ShardEnd<S::Summary>>>>,
    stop: StopHandle,
    failure: FailureFlag,
    notices: Vec<String>,
    pressed: Vec<Shown>,
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
    /// When there is not one seat for each placement.
    pub fn start<F>(options: RuntimeOptions, seats: Vec<F>) -> Result<Runtime<S>, StartError>
    where
        F: FnOnce(&Placement, &NodeMemory) -> S + Send + 'static,
    {
        let RuntimeOptions {
            core_map,
            numa,
            turn_budget_us,
            stop,
        } = options;
        assert_eq!(
            seats.len(),
            core_map.shards(),
            "there is one seat for each shard"
        );
        if core_map.foreign() {
            return Err(StartError::ForeignMachine);
        }

        let mut runtime = Runtime {
            threads: Vec::with_capacity(seats.len()),
            stop,
            failure: FailureFlag::default(),
            notices: Vec::new(),
            pressed: core_map
                .placements()
                .iter()
                .map(|_| Shown::default())
                .collect(),
        };
        let (report, reports) = mpsc::channel();
        let mut gates = Vec::with_capacity(seats.len());
        for (placement, seat) in core_map.placements().iter().zip(seats) {
            let (gate, open) = mpsc::channel();
            gates.push(gate);
            let shard = placement.shard;
            let thread = ShardThread {
                placement: placement.clone(),
                shards: core_map.shards(),
                numa,
                watched: Watched {
                    turn_budget_us,
                    shown: runtime.pressed[shard.index()].clone(),
                },
                shared_cpu: core_map.oversubscribed(),
                stop: runtime.stop.clone(),
                failure: runtime.failure.clone(),
                report: report.clone(),
                open,
            };
            let spawned = thread::Builder::new()
                .name(format!("shard-{}", shard.0))
                .spawn(move || thread.run(seat))
                .map_err(|source| StartError::Thread { shard, source })?;
            runtime.threads.push(spawned);
        }
        drop(report);

        // A shard that cannot come up reports why; dropping the runtime and the gates ends the
        // others.
        for _ in &gates {
            let up = reports
                .recv()
                .expect("every shard thread reports before it ends")?;
            for notice in up {
                if !runtime.notices.contains(&notice) {
                    runtime.notices.push(notice);
                }
            }
        }
        for gate in gates {
            gate.send(())
                .expect("a shard that is up waits for the gate");
        }
        Ok(runtime)
    }

    /// By this the shards are asked to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What the host withholds of what was wished for, a line each, told once for all shards.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// How hard each shard is pressed at this moment, in their order.
    pub fn backpressure(&self) -> impl Iterator<Item = Backpressure> {
        self.pressed.iter().map(Shown::state)
    }

    /// Whether every shard has ended, by being done or by a failure; [`join`](Runtime::join) then
    /// does not wait.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
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

/// A shard that is up and waits for the gate.
struct Up<S> {
    reactor: GlommioReactor,
    memory: NodeMemory,
    built: S,
    notices: Vec<String>,
}

/// What one shard's thread is given.
struct ShardThread {
    placement: Placement,
    shards: usize,
    numa: Numa,
    watched: Watched,
    shared_cpu: bool,
    stop: StopHandle,
    failure: FailureFlag,
    report: Sender<Result<Vec<String>, StartError>>,
    open: Receiver<()>,
}

impl ShardThread {
    /// The whole life of the thread. No panic leaves it.
    fn run<S, F>(self, seat: F) -> Option<ShardEnd<S::Summary>>
    where
        S: Shard + 'static,
        F: FnOnce(&Placement, &NodeMemory) -> S,
    {
        let shard = self.placement.shard;
        let failure = self.failure.clone();
        let failed = |panic: Box<dyn Any + Send>| ShardFailure {
            shard,
            message: panic_message(&*panic),
        };

        let up = match catch_unwind(AssertUnwindSafe(|| self.come_up(seat))) {
            Ok(Ok(up)) => Ok(up),
            Ok(Err(error)) => Err(error),
            Err(panic) => Err(StartError::Panicked(failed(panic))),
        };
        let Up {
            reactor,
            memory,
            built,
            notices,
        } = match up {
            Ok(up) => up,
            Err(error) => {
                self.send(Err(error));
                return None;
            }
        };
        self.send(Ok(notices));

        let life = catch_unwind(AssertUnwindSafe(move || {
            // The gate opens when all are up, and is dropped when one is not.
            self.open.recv().ok()?;
            let idle = Idle::new(self.shared_cpu);
            let turns = ShardLoop::new(
                built,
                self.placement,
                memory,
                idle,
                self.stop,
                self.failure,
                self.watched,
            );
            let (summary, figures) = reactor.run(turns).finish()?;
            Some(ShardEnd { summary, figures })
        }));
        life.unwrap_or_else(|panic| {
            failure.raise(failed(panic));
            None
        })
    }

    /// Pinned first, so that the reactor's rings and the shard are first touched on their own node.
    fn come_up<S, F>(&self, seat: F) -> Result<Up<S>, StartError>
    where
        F: FnOnce(&Placement, &NodeMemory) -> S,
    {
        let Placement {
            shard, cpu, node, ..
        } = self.placement;
        pin::pin_current_thread(cpu).map_err(|source| StartError::Pin { shard, source })?;
        let memory = NodeMemory::new(node, self.numa);
        let withheld = memory
            .claim_thread()
            .map_err(|source| StartError::Memory { shard, source })?;
        let reactor = GlommioReactor::open(cpu, self.shards)
            .map_err(|source| StartError::Reactor { shard, source })?;
        pin::assert_pinned(cpu);
        Ok(Up {
            reactor,
            built: seat(&self.placement, &memory),
            memory,
            notices: withheld.iter().map(ToString::to_string).collect(),
        })
    }

    /// Nobody listens any more when another shard could not come up; that is reported already.
    fn send(&self, report: Result<Vec<String>, StartError>) {
        let _heard = self.report.send(report).is_ok();
    }
}

/// What a panic said.
fn panic_message(panic: &(dyn Any + Send)) -> String {
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
