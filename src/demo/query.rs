//! The demo's SQL: what a user would write, and nothing beside it.

/// The topic that the flights are fed to.
pub const INPUT: &str = "flights";

/// The topic that the rows are written to.
pub const OUTPUT: &str = "busy_hours";

/// How many partitions stand in a line of the text.
const PARTITIONS_A_LINE: usize = 8;

/// The text, which reads `counts[p]` records of each partition `p`.
pub fn text(counts: &[i64]) -> String {
    let ends: Vec<String> = counts
        .iter()
        .enumerate()
        .map(|(partition, count)| format!("{partition}={count}"))
        .collect();
    let lines: Vec<String> = ends
        .chunks(PARTITIONS_A_LINE)
        .map(|line| line.join(","))
        .collect();
    let end = lines.join(",\n    ");
    format!(
        "CREATE STREAM flights (
  ts TIMESTAMP, carrier VARCHAR, dep_delay BIGINT, distance BIGINT,
  WATERMARK FOR ts AS ts - INTERVAL '24' HOUR
) WITH (
  connector = 'kafka', topic = '{INPUT}', format = 'json', start = 'earliest',
  end = 'offsets:{end}'
);

CREATE STREAM busy_hours WITH (connector = 'kafka', topic = '{OUTPUT}', format = 'json') AS
SELECT carrier, window_start, window_end, COUNT(*) AS flights, SUM(distance) AS miles,
       AVG(dep_delay) AS mean_delay, MIN(dep_delay) AS min_delay, MAX(dep_delay) AS max_delay
FROM flights
GROUP BY carrier
WINDOW TUMBLING (SIZE 1 HOUR)
EMIT FINAL;
"
    )
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::sql::{Settings, plan_script};

    #[test]
    fn the_text_is_a_plan_at_any_number_of_shards() {
        let text = text(&(0..32).collect::<Vec<i64>>());
        for shards in [1, 2, 3, 7] {
            let settings = Settings {
                shards,
                job_name: None,
            };
            let script = plan_script("demo", &text, &settings).expect("right");
            assert_eq!(script.job.queries.len(), 1);
        }
    }
}
