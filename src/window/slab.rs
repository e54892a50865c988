//! Values by number, for values that come and go one by one: a number is used again before a new one is made.
//!
//! Laws: growing copies no value; when the last value has gone, the memory goes too.

use std::ops::{Index, IndexMut};

/// Values of a piece of memory, as a power of two.
const CHUNK_BITS: u32 = 12;

/// Values by number.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Vec<T>>,
    /// Numbers that have ever been in use, from the first on.
    begun: u32,
    free: Vec<u32>,
}

impl<T: Copy> Slab<T> {
    /// No values.
    pub fn new() -> Slab<T> {
        Slab {
            chunks: Vec::new(),
            begun: 0,
            free: Vec::new(),
        }
    }

    /// Keeps `value`, and says under which number.
    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self[number] = value;
            return number;
        }
        let number = self.begun;
        assert!(number < u32::MAX, "less than 2^32 values at once");
        self.begun += 1;
        let (chunk, _) = place(number);
        if chunk == self.chunks.len() {
            self.chunks.push(Vec::with_capacity(1 << CHUNK_BITS));
        }
        self.chunks[chunk].push(value);
        number
    }

    /// Frees a number, which is in use.
    pub fn remove(&mut self, number: u32) {
        debug_assert!(number < self.begun, "a number that is in use");
        self.free.push(number);
        if self.is_empty() {
            *self = Slab::new();
        }
    }

    /// Whether no number is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Numbers in use.
    pub fn len(&self) -> usize {
        self.begun as usize - self.free.len()
    }

    /// All numbers are below this.
    pub fn begun(&self) -> usize {
        self.begun as usize
    }

    /// Bytes taken from the system.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * (size_of::<T>() << CHUNK_BITS) + self.free.capacity() * size_of::<u32>()
    }
}

#[inline(always)]
fn place(number: u32) -> (usize, usize) {
    let offset = number & ((1 << CHUNK_BITS) - 1);
    ((number >> CHUNK_BITS) as usize, offset as usize)
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, number: u32) -> &T {
        let (chunk, offset) = place(number);
        &self.chunks[chunk][offset]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline(always)]
    fn index_mut(&mut self, number: u32) -> &mut T {
        let (chunk, offset) = place(number);
        &mut self.chunks[chunk][offset]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_and_the_last_value_takes_the_memory_along() {
        let mut slab = Slab::new();
        let numbers: Vec<u32> = (0..10_000u64).map(|value| slab.insert(value)).collect();
        assert!(
            numbers
                .iter()
                .all(|&number| slab[number] == u64::from(number))
        );
        slab.remove(77);
        slab.remove(5_000);
        assert_eq!([slab.insert(1), slab.insert(2)], [5_000, 77]);
        assert_eq!((slab[77], slab.len(), slab.begun()), (2, 10_000, 10_000));
        for number in numbers {
            slab.remove(number);
        }
        assert_eq!((slab.bytes(), slab.begun()), (0, 0));
    }
}
