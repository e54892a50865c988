//! The reactor on glommio: one executor a shard, over io_uring. The only file that names glommio.
//!
//! The shard's loop is the only task, in a queue of `Latency::Matters`. Rings and registered memory
//! are as small as glommio allows: a shard does no file I/O through them, and the defaults ask for
//! much locked memory. The pool of blocking threads is empty for the same reason; a thread of its own
//! beside each shard would take the shard's core.
//!
//! The trap: when an event reaches the latency ring between the executor's last poll and its first
//! look at the queues, it looks at none of them, takes that for having nothing to run, and sleeps
//! over a task that is ready, for ever if no timer is set. The event that comes by itself is the
//! preempt timer, and a thread that loses its cpu just there is late for it: with a timer of 20 us
//! the test below hung in every run, with the usual 1 ms in one of eight runs of all tests on a busy
//! machine. A loop that is alone has nobody to be preempted for, so here that timer never fires.
//! For the same reason nobody rings the executor. A parked loop blocks its thread on its doorbell, in
//! `ppoll(2)`: it is the executor's only task, so there is nothing else to run meanwhile, and glommio
//! never gets to decide whether to sleep. docs/decisions/0011 has what the other ways took.

use std::time::Duration;

use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, PoolPlacement, Shares, executor,
    spawn_local_into, yield_if_needed,
};

use super::{Next, Reactor, ReactorError, Turns, refusal};

/// Entries of each ring: the loop has nothing in flight.
const RING_DEPTH: usize = 16;

/// Bytes of registered memory; glommio takes at least this much.
const IO_MEMORY: usize = 64 * 1024;

/// When the loop would be preempted: not within any turn, nor within any wait for the cpu. See the
/// trap above.
const PREEMPT: Duration = Duration::from_secs(3600);

/// A glommio executor pinned to one cpu.
pub(crate) struct GlommioReactor {
    executor: LocalExecutor,
}

impl GlommioReactor {
    /// Pins the calling thread to `cpu` and opens an executor on it. `shards` is how many there
    /// will be, for the advice when there is too little memory to lock.
    pub(crate) fn open(cpu: u32, shards: usize) -> Result<GlommioReactor, ReactorError> {
        let placement = glommio::Placement::Fixed(cpu as usize);
        LocalExecutorBuilder::new(placement)
            .io_memory(IO_MEMORY)
            .ring_depth(RING_DEPTH)
            .preempt_timer(PREEMPT)
            .blocking_thread_pool_placement(PoolPlacement::Custom(Vec::new()))
            .make()
            .map(|executor| GlommioReactor { executor })
            .map_err(|error| refusal::diagnose(&error.to_string(), shards))
    }
}

impl Reactor for GlommioReactor {
    fn run<T: Turns + 'static>(self, mut turns: T) -> T {
        self.executor.run(async move {
            let queue =
                executor().create_task_queue(Shares::default(), Latency::Matters(PREEMPT), "shard");
            let task = spawn_local_into(
                async move {
                    loop {
                        match turns.next() {
                            Next::Turn => yield_if_needed().await,
                            Next::GiveWay => {
                                std::thread::yield_now();
                                yield_if_needed().await;
                            }
                            Next::Park(at_most) => turns.doorbell().sleep(at_most),
                            Next::End => return turns,
                        }
                    }
                },
                queue,
            );
            task.expect("the queue was created one line above").await
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::Instant;
    use std::{env, io, thread};

    use super::*;
    use crate::mesh::{Doorbell, Doorbells};
    use crate::shard::ShardId;
    use crate::{alone, pin};

    /// Is busy, gives way and parks, each for a few turns, until its time is over.
    struct Restless {
        doorbell: Doorbell,
        turn: u32,
        end: Instant,
    }

    impl Turns for Restless {
        fn next(&mut self) -> Next {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(5) {}
            self.turn += 1;
            match self.turn % 64 {
                _ if begun >= self.end => Next::End,
                0 => Next::Park(Duration::from_micros(100)),
                1..32 => Next::GiveWay,
                _ => Next::Turn,
            }
        }

        fn doorbell(&self) -> &Doorbell {
            &self.doorbell
        }
    }

    /// Regression: a preempt timer that fired before the executor looked at its queues made it sleep
    /// for ever over a loop that could run.
    #[test]
    fn a_loop_whose_thread_loses_its_cpu_goes_on() {
        let cpu = pin::affinity().expect("affinity is readable")[0];
        let end = Instant::now() + Duration::from_secs(1);
        let threads: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(move || {
                    let reactor = GlommioReactor::open(cpu, 8).expect("this host allows reactors");
                    let doorbells = Doorbells::open(1).expect("there are descriptors");
                    let doorbell = doorbells.of_shard(ShardId(0));
                    let ended = reactor.run(Restless {
                        doorbell,
                        turn: 0,
                        end,
                    });
                    assert!(ended.turn > 0);
                })
            })
            .collect();
        let late = end + Duration::from_secs(5);
        while threads.iter().any(|thread| !thread.is_finished()) {
            assert!(Instant::now() < late, "a reactor sleeps over its loop");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Run in a process of its own by the tests below: opens a reactor under a hostile host and
    /// expects this in the refusal.
    #[test]
    fn the_refusal_is_as_expected() {
        let Ok(expected) = env::var("VELO_TEST_REFUSAL") else {
            return;
        };
        let cpu = pin::affinity().expect("affinity is readable")[0];
        let Err(refusal) = GlommioReactor::open(cpu, 3) else {
            panic!("this host does not allow a reactor");
        };
        assert!(refusal.is_permission(), "{refusal:?}");
        let text = refusal.to_string();
        assert!(text.contains(&expected), "{text}");
    }

    fn expect_refusal(command: &mut Command, expected: &str) {
        let done = command
            .env("VELO_TEST_REFUSAL", expected)
            .output()
            .expect("the test binary starts itself");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stdout)
        );
    }

    const TEST: &str = "reactor::glommio::tests::the_refusal_is_as_expected";

    #[test]
    fn too_little_locked_memory_is_refused_with_the_remedy() {
        let mut command = alone::command(TEST);
        let lower = || {
            let limit = libc::rlimit {
                rlim_cur: 64 * 1024,
                rlim_max: 64 * 1024,
            };
            // SAFETY: `limit` is a valid rlimit that lives across the call.
            match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: between fork and exec the closure makes one system call and touches only its own
        // stack.
        unsafe { command.pre_exec(lower) };
        expect_refusal(
            &mut command,
            "the limit is 64 KiB and the shards need 1536 KiB",
        );
    }

    #[test]
    fn a_seccomp_policy_against_io_uring_is_refused_with_the_remedy() {
        let mut command = alone::command(TEST);
        // SAFETY: between fork and exec the closure makes two system calls and touches only its own
        // stack.
        unsafe { command.pre_exec(|| alone::forbid(libc::SYS_io_uring_setup)) };
        expect_refusal(&mut command, "seccomp=unconfined");
    }
}
