//! How long things took: every run records it, whatever the source, the sink and the query, and it is in the report.

use rdkafka::mocking::MockCluster;
use serde_json::Value;
use velostream::config::Config;
use velostream::job::report::{End, Report};
use velostream::job::{Job, Outcome, RowFormat, Standing};
use velostream::sql::{Settings, plan_script};
use velostream_shards::{CoreMap, Machine};

use crate::process::Folder;

const RECORDS: usize = 20_000;

/// A record a second in ten keys; the last one is late.
fn numbers() -> String {
    let mut text = String::from("ts,k,n\n");
    for number in 0..RECORDS {
        text += &format!("{number},{},{number}\n", number % 10);
    }
    text + "0,0,0\n"
}

fn declared(path: &str) -> String {
    format!(
        "CREATE STREAM numbers (ts TIMESTAMP, k BIGINT, n BIGINT, WATERMARK FOR ts AS ts)
         WITH (connector = 'file', path = '{path}', event_time.unit = 's');\n"
    )
}

const WINDOWS: &str = "SELECT k, window_start, COUNT(*) AS c FROM numbers GROUP BY k WINDOW TUMBLING (SIZE 100 SECONDS)";

/// Runs `sql` in this process at three shards and gives each standing to `watch`.
fn run(sql: &str, watch: &mut dyn FnMut(Standing<'_>)) -> (Outcome, Report) {
    let set = ["shards.oversubscribe=true".to_owned()];
    let config = Config::load(None, &set, Some(3)).expect("a valid configuration");
    let machine = Machine::read().expect("hwloc reads this machine");
    let core_map =
        CoreMap::plan(&machine, &config.shards.core_map).expect("oversubscribed shards always fit");
    let settings = Settings {
        shards: 3,
        job_name: None,
    };
    let script = plan_script("job.sql", sql, &settings).expect("valid SQL");
    let job = Job {
        plan: &script.job,
        config: &config,
        core_map: &core_map,
        rows: RowFormat::Json,
        gaps_are_errors: false,
        discard_commits: false,
    };
    let outcome = job.run(&mut |standing| {
        watch(standing);
        None
    });
    let report = Report::of(&script.job, &outcome);
    (outcome, report)
}

#[test]
fn every_accepted_record_and_every_row_is_in_its_histogram() {
    let folder = Folder::new();
    folder.write("numbers.csv", numbers());
    let records = RECORDS as u64;
    for (query, ingested) in [
        (format!("{WINDOWS} EMIT FINAL"), records),
        (format!("{WINDOWS} EMIT CHANGES"), records),
        (
            "SELECT k, COUNT(*) AS c FROM numbers GROUP BY k".to_owned(),
            records + 1,
        ),
        (
            "SELECT k FROM numbers WHERE n >= 1000".to_owned(),
            records - 1000,
        ),
    ] {
        for shards in ["1", "3"] {
            folder.write("job.sql", declared("numbers.csv") + &query);
            let ended = folder.run(&[
                "run",
                "job.sql",
                "--shards",
                shards,
                "--set",
                "shards.oversubscribe=true",
                "--report",
                "report",
            ]);
            assert_eq!(ended.code, Some(0), "{}", ended.err);
            let live = ended.err.contains("records/s in");
            assert!(!live, "a live line where there is no terminal");
            let report = folder.json("report");
            let count = |name: &str| report["latency_us"][name]["count"].as_u64();
            let counts = [count("ingest"), count("emit"), count("end_to_end")];
            let rows = report["rows_out"].as_u64();
            assert_eq!(counts, [Some(ingested), rows, rows], "{query} at {shards}");
            for name in ["ingest", "emit", "end_to_end"] {
                let figures = &report["latency_us"][name];
                let order = ["p50", "p95", "p99", "p999", "max"].map(|name| figures[name].as_u64());
                assert!(order.is_sorted(), "{figures}");
                assert!(order[4] < Some(60_000_000), "{figures}");
            }
            assert!(report["peak_rss_bytes"].as_u64() > Some(1 << 20));
            assert_eq!(report["dead_letters"], Value::from(0));
        }
    }
}

#[test]
fn a_job_is_told_of_every_record_before_it_ends() {
    let folder = Folder::new();
    let input = folder.write("numbers.csv", numbers());
    let output = folder.path("rows.json");
    let sql = declared(&input.display().to_string())
        + &format!(
            "CREATE STREAM rows WITH (connector = 'file', path = '{}') AS {WINDOWS};",
            output.display()
        );
    let mut seen = 0;
    let (outcome, report) = run(&sql, &mut |standing| seen = standing.records_in);
    assert_eq!(outcome.end, End::Input);
    assert_eq!(report.records_in, RECORDS as u64 + 1);
    assert_eq!(seen, report.records_in);
}

/// Regression: a producer without room was waited for within one write, so that nobody looked at the signals meanwhile.
#[test]
fn a_sink_without_room_holds_the_shards_back_and_the_job_goes_on_looking() {
    let cluster = MockCluster::new(1).expect("a broker on loopback");
    cluster.create_topic("out", 2, 1).expect("a topic");
    let folder = Folder::new();
    let input = folder.write("numbers.csv", numbers());
    let sql = declared(&input.display().to_string())
        + &format!(
            "CREATE STREAM rows WITH (connector = 'kafka', topic = 'out', format = 'json', kafka.bootstrap.servers = '{}',
             kafka.queue.buffering.max.messages = '100') AS SELECT k, n FROM numbers;",
            cluster.bootstrap_servers()
        );
    let mut looked_while_held_back = 0;
    let (outcome, report) = run(&sql, &mut |standing| {
        looked_while_held_back += usize::from(standing.held_back);
    });
    outcome.result.expect("nothing is wrong");
    assert_eq!(report.rows_out, RECORDS as u64 + 1);
    assert!(
        looked_while_held_back > 10,
        "{looked_while_held_back} looks"
    );
    // 20,000 rows through a queue of 100: the last ones waited for it, and that is in the figures.
    let handed_over = outcome.latency.emit.summary();
    let acknowledged = outcome.latency.end_to_end.summary();
    assert_eq!(handed_over.count, acknowledged.count);
}
