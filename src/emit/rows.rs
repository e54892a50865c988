//! From keys, window bounds and aggregate values to rows as the sink takes them.
//!
//! ```text
//!   keys, bounds, aggregates --(out of range withheld)--> `grouped` batch --HAVING--> --output columns, message key--> rows
//!                                                                             \--was out, satisfies it no more--> tombstones
//! ```
//!
//! Laws: a row that cannot be computed is withheld and its reason returned; every other row leaves, in the order given. A group
//! of which a row is out, and which no longer satisfies HAVING, is withdrawn where its row would stand, once; that needs a message
//! key which tells the groups apart.
//! What it does not do: encode, or decide what `on_error` makes of a withheld row.

mod withdrawn;

use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion_common::arrow::compute::filter_record_batch;
use datafusion_common::arrow::datatypes::{Schema, SchemaRef, TimestampMicrosecondType};
use datafusion_physical_expr::PhysicalExpr;

use self::withdrawn::is_identity;
pub use self::withdrawn::{Moved, MovedSessions};
use super::bounds::Bounds;
use super::{Closing, Maker, OutputRows, Withheld, range_rows};
use crate::batch::{Isolated, evaluate_isolated, under};
use crate::group::{Finished, KeySpace, Marks};
use crate::plan::typed::converted;
use crate::plan::{AggregatePlan, PlannedExpr, WindowSpec, sql_type};

/// Groups of which rows are to be made, one a row.
#[derive(Debug)]
pub struct GroupValues {
    /// How many.
    pub rows: usize,
    /// Their key columns.
    pub keys: Vec<ArrayRef>,
    /// The values of each aggregate.
    pub aggregates: Vec<Finished>,
    /// Why they leave.
    pub cause: Cause,
}

/// What rows that leave together have in common.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    /// The bounds of their window if there is one, microseconds, half-open.
    pub window: Option<(i64, i64)>,
    /// Whether their window has fired, or the input has ended.
    pub is_final: bool,
    /// When the record that caused the rows was due, as `OutputRows::due_us`.
    pub due_us: i64,
    /// As `OutputRows::ready_ns`.
    pub ready_ns: u64,
}

/// What is known of the groups of which rows are made.
#[derive(Debug)]
pub struct Marked<'m> {
    /// The marks of all groups of the pane.
    pub marks: &'m mut Marks,
    /// The group of each row.
    pub groups: &'m [u32],
}

/// What became of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Withheld,
    Refused,
    Made,
}

