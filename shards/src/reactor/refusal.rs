//! Why a reactor could not be opened, and what the operator can do about it.
//!
//! The reactor's own error is a text. What matters is whether the host forbids io_uring or gives
//! too little locked memory, so both are asked of the host directly, after the refusal.

use std::{fmt, fs, io, mem};

/// Memory that a shard wants to lock for its rings.
pub const MEMLOCK_BYTES_A_SHARD: u64 = 512 * 1024;

/// Why a reactor could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReactorError {
    /// This process may not use io_uring: a matter of permission.
    Forbidden {
        /// `kernel.io_uring_disabled`, where the kernel has it.
        disabled: Option<u8>,
    },
    /// The kernel has no io_uring, or too old a one.
    Unsupported {
        /// What glommio said.
        reason: String,
    },
    /// The limit of locked memory is too low: a matter of permission.
    Memlock {
        /// The limit, in KiB.
        limit_kib: u64,
        /// What the shards need, in KiB.
        needed_kib: u64,
    },
    /// Anything else.
    Other {
        /// What glommio said.
        reason: String,
    },
}

impl ReactorError {
    /// Whether the remedy is a permission or a limit that the host withholds.
    pub fn is_permission(&self) -> bool {
        matches!(
            self,
            ReactorError::Forbidden { .. } | ReactorError::Memlock { .. }
        )
    }
}

impl fmt::Display for ReactorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReactorError::Forbidden {
                disabled: Some(level @ 1..),
            } => write!(
                f,
                "io_uring is forbidden: kernel.io_uring_disabled is {level}. Allow it: `sudo sysctl -w kernel.io_uring_disabled=0`"
            ),
            ReactorError::Forbidden { .. } => write!(
                f,
                "io_uring is forbidden by a seccomp policy, as most container runtimes have by default. Allow it: \
                 `docker run --security-opt seccomp=unconfined`, or a profile with io_uring_setup, io_uring_enter and \
                 io_uring_register"
            ),
            ReactorError::Unsupported { reason } => write!(
                f,
                "this kernel does not offer the io_uring that is needed (Linux 5.8 or newer), or a seccomp policy hides it: \
                 {reason}"
            ),
            ReactorError::Memlock {
                limit_kib,
                needed_kib,
            } => write!(
                f,
                "too little memory may be locked: the limit is {limit_kib} KiB and the shards need {needed_kib} KiB. Raise it: \
                 `ulimit -l {needed_kib}`, in a systemd unit `LimitMEMLOCK={needed_kib}K`, or `docker run --ulimit \
                 memlock={}`",
                needed_kib * 1024
            ),
            ReactorError::Other { reason } => {
                write!(f, "the reactor could not be opened: {reason}")
            }
        }
    }
}

impl std::error::Error for ReactorError {}

/// Asks the host why a reactor was refused. `reason` is what the reactor said.
pub(super) fn diagnose(reason: &str, shards: usize) -> ReactorError {
    judge(
        reason,
        io_uring_errno(),
        memlock_limit(),
        io_uring_disabled(),
        shards,
    )
}

/// Why this host would refuse the rings of so many shards, asked with the smallest ring; nothing if it grants one. What may be
/// locked is not asked for here.
pub fn io_uring_refusal(shards: usize) -> Option<ReactorError> {
    let errno = io_uring_errno()?;
    let reason = io::Error::from_raw_os_error(errno).to_string();
    Some(judge(
        &reason,
        Some(errno),
        memlock_limit(),
        io_uring_disabled(),
        shards,
    ))
}

/// `kernel.io_uring_disabled`, where the kernel has it.
fn io_uring_disabled() -> Option<u8> {
    let level = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    level.trim().parse().ok()
}

/// What these findings mean.
fn judge(
    reason: &str,
    setup_errno: Option<i32>,
    memlock_bytes: u64,
    disabled: Option<u8>,
    shards: usize,
) -> ReactorError {
    let reason = reason.to_owned();
    let memlock = ReactorError::Memlock {
        limit_kib: memlock_bytes / 1024,
        needed_kib: MEMLOCK_BYTES_A_SHARD / 1024 * shards as u64,
    };
    match setup_errno {
        Some(libc::EPERM | libc::EACCES) => ReactorError::Forbidden { disabled },
        Some(libc::ENOSYS) => ReactorError::Unsupported { reason },
        Some(libc::ENOMEM) => memlock,
        _ if memlock_bytes < MEMLOCK_BYTES_A_SHARD => memlock,
        _ if reason.contains("IORING_OP_") => ReactorError::Unsupported { reason },
        _ => ReactorError::Other { reason },
    }
}

/// The error with which the kernel refuses the smallest ring; none when it grants one.
fn io_uring_errno() -> Option<i32> {
    /// The size of `struct io_uring_params`, which the kernel fills.
    const PARAMS_WORDS: usize = 30;
    let mut params = [0u32; PARAMS_WORDS];
    // SAFETY: `params` is a zeroed `struct io_uring_params` (120 bytes) that lives across the call;
    // the kernel writes inside it.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    if ring < 0 {
        return io::Error::last_os_error().raw_os_error();
    }
    // SAFETY: the call above returned this descriptor, and nobody else knows it.
    unsafe { libc::close(ring as i32) };
    None
}

fn memlock_limit() -> u64 {
    // SAFETY: `rlimit` is two integers, for which zero is valid.
    let mut limit: libc::rlimit = unsafe { mem::zeroed() };
    // SAFETY: `limit` is a valid rlimit that lives across the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    assert_eq!(result, 0, "Linux has a limit of locked memory");
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: u64 = 8 << 20;

    #[test]
    fn each_finding_names_its_remedy() {
        for (errno, memlock, disabled, permission, remedy) in [
            (
                Some(libc::EPERM),
                ENOUGH,
                Some(2),
                true,
                "sysctl -w kernel.io_uring_disabled=0",
            ),
            (
                Some(libc::EPERM),
                ENOUGH,
                Some(0),
                true,
                "seccomp=unconfined",
            ),
            (Some(libc::EPERM), ENOUGH, None, true, "seccomp=unconfined"),
            (Some(libc::ENOSYS), ENOUGH, None, false, "Linux 5.8"),
            (Some(libc::ENOMEM), ENOUGH, Some(0), true, "ulimit -l 2048"),
            (
                None,
                65_536,
                Some(0),
                true,
                "limit is 64 KiB and the shards need 2048 KiB",
            ),
            (None, ENOUGH, Some(0), false, "too many open files"),
        ] {
            let error = judge("too many open files", errno, memlock, disabled, 4);
            let text = error.to_string();
            assert!(text.contains(remedy), "{text}");
            assert_eq!(error.is_permission(), permission, "{text}");
        }
        let old = judge("missing IORING_OP_STATX", None, ENOUGH, Some(0), 4);
        assert!(matches!(old, ReactorError::Unsupported { .. }), "{old}");
    }

    #[test]
    fn this_host_grants_a_ring_and_leaks_none() {
        for _ in 0..10 {
            assert_eq!(io_uring_errno(), None);
            assert_eq!(io_uring_refusal(1), None);
        }
        assert!(memlock_limit() >= MEMLOCK_BYTES_A_SHARD);
    }
}
