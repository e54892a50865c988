//! MIN and MAX over text and byte strings, in the order of their bytes (for text: of Unicode code points).
//!
//! A group keeps the memory of the longest value it has had, until its pane retires; one that is reset leaves it to the next.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayAccessor, ArrayRef, AsArray, BinaryBuilder, BinaryViewBuilder, LargeBinaryBuilder,
    LargeStringBuilder, StringBuilder, StringViewBuilder,
};
use datafusion_common::arrow::datatypes::DataType;

use super::scan::{each_row, each_value};
use super::{Accumulator, Arena, ByteSegments, Finished};
use crate::plan::{AggregateKind, AggregateSpec};

/// MIN or MAX over byte strings.
#[derive(Debug)]
struct BytesExtreme {
    /// Which comparison with the kept value replaces it.
    replaces: Ordering,
    /// The type of the column, in and out.
    result: DataType,
    kept: ByteSegments,
}

/// A MIN or MAX, if argument and result are one type of text or bytes.
pub fn build(aggregate: &AggregateSpec) -> Option<Box<dyn Accumulator>> {
    use DataType::{Binary, BinaryView, LargeBinary, LargeUtf8, Utf8, Utf8View};
    let of_bytes = matches!(
        aggregate.argument_type,
        Utf8 | LargeUtf8 | Utf8View | Binary | LargeBinary | BinaryView
    );
    if !of_bytes || aggregate.result_type != aggregate.argument_type {
        return None;
    }
    let replaces = match aggregate.kind {
        AggregateKind::Max => Ordering::Greater,
        AggregateKind::Min => Ordering::Less,
        other => panic!("{other:?} is not an extreme"),
    };
    Some(Box::new(BytesExtreme {
        replaces,
        result: aggregate.result_type.clone(),
        kept: ByteSegments::default(),
    }))
}

/// Evaluates `$body` with `$column` bound to the typed array.
macro_rules! typed {
    ($array:expr, $column:ident => $body:expr) => {
        match $array.data_type() {
            DataType::Utf8 => {
                let $column = $array.as_string::<i32>();
                $body
            }
            DataType::LargeUtf8 => {
                let $column = $array.as_string::<i64>();
                $body
            }
            DataType::Utf8View => {
                let $column = $array.as_string_view();
                $body
            }
            DataType::Binary => {
                let $column = $array.as_binary::<i32>();
                $body
            }
            DataType::LargeBinary => {
                let $column = $array.as_binary::<i64>();
                $body
            }
            DataType::BinaryView => {
                let $column = $array.as_binary_view();
                $body
            }
            other => panic!("{other} was planned as text or bytes"),
        }
    };
}

impl BytesExtreme {
    fn update_from<'a, V: AsRef<[u8]> + ?Sized + 'a>(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        column: &impl ArrayAccessor<Item = &'a V>,
        arena: &Arena,
    ) {
        each_value(groups, rows, column.nulls(), |group, row| {
            self.add(group, column.value(row).as_ref(), arena);
        });
    }

    fn running_from<'a, V: AsRef<[u8]> + ?Sized + 'a>(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        column: &impl ArrayAccessor<Item = &'a V>,
        arena: &Arena,
    ) -> ArrayRef {
        let mut column_out = BytesColumn::new(&self.result, rows.len());
        each_row(groups, rows, column.nulls(), |group, row| {
            if let Some(row) = row {
                self.add(group, column.value(row).as_ref(), arena);
            }
            column_out.push(self.kept.get(group));
        });
        column_out.finish()
    }

    fn add(&mut self, group: usize, value: &[u8], arena: &Arena) {
        let kept = self.kept.get(group);
        if kept.is_none_or(|kept| value.cmp(kept) == self.replaces) {
            self.kept.set(group, value, arena);
        }
    }
}

