//! Rows as a table for people: a width for each column, decided before the first row is seen, because rows stream.
//!
//! Law: a row is one line (what would break it is escaped), nothing is cut off (a long value pushes the rest of its line to
//! the right). Numbers stand at the right of their column. A double is rounded to six digits behind the point when its exact
//! text does not fit; whoever needs every digit takes JSON or CSV.

use std::io::Write;

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::{DataType, Field, SchemaRef};

use super::cells::{Cells, Column};
use super::{EncodedRows, Encoder, RowBuffer};

const BETWEEN_COLUMNS: &[u8] = b"  ";

/// Encodes rows as the lines of a table.
pub(super) struct TableEncoder {
    layouts: Vec<Layout>,
    buffer: RowBuffer,
}

/// How a column stands.
struct Layout {
    width: usize,
    right: bool,
}

impl TableEncoder {
    pub(super) fn new(schema: &SchemaRef) -> TableEncoder {
        TableEncoder {
            layouts: schema
                .fields()
                .iter()
                .map(|field| Layout::of(field))
                .collect(),
            buffer: RowBuffer::new(),
        }
    }
}

impl Encoder for TableEncoder {
    fn encode(&mut self, rows: &RecordBatch) -> EncodedRows {
        assert_eq!(
            rows.num_columns(),
            self.layouts.len(),
            "rows of another schema"
        );
        let mut columns: Vec<Column> = rows.columns().iter().map(Column::new).collect();
        let layouts = &self.layouts;
        let mut cell = Vec::new();
        self.buffer.fill(rows.num_rows(), |out, row| {
            for (index, (layout, column)) in layouts.iter().zip(&mut columns).enumerate() {
                cell.clear();
                if column.is_null(row) {
                    cell.extend_from_slice(b"NULL");
                } else {
                    write_cell(&mut cell, &mut column.cells, row);
                }
                layout.write(out, &cell, index + 1 == layouts.len());
                if index + 1 < layouts.len() {
                    out.extend_from_slice(BETWEEN_COLUMNS);
                }
            }
        })
    }
}

/// The columns' names, and a rule below them.
pub(super) fn header(schema: &SchemaRef) -> Vec<u8> {
    let (mut names, mut rule) = (Vec::new(), Vec::new());
    for (index, field) in schema.fields().iter().enumerate() {
        if index > 0 {
            names.extend_from_slice(BETWEEN_COLUMNS);
            rule.extend_from_slice(BETWEEN_COLUMNS);
        }
        let layout = Layout::of(field);
        layout.write(
            &mut names,
            escaped(field.name()).as_bytes(),
            index + 1 == schema.fields().len(),
        );
        rule.resize(rule.len() + layout.width, b'-');
    }
    names.push(b'\n');
    names.extend_from_slice(&rule);
    names
}

impl Layout {
    fn of(field: &Field) -> Layout {
        Layout {
            width: type_width(field.data_type()).max(escaped(field.name()).chars().count()),
            right: Cells::is_number(field.data_type()),
        }
    }

    /// Appends a cell with the spaces that bring it to its width; the last one of a row needs none behind it.
    fn write(&self, out: &mut Vec<u8>, cell: &[u8], last: bool) {
        let characters = cell.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        let spaces = self.width.saturating_sub(characters);
        if self.right {
            out.resize(out.len() + spaces, b' ');
        }
        out.extend_from_slice(cell);
        if !self.right && !last {
            out.resize(out.len() + spaces, b' ');
        }
    }
}

/// Room for most values of a type.
fn type_width(data_type: &DataType) -> usize {
    match data_type {
        DataType::Boolean => 5,
        DataType::Int8 | DataType::UInt8 => 4,
        DataType::Int16 | DataType::UInt16 => 6,
        DataType::Int32 | DataType::UInt32 | DataType::Int64 | DataType::UInt64 => 10,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DOUBLE_WIDTH,
        DataType::Decimal128(precision, _) | DataType::Decimal256(precision, _) => {
            usize::from(*precision).min(16) + 2
        }
        DataType::Date32 | DataType::Date64 => "2013-01-01".len(),
        DataType::Time32(_) | DataType::Time64(_) => "10:00:00".len(),
        DataType::Timestamp(..) => "2013-01-01T10:00:00Z".len(),
        DataType::Dictionary(_, values) => type_width(values),
        _ => 12,
    }
}

const DOUBLE_WIDTH: usize = 12;

fn write_cell(cell: &mut Vec<u8>, cells: &mut Cells, row: usize) {
    cells.write(row, cell);
    match cells {
        Cells::Double(values) if cell.len() > DOUBLE_WIDTH => round(cell, values.value(row)),
        Cells::Text(_) | Cells::TextView(_) => {
            let text = std::str::from_utf8(cell).expect("a VARCHAR is UTF-8");
            if text.chars().any(char::is_control) {
                *cell = escaped(text).into_bytes();
            }
        }
        _ => {}
    }
}

/// Replaces the text of a double by a rounded one, unless that would be longer or say nothing.
fn round(cell: &mut Vec<u8>, value: f64) {
    if (1e-3..1e15).contains(&value.abs()) {
        cell.clear();
        write!(cell, "{value:.6}").expect("a Vec takes every byte");
    }
}

/// A text on one line.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
