//! `velo bench scenario`: a query over generated orders, by the engine and by the baseline, in turns.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use velostream_shards::{CoreMap, peak_rss_bytes};

use super::baseline::{self, Partition, Query as BaselineQuery};
use super::line::{BaselineFigures, Line};
use super::machine::Machine;
use super::orders::{Keys, Orders, PARTITIONS, Rounds, SEED, generate};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::job::{Job, Outcome, RowFormat};
use crate::pipeline::AllocationFigures;
use crate::plan::explain::Explanation;
use crate::plan::in_memory::{Checksum, MemoryInput};
use crate::plan::{JobPlan, MemoryOptions, Plan, SinkSpec, SourceConnector, StreamSpec};
use crate::sql::{self, plan_script};

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A filter that half of the records pass.
    Filter,
    /// Records counted in a tumbling window, without groups: next to nothing is done with a record.
    Count,
    /// Groups without a window, emitted at the end.
    BySymbol,
    /// Groups in a tumbling window, emitted when it closes.
    ByMinute,
    /// The same with a row for every record.
    ByMinuteChanges,
}

/// What the engine starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// JSON bytes.
    Json,
    /// Decoded columns.
    Columns,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct ScenarioRequest {
    /// Which query.
    pub scenario: Scenario,
    /// Over how many records, above zero.
    pub records: u64,
    /// How many different keys about; `None` for the scenario's own number.
    pub groups: Option<u64>,
    /// What the engine starts from.
    pub input: Input,
    /// How many pairs of runs, above zero.
    pub repeat: usize,
    /// Where the bytes go as JSON lines, with the SQL beside them (`.sql`); `None` for nowhere.
    pub dump: Option<PathBuf>,
}

/// A scenario's SQL and its plan.
pub struct Explained {
    /// The text that is planned.
    pub sql: String,
    /// The plan, for people.
    pub plan: String,
}

/// Where the records stand when nothing says otherwise: a name for the text, nothing is read from it.
const ORDERS: &str = "orders.jsonl";

impl Scenario {
    /// As it is called on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Scenario::Filter => "0",
            Scenario::Count => "count",
            Scenario::BySymbol => "2",
            Scenario::ByMinute => "3a",
            Scenario::ByMinuteChanges => "3b",
        }
    }

    fn select(self) -> &'static str {
        match self {
            Scenario::Filter => {
                "SELECT order_id, symbol, price, quantity FROM orders WHERE price > 150"
            }
            Scenario::Count => {
                "SELECT window_start, COUNT(*) FROM orders WINDOW TUMBLING (SIZE 1 MINUTE) EMIT FINAL"
            }
            Scenario::BySymbol => {
                "SELECT symbol, COUNT(*), AVG(price), MIN(price), MAX(price), SUM(quantity) FROM orders\n\
                 GROUP BY symbol EMIT FINAL"
            }
            Scenario::ByMinute => {
                "SELECT trader_id, symbol, window_start, COUNT(*), AVG(price), SUM(quantity), SUM(price*quantity) FROM orders\n\
                 GROUP BY trader_id, symbol WINDOW TUMBLING (SIZE 1 MINUTE) EMIT FINAL"
            }
            Scenario::ByMinuteChanges => {
                "SELECT trader_id, symbol, window_start, COUNT(*), AVG(price), SUM(quantity), SUM(price*quantity) FROM orders\n\
                 GROUP BY trader_id, symbol WINDOW TUMBLING (SIZE 1 MINUTE) EMIT CHANGES"
            }
        }
    }

    /// The whole text over the records at `path`.
    fn sql(self, path: &str) -> String {
        let path = path.replace('\'', "''");
        self.sql_over(&format!(
            "connector = 'file', format = 'json', path = '{path}'"
        ))
    }

    /// The whole text over a source with these options. Only a window needs event time.
    pub(super) fn sql_over(self, options: &str) -> String {
        let watermark = match self {
            Scenario::Filter | Scenario::BySymbol => "",
            Scenario::Count | Scenario::ByMinute | Scenario::ByMinuteChanges => {
                ",\n  WATERMARK FOR ts AS ts - INTERVAL '2' SECOND"
            }
        };
        format!(
            "CREATE STREAM orders (\n  order_id BIGINT, trader_id VARCHAR, symbol VARCHAR, price DOUBLE, quantity BIGINT,\n  \
             side VARCHAR, venue VARCHAR, ts TIMESTAMP{watermark}\n) WITH ({options});\n{};\n",
            self.select()
        )
    }

    pub(super) fn baseline(self) -> BaselineQuery {
        match self {
            Scenario::Filter => BaselineQuery::Dear,
            Scenario::Count => BaselineQuery::Count,
            Scenario::BySymbol => BaselineQuery::BySymbol,
            Scenario::ByMinute => BaselineQuery::ByMinute { changes: false },
            Scenario::ByMinuteChanges => BaselineQuery::ByMinute { changes: true },
        }
    }

    /// `groups` different keys; of traders and symbols, as many as make up at least that.
    pub(super) fn keys(self, groups: Option<u64>) -> Keys {
        match self {
            Scenario::BySymbol => Keys {
                traders: 50,
                symbols: groups.unwrap_or(200),
                by_trader: false,
            },
            _ => {
                let groups = groups.unwrap_or(5_000);
                let symbols = groups.min(100);
                Keys {
                    traders: groups.div_ceil(symbols),
                    symbols,
                    by_trader: true,
                }
            }
        }
    }
}

