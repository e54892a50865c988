//! What goes wrong at run time: each fault is planted, and the process must end as docs/OPERATIONS.md promises: soon, with
//! the right code, saying what happened and where.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use rdkafka::mocking::MockCluster;
use velostream::config::Config;
use velostream::job::report::End;
use velostream::job::{Job, RowFormat};
use velostream::sql::{Settings, plan_script};
use velostream_shards::{CoreMap, Machine};

use crate::process::{Ended, Folder, LIMIT};

/// More shards than cores may be asked for.
const WRAPPED: [&str; 2] = ["--set", "shards.oversubscribe=true"];

/// A stream of numbers in a file; `end` stands in WITH.
fn numbers(path: &str, end: &str) -> String {
    format!(
        "CREATE STREAM numbers (ts TIMESTAMP, k BIGINT, n BIGINT, WATERMARK FOR ts AS ts)
         WITH (connector = 'file', path = '{path}', event_time.unit = 's'{end});\n"
    )
}

/// `count` records of `numbers`, a second apart, in a few keys.
fn records(count: usize) -> String {
    let mut text = String::from("ts,k,n\n");
    for number in 0..count {
        text += &format!("{number},{},{number}\n", number % 13);
    }
    text
}

const WINDOWS: &str = "SELECT k, window_start, COUNT(*) AS c, SUM(n) AS s FROM numbers GROUP BY k WINDOW TUMBLING (SIZE 10 SECONDS)";

#[track_caller]
fn assert_code(ended: &Ended, code: i32, said: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.err);
    for words in said {
        assert!(
            ended.err.contains(words),
            "{words:?} is not said: {}",
            ended.err
        );
    }
}

// ---- panics ----------------------------------------------------------------------------------------------------------

/// Regression: the other shards, and the job, once waited for ever for the one that had panicked.
#[cfg(feature = "checks")]
#[test]
fn a_panic_in_a_shard_ends_the_process_within_a_second_and_names_the_shard() {
    let folder = Folder::new();
    folder.write("numbers.csv", records(300_000));
    for emit in ["FINAL", "CHANGES"] {
        let sql = numbers("numbers.csv", "") + WINDOWS + " EMIT " + emit;
        folder.write("job.sql", sql);
        for shards in ["2", "3", "7"] {
            for blocks in ["shards.lane_blocks=1", "shards.lane_blocks=64"] {
                let mut command = folder.velo(&[
                    "run", "job.sql", "--shards", shards, "--set", blocks, "--report", "report",
                ]);
                command.args(WRAPPED).env("VELO_PLANT_PANIC", "1");
                let mut running = folder.start("velo", command);
                running.wait_until(LIMIT, |running| running.err().contains("planted"));
                let panicked = Instant::now();
                let ended = running.end_within(LIMIT);
                let took = panicked.elapsed();
                assert_code(&ended, 70, &["shard 1 panicked"]);
                assert!(
                    took < Duration::from_secs(1),
                    "{took:?} after the panic at {shards} shards, {blocks}, {emit}"
                );
                let report = folder.json("report");
                assert_eq!(
                    (&report["end"], &report["exit_code"]),
                    (&"error".into(), &70.into())
                );
            }
        }
    }
}

/// Regression: a panic on the main thread ended the process with 101, Rust's own code.
#[cfg(feature = "checks")]
#[test]
fn a_panic_while_planning_ends_with_70_and_its_message() {
    let folder = Folder::new();
    folder.write("numbers.csv", records(1));
    folder.write("job.sql", numbers("numbers.csv", "") + WINDOWS);
    for command in ["run", "check", "explain"] {
        let mut velo = folder.velo(&[command, "job.sql"]);
        velo.env("VELO_PLANT_PANIC", "planning");
        let ended = folder.start("velo", velo).end_within(LIMIT);
        assert_code(
            &ended,
            70,
            &["velo: a mistake in velo", "planted by VELO_PLANT_PANIC"],
        );
        assert_eq!(ended.out, "");
    }
}

// ---- starting and stopping -------------------------------------------------------------------------------------------

const ALONE: &str = "VELO_TEST_ALONE";

