//! Memory that is freed at once: the arena of a pane, and the columns that grow in it.
//!
//! ```text
//!   Arena      | chunk ................ | chunk ...................................... |   one bump pointer
//!                 ^64 rows ^128 rows        ^256 rows            ^512 rows
//!   Segments   [  *        *                *                    *   ...  ]               row -> segment, offset
//! ```
//!
//! Laws: growing copies nothing and moves nothing; a row is touched when it first exists, not when its segment is
//! reserved, so a large column costs its pages one at a time. Nothing with `Drop` lives in an arena (`T: Copy`). An arena
//! is reset only when nobody points into it: every column holds its memory, and `reset` asserts that none does.
//!
//! Segments double. Fixed ones of 512 or 4,096 rows were measured beside them (docs/decisions/0013): as fast, but a pane of
//! ten groups then reserves as much as one of hundreds, and a large one needs a directory on the heap.
//!
//! What it does not do: free a single allocation. What lives longer than a pane is in `slab.rs`.
//!
//! `unsafe` stands here because rows are reached through pointers into the arena.

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt::{Debug, Formatter};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use bumpalo::Bump;
use velostream_shards::{MemoryRange, NodeMemory};

/// An arena below this many bytes is kept as it is, however little of it is used.
const KEPT_BYTES: usize = 256 << 10;

/// An arena that has more than this many times what its last pane used is given back.
const SPARE_FACTOR: usize = 4;

/// Rows of the first segment, as a power of two.
const FIRST_BITS: u32 = 6;

/// Rows of the first segment.
const FIRST_ROWS: usize = 1 << FIRST_BITS;

/// Segments of a column: enough for every row that a `u32` can name.
const SEGMENTS: usize = (u32::BITS - FIRST_BITS + 1) as usize;

const _: () = assert!(
    (FIRST_ROWS << SEGMENTS) - FIRST_ROWS > u32::MAX as usize,
    "a segment for every group id"
);

/// The memory of a pane.
#[derive(Debug)]
pub struct Arena {
    memory: Arc<Memory>,
    /// Where its chunks are kept: on the node of the shard. `None` leaves them where the system puts them.
    node: Option<NodeMemory>,
    /// Bytes of chunks that have been bound.
    bound: Cell<usize>,
    /// One arena allocates from its memory, on one thread.
    single: PhantomData<Cell<()>>,
}

/// What an arena allocates from. Columns hold it too, but only to keep it.
struct Memory(Bump);

// SAFETY: only `Arena` calls anything of the `Bump` before it is dropped. There is one arena for each memory, it cannot be
// cloned, and it is not `Sync`; so no two threads are ever in the `Bump`. The last holder drops it, alone.
unsafe impl Sync for Memory {}

impl Debug for Memory {
    /// Without a look inside, which is the arena's alone.
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Memory")
    }
}

impl Arena {
    /// An arena that has no memory yet, and will keep it on this node.
    pub fn new(node: Option<NodeMemory>) -> Arena {
        Arena::with_capacity(0, node)
    }

    fn with_capacity(bytes: usize, node: Option<NodeMemory>) -> Arena {
        Arena {
            memory: Arc::new(Memory(Bump::with_capacity(bytes))),
            node,
            bound: Cell::new(0),
            single: PhantomData,
        }
    }

    /// Bytes taken from the system.
    pub fn reserved_bytes(&self) -> usize {
        self.memory.0.allocated_bytes()
    }

    /// Bytes of them that have been given out, or cannot be any more.
    pub fn used_bytes(&self) -> usize {
        self.reserved_bytes() - self.memory.0.chunk_capacity()
    }

    /// Takes everything back at once, and keeps as much as this time was needed: in one piece, so that the next pane of
    /// that size asks the system for nothing. What is far more than that is given back.
    ///
    /// # Panics
    /// If a column has not been cleared.
    pub fn reset(&mut self) {
        let used = self.used_bytes();
        let wanted = used + used / 4;
        let wasteful = self.reserved_bytes() > KEPT_BYTES.max(used.saturating_mul(SPARE_FACTOR));
        let memory =
            Arc::get_mut(&mut self.memory).expect("an arena is reset when its columns are cleared");
        let before = memory.0.allocated_bytes();
        memory.0.reset();
        // Bumpalo keeps the last chunk alone: less than there was means that there were several.
        let in_pieces = memory.0.allocated_bytes() < before;
        if wasteful || (in_pieces && memory.0.allocated_bytes() < used) {
            *self = Arena::with_capacity(wanted, self.node.take());
        }
    }