impl Input {
    /// As it is called on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Input::Json => "json",
            Input::Columns => "columns",
        }
    }
}

/// The SQL of `request` and its plan on `shards` shards.
pub fn explain(request: &ScenarioRequest, shards: usize) -> Result<Explained> {
    let sql = request.scenario.sql(ORDERS);
    let plan = planned(&sql, shards)?;
    Ok(Explained {
        sql,
        plan: Explanation::of(&plan, shards).text(),
    })
}

/// Measures. `tell` says to a person what is under way.
///
/// # Errors
/// `Error::Failed` when the engine's rows are not the baseline's; whatever ends a run.
pub fn run(
    config: &Config,
    core_map: &CoreMap,
    request: &ScenarioRequest,
    tell: &mut dyn FnMut(&str),
) -> Result<Line> {
    assert!(
        request.records > 0 && request.repeat > 0,
        "something is to be measured"
    );
    let scenario = request.scenario;
    let keys = scenario.keys(request.groups);
    tell(&format!("making {} records", request.records));
    let Orders { input, rounds } = {
        let orders = generate(request.records, keys);
        if let Some(path) = &request.dump {
            dump(scenario, &orders, path)?;
            tell(&format!(
                "dumped them; the same query: velo run {}",
                sql_path(path).display()
            ));
        }
        orders
    };
    let input = Arc::new(input);
    let plan = over(&input, scenario, request.input, core_map.shards())?;
    let mut bench = Bench {
        config,
        core_map,
        plan,
        query: scenario.baseline(),
        input: &input,
        rounds: &rounds,
    };
    tell("warming up");
    bench.pair()?;
    let mut pairs = Vec::with_capacity(request.repeat);
    for number in 1..=request.repeat {
        let pair = bench.pair()?;
        tell(&format!(
            "{number} of {}: {:.1} ns a record, the plain loop {:.1} ns: {:.2} times",
            request.repeat,
            ns_per_record(pair.engine.elapsed, request.records),
            ns_per_record(pair.baseline_elapsed, request.records),
            pair.ratio()
        ));
        pairs.push(pair);
    }
    pairs.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    Ok(line(request, keys, core_map, &pairs))
}

