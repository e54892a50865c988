//! The service manager that started this process, if one did and wants to hear: systemd's notification protocol.
//!
//! ```text
//!   READY=1 when the shards are up     WATCHDOG=1 from the job's rounds, twice as often as is asked     STOPPING=1 at a stop
//! ```
//!
//! Law: what is sent is a datagram to the socket that the environment names, and a manager whose queue is full is waited for a
//! tenth of a second: one that does not listen is not the job's affair. Without the variables nothing is done. Only the rounds of the job's thread feed the
//! watchdog, so that a thread which hangs is seen.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// How long a manager is waited for that has not read what it was told before.
const PATIENCE: Duration = Duration::from_millis(100);

/// A manager that is told how the job stands.
#[derive(Debug)]
pub(super) struct Service {
    /// Where it listens; `None` when nobody asked.
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear that the job lives.
    watchdog: Option<Duration>,
    /// When it heard, since the start of the job.
    heard: Duration,
    ready: bool,
    stopping: bool,
}

impl Service {
    /// The manager that the environment names, by `variable`, to process `id`.
    pub(super) fn from(variable: impl Fn(&'static str) -> Option<OsString>, id: u32) -> Service {
        let manager = variable("NOTIFY_SOCKET").and_then(|name| {
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(PATIENCE)).ok()?;
            Some((socket, address.ok()?))
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_for_us = number("WATCHDOG_PID").is_none_or(|of| of == u64::from(id));
        let watchdog = number("WATCHDOG_USEC").filter(|us| *us > 0 && is_for_us);
        Service {
            manager,
            watchdog: watchdog.map(|us| Duration::from_micros(us / 2)),
            heard: Duration::ZERO,
            ready: false,
            stopping: false,
        }
    }

    /// The job has made a round, so long after its start: its shards are up.
    pub(super) fn round(&mut self, elapsed: Duration, shards: usize) {
        if !self.ready {
            self.ready = true;
            self.tell(&format!("READY=1\nSTATUS=running on {shards} shards"));
        }
        let due = |every| elapsed >= self.heard + every;
        if self.watchdog.is_some_and(due) {
            self.heard = elapsed;
            self.tell("WATCHDOG=1");
        }
    }

    /// The job stops. May be said again.
    pub(super) fn stopping(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.tell("STOPPING=1\nSTATUS=stopping");
        }
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.manager {
            let _heard = socket.send_to_addr(state.as_bytes(), address).is_ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A manager on a socket of its own, and the variables that name it.
    struct Manager {
        socket: UnixDatagram,
        _folder: tempfile::TempDir,
        variables: Vec<(&'static str, OsString)>,
    }

    impl Manager {
        fn new(more: &[(&'static str, &str)]) -> Manager {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).expect("a socket");
            socket.set_nonblocking(true).expect("a socket");
            let mut variables = vec![("NOTIFY_SOCKET", path.into_os_string())];
            variables.extend(more.iter().map(|(name, value)| (*name, (*value).into())));
            Manager {
                socket,
                _folder: folder,
                variables,
            }
        }

        fn service(&self, id: u32) -> Service {
            let variable = |name| {
                let found = self.variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.clone())
            };
            Service::from(variable, id)
        }

        /// All that was told.
        fn told(&self) -> Vec<String> {
            let mut bytes = [0; 256];
            let one = || {
                let read = self.socket.recv(&mut bytes).ok()?;
                Some(String::from_utf8_lossy(&bytes[..read]).into_owned())
            };
            std::iter::from_fn(one).collect()
        }
    }

    #[test]
    fn it_is_told_once_that_the_job_is_ready_and_once_that_it_stops() {
        let manager = Manager::new(&[]);
        let mut service = manager.service(1);
        for second in 0..3 {
            service.round(SECOND * second, 2);
        }
        service.stopping();
        service.stopping();
        assert_eq!(
            manager.told(),
            [
                "READY=1\nSTATUS=running on 2 shards",
                "STOPPING=1\nSTATUS=stopping"
            ]
        );
    }

    #[test]
    fn a_watchdog_hears_twice_as_often_as_it_asks_while_there_are_rounds() {
        let manager = Manager::new(&[("WATCHDOG_USEC", "4000000"), ("WATCHDOG_PID", "77")]);
        let mut service = manager.service(77);
        let rounds = (0..=60).map(|tenths| Duration::from_millis(100 * tenths));
        rounds.for_each(|elapsed| service.round(elapsed, 1));
        let told = manager.told();
        assert_eq!(told[1..], ["WATCHDOG=1"; 3], "at 2, 4 and 6 s");
        let mut another = manager.service(78);
        another.round(SECOND * 60, 1);
        assert_eq!(
            manager.told().len(),
            1,
            "the watchdog is for another process"
        );
    }

    #[test]
    fn an_abstract_socket_is_one_too() {
        let name = format!("velo-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("a socket");
        let variable = |asked| (asked == "NOTIFY_SOCKET").then(|| format!("@{name}").into());
        Service::from(variable, 1).stopping();
        let mut bytes = [0; 64];
        let read = socket.recv(&mut bytes).expect("it was told");
        assert!(bytes[..read].starts_with(b"STOPPING=1"));
    }

    #[test]
    fn nobody_who_listens_is_nobody_who_is_told() {
        Service::from(|_| None, 1).round(SECOND, 1);
        let gone = |name| (name == "NOTIFY_SOCKET").then(|| "/no/such/socket".into());
        Service::from(gone, 1).round(SECOND, 1);
    }
}
