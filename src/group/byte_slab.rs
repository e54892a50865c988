//! Byte strings that live longer than a pane: slots of a few sizes, with a list of the free ones of each size.
//!
//! ```text
//!   Class of 32 bytes    chunk | value.. | free ->-+ | value... | free | ..     64 KiB at a time
//!                                ^-----------------+
//! ```
//!
//! Laws: a value keeps its place until it is removed; a slot is used again before a new one is made; a size of which
//! nothing is left gives its memory back. The size of a value says its class, so a place needs no more than a number.
//!
//! What it does not do: know which values are in use. Its caller counts (`dictionary.rs`).

/// Bytes of the smallest slots.
const SLOT_BYTES_MIN: usize = 16;

/// Bytes of a chunk, unless one slot is larger.
const CHUNK_BYTES: usize = 64 << 10;

/// Sizes, each twice the one before: up to 4 GiB.
const CLASSES: usize = 29;

/// The end of a list of free slots.
const NONE: u32 = u32::MAX;

const _: () = {
    assert!(SLOT_BYTES_MIN.is_power_of_two() && CHUNK_BYTES.is_power_of_two());
    assert!(
        SLOT_BYTES_MIN >= size_of::<u32>(),
        "a free slot holds the number of the next"
    );
    assert!(
        SLOT_BYTES_MIN << (CLASSES - 1) > u32::MAX as usize,
        "a class for every length"
    );
};

/// Byte strings by place.
#[derive(Debug)]
pub struct ByteSlab {
    classes: [Class; CLASSES],
}

/// The slots of one size.
#[derive(Debug)]
struct Class {
    slot_bytes: usize,
    /// Slots of a chunk, as a power of two.
    chunk_bits: u32,
    chunks: Vec<Box<[u8]>>,
    /// Slots that have ever been in use, from the first on.
    begun: u32,
    /// Slots in use.
    live: u32,
    /// The first of the free ones among those begun.
    free: u32,
}

impl ByteSlab {
    /// No value, no memory.
    pub fn new() -> ByteSlab {
        ByteSlab {
            classes: std::array::from_fn(|class| Class::new(SLOT_BYTES_MIN << class)),
        }
    }

    /// Keeps a copy of `value`, and returns its place.
    pub fn insert(&mut self, value: &[u8]) -> u32 {
        let class = &mut self.classes[class_of(value.len())];
        let place = class.take();
        class.slot(place)[..value.len()].copy_from_slice(value);
        place
    }

    /// The value of `len` bytes at `place`.
    #[inline]
    pub fn get(&self, place: u32, len: usize) -> &[u8] {
        let class = &self.classes[class_of(len)];
        let (chunk, start) = class.find(place);
        &class.chunks[chunk][start..start + len]
    }

    /// Frees the place of a value of `len` bytes.
    pub fn remove(&mut self, place: u32, len: usize) {
        self.classes[class_of(len)].give(place);
    }

    /// Bytes taken from the system.
    pub fn bytes(&self) -> usize {
        let bytes = |class: &Class| class.chunks.iter().map(|chunk| chunk.len()).sum::<usize>();
        self.classes.iter().map(bytes).sum()
    }
}

/// The least class whose slots hold `len` bytes.
#[inline]
fn class_of(len: usize) -> usize {
    let bits = len.max(SLOT_BYTES_MIN).next_power_of_two().ilog2();
    (bits - SLOT_BYTES_MIN.ilog2()) as usize
}

impl Class {
    fn new(slot_bytes: usize) -> Class {
        Class {
            slot_bytes,
            chunk_bits: (CHUNK_BYTES / slot_bytes).max(1).ilog2(),
            chunks: Vec::new(),
            begun: 0,
            live: 0,
            free: NONE,
        }
    }

    /// The chunk of a slot, and where the slot starts there.
    #[inline]
    fn find(&self, place: u32) -> (usize, usize) {
        let in_chunk = place & ((1 << self.chunk_bits) - 1);
        (
            (place >> self.chunk_bits) as usize,
            in_chunk as usize * self.slot_bytes,
        )
    }

    fn slot(&mut self, place: u32) -> &mut [u8] {
        let (chunk, start) = self.find(place);
        &mut self.chunks[chunk][start..start + self.slot_bytes]
    }

    fn take(&mut self) -> u32 {
        self.live += 1;
        if self.free != NONE {
            let place = self.free;
            let next = self.slot(place).first_chunk().copied();
            self.free = u32::from_le_bytes(next.expect("a slot holds the number of the next"));
            return place;
        }
        let place = self.begun;
        assert!(place < NONE, "less than 2^32 values of one size");
        self.begun += 1;
        if self.find(place).0 == self.chunks.len() {
            let bytes = self.slot_bytes << self.chunk_bits;
            self.chunks.push(vec![0; bytes].into_boxed_slice());
        }
        place
    }

    fn give(&mut self, place: u32) {
        assert!(
            place < self.begun && self.live > 0,
            "a place that is in use"
        );
        self.live -= 1;
        if self.live == 0 {
            *self = Class::new(self.slot_bytes);
            return;
        }
        let next = self.free.to_le_bytes();
        self.slot(place)[..next.len()].copy_from_slice(&next);
        self.free = place;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_freed_slot_is_used_again_and_an_unused_size_gives_its_memory_back() {
        let mut slab = ByteSlab::new();
        let first = slab.insert(&[1; 20]);
        let second = slab.insert(&[2; 30]);
        slab.remove(first, 20);
        assert_eq!(slab.insert(&[3; 17]), first);
        assert_eq!(slab.get(second, 30), [2; 30]);
        assert_eq!(slab.bytes(), CHUNK_BYTES);
        slab.remove(first, 17);
        slab.remove(second, 30);
        assert_eq!(slab.bytes(), 0);
    }

    #[test]
    fn sizes_have_a_class_up_to_the_longest() {
        assert_eq!([0, 1, 16, 17, 32, 33].map(class_of), [0, 0, 0, 1, 1, 2]);
        assert_eq!(class_of(u32::MAX as usize), CLASSES - 1);
        let mut slab = ByteSlab::new();
        let long = vec![7; CHUNK_BYTES + 1];
        let place = slab.insert(&long);
        assert_eq!(slab.get(place, long.len()), long);
    }

    proptest! {
        #[test]
        fn a_slab_is_a_list_of_byte_strings(
            steps in prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(0usize..70)), 0..200)
        ) {
            let mut slab = ByteSlab::new();
            let mut model: Vec<(u32, Vec<u8>)> = Vec::new();
            for (number, (at, insert)) in steps.into_iter().enumerate() {
                match insert {
                    Some(len) => {
                        let value = vec![number as u8; len];
                        model.push((slab.insert(&value), value));
                    }
                    None if !model.is_empty() => {
                        let (place, value) = model.swap_remove(at.index(model.len()));
                        slab.remove(place, value.len());
                    }
                    None => {}
                }
                for (place, value) in &model {
                    prop_assert_eq!(slab.get(*place, value.len()), &value[..]);
                }
            }
        }
    }
}