fn line(request: &ScenarioRequest, keys: Keys, core_map: &CoreMap, pairs: &[Pair]) -> Line {
    let (first, last) = (&pairs[0], &pairs[pairs.len() - 1]);
    let median = &pairs[pairs.len() / 2];
    let per_s = |elapsed: Duration| request.records as f64 / elapsed.as_secs_f64();
    let engine = &median.engine;
    let shards = engine.shards.iter();
    let turn_ns_max = shards.map(|shard| shard.figures.turn_cpu_ns_max);
    let stalls = engine.shards.iter().flat_map(|shard| &shard.figures.stalls);
    let allocations = engine.shards.iter().map(|shard| shard.summary.allocations);
    Line {
        schema: 1,
        bench: "scenario",
        scenario: request.scenario.name(),
        input: request.input.name(),
        shards: core_map.shards(),
        records: request.records,
        groups: keys.groups(),
        seed: SEED,
        elapsed_s: engine.elapsed.as_secs_f64(),
        records_per_s: per_s(engine.elapsed),
        ns_per_record: ns_per_record(engine.elapsed, request.records),
        rows_out: engine.rows_out,
        checksum: format!("{:016x}", median.checksum),
        baseline: BaselineFigures {
            records_per_s: per_s(median.baseline_elapsed),
            ns_per_record: ns_per_record(median.baseline_elapsed, request.records),
            rows_out: median.baseline.count,
            checksum: format!("{:016x}", median.baseline.checksum),
        },
        ratio: median.ratio(),
        ratio_min: first.ratio(),
        ratio_max: last.ratio(),
        repeats: pairs.len(),
        allocations_per_batch: AllocationFigures::per_batch(allocations),
        stalls: stalls.map(|(_, count)| count).sum(),
        turn_us_max: turn_ns_max.max().unwrap_or(0) / 1_000,
        peak_rss_bytes: peak_rss_bytes(),
        machine: Machine::read(),
    }
}

fn ns_per_record(elapsed: Duration, records: u64) -> f64 {
    elapsed.as_nanos() as f64 / records as f64
}

/// What every pair of runs needs.
struct Bench<'b> {
    config: &'b Config,
    core_map: &'b CoreMap,
    plan: Plan,
    query: BaselineQuery,
    input: &'b MemoryInput,
    rounds: &'b Rounds,
}

/// A run of the engine and one of the baseline.
struct Pair {
    engine: Outcome,
    checksum: u64,
    baseline: baseline::Rows,
    baseline_elapsed: Duration,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.engine.elapsed.as_secs_f64() / self.baseline_elapsed.as_secs_f64()
    }
}

impl Bench<'_> {
    fn pair(&mut self) -> Result<Pair> {
        let partitions = by_the_loop(self.input);
        let started = Instant::now();
        let baseline = baseline::run(self.query, &partitions, self.rounds);
        let baseline_elapsed = started.elapsed();

        let checksum = Arc::new(Checksum::default());
        self.plan.sink = SinkSpec::Checksum(Arc::clone(&checksum));
        let plan = JobPlan::new("bench".into(), vec![self.plan.clone()]);
        let job = Job {
            plan: &plan,
            config: self.config,
            core_map: self.core_map,
            rows: RowFormat::Json,
            gaps_are_errors: true,
            discard_commits: false,
        };
        let mut engine = job.run(&mut |_| None);
        std::mem::replace(&mut engine.result, Ok(()))?;
        let expected = (baseline.count, baseline.checksum);
        if (checksum.rows(), checksum.sum()) != expected || engine.rows_out != baseline.count {
            return Err(Error::Failed(format!(
                "the rows are not those of the plain loop: {} rows with checksum {:016x}, and {} with {:016x}; dump the \
                 records (--dump PATH), and compare with velo run",
                checksum.rows(),
                checksum.sum(),
                baseline.count,
                baseline.checksum
            )));
        }
        Ok(Pair {
            engine,
            checksum: checksum.sum(),
            baseline,
            baseline_elapsed,
        })
    }
}

