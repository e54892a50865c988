//! From keys, window bounds and aggregate values to rows as the sink takes them.
//!
//! ```text
//!   keys, bounds, aggregates --(out of range withheld)--> `grouped` batch --HAVING--> --output columns, message key-->
//! ```
//!
//! Law: a row that cannot be computed is withheld and its reason returned; every other row leaves, in the order given.
//! What it does not do: encode, or decide what `on_error` makes of a withheld row.

use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray,
};
use datafusion_common::arrow::compute::filter_record_batch;
use datafusion_common::arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use super::{Closing, Maker};
use crate::batch::{Isolated, evaluate_isolated, take_columns, under};
use crate::format::{RowFormat, encoder};
use crate::group::{Finished, KeySpace};
use crate::plan::typed::converted;
use crate::plan::{AggregatePlan, PlannedExpr, sql_type};
use crate::time::Watermark;

/// Rows of a query's result.
#[derive(Clone, Debug)]
pub struct OutputRows {
    /// The rows, with the schema of `Plan::output`.
    pub batch: RecordBatch,
    /// The message key of each row, with the schema of `KafkaSink::key_columns`; `None` when rows have no key.
    pub key: Option<RecordBatch>,
    /// Event time of each row, microseconds: that of its record, or its window's end - 1. Empty where there is none.
    pub event_times_us: Vec<i64>,
    /// For a row that is one record, the watermark of the record's partition just before it; empty where the lateness of what
    /// the row was made of is decided already.
    pub watermarks_before: Vec<Watermark>,
    /// The rows that were withheld.
    pub bad: Vec<Withheld>,
    /// When the record that caused the rows was due, wall clock, microseconds since the epoch.
    pub due_us: i64,
    /// When there was reason to make the rows, monotonic clock, nanoseconds: for the rows of a window, when the query's
    /// watermark passed its end and grace; else, when their record had been applied. Set by whoever makes them.
    pub ready_ns: u64,
}

impl OutputRows {
    /// The rows `rows`, in that order; nothing is withheld.
    pub fn take(&self, rows: &[u32]) -> OutputRows {
        fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
            match values.is_empty() {
                true => Vec::new(),
                false => rows.iter().map(|row| values[*row as usize]).collect(),
            }
        }
        let of = |batch: &RecordBatch| {
            let columns = take_columns(batch.columns(), rows);
            under(batch.schema_ref(), columns, rows.len())
        };
        OutputRows {
            batch: of(&self.batch),
            key: self.key.as_ref().map(of),
            event_times_us: pick(&self.event_times_us, rows),
            watermarks_before: pick(&self.watermarks_before, rows),
            bad: Vec::new(),
            due_us: self.due_us,
            ready_ns: self.ready_ns,
        }
    }
}

/// A row that could not be computed, or is larger than its sink takes.
#[derive(Clone, Debug)]
pub struct Withheld {
    /// Why.
    pub reason: String,
    /// Its group key and its window's bounds: one row.
    keys: RecordBatch,
}

impl Withheld {
    /// The row whose key and bounds are row `row` of `keys`.
    pub fn new(reason: String, keys: &RecordBatch, row: u32) -> Withheld {
        Withheld {
            reason,
            keys: keys.slice(row as usize, 1),
        }
    }

    /// Its key and bounds as a JSON object.
    pub fn keys_as_json(&self) -> Vec<u8> {
        encoder(&RowFormat::Json, self.keys.schema_ref())
            .encode(&self.keys)
            .bytes
    }
}

/// Makes the rows of one grouping query.
#[derive(Debug)]
pub struct RowMaker {
    /// How many columns the key has.
    keys: usize,
    windowed: bool,
    grouped: SchemaRef,
    /// What an out-of-range aggregate is called in a reason.
    aggregates: Vec<String>,
    having: Option<Arc<dyn PhysicalExpr>>,
    /// The output columns, then the columns of the message key.
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
    key: Option<SchemaRef>,
}

impl RowMaker {
    /// For a planned grouping whose rows have the schema `output`, and as message key the expressions `key` over
    /// `AggregatePlan::grouped` with the schema `key_columns` (no key if there are none).
    pub fn new(
        plan: &AggregatePlan,
        output: &SchemaRef,
        key: &[PlannedExpr],
        key_columns: &SchemaRef,
    ) -> RowMaker {
        let keys = plan.keys.len();
        let bounds = if plan.window.is_some() { 2 } else { 0 };
        let fields = plan.grouped.fields();
        assert_eq!(
            fields.len(),
            keys + bounds + plan.aggregates.len(),
            "keys, bounds, aggregates"
        );
        assert_eq!(
            plan.rows.len(),
            output.fields().len(),
            "an expression for every output column"
        );
        assert_eq!(
            key.len(),
            key_columns.fields().len(),
            "an expression for every key column"
        );
        RowMaker {
            keys,
            windowed: plan.window.is_some(),
            grouped: Arc::clone(&plan.grouped),
            aggregates: plan
                .aggregates
                .iter()
                .map(|aggregate| aggregate.text.clone())
                .collect(),
            having: plan.having.as_ref().map(|having| Arc::clone(&having.expr)),
            expressions: plan
                .rows
                .iter()
                .chain(key)
                .map(|planned| Arc::clone(&planned.expr))
                .collect(),
            output: Arc::clone(output),
            key: (!key.is_empty()).then(|| Arc::clone(key_columns)),
        }
    }