    /// The memory that has been given out.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        // SAFETY: the chunks are told by address alone; nobody reads what lies there.
        let chunks = unsafe { self.memory.0.iter_allocated_chunks_raw() };
        chunks.filter_map(|(start, bytes)| {
            let start = NonNull::new(start)?;
            Some(MemoryRange { start, bytes })
        })
    }

    fn allocate(&self, layout: Layout) -> NonNull<u8> {
        let start = self.memory.0.alloc_layout(layout);
        if self.reserved_bytes() != self.bound.get() {
            self.bind();
        }
        start
    }

    /// Binds the chunk that was just obtained: what has been given out of it, and before that what has not.
    #[cold]
    fn bind(&self) {
        self.bound.set(self.reserved_bytes());
        let free = self.memory.0.chunk_capacity();
        if let Some(node) = &self.node
            && let Some(given) = self.ranges().next()
            && let Some(first) = NonNull::new(given.start.as_ptr().wrapping_sub(free))
        {
            node.bind(first, free + given.bytes);
        }
    }
}

/// A column of values by group id, in an arena.
pub struct Segments<T> {
    /// Segment `n` has `FIRST_ROWS << n` rows; those below `reserved` are there.
    segments: [NonNull<T>; SEGMENTS],
    reserved: usize,
    /// Rows that exist. All of them are initialised.
    len: usize,
    /// Where the segments lie, so that it stays while they are pointed to; `None` while there is no segment.
    memory: Option<Arc<Memory>>,
}

// SAFETY: a column owns its rows as a `Vec<T>` does: nobody else points at them.
unsafe impl<T: Send> Send for Segments<T> {}

impl<T: Copy + Default> Default for Segments<T> {
    fn default() -> Segments<T> {
        Segments::new()
    }
}

impl<T> Debug for Segments<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Segments of {} rows", self.len)
    }
}

/// The segment of `row`, and its place there.
#[inline(always)]
fn place(row: usize) -> (usize, usize) {
    let shifted = row + FIRST_ROWS;
    let bits = shifted.ilog2();
    ((bits - FIRST_BITS) as usize, shifted ^ (1 << bits))
}

impl<T: Copy + Default> Segments<T> {
    /// A column of no rows.
    pub fn new() -> Segments<T> {
        Segments {
            segments: [NonNull::dangling(); SEGMENTS],
            reserved: 0,
            len: 0,
            memory: None,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes it `len` rows, at least those that it has; the rows that are new have the default value. A column grows in
    /// one arena until it is cleared.
    pub fn grow(&mut self, len: usize, arena: &Arena) {
        if len <= self.len {
            assert_eq!(len, self.len, "a column does not shrink");
            return;
        }
        let memory = self.memory.get_or_insert_with(|| Arc::clone(&arena.memory));
        assert!(
            Arc::ptr_eq(memory, &arena.memory),
            "a column grows in one arena"
        );
        while (FIRST_ROWS << self.reserved) - FIRST_ROWS < len {
            let layout = Layout::array::<T>(FIRST_ROWS << self.reserved)
                .expect("a segment is smaller than the address space");
            self.segments[self.reserved] = arena.allocate(layout).cast();
            self.reserved += 1;
        }
        let mut row = self.len;
        while row < len {
            let (segment, offset) = place(row);
            let rows = ((FIRST_ROWS << segment) - offset).min(len - row);
            for fresh in offset..offset + rows {
                // SAFETY: `place` gives an offset below the segment's rows, `fresh` stays below `offset + rows`, which
                // does not exceed them, and the loop above has reserved the segments of all rows below `len`.
                unsafe { self.segments[segment].add(fresh).write(T::default()) };
            }
            row += rows;
        }
        self.len = len;
    }

    /// Appends a row.
    #[inline]
    pub fn push(&mut self, value: T, arena: &Arena) {
        let row = self.len;
        if (FIRST_ROWS << self.reserved) - FIRST_ROWS <= row {
            self.grow(row + 1, arena);
        }
        self.len = row + 1;
        let (segment, offset) = place(row);
        // SAFETY: the segment of the row is reserved, by `grow` just now or earlier; see `place` for the offset.
        unsafe { self.segments[segment].add(offset).write(value) };
    }

    /// The rows of `range`, in order, piece by piece.
    pub fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &[T]> {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "only rows that exist can be read"
        );
        let mut row = range.start;
        std::iter::from_fn(move || {
            if row == range.end {
                return None;
            }
            let (segment, offset) = place(row);
            let rows = ((FIRST_ROWS << segment) - offset).min(range.end - row);
            row += rows;
            // SAFETY: rows below `len` are reserved and initialised, `offset + rows` does not exceed the segment's rows,
            // and nobody writes them while `self` is borrowed.
            Some(unsafe {
                std::slice::from_raw_parts(self.segments[segment].add(offset).as_ptr(), rows)
            })
        })
    }

    /// The values of `range`, in order.
    pub fn values(&self, range: Range<usize>) -> impl Iterator<Item = T> {
        self.slices(range).flatten().copied()
    }

    /// Forgets all rows and lets go of the arena.
    pub fn clear(&mut self) {
        self.len = 0;
        self.reserved = 0;
        self.memory = None;
    }
}

impl<T: Copy + Default> Index<usize> for Segments<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, row: usize) -> &T {
        assert!(row < self.len, "a row that exists");
        let (segment, offset) = place(row);
        // SAFETY: the row is below `len`, so its segment is reserved and it is initialised; see `place` for the offset.
        unsafe { self.segments.get_unchecked(segment).add(offset).as_ref() }
    }
}