#[test]
fn a_hundred_jobs_in_one_process_leak_no_thread_descriptor_or_memory() {
    const TEST: &str = "faults::a_hundred_jobs_in_one_process_leak_no_thread_descriptor_or_memory";
    if env::var_os(ALONE).is_some() {
        return run_a_hundred_jobs();
    }
    // A process of its own, because threads, descriptors and memory are counted for the whole process.
    let folder = Folder::new();
    let mut command = Command::new(env::current_exe().expect("a test knows its own binary"));
    command
        .args(["--exact", TEST, "--nocapture"])
        .env(ALONE, "1");
    let ended = folder.start("alone", command).end_within(2 * LIMIT);
    assert!(
        ended.code == Some(0) && ended.out.contains("1 passed"),
        "{}{}",
        ended.out,
        ended.err
    );
    print!("{}", ended.out);
}

fn run_a_hundred_jobs() {
    let folder = Folder::new();
    let input = folder.write("numbers.csv", records(5_000));
    let output = folder.path("rows.json");
    let sql = numbers(&input.display().to_string(), "")
        + &format!(
            "CREATE STREAM rows WITH (connector = 'file', path = '{}') AS {WINDOWS};",
            output.display()
        );
    let set = ["shards.oversubscribe=true".to_owned()];
    let config = Config::load(None, &set, Some(3)).expect("a valid configuration");
    let machine = Machine::read().expect("hwloc reads this machine");
    let core_map =
        CoreMap::plan(&machine, &config.shards.core_map).expect("oversubscribed shards always fit");
    let settings = Settings {
        shards: 3,
        job_name: None,
    };
    let script = plan_script("job.sql", &sql, &settings).expect("valid SQL");
    let job = Job {
        plan: &script.job,
        config: &config,
        core_map: &core_map,
        rows: RowFormat::Json,
        gaps_are_errors: false,
        discard_commits: false,
    };
    let cycle = |stop_early: bool| {
        let outcome = job.run(&mut |_| stop_early.then_some(End::Signal));
        outcome.result.expect("nothing is wrong");
        // 500 windows of ten seconds, ten keys in each: a stop may come before the last of them.
        assert!(
            stop_early || outcome.rows_out == 5_000,
            "{}",
            outcome.rows_out
        );
    };

    let threads = entries("/proc/self/task");
    (0..30).for_each(|number| cycle(number % 2 == 0));
    let descriptors = entries("/proc/self/fd");
    let resident = resident_kib();
    (0..100).for_each(|number| cycle(number % 2 == 0));
    assert_eq!(settled("/proc/self/task", threads), threads, "threads");
    assert_eq!(
        settled("/proc/self/fd", descriptors),
        descriptors,
        "descriptors"
    );
    let grown = resident_kib().saturating_sub(resident);
    println!("100 jobs: {resident} KiB grew by {grown} KiB");
    assert!(
        grown < 16 * 1024,
        "100 jobs grew the process by {grown} KiB"
    );
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).expect("Linux has /proc").count()
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

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .expect("a process has a resident size")
}

// ---- an input without an end -----------------------------------------------------------------------------------------

/// Writes `count` records of `numbers` to a topic of `partitions` on `bootstrap`; returns the declaration of an endless
/// stream of them.
fn endless(folder: &Folder, bootstrap: &str, count: usize) -> String {
    folder.write("numbers.csv", records(count));
    let fill = numbers("numbers.csv", "")
        + &format!(
            "CREATE STREAM filled WITH (connector = 'kafka', topic = 'numbers', format = 'json', key.columns = 'k',
             kafka.bootstrap.servers = '{bootstrap}') AS SELECT * FROM numbers;"
        );
    folder.write("fill.sql", fill);
    assert_code(&folder.run(&["run", "fill.sql", "--shards", "1"]), 0, &[]);
    format!(
        "CREATE STREAM numbers (ts TIMESTAMP, k BIGINT, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' DAY)
         WITH (connector = 'kafka', topic = 'numbers', format = 'json', start = 'earliest',
         kafka.bootstrap.servers = '{bootstrap}');\n"
    )
}