impl Accumulator for BytesExtreme {
    fn grow(&mut self, groups: usize, arena: &Arena) {
        self.kept.grow(groups, arena);
    }

    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>, arena: &Arena) {
        let argument = argument.expect("MIN and MAX have an argument");
        typed!(argument, column => self.update_from(groups, rows, &column, arena));
    }

    fn running(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        argument: Option<&ArrayRef>,
        arena: &Arena,
    ) -> Finished {
        let argument = argument.expect("MIN and MAX have an argument");
        Finished::all(typed!(argument, column => self.running_from(groups, rows, &column, arena)))
    }

    fn finish(&self, groups: Range<usize>) -> Finished {
        let mut column_out = BytesColumn::new(&self.result, groups.len());
        for group in groups {
            column_out.push(self.kept.get(group));
        }
        Finished::all(column_out.finish())
    }

    fn finish_each(&self, groups: &[u32]) -> Finished {
        let mut column_out = BytesColumn::new(&self.result, groups.len());
        for &group in groups {
            column_out.push(self.kept.get(group as usize));
        }
        Finished::all(column_out.finish())
    }

    fn partial_types(&self) -> Vec<DataType> {
        vec![self.result.clone()]
    }

    fn partial(&self, groups: Range<usize>) -> Vec<ArrayRef> {
        vec![self.finish(groups).values]
    }

    /// The extreme of a part is a value like any other.
    fn merge(&mut self, groups: &[u32], rows: &[u32], partial: &[ArrayRef], arena: &Arena) {
        self.update(groups, rows, partial.first(), arena);
    }

    /// The two change places where the other value is the extreme: nothing is copied.
    fn join(&mut self, into: &[u32], from: &[u32]) {
        each_value(into, from, None, |into, from| {
            let replaces = match (self.kept.get(into), self.kept.get(from)) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(kept), Some(value)) => value.cmp(kept) == self.replaces,
            };
            if replaces {
                self.kept.swap(into, from);
            }
        });
    }

    fn reset(&mut self, groups: &[u32]) {
        for &group in groups {
            self.kept.unset(group as usize);
        }
    }

    fn clear(&mut self) {
        self.kept.clear();
    }
}

/// A column of the result type in the making.
enum BytesColumn {
    Utf8(StringBuilder),
    LargeUtf8(LargeStringBuilder),
    Utf8View(StringViewBuilder),
    Binary(BinaryBuilder),
    LargeBinary(LargeBinaryBuilder),
    BinaryView(BinaryViewBuilder),
}

impl BytesColumn {
    fn new(result: &DataType, values: usize) -> BytesColumn {
        match result {
            DataType::Utf8 => BytesColumn::Utf8(StringBuilder::with_capacity(values, 0)),
            DataType::LargeUtf8 => {
                BytesColumn::LargeUtf8(LargeStringBuilder::with_capacity(values, 0))
            }
            DataType::Utf8View => BytesColumn::Utf8View(StringViewBuilder::with_capacity(values)),
            DataType::Binary => BytesColumn::Binary(BinaryBuilder::with_capacity(values, 0)),
            DataType::LargeBinary => {
                BytesColumn::LargeBinary(LargeBinaryBuilder::with_capacity(values, 0))
            }
            DataType::BinaryView => {
                BytesColumn::BinaryView(BinaryViewBuilder::with_capacity(values))
            }
            other => panic!("{other} was planned as text or bytes"),
        }
    }

    fn push(&mut self, value: Option<&[u8]>) {
        let text = |value| std::str::from_utf8(value).expect("text was text when it came");
        match self {
            BytesColumn::Utf8(builder) => builder.append_option(value.map(text)),
            BytesColumn::LargeUtf8(builder) => builder.append_option(value.map(text)),
            BytesColumn::Utf8View(builder) => builder.append_option(value.map(text)),
            BytesColumn::Binary(builder) => builder.append_option(value),
            BytesColumn::LargeBinary(builder) => builder.append_option(value),
            BytesColumn::BinaryView(builder) => builder.append_option(value),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            BytesColumn::Utf8(mut builder) => Arc::new(builder.finish()),
            BytesColumn::LargeUtf8(mut builder) => Arc::new(builder.finish()),
            BytesColumn::Utf8View(mut builder) => Arc::new(builder.finish()),
            BytesColumn::Binary(mut builder) => Arc::new(builder.finish()),
            BytesColumn::LargeBinary(mut builder) => Arc::new(builder.finish()),
            BytesColumn::BinaryView(mut builder) => Arc::new(builder.finish()),
        }
    }
}
