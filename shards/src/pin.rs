//! Pinning a thread to a cpu, or confining it to a few, and reading back where it really is.
//!
//! The law: nobody believes a pin that was not read back. Shards are pinned here before their reactor
//! opens, and checked again after, for glommio pins them too; ordinary threads are confined and
//! checked here. Threads that a client library starts run where the thread stands that makes the
//! client, so that one is confined meanwhile.

use std::{fmt, io, mem};

use crate::core_map::Ranges;

/// Why a thread could not be pinned.
#[derive(Debug)]
pub struct PinError {
    cpus: Vec<u32>,
    affinity: Vec<u32>,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this thread could not be pinned to cpu {}: it may run on {}; choose of these or widen the cpuset of the process",
            Ranges(&self.cpus),
            Ranges(&self.affinity)
        )
    }
}

impl std::error::Error for PinError {}

/// The cpus on which the calling thread may run, ascending, by the operating system's index.
///
/// # Errors
/// What `sched_getaffinity` returns, which happens on machines of more than 1,024 cpus.
pub fn affinity() -> io::Result<Vec<u32>> {
    // SAFETY: `cpu_set_t` is a plain array of bits, for which all zeroes is a valid value (the
    // empty set).
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` lives across the call and its size is the one passed; pid 0 is the calling
    // thread.
    let result = unsafe { libc::sched_getaffinity(0, mem::size_of::<libc::cpu_set_t>(), &mut set) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((0..libc::CPU_SETSIZE as u32)
        // SAFETY: the index is below CPU_SETSIZE, the number of bits in the set.
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu as usize, &set) })
        .collect())
}

/// Pins the calling thread to one cpu and reads it back.
///
/// # Errors
/// When the cpu does not exist or is not in the process's cpuset.
pub fn pin_current_thread(cpu: u32) -> Result<(), PinError> {
    let known = cpu < libc::CPU_SETSIZE as u32;
    let set = known && core_affinity::set_for_current(core_affinity::CoreId { id: cpu as usize });
    let affinity = affinity().unwrap_or_default();
    match set && affinity == [cpu] {
        true => Ok(()),
        false => Err(PinError {
            cpus: vec![cpu],
            affinity,
        }),
    }
}

/// A thread that stays on a few cpus. Dropped, it may run again where it could before.
#[derive(Debug)]
pub struct Confined {
    before: Vec<u32>,
}

/// Confines the calling thread to these cpus, and with it the threads that it starts meanwhile.
///
/// # Errors
/// When the process may not run on all of them.
pub fn confine_current_thread(cpus: &[u32]) -> Result<Confined, PinError> {
    let before = affinity().unwrap_or_default();
    let mut wanted = cpus.to_vec();
    wanted.sort_unstable();
    set_affinity(&wanted);
    let affinity = affinity().unwrap_or_default();
    // Undone by being dropped, also when it came out wrong.
    let confined = Confined { before };
    match affinity == wanted {
        true => Ok(confined),
        false => Err(PinError {
            cpus: wanted,
            affinity: confined.before.clone(),
        }),
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        set_affinity(&self.before);
    }
}

/// Lets the calling thread run on these cpus. Whether it worked is seen by [`affinity`].
fn set_affinity(cpus: &[u32]) {
    // SAFETY: `cpu_set_t` is a plain array of bits, for which all zeroes is a valid value (the
    // empty set).
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus.iter().filter(|cpu| **cpu < libc::CPU_SETSIZE as u32) {
        // SAFETY: the index is below CPU_SETSIZE, the number of bits in the set.
        unsafe { libc::CPU_SET(cpu as usize, &mut set) };
    }
    // SAFETY: `set` lives across the call and its size is the one passed; pid 0 is the calling
    // thread.
    unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &set) };
}

/// Asserts that the calling thread may run on this cpu and no other.
///
/// # Panics
/// When it is not so.
pub fn assert_pinned(cpu: u32) {
    let affinity = affinity().expect("the affinity was readable when the machine was read");
    assert_eq!(
        affinity,
        [cpu],
        "the thread is pinned to the cpu that the core map names"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_back() {
        let cpu = affinity().expect("affinity is readable")[0];
        let seen = std::thread::spawn(move || {
            pin_current_thread(cpu).expect("the first cpu of our own affinity");
            assert_pinned(cpu);
            affinity().expect("affinity is readable")
        });
        assert_eq!(seen.join().expect("the pinned thread ends"), [cpu]);
    }

    #[test]
    fn a_confined_thread_starts_others_beside_it_and_is_let_go() {
        let all = affinity().expect("affinity is readable");
        let first = all[0];
        let (inside, after) = std::thread::spawn(move || {
            let confined = confine_current_thread(&[first]).expect("a cpu of our own affinity");
            let started = std::thread::spawn(|| affinity().expect("affinity is readable"));
            let inside = started.join().expect("it only looks");
            drop(confined);
            (inside, affinity().expect("affinity is readable"))
        })
        .join()
        .expect("the confined thread ends");
        assert_eq!((inside, after), (vec![first], all));
    }

    #[test]
    fn a_thread_is_confined_to_all_it_was_told_or_left_alone() {
        std::thread::spawn(|| {
            let before = affinity().expect("affinity is readable");
            for cpus in [&[before[0], 1023][..], &[1023], &[u32::MAX]] {
                let refused = confine_current_thread(cpus).expect_err("not all are there");
                assert!(refused.to_string().contains("could not be pinned"));
                assert_eq!(affinity().expect("affinity is readable"), before);
            }
        })
        .join()
        .expect("the thread ends");
    }

    #[test]
    fn a_cpu_that_is_not_there_is_refused_with_what_is() {
        for cpu in [1023, 1024, u32::MAX] {
            let refused = pin_current_thread(cpu).expect_err("no test machine has this cpu");
            let text = refused.to_string();
            assert!(text.contains(&format!("cpu {cpu}")), "{text}");
        }
    }
}
