//! Hosts that forbid what the shards would rather have: io_uring, or enough locked memory. `auto` then runs on poll, says so
//! in one line and gives the same rows; `glommio` is refused with the command that allows it.
//!
//! Law: the limit is put on velo between fork and exec, and on nothing else.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::process::{Ended, Folder, LIMIT};

/// How the tests of the runtime forbid a system call: one filter, wherever it is put on.
#[path = "../shards/src/alone.rs"]
#[expect(
    dead_code,
    reason = "of the tests of shards only the filter is used here"
)]
mod alone;

const SQL: &str = "CREATE STREAM numbers (ts TIMESTAMP, k BIGINT, n BIGINT, WATERMARK FOR ts AS ts)
    WITH (connector = 'file', path = 'numbers.csv', event_time.unit = 's');
    SELECT k, window_start, COUNT(*) AS c, SUM(n) AS s FROM numbers GROUP BY k WINDOW TUMBLING (SIZE 10 SECONDS)";

/// A limit, and what the messages say of it.
struct Host {
    forbid: fn() -> io::Result<()>,
    reason: &'static str,
    remedy: &'static str,
}

const HOSTS: [Host; 2] = [
    Host {
        forbid: forbid_io_uring,
        reason: "io_uring is forbidden by a seccomp policy",
        remedy: "docker run --security-opt seccomp=unconfined",
    },
    Host {
        forbid: lower_memlock,
        reason: "the limit is 64 KiB and the shards need 1536 KiB",
        remedy: "ulimit -l 1536",
    },
];

fn folder() -> Folder {
    let folder = Folder::new();
    let mut records = String::from("ts,k,n\n");
    for number in 0..20_000 {
        records += &format!("{number},{},{number}\n", number % 13);
    }
    folder.write("numbers.csv", records);
    folder.write("job.sql", SQL);
    folder
}

/// `velo run` on three shards by this reactor, on such a host.
fn run(folder: &Folder, host: Option<&Host>, reactor: &str) -> Ended {
    let reactor = format!("shards.reactor={reactor}");
    let mut command = folder.velo(&[
        "run",
        "job.sql",
        "--shards",
        "3",
        "--format",
        "json",
        "--set",
        "shards.oversubscribe=true",
        "--set",
        &reactor,
    ]);
    if let Some(host) = host {
        limit(&mut command, host.forbid);
    }
    folder.start("velo", command).end_within(LIMIT)
}

fn limit(command: &mut Command, forbid: fn() -> io::Result<()>) {
    // SAFETY: between fork and exec the function makes system calls and touches only its own stack.
    unsafe { command.pre_exec(forbid) };
}

fn sorted_rows(ended: &Ended) -> Vec<&str> {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let mut rows: Vec<&str> = ended.out.lines().collect();
    rows.sort_unstable();
    rows
}

#[test]
fn auto_falls_back_to_poll_with_one_line_and_the_same_rows() {
    let folder = folder();
    let plain = run(&folder, None, "auto");
    assert_eq!(plain.err, "", "nothing is forbidden here");
    let rows = sorted_rows(&plain);
    assert_eq!(rows.len(), 20_000, "2,000 windows with ten keys each");
    for host in &HOSTS {
        let ended = run(&folder, Some(host), "auto");
        assert_eq!(sorted_rows(&ended), rows);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        for words in ["run on poll", host.reason, host.remedy] {
            assert!(
                ended.err.contains(words),
                "{words:?} is not said: {}",
                ended.err
            );
        }
    }
}

#[test]
fn poll_needs_nothing_and_says_nothing() {
    let folder = folder();
    let plain = run(&folder, None, "glommio");
    let rows = sorted_rows(&plain);
    for host in HOSTS.iter().map(Some).chain([None]) {
        let ended = run(&folder, host, "poll");
        assert_eq!(sorted_rows(&ended), rows);
        assert_eq!(ended.err, "");
    }
}

#[test]
fn glommio_is_refused_with_the_command_that_allows_it() {
    let folder = folder();
    for host in &HOSTS {
        let ended = run(&folder, Some(host), "glommio");
        assert_eq!(ended.code, Some(77), "{}", ended.err);
        assert_eq!(ended.out, "");
        for words in [host.reason, host.remedy] {
            assert!(
                ended.err.contains(words),
                "{words:?} is not said: {}",
                ended.err
            );
        }
    }
}

/// As `ulimit -l 64` does.
fn lower_memlock() -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: 64 * 1024,
        rlim_max: 64 * 1024,
    };
    // SAFETY: `limit` is a valid rlimit that lives across the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn forbid_io_uring() -> io::Result<()> {
    alone::forbid(libc::SYS_io_uring_setup)
}
