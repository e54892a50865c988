//! Memory that is freed at once: the arena of a pane, and the columns that grow in it.
//!
//! ```text
//!   Arena      | 4 KiB | 16 KiB .. | 64 KiB ...... | 256 KiB ... | 1 MiB ... | 4 MiB ... | 4 MiB ... |   a bump pointer each
//!                 ^64 rows ^128 rows    ^256 rows                   ^8,192 rows  ^8,192 rows
//!   Segments   [  *        *            *             ..            *            *   ..  ]               row -> segment, offset
//! ```
//!
//! Laws: growing copies nothing and moves nothing; a row is touched when it first exists, not when its segment is
//! reserved, so a large column costs its pages one at a time. No call asks the system for more than one chunk, or gives
//! back more than `GIVEN_BACK_MAX`, so that neither a pane that grows nor one that retires is a long turn. Nothing with
//! `Drop` lives in an arena (`T: Copy`). An arena is reset only when nobody points into it: every column holds its memory,
//! and `reset` asserts that none does.
//!
//! One chunk that doubled, kept as one when its pane retired, was measured beside these: a close of 500,000 groups then held
//! its turn for 3 to 14 ms, which is what tens of megabytes cost that change hands at once (docs/decisions/0013). Segments
//! double up to 8,192 rows: a pane of ten groups reserves little, and a large one wastes no more than the end of a chunk.
//!
//! What it does not do: free a single allocation. What lives longer than a pane is in `byte_slab.rs`.
//!
//! `unsafe` stands here because rows are reached through pointers into the arena.

use std::alloc::Layout;
use std::cell::{Cell, OnceCell, UnsafeCell};
use std::fmt::{Debug, Formatter};
use std::ops::{Index, IndexMut, Range};
use std::ptr::NonNull;
use std::sync::Arc;

use bumpalo::Bump;
use velostream_shards::{HugePageOffer, MemoryRange, NodeMemory};

/// An arena below this many bytes is kept as it is, however little of it is used.
const KEPT_BYTES: usize = 256 << 10;

/// What an arena has beyond this many times what its last pane used is given back.
const SPARE_FACTOR: usize = 4;

/// Chunks that a reset gives back at most.
const GIVEN_BACK_MAX: usize = 4;

/// Bytes of an arena's first chunk. Each next one is `CHUNK_GROWTH` times the one before, up to `CHUNK_BYTES_MAX`.
const CHUNK_BYTES_MIN: usize = 4 << 10;
const CHUNK_GROWTH: usize = 4;

/// Bytes of a chunk at most, unless one value is larger: room for a huge page, wherever the chunk begins.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// Chunks below this many bytes are not bound to the node: they lie where their shard touches them first, which is there. Each
/// range with a policy of its own is a mapping to the kernel, of which a process has 65,530 (`vm.max_map_count`); with 4 KiB
/// chunks bound, 60,000 open panes were the end of it.
const BOUND_BYTES_MIN: usize = 256 << 10;

/// Rows of the first segment, as a power of two.
const FIRST_BITS: u32 = 6;

/// Rows of the largest segments, as a power of two.
const LAST_BITS: u32 = 13;

/// Rows of the first segment.
const FIRST_ROWS: usize = 1 << FIRST_BITS;

/// The memory of a pane.
#[derive(Debug)]
pub struct Arena {
    memory: Arc<Memory>,
    /// Where its chunks are kept: on the node of the shard. `None` leaves them where the system puts them.
    node: Option<NodeMemory>,
    /// The chunk that is allocated from. Those behind it are empty.
    current: Cell<usize>,
    /// Bytes of all chunks.
    reserved: Cell<usize>,
}

/// What an arena allocates from. Columns hold it too, but only to keep it.
struct Memory(UnsafeCell<Vec<Chunk>>);

/// One piece of memory from the system, with a bump pointer of its own.
struct Chunk {
    /// That the memory may be made of huge pages; it ends before the memory does.
    offer: OnceCell<HugePageOffer>,
    bump: Bump,
}