impl<T: Copy + Default> IndexMut<usize> for Segments<T> {
    #[inline(always)]
    fn index_mut(&mut self, row: usize) -> &mut T {
        assert!(row < self.len, "a row that exists");
        let (segment, offset) = place(row);
        // SAFETY: as in `index`; `self` is borrowed mutably, and nobody else points at its rows.
        unsafe { self.segments.get_unchecked(segment).add(offset).as_mut() }
    }
}

/// A column of byte strings by group id, in an arena. A row may be set anew: it keeps its place if the value fits, else it
/// takes twice the room, so that what is left behind is never more than what is held.
#[derive(Debug, Default)]
pub struct ByteSegments {
    cells: Segments<Cells>,
}

/// Where a row's bytes lie.
#[derive(Clone, Copy, Debug, Default)]
struct Cells {
    start: Option<NonNull<u8>>,
    len: u32,
    capacity: u32,
}

// SAFETY: a cell points into the arena that its column holds, at bytes which only this cell reaches.
unsafe impl Send for Cells {}

impl ByteSegments {
    /// Makes it `len` rows; those that are new have no value.
    pub fn grow(&mut self, len: usize, arena: &Arena) {
        self.cells.grow(len, arena);
    }

    /// The value of `row`, `None` if it was never set.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let cell = &self.cells[row];
        let start = cell.start?;
        // SAFETY: `set` wrote `len` bytes at `start`, into the arena whose memory the column holds; they are written
        // again only through a mutable borrow of `self`.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), cell.len as usize) })
    }

    /// Sets the value of `row`.
    pub fn set(&mut self, row: usize, value: &[u8], arena: &Arena) {
        let len = u32::try_from(value.len()).expect("a value is below 4 GiB");
        let mut cell = self.cells[row];
        if cell.start.is_none() || cell.capacity < len {
            let memory = self.cells.memory.as_ref();
            assert!(
                memory.is_some_and(|memory| Arc::ptr_eq(memory, &arena.memory)),
                "a column grows in one arena"
            );
            let capacity = len.next_power_of_two().max(len).max(8);
            let layout = Layout::array::<u8>(capacity as usize)
                .expect("a value is smaller than the address space");
            cell.start = Some(arena.allocate(layout));
            cell.capacity = capacity;
        }
        cell.len = len;
        self.cells[row] = cell;
        let start = cell.start.expect("it was just allocated");
        // SAFETY: `start` has room for `capacity >= len` bytes, and `value`, which is borrowed, cannot lie there: the
        // bytes of a row are reached through `self` alone, which is borrowed mutably.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), start.as_ptr(), value.len()) };
    }

    /// Forgets all rows and lets go of the arena.
    pub fn clear(&mut self) {
        self.cells.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_stay_where_they_are_when_the_column_grows() {
        let arena = Arena::new(None);
        let mut column: Segments<u64> = Segments::new();
        column.grow(1, &arena);
        column[0] = 7;
        let at = std::ptr::from_ref(&column[0]);
        for len in [63, 64, 65, 191, 192, 193, 10_000] {
            column.grow(len, &arena);
            assert_eq!(column[len - 1], 0, "a new row has the default value");
            column[len - 1] = len as u64;
        }
        assert_eq!(std::ptr::from_ref(&column[0]), at);
        assert_eq!([column[0], column[62], column[191]], [7, 63, 192]);
        assert_eq!(
            column.values(0..10_000).sum::<u64>(),
            7 + 63 + 64 + 65 + 191 + 192 + 193 + 10_000
        );
    }

    #[test]
    #[should_panic(expected = "a row that exists")]
    fn a_row_beyond_the_end_is_a_programmers_error() {
        let arena = Arena::new(None);
        let mut column: Segments<u8> = Segments::new();
        column.grow(3, &arena);
        let _ = column[3];
    }

    #[test]
    #[should_panic(expected = "columns are cleared")]
    fn an_arena_in_use_is_not_reset() {
        let mut arena = Arena::new(None);
        let mut column: Segments<u8> = Segments::new();
        column.grow(3, &arena);
        arena.reset();
    }

    #[test]
    fn chunks_are_bound_and_told() {
        let node = NodeMemory::new(0, velostream_shards::Numa::Prefer);
        let arena = Arena::new(Some(node.clone()));
        let mut column: Segments<u64> = Segments::new();
        column.grow(1 << 20, &arena);
        let told: usize = arena.ranges().map(|range| range.bytes).sum();
        assert!(told >= 8 << 20 && told <= arena.reserved_bytes(), "{told}");
        let mut pages = velostream_shards::Pages::default();
        for range in arena.ranges() {
            pages.add(node.count(range.start, range.bytes));
        }
        // A host that forbids the question says so; one that answers has every page on its only node.
        assert!(pages.local > 0 || node.refused() > 0, "{pages:?}");
    }

    #[test]
    fn a_column_outlives_its_arena() {
        let arena = Arena::new(None);
        let mut column: Segments<u64> = Segments::new();
        column.grow(1_000, &arena);
        drop(arena);
        column[999] = 5;
        assert_eq!(column.values(998..1_000).collect::<Vec<_>>(), [0, 5]);
    }

    #[test]
    fn panes_of_one_size_take_nothing_more_from_the_system() {
        let mut arena = Arena::new(None);
        let mut column: Segments<u128> = Segments::new();
        let mut reserved = Vec::new();
        for _ in 0..4 {
            column.grow(100_000, &arena);
            reserved.push(arena.reserved_bytes());
            column.clear();
            arena.reset();
        }
        assert_eq!(reserved[1..], [reserved[1]; 3], "{reserved:?}");

        column.grow(10, &arena);
        column.clear();
        arena.reset();
        assert!(
            arena.reserved_bytes() <= KEPT_BYTES,
            "a small pane gives back what a large one left"
        );
    }

    #[test]
    fn a_byte_string_may_be_set_again_at_any_length() {
        let arena = Arena::new(None);
        let mut column = ByteSegments::default();
        column.grow(2, &arena);
        assert_eq!(column.get(0), None);
        for value in [
            &b""[..],
            b"short",
            b"",
            b"much longer than it was before",
            b"x",
        ] {
            column.set(0, value, &arena);
            assert_eq!(column.get(0), Some(value));
        }
        assert_eq!(column.get(1), None);
    }

    /// What may be done with a column.
    #[derive(Clone, Debug)]
    enum Step {
        Grow(usize),
        Set(usize, u64),
        Clear,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..300).prop_map(Step::Grow),
            (any::<usize>(), any::<u64>()).prop_map(|(row, value)| Step::Set(row, value)),
            Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn columns_are_vectors_that_share_an_arena(steps in prop::collection::vec(any_step(), 0..60)) {
            let mut arena = Arena::new(None);
            let mut column: Segments<u64> = Segments::new();
            let mut bytes = ByteSegments::default();
            let (mut model, mut texts) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Grow(more) => {
                        model.resize(model.len() + more, 0);
                        texts.resize(model.len(), None);
                        column.grow(model.len(), &arena);
                        bytes.grow(model.len(), &arena);
                    }
                    Step::Set(row, value) if !model.is_empty() => {
                        let row = row % model.len();
                        let text = value.to_string().repeat((value % 5) as usize);
                        model[row] = value;
                        column[row] = value;
                        bytes.set(row, text.as_bytes(), &arena);
                        texts[row] = Some(text);
                    }
                    Step::Set(..) => {}
                    Step::Clear => {
                        model.clear();
                        texts.clear();
                        column.clear();
                        bytes.clear();
                        arena.reset();
                    }
                }
                let range = model.len() / 3..model.len();
                prop_assert_eq!(column.values(range.clone()).collect::<Vec<_>>(), &model[range]);
                for (row, text) in texts.iter().enumerate() {
                    prop_assert_eq!(bytes.get(row), text.as_ref().map(String::as_bytes));
                }
            }
        }
    }
}
