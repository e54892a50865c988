//! Starting velo as a user would: in a folder of its own, under a time limit, its output kept.
//!
//! Law: no test hangs. What has not ended in time is killed, and the test fails with what was written until then.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary that was built with these tests.
pub const VELO: &str = env!("CARGO_BIN_EXE_velo");

/// Nothing that a test starts takes longer than this, unless the test says so.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often a running process is looked at.
const NAP: Duration = Duration::from_millis(2);

/// A folder in which velo runs; it is deleted with this.
pub struct Folder {
    folder: TempDir,
}

/// A process that was started.
pub struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    started: Instant,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// How long it ran.
    pub took: Duration,
}

impl Folder {
    /// An empty folder.
    pub fn new() -> Folder {
        Folder {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Where `name` is in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a file in a temporary folder");
        path
    }

    /// What a file in it holds, as JSON.
    pub fn json(&self, name: &str) -> serde_json::Value {
        let text = fs::read_to_string(self.path(name))
            .unwrap_or_else(|cause| panic!("{name} was not written: {cause}"));
        serde_json::from_str(&text).expect("JSON")
    }

    /// `velo` with these arguments in this folder, without what the environment of the test might say.
    pub fn velo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(VELO);
        command
            .current_dir(self.folder.path())
            .args(args)
            .env_remove("HWLOC_SYNTHETIC")
            .env_remove("HWLOC_XMLFILE")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    /// Starts a command, its output going to files here named after `name`.
    pub fn start(&self, name: &str, mut command: Command) -> Running {
        let (out, err) = (
            self.path(&format!("{name}.out")),
            self.path(&format!("{name}.err")),
        );
        let open = |path: &Path| File::create(path).expect("a file in a temporary folder");
        let started = Instant::now();
        let child = command
            .stdout(open(&out))
            .stderr(open(&err))
            .spawn()
            .expect("it can be started");
        Running {
            child,
            out,
            err,
            started,
        }
    }

    /// Runs velo to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.start("velo", self.velo(args)).end_within(LIMIT)
    }
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> libc::pid_t {
        self.child.id() as libc::pid_t
    }

    /// What it wrote to standard output so far.
    pub fn out(&self) -> String {
        text(&self.out)
    }

    /// What it wrote to standard error so far.
    pub fn err(&self) -> String {
        text(&self.err)
    }

    /// Waits until `seen` holds of what it wrote; panics if it ends or the time is over before.
    pub fn wait_until(&mut self, limit: Duration, seen: impl Fn(&Running) -> bool) {
        let started = Instant::now();
        while !seen(self) {
            let ended = self
                .child
                .try_wait()
                .expect("a child can be waited for")
                .is_some();
            assert!(
                !ended || seen(self),
                "it ended before: {}{}",
                self.out(),
                self.err()
            );
            self.assert_in_time(started, limit);
            sleep(NAP);
        }
    }

    /// Waits for its end.
    pub fn end_within(mut self, limit: Duration) -> Ended {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Ended {
                    code: status.code(),
                    out: self.out(),
                    err: self.err(),
                    took: self.started.elapsed(),
                };
            }
            self.assert_in_time(started, limit);
            sleep(NAP);
        }
    }

    fn assert_in_time(&mut self, started: Instant, limit: Duration) {
        if started.elapsed() > limit {
            self.child.kill().expect("a child that runs can be killed");
            self.child.wait().expect("a child can be waited for");
            panic!(
                "not within {limit:?}; until then:\n{}\n{}",
                self.out(),
                self.err()
            );
        }
    }
}

/// Output cut off in the middle of a character is still read.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("it was created at the start")).into_owned()
}