    /// The rows of `rows` groups: their key columns, the bounds of their window if there is one (microseconds,
    /// half-open), and the values of each aggregate; for `due_us` and `ready_ns` see `OutputRows`.
    pub fn make(
        &self,
        rows: usize,
        keys: Vec<ArrayRef>,
        window: Option<(i64, i64)>,
        aggregates: Vec<Finished>,
        due_us: i64,
        ready_ns: u64,
    ) -> OutputRows {
        assert_eq!(
            window.is_some(),
            self.windowed,
            "bounds exactly when the query has a window"
        );
        let mut bad = Vec::new();
        let grouped = self.grouped(rows, keys, window, aggregates, &mut bad);
        let grouped = self.having(grouped, &mut bad);
        let Isolated {
            mut columns,
            kept,
            bad: failed,
        } = evaluate_isolated(&self.expressions, &grouped);
        self.withhold(&grouped, failed, &mut bad);

        let key_columns = columns.split_off(self.output.fields().len());
        OutputRows {
            batch: under(&self.output, columns, kept.len()),
            key: self
                .key
                .as_ref()
                .map(|schema| under(schema, key_columns, kept.len())),
            event_times_us: window.map_or_else(Vec::new, |(_, end)| vec![end - 1; kept.len()]),
            watermarks_before: Vec::new(),
            bad,
            due_us,
            ready_ns,
        }
    }

    /// The batch that HAVING and the output columns see, without the rows that have a value out of range.
    fn grouped(
        &self,
        rows: usize,
        keys: Vec<ArrayRef>,
        window: Option<(i64, i64)>,
        aggregates: Vec<Finished>,
        bad: &mut Vec<Withheld>,
    ) -> RecordBatch {
        assert_eq!(
            aggregates.len(),
            self.aggregates.len(),
            "values of every aggregate"
        );
        assert_eq!(keys.len(), self.keys, "a value of every key column");
        // Keys come in one form (text and bytes as views, times without a zone); the plan may name another.
        let in_form = |(key, field): (ArrayRef, &FieldRef)| {
            converted(&key, field.data_type()).expect("a key is a value of its column's type")
        };
        let keys = keys.into_iter().zip(self.grouped.fields());
        let mut columns: Vec<ArrayRef> = keys.map(in_form).collect();
        for bound in window.map_or_else(Vec::new, |(start, end)| vec![start, end]) {
            columns.push(Arc::new(TimestampMicrosecondArray::from_value(bound, rows)));
        }
        let out_of_range = self.out_of_range(rows, &aggregates);
        columns.extend(aggregates.into_iter().map(|finished| finished.values));

        let all = under(&self.grouped, columns, rows);
        if out_of_range.is_empty() {
            return all;
        }
        let mut in_range = vec![true; rows];
        for (row, _) in &out_of_range {
            in_range[*row as usize] = false;
        }
        self.withhold(&all, out_of_range, bad);
        filter_record_batch(&all, &BooleanArray::from(in_range)).expect("a flag for every row")
    }

    /// Names the rows of `grouped` that could not be computed.
    fn withhold(&self, grouped: &RecordBatch, rows: Vec<(u32, String)>, bad: &mut Vec<Withheld>) {
        if rows.is_empty() {
            return;
        }
        let bounds = if self.windowed { 2 } else { 0 };
        let columns: Vec<usize> = (0..self.keys + bounds).collect();
        let keys = grouped.project(&columns).expect("the first columns");
        let rows = rows.into_iter();
        bad.extend(rows.map(|(row, reason)| Withheld::new(reason, &keys, row)));
    }

    /// The rows that lack a value, each once, with the first that it lacks.
    fn out_of_range(&self, rows: usize, aggregates: &[Finished]) -> Vec<(u32, String)> {
        let mut lacking = Vec::new();
        if aggregates
            .iter()
            .all(|finished| finished.out_of_range.is_empty())
        {
            return lacking;
        }
        let mut in_range = vec![true; rows];
        for (finished, text) in aggregates.iter().zip(&self.aggregates) {
            for &row in &finished.out_of_range {
                // A row is withheld once, however many of its values are out of range.
                if std::mem::replace(&mut in_range[row as usize], false) {
                    let result = sql_type(finished.values.data_type());
                    lacking.push((row, format!("{text} is out of the range of {result}")));
                }
            }
        }
        lacking
    }

    fn having(&self, grouped: RecordBatch, bad: &mut Vec<Withheld>) -> RecordBatch {
        let Some(having) = &self.having else {
            return grouped;
        };
        let Isolated {
            columns,
            kept,
            bad: failed,
        } = evaluate_isolated(std::slice::from_ref(having), &grouped);
        self.withhold(&grouped, failed, bad);
        // NULL is not true, and a row for which HAVING failed is gone.
        let mut passed = vec![false; grouped.num_rows()];
        for (value, &row) in columns[0].as_boolean().iter().zip(&kept) {
            passed[row as usize] = value == Some(true);
        }
        filter_record_batch(&grouped, &BooleanArray::from(passed)).expect("a flag for every row")
    }
}

impl Maker for RowMaker {
    type Made = OutputRows;

    fn fired(&self, closing: &Closing, ids: Range<usize>, space: &KeySpace) -> OutputRows {
        let groups = closing.groups();
        self.make(
            ids.len(),
            groups.keys(space, ids.clone()),
            closing.window(),
            groups.finish(ids),
            closing.due_us(),
            closing.ready_ns(),
        )
    }

    /// HAVING may have kept none.
    fn is_nothing(made: &OutputRows) -> bool {
        made.batch.num_rows() == 0 && made.bad.is_empty()
    }
}
