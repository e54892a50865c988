//! A running velo as it is watched from outside: every metric, liveness and readiness, what a service manager is told.
//!
//! Law: what was seen last, when nothing came any more, is what the report says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use velostream::metrics::names;

use crate::process::{Folder, LIMIT, Running};

const RECORDS: usize = 2_000;

/// A record a second in ten keys, every hundredth of which divides by zero, and at the end a late one.
fn numbers() -> String {
    let mut text = String::from("ts,k,n\n");
    for number in 1..RECORDS {
        text += &format!("{number},{},{}\n", number % 10, number % 100);
    }
    text + "0,0,1\n"
}

/// What the endpoint at `address` answers: the status and the body.
fn get(address: SocketAddr, page: &str) -> (u16, String) {
    let mut client = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(request.as_bytes()).expect("it is read");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    (status.expect("a status"), body.to_owned())
}

/// The samples of a text in the format of Prometheus, by name and labels as they are written.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut families = Vec::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            families.push(name.to_owned());
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let family = families.last().expect("a family before its samples");
        let (sample, value) = line.rsplit_once(' ').expect("a sample and a value");
        let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
        let suffix = name.strip_prefix(family.as_str()).expect("of its family");
        assert!(
            ["", "_bucket", "_sum", "_count"].contains(&suffix),
            "{line}"
        );
        assert!(labels.ends_with('}'), "{line}");
        let value = value.parse().expect("a number");
        let before = found.insert(sample.to_owned(), value);
        assert_eq!(before, None, "{sample} twice");
    }
    let listed: Vec<&str> = names::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(families, listed);
    found
}

/// Where a velo listens that was told to take any port.
fn address_of(running: &mut Running) -> SocketAddr {
    running.wait_until(LIMIT, |running| running.err().contains("/metrics\n"));
    let err = running.err();
    let (_, rest) = err.split_once("metrics at http://").expect("it says where");
    let (address, _) = rest.split_once("/metrics").expect("it says where");
    address.parse().expect("an address")
}

