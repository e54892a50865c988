//! A test in a process of its own, for what belongs to the whole process: its environment, its
//! limits, its policy of system calls.

use std::process::Command;
use std::{env, io};

/// Runs one test of this binary, by its full path, in a new process.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a test knows its own binary"));
    command.args(["--exact", test, "--nocapture"]);
    command
}

/// What a container runtime does to a system call: from here on it is answered with EPERM, in this
/// process and its children; everything else is allowed. Allocates nothing, so that it can be called
/// between fork and exec.
pub(crate) fn forbid(call: libc::c_long) -> io::Result<()> {
    let step = |code: u32, yes: u8, no: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: yes,
        jf: no,
        k,
    };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            call as u32,
        ),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: this option takes integers only.
    let no_new = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: `program` and the filter it points at live across the call, which copies them.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
    match (no_new, set) {
        (0, 0) => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
