//! WHERE, then the columns that the query computes from a record, on the shard that holds the record's bytes.
//!
//! Law: expressions are evaluated only for the records that WHERE keeps. A record for which one fails is bad for this query
//! only; the records around it are untouched (`evaluate_isolated`).

use std::sync::Arc;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray};
use datafusion_common::arrow::compute::prep_null_mask_filter;
use datafusion_physical_expr::PhysicalExpr;

use super::letters::Witness;
use crate::batch::{Batch, DeadLetter, LetterStage, evaluate_isolated};
use crate::error::Result;
use crate::plan::{PlannedExpr, StreamSpec};
use crate::source::BadRecords;

/// Filters records and computes columns over them.
pub struct FilterProject {
    filter: Option<[Arc<dyn PhysicalExpr>; 1]>,
    columns: Vec<Arc<dyn PhysicalExpr>>,
    witness: Witness,
    bad: BadRecords,
    /// Whether what comes was read before, when its bad records were dealt with.
    again: bool,
}

/// The records that WHERE kept, with the computed columns.
pub struct Evaluated {
    /// The records. Of their own columns nothing is needed any more.
    pub records: Batch,
    /// The computed columns, as long as `records`.
    pub columns: Vec<ArrayRef>,
}

impl FilterProject {
    /// Over the projected columns of `stream`: `filter`, then `columns`.
    pub fn new<'e>(
        stream: &Arc<StreamSpec>,
        filter: Option<&PlannedExpr>,
        columns: impl Iterator<Item = &'e PlannedExpr>,
    ) -> FilterProject {
        FilterProject {
            filter: filter.map(|filter| [Arc::clone(&filter.expr)]),
            columns: columns.map(|column| Arc::clone(&column.expr)).collect(),
            witness: Witness::of(stream),
            bad: BadRecords::new(&stream.name, stream.on_error),
            again: false,
        }
    }

    /// Says whether what comes from now on was read before: its bad records are passed over.
    pub fn reads_again(&mut self, again: bool) {
        self.again = again;
    }

    /// Filters and computes. Fails with `Error::Data` where a record is bad and the stream says `fail`.
    pub fn apply(&mut self, mut records: Batch) -> Result<Evaluated> {
        records.assert_consistent();
        if let Some(filter) = &self.filter {
            let evaluated = evaluate_isolated(filter, &records.columns);
            self.take_bad(&records, &evaluated.bad)?;
            let mask = evaluated.columns[0].as_boolean();
            if mask.true_count() < records.len() {
                // NULL is not true.
                let is_true = match mask.null_count() {
                    0 => mask.clone(),
                    _ => prep_null_mask_filter(mask),
                };
                let mut kept = Vec::with_capacity(is_true.true_count());
                let rows = is_true.values().set_indices();
                kept.extend(rows.map(|row| evaluated.kept[row]));
                records = records.take(&kept);
            }
        }
        let evaluated = evaluate_isolated(&self.columns, &records.columns);
        self.take_bad(&records, &evaluated.bad)?;
        if evaluated.kept.len() < records.len() {
            records = records.take(&evaluated.kept);
        }
        Ok(Evaluated {
            records,
            columns: evaluated.columns,
        })
    }

    /// Records left out because an expression failed.
    pub fn bad_records(&self) -> u64 {
        self.bad.left_out()
    }

    /// The same, for the dead letter.
    pub fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.bad.take_letters()
    }

    fn take_bad(&mut self, records: &Batch, bad: &[(u32, String)]) -> Result<()> {
        if self.again {
            return Ok(());
        }
        let mut found = 0;
        for (row, reason) in bad {
            let origin = records.origins[*row as usize];
            let place = self.witness.place(origin);
            let original = || self.witness.original(records, &mut found, *row);
            self.bad
                .take(LetterStage::Expression, || place, reason, original)?;
        }
        Ok(())
    }
}