// SAFETY: only `Arena` looks at the chunks before they are dropped. There is one arena for each memory, it cannot be cloned,
// and it is not `Sync`; so no two threads are ever in there. The last holder drops them, alone.
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
        Arena {
            memory: Arc::new(Memory(UnsafeCell::new(Vec::new()))),
            node,
            current: Cell::new(0),
            reserved: Cell::new(0),
        }
    }

    /// Bytes taken from the system.
    pub fn reserved_bytes(&self) -> usize {
        self.reserved.get()
    }

    /// Takes everything back at once, and keeps what this time was needed, so that the next pane of that size asks the
    /// system for nothing. What is far more than that is given back, some of it each time.
    ///
    /// # Panics
    /// If a column has not been cleared.
    pub fn reset(&mut self) {
        let memory =
            Arc::get_mut(&mut self.memory).expect("an arena is reset when its columns are cleared");
        let chunks = memory.0.get_mut();
        let used = chunks.iter().take(self.current.get() + 1);
        let needed: usize = used.map(|chunk| chunk.bump.allocated_bytes()).sum();
        let kept = KEPT_BYTES.max(needed.saturating_mul(SPARE_FACTOR));
        for _ in 0..GIVEN_BACK_MAX {
            if self.reserved.get() > kept
                && let Some(chunk) = chunks.pop()
            {
                self.reserved
                    .set(self.reserved.get() - chunk.bump.allocated_bytes());
            }
        }
        for chunk in chunks.iter_mut().take(self.current.get() + 1) {
            chunk.bump.reset();
        }
        self.current.set(0);
    }

    /// The memory that has been given out.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        let given = self.chunks().iter().take(self.current.get() + 1);
        given.filter_map(|chunk| {
            let (start, bytes) = given_out(&chunk.bump)?;
            Some(MemoryRange { start, bytes })
        })
    }

    fn allocate(&self, layout: Layout) -> NonNull<u8> {
        let bytes = layout.size() + layout.align() - 1;
        let mut current = self.current.get();
        while self
            .chunks()
            .get(current)
            .is_some_and(|chunk| chunk.bump.chunk_capacity() < bytes)
        {
            current += 1;
        }
        if current != self.current.get() || current == self.chunks().len() {
            self.leave(current, bytes);
        }
        self.chunks()[current].bump.alloc_layout(layout)
    }

    /// Goes on to chunk `next`. If it is not there, one of at least `bytes` is made.
    #[cold]
    fn leave(&self, next: usize, bytes: usize) {
        if let Some(node) = &self.node
            && let Some(chunk) = self.chunks().get(self.current.get())
            && let Some((start, bytes)) = given_out(&chunk.bump)
        {
            chunk
                .offer
                .get_or_init(|| node.offer_huge_pages(start, bytes));
        }
        if next == self.chunks().len() {
            self.obtain(bytes);
        }
        self.current.set(next);
    }

    /// Appends a chunk of at least `bytes`.
    fn obtain(&self, bytes: usize) {
        let growth =
            CHUNK_GROWTH.ilog2() * self.chunks().len().min(usize::BITS as usize / 4) as u32;
        let usual = CHUNK_BYTES_MIN
            .saturating_mul(1 << growth)
            .min(CHUNK_BYTES_MAX);
        let bump = Bump::with_capacity(usual.max(bytes));
        if bump.chunk_capacity() >= BOUND_BYTES_MIN
            && let Some(node) = &self.node
            && let Some((end, 0)) = given_out(&bump)
            && let Some(start) = NonNull::new(end.as_ptr().wrapping_sub(bump.chunk_capacity()))
        {
            node.bind(start, bump.chunk_capacity());
        }
        self.reserved
            .set(self.reserved.get() + bump.allocated_bytes());
        // SAFETY: only the arena looks at the chunks, on one thread (it is not `Sync`), and nobody holds a borrow of them:
        // `chunks` lends them to the methods of the arena, none of which calls this while it holds what was lent.
        unsafe { &mut *self.memory.0.get() }.push(Chunk {
            offer: OnceCell::new(),
            bump,
        });
    }

    fn chunks(&self) -> &[Chunk] {
        // SAFETY: only `obtain` and `reset` change the list; the one runs while no borrow of it lives (see there), and the
        // other borrows the arena mutably.
        unsafe { &*self.memory.0.get() }
    }
}

/// What has been given out of a chunk: it fills from its end downwards.
fn given_out(bump: &Bump) -> Option<(NonNull<u8>, usize)> {
    // SAFETY: memory is told by address alone; nobody reads what lies there.
    let (start, bytes) = unsafe { bump.iter_allocated_chunks_raw() }.next()?;
    Some((NonNull::new(start)?, bytes))
}