/// Makes the rows of one grouping query.
#[derive(Debug)]
pub struct RowMaker {
    /// How many columns the key has.
    keys: usize,
    windowed: bool,
    /// Whether the rows can say that they are final.
    tells_final: bool,
    grouped: SchemaRef,
    /// The columns of it that tell one group from another: keys and bounds.
    identity: SchemaRef,
    /// What an out-of-range aggregate is called in a reason.
    aggregates: Vec<String>,
    having: Option<Arc<dyn PhysicalExpr>>,
    /// The output columns, then the columns of the message key.
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    output: SchemaRef,
    key: Option<SchemaRef>,
    /// Whether a group that no longer satisfies HAVING is withdrawn.
    withdraws: bool,
    /// Whether the start of a window that has moved is withdrawn.
    withdraws_moved: bool,
    /// Whether a life before this one may have written rows of which nothing is known here.
    doubts: bool,
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
            keys + bounds + usize::from(plan.is_final) + plan.aggregates.len(),
            "keys, bounds, whether it is final, aggregates"
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
            tells_final: plan.is_final,
            grouped: Arc::clone(&plan.grouped),
            identity: Arc::new(Schema::new(fields[..keys + bounds].to_vec())),
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
            withdraws: plan.having.is_some() && is_identity(plan, key),
            withdraws_moved: matches!(plan.window, Some(WindowSpec::Session { .. }))
                && is_identity(plan, key),
            doubts: false,
        }
    }

    /// Whether it has to know what is out of each group: then rows that replace others are made with marks.
    pub fn withdraws(&self) -> bool {
        self.withdraws
    }

    /// Whether it withdraws the start of a session that has moved. Then it has to know of which sessions a row is out, unless one
    /// left after every record.
    pub fn withdraws_moved(&self) -> bool {
        self.withdraws_moved
    }

    /// What it has to know of the groups of rows, if it has to know anything.
    pub fn marked<'m>(
        &self,
        marks: Option<&'m mut Marks>,
        groups: &'m [u32],
    ) -> Option<Marked<'m>> {
        let marks = marks.filter(|_| self.withdraws)?;
        Some(Marked { marks, groups })
    }

    /// From now on a group of which nothing is known here may have been written before: withdrawn it is, rather than left to stand.
    pub fn doubt(&mut self) {
        self.doubts = true;
    }

    /// The rows of these groups. With marks, what is out of each group is noted, and withdrawn when it no longer satisfies HAVING.
    pub fn make(&self, values: GroupValues, marked: Option<Marked<'_>>) -> OutputRows {
        let bounds = Bounds::of(values.cause.window);
        self.make_within(bounds, values, marked, MovedSessions::default())
    }

    /// The same of rows that have windows of their own (`windows`; that of `cause` is none), with what is out under starts that are
    /// no more withdrawn between them.
    pub fn make_of_sessions(
        &self,
        windows: Vec<(i64, i64)>,
        values: GroupValues,
        marked: Option<Marked<'_>>,
        moved: MovedSessions,
    ) -> OutputRows {
        assert_eq!(
            values.cause.window, None,
            "each session has a window of its own"
        );
        assert!(
            self.withdraws_moved || moved.each.is_empty(),
            "a start is withdrawn where the message key tells sessions apart"
        );
        self.make_within(Bounds::Each(windows), values, marked, moved)
    }

    fn make_within(
        &self,
        bounds: Bounds,
        values: GroupValues,
        marked: Option<Marked<'_>>,
        moved: MovedSessions,
    ) -> OutputRows {
        let rows = values.rows;
        let Cause {
            due_us, ready_ns, ..
        } = values.cause;
        assert_eq!(
            !matches!(bounds, Bounds::None),
            self.windowed,
            "bounds exactly when the query has a window"
        );
        let mut bad = Vec::new();
        let (all, out_of_range) = self.grouped(bounds, values);
        let mut places = Places::of(marked.is_some() || !moved.each.is_empty(), rows);
        let in_range = self.in_range(&all, out_of_range, &mut places, &mut bad);
        let grouped = self.having(in_range, &mut places, &mut bad);
        let Isolated {
            mut columns,
            kept,
            bad: failed,
        } = evaluate_isolated(&self.expressions, &grouped);
        self.withhold(&grouped, failed, &mut bad);
        places.made(&kept);

        let key_columns = columns.split_off(self.output.fields().len());
        let tombstones = self.withdrawn(&all, &places.fates, marked, moved);
        OutputRows {
            batch: under(&self.output, columns, kept.len()),
            key: self
                .key
                .as_ref()
                .map(|schema| under(schema, key_columns, kept.len())),
            event_times_us: self.event_times(&grouped, &kept),
            watermarks_before: Vec::new(),
            tombstones,
            bad,
            due_us,
            ready_ns,
        }
    }

    /// The event time of each of the rows `chosen`: the end of its window - 1.
    fn event_times(&self, grouped: &RecordBatch, chosen: &[u32]) -> Vec<i64> {
        if !self.windowed {
            return Vec::new();
        }
        let ends = grouped.column(self.keys + 1);
        let ends = ends.as_primitive::<TimestampMicrosecondType>().values();
        chosen.iter().map(|&row| ends[row as usize] - 1).collect()
    }

    /// The batch that HAVING and the output columns see, and the rows of it that have a value out of range.
    fn grouped(&self, bounds: Bounds, values: GroupValues) -> (RecordBatch, Vec<(u32, String)>) {
        let GroupValues {
            rows,
            keys,
            aggregates,
            cause,
        } = values;
        assert_eq!(
            aggregates.len(),
            self.aggregates.len(),
            "values of every aggregate"
        );
        assert_eq!(keys.len(), self.keys, "a value of every key column");
        let mut columns = self.in_form(keys);
        columns.extend(bounds.columns(rows));
        if self.tells_final {
            columns.push(Arc::new(BooleanArray::from(vec![cause.is_final; rows])));
        }
        let out_of_range = self.out_of_range(rows, &aggregates);
        columns.extend(aggregates.into_iter().map(|finished| finished.values));
        (under(&self.grouped, columns, rows), out_of_range)
    }

    /// Key columns in the form that the plan names; they come in another (text and bytes as views, times without a zone).
    fn in_form(&self, keys: Vec<ArrayRef>) -> Vec<ArrayRef> {
        let keys = keys.into_iter().zip(self.identity.fields());
        let in_form = keys.map(|(key, field)| converted(&key, field.data_type()));
        let in_form = in_form.map(|key| key.expect("a key is a value of its column's type"));
        in_form.collect()
    }

    /// The rows of `all` without those that have a value out of range.
    fn in_range(
        &self,
        all: &RecordBatch,
        out_of_range: Vec<(u32, String)>,
        places: &mut Places,
        bad: &mut Vec<Withheld>,
    ) -> RecordBatch {
        if out_of_range.is_empty() {
            return all.clone();
        }
        let mut in_range = vec![true; all.num_rows()];
        for (row, _) in &out_of_range {
            in_range[*row as usize] = false;
        }
        self.withhold(all, out_of_range, bad);
        places.keep(&in_range);
        filter_record_batch(all, &BooleanArray::from(in_range)).expect("a flag for every row")
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

    /// The rows that satisfy HAVING.
    fn having(
        &self,
        grouped: RecordBatch,
        places: &mut Places,
        bad: &mut Vec<Withheld>,
    ) -> RecordBatch {
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
        places.refuse(&kept, &passed);
        filter_record_batch(&grouped, &BooleanArray::from(passed)).expect("a flag for every row")
    }
}

