//! Starting and stopping leaks nothing. A test binary of its own, because threads, descriptors and
//! memory are counted for the whole process.

use std::fs;
use std::thread;
use std::time::Duration;

use velostream_shards::{
    Context, CoreMap, CoreMapRequest, CoreRequest, Doorbells, Endpoint, Machine, NodeMemory,
    Placement, Progress, ReactorChoice, Runtime, RuntimeOptions, Shard, Smt, mesh,
};

const SHARDS: usize = 3;

/// A shard that says hello to its peers and waits for the stop.
struct Waiting {
    endpoint: Endpoint<Vec<u8>>,
    greeted: bool,
}

impl Shard for Waiting {
    type Summary = usize;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        let Endpoint { outboxes, inboxes } = &mut self.endpoint;
        if !self.greeted {
            self.greeted = true;
            let peers: Vec<_> = outboxes[0].peers().collect();
            for peer in peers {
                outboxes[0].post(peer, vec![0; 4096]);
            }
            return Progress::Busy;
        }
        outboxes[0].flush();
        match (inboxes[0].take(), cx.stopping()) {
            (Some(_), _) => Progress::Busy,
            (None, true) => Progress::Done,
            (None, false) => Progress::Idle,
        }
    }

    fn finish(self) -> usize {
        self.endpoint.outboxes.len()
    }
}

fn cycle(core_map: &CoreMap, reactor: ReactorChoice) {
    let doorbells = Doorbells::open(SHARDS).expect("there are descriptors");
    let mut options = RuntimeOptions::new(core_map.clone(), &doorbells);
    options.reactor = reactor;
    let seats = mesh(&doorbells, 1, 4).into_iter().map(|endpoint| {
        move |_: &Placement, _: &NodeMemory| Waiting {
            endpoint,
            greeted: false,
        }
    });
    let runtime = Runtime::start(options, seats.collect()).expect("this host allows shards");
    runtime.stop_handle().request();
    assert_eq!(runtime.join().expect("no shard panics").len(), SHARDS);
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).expect("Linux has /proc").count()
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .expect("a process has a resident size")
}

/// Threads that were joined leave /proc a moment later.
fn settled(folder: &str, at_most: usize) -> usize {
    for _ in 0..100 {
        if entries(folder) <= at_most {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    entries(folder)
}

#[test]
fn a_thousand_cycles_leak_no_thread_descriptor_or_memory() {
    let machine = Machine::read().expect("hwloc reads this machine");
    let request = CoreMapRequest {
        cores: CoreRequest::Count(SHARDS),
        smt: Smt::Use,
        oversubscribe: true,
        ..CoreMapRequest::default()
    };
    let core_map = CoreMap::plan(&machine, &request).expect("oversubscribed shards always fit");
    let threads = entries("/proc/self/task");
    for reactor in [ReactorChoice::Glommio, ReactorChoice::Poll] {
        for _ in 0..20 {
            cycle(&core_map, reactor);
        }
        let descriptors = entries("/proc/self/fd");
        let resident = resident_kib();
        for _ in 0..1_000 {
            cycle(&core_map, reactor);
        }
        assert_eq!(settled("/proc/self/task", threads), threads);
        assert_eq!(settled("/proc/self/fd", descriptors), descriptors);
        let grown = resident_kib().saturating_sub(resident);
        assert!(
            grown < 4 * 1024,
            "1,000 cycles of {SHARDS} shards on {reactor:?} grew the process by {grown} KiB"
        );
    }
}