#[test]
fn a_signal_or_a_duration_ends_an_endless_run_well() {
    let folder = Folder::new();
    let cluster = MockCluster::new(1).expect("a mock cluster starts");
    cluster
        .create_topic("numbers", 4, 1)
        .expect("a topic is made");
    let declared = endless(&folder, &cluster.bootstrap_servers(), 2_000);

    folder.write("changes.sql", declared.clone() + WINDOWS + " EMIT CHANGES");
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut command =
            folder.velo(&["run", "changes.sql", "--shards", "3", "--report", "report"]);
        command.args(WRAPPED);
        let mut running = folder.start("velo", command);
        running.wait_until(LIMIT, |running| running.out().lines().count() == 2_000);
        // SAFETY: kill takes integers only; the process is a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(running.id(), signal) }, 0);
        let asked = Instant::now();
        let ended = running.end_within(LIMIT);
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{:?} after the signal",
            asked.elapsed()
        );
        assert_code(&ended, 0, &[]);
        assert_eq!(ended.out.lines().count(), 2_000);
        let report = folder.json("report");
        assert_eq!(report["end"], "signal");
        assert_eq!(
            (&report["records_in"], &report["rows_out"]),
            (&2_000.into(), &2_000.into())
        );
    }

    // The bound of a day lets no window fire: a stop is not an end.
    folder.write("final.sql", declared + WINDOWS + " EMIT FINAL");
    let mut command = folder.velo(&[
        "run",
        "final.sql",
        "--shards",
        "3",
        "--duration",
        "3s",
        "--report",
        "report",
    ]);
    command.args(WRAPPED);
    let ended = folder.start("velo", command).end_within(LIMIT);
    assert_code(&ended, 0, &[]);
    assert_eq!(ended.out, "");
    assert!(
        ended.took >= Duration::from_secs(3) && ended.took < Duration::from_secs(10),
        "{:?}",
        ended.took
    );
    let report = folder.json("report");
    assert_eq!(report["end"], "duration");
    assert_eq!(
        (&report["records_in"], &report["rows_out"]),
        (&2_000.into(), &0.into())
    );
}

#[test]
fn a_broker_that_is_down_ends_the_run_within_fifteen_seconds_and_is_named() {
    let folder = Folder::new();
    // A port that was free a moment ago, and that nobody listens on.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("it is bound").port()
    };
    let address = format!("127.0.0.1:{port}");
    let kafka = format!(
        "connector = 'kafka', topic = 'numbers', format = 'json', kafka.bootstrap.servers = '{address}'"
    );
    folder.write("numbers.csv", records(10));
    folder.write(
        "source.sql",
        format!("CREATE STREAM numbers (k BIGINT, n BIGINT) WITH ({kafka}, end = 'latest'); SELECT * FROM numbers"),
    );
    folder.write(
        "sink.sql",
        numbers("numbers.csv", "")
            + &format!("CREATE STREAM o WITH ({kafka}) AS SELECT * FROM numbers"),
    );
    for sql in ["source.sql", "sink.sql"] {
        let ended = folder.run(&["run", sql, "--shards", "1", "--report", "report"]);
        assert_code(&ended, 69, &[&address]);
        assert!(
            ended.took < Duration::from_secs(15),
            "{sql}: {:?}",
            ended.took
        );
        assert_eq!(folder.json("report")["exit_code"], 69);
    }
}

// ---- outputs ---------------------------------------------------------------------------------------------------------

