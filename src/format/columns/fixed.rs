//! The values of a column that all have one width, as plain memory that Arrow takes over.
//!
//! ```text
//!   batch n     fills A --finish--> Arrow holds A (and this column keeps a reference to it)
//!   batch n+1   fills B --finish--> B goes out; if nobody holds A any more, A is filled next
//! ```
//!
//! Law: a NULL costs what it costs, a value costs nothing for the NULLs that might have been: which rows are NULL is a list
//! until there is a batch to make. In steady state a column allocates nothing but what Arrow wraps around its memory.

use datafusion_common::arrow::array::{ArrowPrimitiveType, BooleanArray, PrimitiveArray};
use datafusion_common::arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use datafusion_common::arrow::datatypes::ArrowNativeType;

/// Memory that goes out with each batch and comes back when the batch is gone.
pub(super) struct Lent<T> {
    pub(super) values: Vec<T>,
    /// What went out last.
    out: Option<Buffer>,
}

impl<T: ArrowNativeType> Lent<T> {
    pub(super) fn new() -> Lent<T> {
        Lent {
            values: Vec::new(),
            out: None,
        }
    }

    /// Gives the values away, and goes on with room for `capacity` of them.
    pub(super) fn lend(&mut self, capacity: usize) -> Buffer {
        let back = self.out.take().and_then(|out| out.into_vec::<T>().ok());
        let mut next = back.unwrap_or_default();
        next.clear();
        next.reserve(capacity);
        let lent = Buffer::from_vec(std::mem::replace(&mut self.values, next));
        self.out = Some(lent.clone());
        lent
    }
}

/// The rows that are NULL, ascending.
#[derive(Default)]
pub(super) struct Nulls {
    rows: Vec<u32>,
}

impl Nulls {
    #[inline]
    pub(super) fn push(&mut self, row: usize) {
        self.rows
            .push(u32::try_from(row).expect("a batch has fewer rows than 2^32"));
    }

    /// Takes row `row` back, if it is one.
    pub(super) fn pop(&mut self, row: usize) {
        if self.rows.last().is_some_and(|&last| last as usize == row) {
            self.rows.pop();
        }
    }

    /// Which of `rows` rows are not NULL; `None` if none is.
    pub(super) fn take(&mut self, rows: usize) -> Option<NullBuffer> {
        if self.rows.is_empty() {
            return None;
        }
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        for &row in &self.rows {
            words[row as usize / 64] &= !(1 << (row % 64));
        }
        let nulls = self.rows.len();
        self.rows.clear();
        let nulls_and_values = BooleanBuffer::new(Buffer::from_vec(words), 0, rows);
        let buffer = NullBuffer::new(nulls_and_values);
        assert_eq!(buffer.null_count(), nulls, "a row is NULL once");
        Some(buffer)
    }
}

/// A column of numbers, times or dates.
pub(super) struct Fixed<P: ArrowPrimitiveType> {
    lent: Lent<P::Native>,
    nulls: Nulls,
}

impl<P: ArrowPrimitiveType> Fixed<P> {
    pub(super) fn new() -> Fixed<P> {
        Fixed {
            lent: Lent::new(),
            nulls: Nulls::default(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, value: P::Native) {
        self.lent.values.push(value);
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.nulls.push(self.lent.values.len());
        self.lent.values.push(P::Native::default());
    }

    /// Takes the last value back.
    pub(super) fn pop(&mut self) {
        self.lent.values.pop();
        self.nulls.pop(self.lent.values.len());
    }

    #[inline]
    pub(super) fn last(&self) -> Option<P::Native> {
        self.lent.values.last().copied()
    }

    /// Takes all values.
    pub(super) fn finish(&mut self, capacity: usize) -> PrimitiveArray<P> {
        let rows = self.lent.values.len();
        let nulls = self.nulls.take(rows);
        let values = ScalarBuffer::new(self.lent.lend(capacity), 0, rows);
        PrimitiveArray::new(values, nulls)
    }
}

/// A column of truth values: bytes until there is a batch to make, then bits.
#[derive(Default)]
pub(super) struct Truths {
    values: Vec<bool>,
    nulls: Nulls,
}

impl Truths {
    #[inline]
    pub(super) fn push(&mut self, value: bool) {
        self.values.push(value);
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.nulls.push(self.values.len());
        self.values.push(false);
    }

    /// Takes the last value back.
    pub(super) fn pop(&mut self) {
        self.values.pop();
        self.nulls.pop(self.values.len());
    }

    /// Takes all values.
    pub(super) fn finish(&mut self) -> BooleanArray {
        let values = BooleanBuffer::from(self.values.as_slice());
        let nulls = self.nulls.take(self.values.len());
        self.values.clear();
        BooleanArray::new(values, nulls)
    }
}
