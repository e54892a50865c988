//! What the demo shows when it has ended: rows, core map, totals, latency, and whether all was equal.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{HumanCount, HumanFloatCount};

use crate::job::Latency;
use crate::job::report::Report;

use super::comparison::{Compared, Ending};
use super::feed::Fed;
use super::recompute::Row;

/// A feed that was later than this is mentioned, microseconds: its records waited for room, not only for a processor.
const BEHIND_US: i64 = 50_000;

/// All that is to be shown.
pub struct Ended<'e> {
    /// How the query ended.
    pub ending: Ending,
    /// What the run did.
    pub report: &'e Report,
    /// How long it took.
    pub latency: &'e Latency,
    /// What the feed did.
    pub fed: Fed,
    /// What the comparison found.
    pub compared: &'e Compared,
}

impl Ended<'_> {
    /// The page.
    pub fn page(&self) -> String {
        let mut page = String::new();
        let mut put = |part: &dyn Display| {
            writeln!(page, "{part}").expect("writing to a string does not fail");
        };
        if !self.compared.sample.is_empty() {
            put(&"\nThe busiest hours among the rows:");
            put(&rows(&self.compared.sample));
        }
        put(&"\nThe core map:");
        put(&self.core_map());
        put(&format!("\n{}", self.totals()));
        if !self.latency.end_to_end.is_empty() {
            put(&self.latency());
        }
        put(&format!("\n{}", self.verdict()));
        page
    }

    fn core_map(&self) -> Table {
        let mut table = table(&[
            "shard",
            "cpu",
            "core",
            "node",
            "records in",
            "busy",
            "cpu s",
        ]);
        for shard in &self.report.shards {
            table.add_row([
                shard.shard.to_string(),
                shard.cpu.to_string(),
                shard.core.to_string(),
                shard.node.to_string(),
                HumanCount(shard.records_in).to_string(),
                format!("{:.0} %", shard.busy_ratio * 100.0),
                format!("{:.1}", shard.cpu_s),
            ]);
        }
        right_aligned(table, 0)
    }

    fn totals(&self) -> String {
        let report = self.report;
        format!(
            "{} records in, {} rows out in {:.1} s: {} records/s; {} late, {} bad",
            HumanCount(report.records_in),
            HumanCount(report.rows_out),
            report.elapsed_s,
            HumanFloatCount(report.records_per_s.round()),
            HumanCount(report.late_records),
            HumanCount(report.bad_records),
        )
    }

    /// Due times are the feed's, so a feed that was held back has not hidden it.
    fn latency(&self) -> String {
        let mut text = format!(
            "ingest {}\n  from when a record was due (header velo.due_us) to its place in the state of its window\n\
             emit {}\n  from when the watermark had passed a window to the handing over of its rows\n\
             end to end {}\n  from when the record that caused a row was due (header velo.due_us) to the broker's \
             acknowledgement of that row",
            self.latency.ingest.summary(),
            self.latency.emit.summary(),
            self.latency.end_to_end.summary()
        );
        if self.fed.behind_us_max > BEHIND_US {
            let behind = Duration::from_micros(self.fed.behind_us_max.unsigned_abs());
            write!(
                text,
                "\n  the feed was up to {:.2} s behind its schedule, and that wait is in these figures",
                behind.as_secs_f64()
            )
            .expect("writing to a string does not fail");
        }
        text
    }

    fn verdict(&self) -> String {
        let Compared {
            rows, differences, ..
        } = self.compared;
        let rows = HumanCount(*rows);
        match (differences.count, self.ending) {
            (0, Ending::Whole) => format!("all {rows} rows equal to the recomputation"),
            (0, _) => format!(
                "stopped early: the {rows} rows written until then are equal to the recomputation"
            ),
            (count, _) => {
                let shown: String = differences
                    .examples
                    .iter()
                    .map(|example| format!("\n  {example}"))
                    .collect();
                format!(
                    "{} differences from the recomputation, such as:{shown}",
                    HumanCount(count)
                )
            }
        }
    }
}

fn rows(rows: &[Row]) -> Table {
    let mut table = table(&[
        "carrier",
        "window_start",
        "window_end",
        "flights",
        "miles",
        "mean_delay",
        "min_delay",
        "max_delay",
    ]);
    fn minutes<T: Display>(value: Option<T>) -> String {
        value.map_or_else(|| "NULL".to_owned(), |value| format!("{value:.2}"))
    }
    for row in rows {
        table.add_row([
            row.carrier.clone(),
            row.window_start.clone(),
            row.window_end.clone(),
            row.flights.to_string(),
            row.miles.to_string(),
            minutes(row.mean_delay),
            minutes(row.min_delay),
            minutes(row.max_delay),
        ]);
    }
    right_aligned(table, 3)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_BORDERS_ONLY)
        .set_header(header);
    table
}

/// Numbers stand to the right, from column `from` on.
fn right_aligned(mut table: Table, from: usize) -> Table {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