/// A column of values by group id, in an arena.
pub struct Segments<T> {
    /// Segment `n` has `rows_of(n)` rows.
    segments: Vec<NonNull<T>>,
    /// Rows of all segments.
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

/// Rows of a segment.
#[inline(always)]
fn rows_of(segment: usize) -> usize {
    FIRST_ROWS << segment.min((LAST_BITS - FIRST_BITS) as usize)
}

/// The segment of `row`, and its place there.
#[inline(always)]
fn place(row: usize) -> (usize, usize) {
    let shifted = row + FIRST_ROWS;
    let bits = shifted.ilog2().min(LAST_BITS);
    // Of the doubling segments each is one power of two, of the largest ones each is a multiple.
    let segment = (bits - FIRST_BITS) as usize + (shifted >> bits) - 1;
    (segment, shifted & ((1 << bits) - 1))
}

impl<T: Copy + Default> Segments<T> {
    /// A column of no rows.
    pub fn new() -> Segments<T> {
        Segments {
            segments: Vec::new(),
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
        while self.reserved < len {
            let rows = rows_of(self.segments.len());
            let layout =
                Layout::array::<T>(rows).expect("a segment is smaller than the address space");
            self.segments.push(arena.allocate(layout).cast());
            self.reserved += rows;
        }
        let mut row = self.len;
        while row < len {
            let (segment, offset) = place(row);
            let rows = (rows_of(segment) - offset).min(len - row);
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
        if self.reserved <= row {
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
            let rows = (rows_of(segment) - offset).min(range.end - row);
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
        self.segments.clear();
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

/// The length of a row that has no value, but room for one.
const UNSET: u32 = u32::MAX;

/// Where a row's bytes lie.
#[derive(Clone, Copy, Debug, Default)]
struct Cells {
    start: Option<NonNull<u8>>,
    /// `UNSET` where there is no value.
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

    /// The value of `row`, `None` if it has none.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        let cell = &self.cells[row];
        let start = cell.start.filter(|_| cell.len != UNSET)?;
        // SAFETY: `set` wrote `len` bytes at `start`, into the arena whose memory the column holds; they are written
        // again only through a mutable borrow of `self`.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), cell.len as usize) })
    }

    /// Sets the value of `row`.
    pub fn set(&mut self, row: usize, value: &[u8], arena: &Arena) {
        let len = u32::try_from(value.len()).expect("a value is below 4 GiB");
        assert!(len < UNSET, "a value is below 4 GiB");
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

    /// Takes the value of `row` away and leaves the room for the next.
    pub fn unset(&mut self, row: usize) {
        self.cells[row].len = UNSET;
    }

    /// Lets two rows change their values, and their room.
    pub fn swap(&mut self, row: usize, other: usize) {
        let cell = self.cells[row];
        self.cells[row] = self.cells[other];
        self.cells[other] = cell;
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
    fn no_call_takes_or_gives_back_more_than_a_few_chunks() {
        let mut arena = Arena::new(None);
        let mut column: Segments<u128> = Segments::new();
        let mut before = 0;
        for len in (0..4_000_000).step_by(1_000) {
            column.grow(len, &arena);
            let taken = arena.reserved_bytes() - before;
            assert!(taken <= 2 * CHUNK_BYTES_MAX, "{taken} at {len}");
            before = arena.reserved_bytes();
        }
        assert!(before > 60 << 20 && before < 68 << 20, "{before}");
        let mut resets = 0;
        while arena.reserved_bytes() > KEPT_BYTES {
            column.clear();
            column.grow(10, &arena);
            column.clear();
            let before = arena.reserved_bytes();
            arena.reset();
            let given_back = before - arena.reserved_bytes();
            assert!(given_back <= (GIVEN_BACK_MAX + 1) * CHUNK_BYTES_MAX);
            resets += 1;
            // The first one still knows the large pane.
            assert!(given_back > 0 || resets == 1);
        }
        assert!(resets > 3, "{resets}");
    }

    #[test]
    fn a_value_larger_than_a_chunk_has_one_of_its_own() {
        let arena = Arena::new(None);
        let mut column = ByteSegments::default();
        column.grow(2, &arena);
        let large = vec![7; CHUNK_BYTES_MAX + 1];
        column.set(0, &large, &arena);
        column.set(1, b"small", &arena);
        assert_eq!(column.get(0), Some(large.as_slice()));
        assert_eq!(column.get(1), Some(&b"small"[..]));
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
