//! The rings that a thread owes: noted while it works, made after its turn.
//!
//! ```text
//!   turn: post, post, take, post ──> notes { 3: input, 5: input, 2: room } ──> end of the turn: one fence, three looks
//! ```
//!
//! The law: only the thread of the seat notes and pays, hence plain loads and stores; others only
//! look, to learn whether a ring is on its way. Two orders make that true: a ring is noted before
//! its work is made visible, and a note is struck out after the ring was made. Whoever has found the
//! work therefore sees the note, or else the ring.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::flag::{INPUT, ROOM};

const BITS: usize = u64::BITS as usize;

/// Bits by seat.
struct Seats(Box<[AtomicU64]>);

/// What one thread owes to each of the others.
#[repr(align(128))]
pub(super) struct Owed {
    input: Seats,
    room: Seats,
    /// Blocks that its lanes hold for want of room.
    held: AtomicUsize,
}

impl Owed {
    /// Nothing owed to any of so many seats.
    pub(super) fn new(seats: usize) -> Owed {
        Owed {
            input: Seats::new(seats),
            room: Seats::new(seats),
            held: AtomicUsize::new(0),
        }
    }

    /// Notes a ring. Before the work is made visible.
    pub(super) fn owe(&self, seat: usize, reason: u8) {
        match reason {
            INPUT => self.input.set(seat),
            ROOM => self.room.set(seat),
            _ => unreachable!("a lane brings input or room"),
        }
    }

    /// So many more blocks are held.
    pub(super) fn hold(&self, more: isize) {
        let held = self.held.load(Ordering::Relaxed);
        let held = held.checked_add_signed(more);
        let held = held.expect("no more blocks are let go than were held");
        self.held.store(held, Ordering::Relaxed);
    }

    /// How many blocks its lanes hold.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether there is nothing to pay.
    pub(super) fn is_nothing(&self) -> bool {
        self.input.is_empty() && self.room.is_empty()
    }

    /// Rings for every note, then strikes the notes out.
    pub(super) fn pay(&self, mut ring: impl FnMut(usize, u8)) {
        for (seats, reason) in [(&self.input, INPUT), (&self.room, ROOM)] {
            seats.for_each(|seat| ring(seat, reason));
            seats.clear();
        }
    }

    /// Whether a ring for `seat` is on its way. Asked by any thread.
    pub(super) fn is_owed(&self, seat: usize) -> bool {
        self.input.contains(seat) || self.room.contains(seat)
    }
}

impl Seats {
    fn new(seats: usize) -> Seats {
        let words = seats.div_ceil(BITS);
        Seats((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    fn set(&self, seat: usize) {
        let word = &self.0[seat / BITS];
        let bits = word.load(Ordering::Relaxed);
        word.store(bits | 1 << (seat % BITS), Ordering::Relaxed);
    }

    fn contains(&self, seat: usize) -> bool {
        self.0[seat / BITS].load(Ordering::Acquire) & 1 << (seat % BITS) != 0
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    fn for_each(&self, mut each: impl FnMut(usize)) {
        for (index, word) in self.0.iter().enumerate() {
            let mut bits = word.load(Ordering::Relaxed);
            while bits != 0 {
                each(index * BITS + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// Released, so that who sees a note struck out also sees the ring.
    fn clear(&self) {
        for word in &self.0 {
            if word.load(Ordering::Relaxed) != 0 {
                word.store(0, Ordering::Release);
            }
        }
    }
}