/// Where the rows that are left stood at first, and what became of the others; nothing where nobody asks.
struct Places {
    rows: Vec<u32>,
    fates: Vec<Fate>,
}

impl Places {
    fn of(asked: bool, rows: usize) -> Places {
        let rows = if asked { rows } else { 0 };
        Places {
            rows: (0..rows as u32).collect(),
            fates: vec![Fate::Withheld; rows],
        }
    }

    /// Those rows are left for which there is `true`.
    fn keep(&mut self, kept: &[bool]) {
        let mut kept = kept.iter();
        self.rows
            .retain(|_| *kept.next().expect("a flag for every row"));
    }

    /// HAVING could be computed of the rows `computed`, and those are left that `passed`.
    fn refuse(&mut self, computed: &[u32], passed: &[bool]) {
        if self.rows.is_empty() {
            return;
        }
        for &row in computed {
            if !passed[row as usize] {
                self.fates[self.rows[row as usize] as usize] = Fate::Refused;
            }
        }
        self.keep(passed);
    }

    /// Of the rows that are left, `made` could be computed.
    fn made(&mut self, made: &[u32]) {
        if self.rows.is_empty() {
            return;
        }
        for &row in made {
            self.fates[self.rows[row as usize] as usize] = Fate::Made;
        }
    }
}

impl Maker for RowMaker {
    type Made = OutputRows;

    fn fired(&self, closing: &mut Closing, ids: Range<usize>, space: &KeySpace) -> OutputRows {
        let cause = closing.cause();
        range_rows(closing.groups(), space, ids, cause, self)
    }

    /// HAVING may have kept none.
    fn is_nothing(made: &OutputRows) -> bool {
        made.is_nothing()
    }
}
