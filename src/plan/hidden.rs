//! Hidden columns: what a record has besides the columns that its stream declares. They can be named in a query and are no part
//! of `*`.
//!
//! ```text
//!   declared 0 .. n, then hidden n ..:  _timestamp, _key, _topic  made by the source that has the record
//!                                       _partition, _offset       made of a batch's origins, whatever the source
//! ```
//!
//! Law: an index into `readable` below the number of declared columns is a declared column, any other a hidden one; a projection
//! is ascending, so what a decoder decodes stands before what it does not know. A declared column of the name stands for itself.

use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{SourceConnector, SourceSpec, StreamSpec};

/// A hidden column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// The timestamp of the Kafka record.
    Timestamp,
    /// The key of the Kafka record; NULL where it has none.
    Key,
    /// The topic.
    Topic,
    /// The partition; 0 for a file.
    Partition,
    /// The offset; the line for a file.
    Offset,
}

/// All of them, in the order in which they follow the declared columns.
const ALL: [Hidden; 5] = [
    Hidden::Timestamp,
    Hidden::Key,
    Hidden::Topic,
    Hidden::Partition,
    Hidden::Offset,
];

/// All names, also that of the one which is not available yet.
pub const HIDDEN_NAMES: [&str; 6] = [
    "_timestamp",
    "_partition",
    "_offset",
    "_key",
    "_topic",
    "_headers",
];

impl Hidden {
    /// How a query calls it.
    pub fn name(self) -> &'static str {
        match self {
            Hidden::Timestamp => "_timestamp",
            Hidden::Key => "_key",
            Hidden::Topic => "_topic",
            Hidden::Partition => "_partition",
            Hidden::Offset => "_offset",
        }
    }

    /// Name and type.
    pub fn field(self) -> Field {
        let (data_type, nullable) = match self {
            Hidden::Timestamp => (DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Hidden::Key => (DataType::BinaryView, true),
            Hidden::Topic => (DataType::Utf8View, false),
            Hidden::Partition => (DataType::Int32, false),
            Hidden::Offset => (DataType::Int64, false),
        };
        Field::new(self.name(), data_type, nullable)
    }

    fn is_of(self, connector: &SourceConnector) -> bool {
        match connector {
            SourceConnector::Kafka(_) => true,
            SourceConnector::File(_) | SourceConnector::Datagen(_) | SourceConnector::Memory(_) => {
                matches!(self, Hidden::Partition | Hidden::Offset)
            }
            SourceConnector::Queries(_) => false,
        }
    }
}

impl StreamSpec {
    /// The hidden columns of its records, in their order.
    pub fn hidden(&self) -> Vec<Hidden> {
        let is_there = |hidden: &Hidden| {
            hidden.is_of(&self.connector) && self.columns.index_of(hidden.name()).is_err()
        };
        ALL.into_iter().filter(is_there).collect()
    }

    /// All that a query can name: the declared columns, then the hidden ones.
    pub fn readable(&self) -> SchemaRef {
        let declared = self.columns.fields().iter().cloned();
        let hidden = self.hidden().into_iter();
        let hidden = hidden.map(|hidden| Arc::new(hidden.field()));
        Arc::new(Schema::new(declared.chain(hidden).collect::<Vec<_>>()))
    }
}

impl SourceSpec {
    /// Of its projection, the declared columns: what a decoder decodes.
    pub fn decoded(&self) -> &[usize] {
        &self.projection[..self.decoded_columns()]
    }

    /// Of its projection, the hidden columns, which follow the decoded ones.
    pub fn hidden(&self) -> Vec<Hidden> {
        let (declared, hidden) = (self.stream.columns.fields().len(), self.stream.hidden());
        let rest = self.projection[self.decoded_columns()..].iter();
        rest.map(|index| hidden[index - declared]).collect()
    }

    fn decoded_columns(&self) -> usize {
        debug_assert!(self.projection.is_sorted(), "a projection is ascending");
        let declared = self.stream.columns.fields().len();
        self.projection.partition_point(|&index| index < declared)
    }
}
