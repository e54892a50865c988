use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::SplitMix64;

use super::*;
use crate::sql::{Settings, plan_script};
use crate::time::{Idle, QueryClock, Watermark};

fn job(queries: &str) -> JobPlan {
    let stream = |name: &str, drift: &str| {
        format!(
            "CREATE STREAM {name} (k BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
             WITH (connector = 'file', path = '{name}.csv'{drift});"
        )
    };
    let drift = ", watermark.max_drift = '1 m'";
    let text = [
        &stream("a", drift),
        &stream("b", drift),
        &stream("c", ""),
        queries,
    ]
    .concat();
    let settings = Settings {
        shards: 2,
        job_name: None,
    };
    plan_script("test.sql", &text, &settings)
        .expect("a plan")
        .job
}

const WINDOW: &str = "k, COUNT(*) AS n FROM";

#[test]
fn an_input_meets_the_groupings_behind_it_and_each_is_forgiven_the_longest_way() {
    let job = job(&format!(
        "CREATE STREAM m (k BIGINT, n BIGINT);
         INSERT INTO m SELECT {WINDOW} a GROUP BY k WINDOW TUMBLING (SIZE 1 MINUTE, GRACE PERIOD 5 SECONDS);
         INSERT INTO m SELECT {WINDOW} b GROUP BY k WINDOW TUMBLING (SIZE 1 MINUTE, GRACE PERIOD 30 SECONDS);
         SELECT k, SUM(n) AS n FROM m GROUP BY k WINDOW TUMBLING (SIZE 1 HOUR);"
    ));
    let of = |source| Alignment::of(&job, source).expect("it is held");
    assert_eq!(of(0).meets, [(0, 0), (2, 30_000_000)]);
    assert_eq!(of(1).meets, [(1, 0), (2, 30_000_000)]);
    assert_eq!(of(0).drift_us, 60_000_000);
}

#[test]
fn what_nothing_groups_and_what_asks_for_nothing_is_not_held() {
    let stateless = job("SELECT k FROM a;");
    assert_eq!(Alignment::of(&stateless, 0), None);
    let unasked = job(&format!(
        "SELECT {WINDOW} c GROUP BY k WINDOW TUMBLING (SIZE 1 HOUR);"
    ));
    assert_eq!(Alignment::of(&unasked, 0), None);
}

#[test]
fn rows_without_event_times_hold_nobody() {
    let job = job(&format!(
        "CREATE STREAM m AS SELECT {WINDOW} a GROUP BY k EMIT FINAL;
         SELECT k, SUM(n) AS n FROM m GROUP BY k EMIT FINAL;"
    ));
    let held = Alignment::of(&job, 0).expect("by the first query");
    assert_eq!(held.meets, [(0, 0)]);
}

/// One input of the harness below: what it has still to read, and where it stands.
struct Input {
    steps: Vec<i64>,
    at: i64,
    paused: bool,
    idle: bool,
    ended: bool,
}

/// What an input has said and the query has not heard yet.
enum Said {
    Promise(usize, Watermark),
    Idle(usize),
}

/// Inputs of all speeds, some silent for a while and some for ever until they end; what they say is heard late. Nobody waits for
/// ever, and nobody is further ahead of the slowest than the drift and one step.
#[test]
fn no_input_waits_for_ever_and_none_runs_away() {
    const DRIFT: i64 = 50;
    const STEP_MAX: i64 = 40;
    for seed in 0..300 {
        let mut random = SplitMix64::seed_from_u64(seed);
        let mut below = |most: u64| random.next_u64() % most;
        let count = 2 + below(6) as usize;
        let mut inputs: Vec<Input> = (0..count)
            .map(|_| {
                let steps = below(40) as usize;
                let most = 1 + below(STEP_MAX as u64);
                Input {
                    steps: (0..steps).map(|_| below(most) as i64).collect(),
                    at: i64::MIN,
                    paused: false,
                    idle: false,
                    ended: false,
                }
            })
            .collect();
        let mut clock = QueryClock::new(count);
        let mut said: std::collections::VecDeque<Said> = std::collections::VecDeque::new();
        let mut turns = 0;
        while inputs.iter().any(|input| !input.ended) {
            turns += 1;
            assert!(turns < 100_000, "seed {seed}: somebody waits for ever");
            let place = below(count as u64) as usize;
            let (heard, silent) = (below(3), below(8) == 0);
            for _ in 0..heard {
                match said.pop_front() {
                    Some(Said::Promise(input, time)) => drop(clock.promise(input, time, 0)),
                    Some(Said::Idle(input)) => drop(clock.idle(input, Idle::ALWAYS)),
                    None => {}
                }
            }
            let ahead = Ahead::of(clock.current(), DRIFT);
            let input = &mut inputs[place];
            if input.ended {
                continue;
            }
            input.paused = input.at > i64::MIN && !ahead.admits(Watermark(input.at), input.paused);
            if input.paused {
                // Not idle: it has something to read.
                continue;
            }
            if silent {
                input.idle = true;
                said.push_back(Said::Idle(place));
                continue;
            }
            input.idle = false;
            match input.steps.pop() {
                Some(step) => {
                    input.at = input.at.max(0) + step;
                    said.push_back(Said::Promise(place, Watermark(input.at)));
                }
                None => {
                    input.ended = true;
                    said.push_back(Said::Promise(place, Watermark::END));
                }
            }
            let own = inputs[place].at;
            // A query's watermark does not go back for an input that wakes: who is behind it is not waited for.
            let current = clock.current().0.max(0);
            let lead = own.saturating_sub(current);
            let known = inputs
                .iter()
                .all(|input| input.at > i64::MIN || input.ended);
            assert!(
                !known || inputs[place].ended || lead <= DRIFT + STEP_MAX,
                "seed {seed}: {lead} ahead"
            );
        }
    }
}