#[test]
fn a_reader_that_has_seen_enough_ends_the_run_quietly() {
    let folder = Folder::new();
    folder.write("numbers.csv", records(300_000));
    folder.write(
        "job.sql",
        numbers("numbers.csv", "") + WINDOWS + " EMIT CHANGES",
    );
    for shards in ["1", "3"] {
        let mut command = folder.velo(&["run", "job.sql", "--shards", shards]);
        command
            .args(WRAPPED)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let mut line = String::new();
        BufReader::with_capacity(64, child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a row");
        assert!(line.starts_with('{'), "{line}");
        let closed = Instant::now();
        while child
            .try_wait()
            .expect("a child can be waited for")
            .is_none()
        {
            if closed.elapsed() > LIMIT {
                child.kill().expect("it runs");
                panic!("it runs on though nobody reads");
            }
            thread::sleep(Duration::from_millis(2));
        }
        let ended = child.wait_with_output().expect("it has ended");
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    }
}

/// Regression: the job's thread stood in the write, and saw no signal until somebody read.
#[test]
fn a_reader_that_stopped_does_not_keep_a_signal_from_ending_the_run() {
    let folder = Folder::new();
    folder.write("numbers.csv", records(300_000));
    folder.write(
        "job.sql",
        numbers("numbers.csv", "") + WINDOWS + " EMIT CHANGES",
    );
    let mut command = folder.velo(&["run", "job.sql", "--shards", "1", "--report", "report"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    let mut reader = child.stdout.take().expect("piped");
    let mut first = [0; 64];
    std::io::Read::read_exact(&mut reader, &mut first).expect("a row");
    // It has written what the pipe holds, and its lanes are full.
    thread::sleep(Duration::from_secs(2));
    let id = libc::pid_t::try_from(child.id()).expect("a process number");
    // SAFETY: kill takes integers only; the process is a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
    let asked = Instant::now();
    while child
        .try_wait()
        .expect("a child can be waited for")
        .is_none()
    {
        if asked.elapsed() > Duration::from_secs(60) {
            child.kill().expect("it runs");
            panic!("it runs on though it was asked to stop");
        }
        thread::sleep(Duration::from_millis(20));
    }
    drop(reader);
    let ended = child.wait_with_output().expect("it has ended");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("a sink has taken nothing for"), "{said}");
    assert_eq!(folder.json("report")["exit_code"], 1);
}

/// The letters of an earlier run stay, and its torn line goes.
#[test]
fn dead_letters_stand_behind_those_of_an_earlier_run() {
    let folder = Folder::new();
    folder.write("numbers.csv", "ts,k,n\n1,1,x\n2,1,2\n");
    folder.write("dead.jsonl", "{\"stream\":\"earlier\"}\n{\"torn");
    let options = ", on_error = 'dead_letter', dead_letter = 'file:dead.jsonl'";
    folder.write("job.sql", numbers("numbers.csv", options) + WINDOWS);
    for run in 1..3 {
        assert_code(&folder.run(&["run", "job.sql", "--shards", "1"]), 0, &[]);
        let letters = fs::read_to_string(folder.path("dead.jsonl")).expect("it is there");
        let lines: Vec<&str> = letters.lines().collect();
        assert_eq!(lines.len(), 1 + run);
        assert_eq!(lines[0], "{\"stream\":\"earlier\"}");
        assert!(lines[run].contains("\"line\":2"), "{letters}");
    }
}

#[test]
fn a_full_disk_ends_the_run_with_73() {
    let device = fs::metadata("/dev/full").expect("Linux has /dev/full");
    assert!(
        device.file_type().is_char_device(),
        "a file stands in its place: rm /dev/full; mknod -m 666 /dev/full c 1 7"
    );
    let folder = Folder::new();
    folder.write("numbers.csv", records(50_000));
    let written = |emit| {
        numbers("numbers.csv", "")
            + &format!(
                "CREATE STREAM o WITH (connector = 'file', path = '/dev/full', format = 'json') AS {WINDOWS} EMIT {emit}"
            )
    };
    for emit in ["FINAL", "CHANGES"] {
        folder.write("job.sql", written(emit));
        for shards in ["1", "3"] {
            let mut command =
                folder.velo(&["run", "job.sql", "--shards", shards, "--report", "report"]);
            command.args(WRAPPED);
            let ended = folder.start("velo", command).end_within(LIMIT);
            assert_code(&ended, 73, &["/dev/full", "No space left"]);
            assert_eq!(folder.json("report")["exit_code"], 73);
        }
    }
    folder.write("print.sql", numbers("numbers.csv", "") + WINDOWS);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("Linux has /dev/full");
    let mut command = folder.velo(&["run", "print.sql", "--shards", "1"]);
    let ended = command.stdout(full).output().expect("it can be started");
    assert_eq!(ended.status.code(), Some(73));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("standard output"));
}

/// Regression: paths were compared as they were written, so a sink emptied the file that a source was reading, and two sinks
/// wrote over each other, and the run ended with 0.
#[test]
fn a_file_with_two_names_is_neither_read_and_written_nor_written_twice() {
    let folder = Folder::new();
    let input = records(10);
    let numbers_csv = folder.write("numbers.csv", &input);
    for inner in ["sub", "real"] {
        fs::create_dir(folder.path(inner)).expect("a folder in a folder of its own");
    }
    symlink("numbers.csv", folder.path("soft.csv")).expect("a link");
    fs::hard_link(&numbers_csv, folder.path("hard.csv")).expect("a link");
    symlink(".", folder.path("sub/back")).expect("a link");
    symlink("..", folder.path("up")).expect("a link");
    symlink("real", folder.path("seeming")).expect("a link");
    symlink("made.json", folder.path("dangling.json")).expect("a link");
    let sink = |name: &str, path: &str| {
        format!(
            "CREATE STREAM {name} WITH (connector = 'file', path = '{path}') AS SELECT k FROM numbers;"
        )
    };
    let run = |sql: &str| {
        folder.write("job.sql", numbers("numbers.csv", "") + sql);
        folder.run(&["run", "job.sql", "--shards", "1"])
    };

    // What the text tells is told by the text; links only by the files.
    let absolute = numbers_csv.display().to_string();
    let through = folder.path("sub/back/back").display().to_string();
    let base = folder
        .path("")
        .file_name()
        .expect("it has a name")
        .to_owned();
    let up = format!("up/{}/numbers.csv", base.display());
    for (path, code, says) in [
        ("./numbers.csv", 65, "V0407"),
        ("sub/../numbers.csv", 65, "V0407"),
        (absolute.as_str(), 65, "V0407"),
        ("soft.csv", 78, "stream numbers reads it"),
        ("hard.csv", 78, "stream numbers reads it"),
        (up.as_str(), 78, "stream numbers reads it"),
    ] {
        let ended = run(&sink("o", path));
        assert_code(&ended, code, &[path, "numbers.csv", says]);
        let left = fs::read_to_string(&numbers_csv).expect("it is there");
        assert_eq!(left, input, "{path} emptied it");
    }

    for (one, other, code) in [
        ("w.json", "./w.json", 65),
        ("real/w.json", "seeming/w.json", 78),
        ("made.json", "dangling.json", 78),
        (&format!("{through}/x.json"), "sub/x.json", 78),
    ] {
        let ended = run(&(sink("one", one) + &sink("other", other)));
        assert_code(&ended, code, &[one, other]);
        assert!(!folder.path(one).exists(), "{one} was made");
    }

    // Nor does the report destroy what the job reads, what it writes, or the text of it.
    for report in ["soft.csv", "./o.json", "job.sql"] {
        let sql = numbers("numbers.csv", "") + &sink("o", "o.json");
        folder.write("job.sql", &sql);
        let ended = folder.run(&["run", "job.sql", "--shards", "1", "--report", report]);
        assert_code(&ended, 78, &["the report", report]);
        let left = fs::read_to_string(&numbers_csv).expect("it is there");
        assert_eq!(left, input, "{report} emptied it");
        let left = fs::read_to_string(folder.path("job.sql")).expect("it is there");
        assert_eq!(left, sql, "{report} emptied it");
    }
    let ended = run(
        "CREATE STREAM o WITH (connector = 'file', path = 'job.sql', format = 'json') AS SELECT k FROM numbers;",
    );
    assert_code(&ended, 78, &["job.sql", "the statements of the job"]);

    // Nothing is lost where nothing is kept.
    let ended = run("CREATE STREAM one WITH (connector = 'file', path = '/dev/null', format = 'json') AS SELECT k FROM numbers;
        CREATE STREAM other WITH (connector = 'file', path = '/dev/null', format = 'csv') AS SELECT k FROM numbers;");
    assert_code(&ended, 0, &[]);

    // `velo run job.sql > rows.json`.
    folder.write(
        "job.sql",
        numbers("numbers.csv", "") + &sink("o", "rows.json") + "SELECT k FROM numbers",
    );
    let rows = fs::File::create(folder.path("rows.json")).expect("a file");
    let mut command = folder.velo(&["run", "job.sql", "--shards", "1"]);
    let ended = command.stdout(rows).output().expect("it can be started");
    assert_eq!(ended.status.code(), Some(78));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        said.contains("rows.json") && said.contains("standard output"),
        "{said}"
    );
}

/// Regression: a compressed file without rows had no bytes, and could not be read.
#[test]
fn a_file_without_rows_is_read_back() {
    let folder = Folder::new();
    folder.write("numbers.csv", records(3));
    for path in ["e.json", "e.json.gz", "e.json.zst", "e.csv.gz", "e.csv.zst"] {
        let header = match path.contains("csv") {
            true => ", csv.header = 'false'",
            false => "",
        };
        let file = format!("connector = 'file', path = '{path}'{header}");
        let write = format!("CREATE STREAM e WITH ({file}) AS SELECT k FROM numbers WHERE k > 99;");
        folder.write("write.sql", numbers("numbers.csv", "") + &write);
        assert_code(&folder.run(&["run", "write.sql", "--shards", "1"]), 0, &[]);
        let read = format!("CREATE STREAM e (k BIGINT) WITH ({file}); SELECT * FROM e;");
        folder.write("read.sql", read);
        let ended = folder.run(&["run", "read.sql", "--shards", "1"]);
        assert_code(&ended, 0, &[]);
        assert_eq!(ended.out, "", "{path}");
    }
}

// ---- inputs ----------------------------------------------------------------------------------------------------------

#[test]
fn a_file_that_cannot_be_read_ends_the_run_with_73_and_is_named() {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder.csv")).expect("a folder in a temporary folder");
    folder.write("torn.csv.zst", [0x28, 0xb5, 0x2f, 0xfd, 0xff, 0xff, 0xff]);
    folder.write("torn.csv.gz", [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3, 0x4b]);
    for path in ["absent.csv", "folder.csv", "torn.csv.zst", "torn.csv.gz"] {
        folder.write("job.sql", numbers(path, "") + WINDOWS);
        assert_code(
            &folder.run(&["run", "job.sql", "--shards", "1"]),
            73,
            &[path],
        );
    }
}

#[test]
fn a_malformed_row_ends_the_run_with_65_at_its_line_or_is_skipped() {
    let folder = Folder::new();
    let csv = "ts,k,n\n1,1,10\n2,1,ten\n3,1,30\n\"oops,4\n";
    let json = "{\"ts\":1,\"k\":1,\"n\":10}\n{\"ts\":2,\"k\":1,\"n\":\"ten\"}\n{\"ts\":3,\"k\":1,\"n\":30}\n{\"ts\":4,\n";
    folder.write("bad.csv", csv);
    folder.write("bad.json", json);
    for (path, line) in [
        ("bad.csv", "bad.csv line 3"),
        ("bad.json", "bad.json line 2"),
    ] {
        folder.write("fail.sql", numbers(path, "") + WINDOWS);
        folder.write("skip.sql", numbers(path, ", on_error = 'skip'") + WINDOWS);
        for shards in ["1", "3"] {
            let shards = ["--shards", shards, "--report", "report"];
            let run = |sql| {
                let mut command = folder.velo(&["run", sql]);
                command.args(shards).args(WRAPPED);
                folder.start("velo", command).end_within(LIMIT)
            };
            let ended = run("fail.sql");
            assert_code(&ended, 65, &[line, "on_error"]);
            assert_eq!(ended.out, "");
            assert_eq!(folder.json("report")["end"], "error");

            let ended = run("skip.sql");
            assert_code(&ended, 0, &[]);
            assert_eq!(
                ended.out,
                "{\"k\":1,\"window_start\":\"1970-01-01T00:00:00Z\",\"c\":2,\"s\":40}\n"
            );
            let report = folder.json("report");
            assert_eq!(
                (&report["records_in"], &report["bad_records"]),
                (&4.into(), &2.into())
            );
        }
    }
}

// ---- what a run leaves behind ----------------------------------------------------------------------------------------

#[test]
fn a_run_that_fails_before_it_starts_leaves_a_report_of_its_own() {
    let folder = Folder::new();
    folder.write("job.sql", numbers("absent.csv", "") + WINDOWS);
    folder.write("report", "of an earlier run");
    assert_code(
        &folder.run(&["run", "job.sql", "--shards", "1", "--report", "report"]),
        73,
        &["absent.csv"],
    );
    let report = folder.json("report");
    assert_eq!(
        (&report["end"], &report["exit_code"]),
        (&"error".into(), &73.into())
    );
}
