//! The hidden columns `_partition` and `_offset`: where a record came from, as columns.
//!
//! Law: they stand behind all other columns of a batch, whatever its source; a batch of which nobody wants them is not touched.

use std::sync::Arc;

use datafusion_common::arrow::array::{ArrayRef, Int32Array, Int64Array};
use datafusion_common::arrow::datatypes::SchemaRef;

use crate::batch::{Batch, under};
use crate::plan::{Hidden, SourceSpec};

/// Makes the columns that are wanted.
pub struct OriginColumns {
    wanted: Vec<Hidden>,
    /// The whole batch, these columns included.
    schema: SchemaRef,
}

impl OriginColumns {
    /// Those that the readers of `source` want; `None` if they want neither.
    pub fn of(source: &SourceSpec) -> Option<OriginColumns> {
        let is_origin = |hidden: &Hidden| matches!(hidden, Hidden::Partition | Hidden::Offset);
        let wanted: Vec<Hidden> = source.hidden().into_iter().filter(is_origin).collect();
        (!wanted.is_empty()).then(|| OriginColumns {
            wanted,
            schema: Arc::clone(&source.projected),
        })
    }

    /// The same records with these columns.
    pub fn behind(&self, batch: Batch) -> Batch {
        let mut columns: Vec<ArrayRef> = batch.columns.columns().to_vec();
        let origins = batch.origins.iter();
        for hidden in &self.wanted {
            columns.push(match hidden {
                Hidden::Partition => {
                    let partitions = origins.clone().map(|origin| origin.partition);
                    Arc::new(Int32Array::from_iter_values(partitions)) as ArrayRef
                }
                Hidden::Offset => {
                    let offsets = origins.clone().map(|origin| origin.offset);
                    Arc::new(Int64Array::from_iter_values(offsets))
                }
                Hidden::Timestamp | Hidden::Key | Hidden::Topic => {
                    unreachable!("the source makes them")
                }
            });
        }
        Batch {
            columns: under(&self.schema, columns, batch.origins.len()),
            ..batch
        }
    }
}