/// Asks for `page` until it is answered with 200.
fn wait_for(address: SocketAddr, page: &str) {
    let started = Instant::now();
    while get(address, page).0 != 200 {
        assert!(started.elapsed() < LIMIT, "{page} is never answered");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_running_job_shows_every_metric_and_the_last_values_are_those_of_the_report() {
    let cluster = MockCluster::new(1).expect("a broker on loopback");
    cluster.create_topic("numbers", 2, 1).expect("a topic");
    cluster.create_topic("windows", 1, 1).expect("a topic");
    let folder = Folder::new();
    folder.write("numbers.csv", numbers());
    folder.write(
        "velostream.toml",
        format!(
            "[kafka]\n'bootstrap.servers' = '{}'\n",
            cluster.bootstrap_servers()
        ),
    );
    let columns = "ts TIMESTAMP, k BIGINT, n BIGINT";
    folder.write(
        "feed.sql",
        format!(
            "CREATE STREAM file ({columns}) WITH (connector = 'file', path = 'numbers.csv', event_time.unit = 's');
             CREATE STREAM numbers WITH (connector = 'kafka', topic = 'numbers', format = 'json', key.columns = 'k') AS
             SELECT ts, k, n FROM file;"
        ),
    );
    let fed = folder.run(&["run", "feed.sql"]);
    assert_eq!(fed.code, Some(0), "{}", fed.err);
    folder.write(
        "job.sql",
        format!(
            "CREATE STREAM numbers ({columns}, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
             WITH (connector = 'kafka', topic = 'numbers', format = 'json', start = 'earliest', on_error = 'skip');
             CREATE STREAM windows WITH (connector = 'kafka', topic = 'windows', format = 'json') AS
             SELECT k, window_start, COUNT(*) AS c, SUM(1000 / n) AS s FROM numbers
             GROUP BY k WINDOW TUMBLING (SIZE 10 SECONDS);"
        ),
    );
    let manager = UnixDatagram::bind(folder.path("notify")).expect("a socket");
    manager.set_nonblocking(true).expect("a socket");
    let mut command = folder.velo(&["run", "job.sql", "--shards", "2", "--report", "report"]);
    command
        .args(["--set", "shards.oversubscribe=true"])
        .args(["--set", "metrics.listen=127.0.0.1:0"])
        .env("NOTIFY_SOCKET", folder.path("notify"))
        .env("WATCHDOG_USEC", "1000000");
    let mut bytes = [0; 256];
    let mut told = Vec::new();
    // The socket keeps ten at most.
    let mut hear = || {
        while let Ok(read) = manager.recv(&mut bytes) {
            told.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
        }
    };
    let mut running = folder.start("velo", command);
    let address = address_of(&mut running);
    wait_for(address, "/readyz");
    assert_eq!(get(address, "/livez"), (200, "ok\n".to_owned()));

    let started = Instant::now();
    let mut seen = BTreeMap::new();
    let records_in = "velo_records_in_total{job=\"job\",stream=\"numbers\"}";
    loop {
        // The shards tell twice a second, and what the broker has not acknowledged is not out.
        sleep(Duration::from_millis(700));
        hear();
        let (status, text) = get(address, "/metrics");
        assert_eq!(status, 200, "{text}");
        let now = samples(&text);
        let counted = |name: &&String| name.contains("_total") || name.contains("_count");
        let same = |name: &String| name.contains("stalls") || now.get(name) == seen.get(name);
        if now[records_in] == RECORDS as f64 && now.keys().filter(counted).all(same) {
            seen = now;
            break;
        }
        assert!(started.elapsed() < LIMIT, "not all was counted: {text}");
        seen = now;
    }

    // SAFETY: a signal to the child, which runs until it is waited for.
    assert_eq!(unsafe { libc::kill(running.id(), libc::SIGTERM) }, 0);
    let ended = running.end_within(LIMIT);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let report = folder.json("report");
    let reported = |pointer: &str| {
        let value = report.pointer(pointer).and_then(serde_json::Value::as_f64);
        value.unwrap_or_else(|| panic!("the report has no {pointer}"))
    };
    let sum_of = |name: &str| -> f64 {
        let family = seen.iter().filter(|(sample, _)| sample.starts_with(name));
        family.map(|(_, value)| value).sum()
    };
    for (name, pointer) in [
        (records_in, "/streams/0/records_in"),
        ("velo_rows_out_total", "/rows_out"),
        ("velo_bad_records_total", "/bad_records"),
        ("velo_bad_records_total{code=\"evaluate\"}", "/bad_records"),
        ("velo_late_records_total", "/late_records"),
        ("velo_corrections_total", "/corrections"),
        (
            "velo_latency_seconds_count{stage=\"ingest\"}",
            "/latency_us/ingest/count",
        ),
        (
            "velo_latency_seconds_count{stage=\"emit\"}",
            "/latency_us/emit/count",
        ),
        (
            "velo_latency_seconds_count{stage=\"end_to_end\"}",
            "/latency_us/end_to_end/count",
        ),
    ] {
        assert_eq!(sum_of(name), reported(pointer), "{name}");
    }
    assert_eq!(
        reported("/bad_records"),
        19.0,
        "each hundredth but the first"
    );
    assert!(reported("/late_records") >= 1.0 && reported("/rows_out") > 100.0);
    for shard in 0..2 {
        let of = |name: &str| seen[&format!("{name}{{shard=\"{shard}\"}}")];
        let pointer = |name: &str| format!("/shards/{shard}/{name}");
        assert_eq!(
            of("velo_safety_tick_found_work_total"),
            reported(&pointer("safety_tick_found_work"))
        );
        assert!(
            sum_of(&format!("velo_stalls_total{{shard=\"{shard}\","))
                <= reported(&pointer("stalls"))
        );
        assert_eq!(of("velo_backpressure_state"), 0.0);
        assert!((0.0..=1.0).contains(&of("velo_shard_busy_ratio")));
        for to in [(1 - shard).to_string(), "job".to_owned()] {
            let lane = format!("velo_lane_depth{{from=\"{shard}\",to=\"{to}\"}}");
            assert_eq!(seen[&lane], 0.0, "{lane}");
        }
    }
    assert!((1.0..=reported("/peak_state_bytes")).contains(&sum_of("velo_state_bytes")));
    // The watermark stands 5 s behind the last record of each partition: the last windows are open, with a group a key.
    assert!((1.0..=3.0).contains(&seen["velo_open_windows{job=\"job\"}"]));
    assert!((10.0..=30.0).contains(&seen["velo_groups{job=\"job\"}"]));
    assert!(seen["velo_watermark_lag_seconds"] > 1e9, "since 1970");

    hear();
    assert_eq!(told[0], "READY=1\nSTATUS=running on 2 shards");
    assert!(told.iter().filter(|one| *one == "WATCHDOG=1").count() > 1);
    let stopping = told.iter().filter(|one| one.starts_with("STOPPING=1"));
    assert_eq!(stopping.count(), 1, "{told:?}");
    assert!(TcpStream::connect(address).is_err(), "it still listens");
}

/// A generated stream without end.
const ENDLESS: &str = "CREATE STREAM ticks (n BIGINT) WITH (connector = 'datagen', rate = '1000');
    CREATE STREAM out WITH (connector = 'file', path = 'out.json') AS SELECT n FROM ticks;";

#[test]
fn a_port_that_is_taken_ends_the_run_with_78_before_anything_is_opened() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let listen = format!(
        "metrics.listen={}",
        taken.local_addr().expect("it is bound")
    );
    let ended = folder.run(&["run", "-e", ENDLESS, "--set", &listen, "--report", "report"]);
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert_eq!(folder.json("report")["exit_code"], 78);
    for words in [
        "metrics.listen: cannot listen on 127.0.0.1:",
        "another port",
    ] {
        assert!(ended.err.contains(words), "{}", ended.err);
    }
    assert!(!folder.path("out.json").exists(), "a sink was opened");
}

#[test]
fn a_token_is_asked_for_and_told_to_nobody() {
    const TOKEN: &str = "an-unusual-token-0123";
    let folder = Folder::new();
    folder.write(
        "velostream.toml",
        format!("[metrics]\nlisten = '127.0.0.1:0'\ntoken = '{TOKEN}'\n"),
    );
    let command = folder.velo(&[
        "run",
        "-e",
        ENDLESS,
        "--shards",
        "1",
        "--duration",
        "20s",
        "--report",
        "report",
    ]);
    let mut running = folder.start("velo", command);
    let address = address_of(&mut running);
    assert_eq!(get(address, "/metrics").0, 401);
    // SAFETY: a signal to the child, which runs until it is waited for.
    assert_eq!(unsafe { libc::kill(running.id(), libc::SIGTERM) }, 0);
    let ended = running.end_within(LIMIT);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let report = folder.json("report").to_string();
    for text in [&ended.out, &ended.err, &report] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn doctor_says_a_line_a_check_and_ends_with_0_where_a_run_is_possible() {
    let folder = Folder::new();
    let poll = ["--set", "shards.reactor=poll"];
    let ended = folder.run(&["doctor", "--format", "json", poll[0], poll[1]]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<serde_json::Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("an object a line"))
        .collect();
    assert_eq!(lines.len(), 9, "{}", ended.out);
    for line in &lines {
        assert_eq!(line["schema"], 1);
        assert_eq!(line["state"] == "ok", line["fix"].is_null(), "{line}");
    }
}