/// Records as the baseline reads them.
pub(super) fn by_the_loop(input: &MemoryInput) -> [Partition<'_>; PARTITIONS] {
    let partitions = input.partitions.iter();
    let partitions: Vec<Partition<'_>> = partitions
        .map(|partition| Partition {
            bytes: &partition.bytes,
            ends: &partition.ends,
        })
        .collect();
    partitions
        .try_into()
        .expect("the generator fills all partitions")
}

/// The plan of `scenario` over records in memory.
fn over(input: &Arc<MemoryInput>, scenario: Scenario, form: Input, shards: usize) -> Result<Plan> {
    let mut plan = planned(&scenario.sql(ORDERS), shards)?;
    plan.source.stream = Arc::new(StreamSpec {
        connector: SourceConnector::Memory(MemoryOptions {
            input: Arc::clone(input),
            decoded: form == Input::Columns,
        }),
        ..(*plan.source.stream).clone()
    });
    Ok(plan)
}

/// The plan of `text`, as `velo run` makes it.
pub(super) fn planned(text: &str, shards: usize) -> Result<Plan> {
    let settings = sql::Settings {
        shards,
        job_name: Some("bench".into()),
    };
    let mut script = plan_script("bench.sql", text, &settings)?;
    let query = script.job.queries.pop();
    Ok(query.expect("a scenario's text has one query").plan)
}

fn sql_path(path: &Path) -> PathBuf {
    path.with_extension("sql")
}

/// Writes the records to `path`, a line each, and the SQL that reads them there beside it.
fn dump(scenario: Scenario, orders: &Orders, path: &Path) -> Result<()> {
    let disk = |path: &Path| {
        let path = path.to_owned();
        move |cause: std::io::Error| Error::disk("write", &path, &cause)
    };
    let mut file = BufWriter::new(File::create(path).map_err(disk(path))?);
    for record in orders.records() {
        file.write_all(record)
            .and_then(|()| file.write_all(b"\n"))
            .map_err(disk(path))?;
    }
    file.flush().map_err(disk(path))?;
    let sql = sql_path(path);
    std::fs::write(&sql, scenario.sql(&path.to_string_lossy())).map_err(disk(&sql))
}

#[cfg(test)]
mod tests {
    use velostream_shards::Machine as Host;

    use super::*;

    /// What one shard allocated in its steady state over these records.
    fn allocated(scenario: Scenario, batch_max: usize) -> AllocationFigures {
        let settings = [
            format!("batch.max={batch_max}"),
            "shards.oversubscribe=true".to_owned(),
        ];
        let config = Config::load(None, &settings, Some(1)).expect("known keys");
        let host = Host::read().expect("this machine");
        let core_map = CoreMap::plan(&host, &config.shards.core_map).expect("one shard");
        // Few keys, so that all are there before the steady state begins.
        let orders = generate(200_000, scenario.keys(Some(100)));
        let input = Arc::new(orders.input);
        let mut bench = Bench {
            config: &config,
            core_map: &core_map,
            plan: over(&input, scenario, Input::Json, 1).expect("the text is right"),
            query: scenario.baseline(),
            input: &input,
            rounds: &orders.rounds,
        };
        let pair = bench.pair().expect("it runs, and its rows are right");
        let [shard] = &pair.engine.shards[..] else {
            panic!("one shard")
        };
        shard.summary.allocations
    }

    #[test]
    fn in_steady_state_updates_allocate_nothing_and_a_batch_little() {
        for scenario in [Scenario::Filter, Scenario::BySymbol, Scenario::ByMinute] {
            for batch_max in [256, 1024] {
                let figures = allocated(scenario, batch_max);
                assert!(figures.batches >= 100, "{figures:?}");
                let what = format!("scenario {} in batches of {batch_max}", scenario.name());
                assert_eq!(figures.in_updates, 0, "{what}");
                let per_batch = figures.all as f64 / figures.batches as f64;
                assert!(per_batch <= 64.0, "{what}: {per_batch} a batch");
            }
        }
    }
}
