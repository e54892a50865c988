//! The yardstick: each scenario's query as a straight hand-written loop over the same bytes. Frozen: it may only get faster.
//!
//! ```text
//!   bytes --scan: wanted fields, by name--> fields --pane of ts--> Table: key, open addressing, state in the slot
//!                                                                    |  max ts - 2 s passes the pane's end
//!                                                                    \--> rows as JSON, hashed, summed
//! ```
//!
//! Laws: one thread, no batches, and nothing of the engine: a test reads the imports. Rows are byte for byte those of the
//! engine. Fields are found by name in any order (the last record's order is the guess), the first of a name counts, escapes
//! in wanted text are decoded, and numbers parse to the nearest double. Where its first eight bytes tell a text apart, nothing
//! else of it is looked at.
//!
//! What it does not do: validate what it skips, handle errors or late records, or measure latency. Fields must be there and
//! must not be NULL.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64;

/// Records of one partition, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct Partition<'a> {
    /// All records' bytes.
    pub bytes: &'a [u8],
    /// Where each record ends.
    pub ends: &'a [usize],
}

/// The queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Scenario 0.
    Dear,
    /// Scenario `count`.
    Count,
    /// Scenario 2.
    BySymbol,
    /// Scenarios 3a, and 3b with a row for every record.
    ByMinute {
        /// Whether every record gives the row of its group.
        changes: bool,
    },
}

/// What came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// How many rows.
    pub count: u64,
    /// The wrapping sum of their hashes.
    pub checksum: u64,
}

/// Runs `query`. `rounds` says how many records of each partition come before the next partition's turn: the records'
/// order in time.
pub fn run<const N: usize>(
    query: Query,
    partitions: &[Partition<'_>; N],
    rounds: &[[usize; N]],
) -> Rows {
    let mut rows = RowSum::default();
    match query {
        Query::Dear => dear(partitions, rounds, &mut rows),
        Query::Count => count(partitions, rounds, &mut rows),
        Query::BySymbol => by_symbol(partitions, rounds, &mut rows),
        Query::ByMinute { changes } => by_minute(partitions, rounds, changes, &mut rows),
    }
    rows.sum
}

/// `visit` sees the bytes of a partition and where the next record starts in them.
#[inline(always)]
fn each_record<const N: usize>(
    partitions: &[Partition<'_>; N],
    rounds: &[[usize; N]],
    mut visit: impl FnMut(&[u8], usize),
) {
    let mut done = [0; N];
    for round in rounds {
        for ((partition, done), &until) in partitions.iter().zip(&mut done).zip(round) {
            let mut start = match *done {
                0 => 0,
                next => partition.ends[next - 1],
            };
            for &end in &partition.ends[*done..until] {
                visit(partition.bytes, start);
                start = end;
            }
            *done = until;
        }
    }
}

// ---- the queries

/// `SELECT order_id, symbol, price, quantity FROM orders WHERE price > 150`
fn dear<const N: usize>(partitions: &[Partition<'_>; N], rounds: &[[usize; N]], rows: &mut RowSum) {
    let mut scanner = Scanner::new(["order_id", "symbol", "price", "quantity"]);
    each_record(partitions, rounds, |bytes, start| {
        let (mut order_id, mut symbol, mut price, mut quantity) = (0, Text::EMPTY, 0.0, 0);
        scanner.scan(bytes, start, |field, at| match field {
            0 => integer(bytes, at, &mut order_id),
            1 => text(bytes, at, &mut symbol),
            2 => double(bytes, at, &mut price),
            _ => integer(bytes, at, &mut quantity),
        });
        if price > 150.0 {
            rows.row(|row| {
                row.extend_from_slice(b"{\"order_id\":");
                write_integer(row, order_id);
                row.extend_from_slice(b",\"symbol\":");
                write_text(row, &symbol.bytes);
                row.extend_from_slice(b",\"price\":");
                write_double(row, price);
                row.extend_from_slice(b",\"quantity\":");
                write_integer(row, quantity);
                row.push(b'}');
            });
        }
    });
}

/// `SELECT window_start, COUNT(*) FROM orders WINDOW TUMBLING (SIZE 1 MINUTE)`
///
/// All minutes are kept: they are few, and no record of the input is late.
fn count<const N: usize>(
    partitions: &[Partition<'_>; N],
    rounds: &[[usize; N]],
    rows: &mut RowSum,
) {
    let mut scanner = Scanner::new(["ts"]);
    let mut minutes: Vec<(i64, i64)> = Vec::new();
    each_record(partitions, rounds, |bytes, start| {
        let mut ts = 0;
        scanner.scan(bytes, start, |_, at| integer(bytes, at, &mut ts));
        let minute = minutes
            .iter_mut()
            .rev()
            .find(|(start_ms, _)| (*start_ms..*start_ms + MINUTE_MS).contains(&ts));
        match minute {
            Some((_, count)) => *count += 1,
            None => minutes.push((ts - ts.rem_euclid(MINUTE_MS), 1)),
        }
    });
    for (start_ms, count) in minutes {
        rows.row(|row| {
            row.extend_from_slice(b"{\"window_start\":\"");
            row.extend_from_slice(timestamp(start_ms).as_bytes());
            row.extend_from_slice(b"\",\"count(*)\":");
            write_integer(row, count);
            row.push(b'}');
        });
    }
}

/// State of a group of scenario 2.
#[derive(Clone, Copy, Default)]
struct SymbolState {
    count: u64,
    price_sum: f64,
    price_min: f64,
    price_max: f64,
    quantity_sum: i64,
}

/// `SELECT symbol, COUNT(*), AVG(price), MIN(price), MAX(price), SUM(quantity) FROM orders GROUP BY symbol`
fn by_symbol<const N: usize>(
    partitions: &[Partition<'_>; N],
    rounds: &[[usize; N]],
    rows: &mut RowSum,
) {
    let mut scanner = Scanner::new(["symbol", "price", "quantity"]);
    let mut table = Table::<SymbolState>::new(1024);
    each_record(partitions, rounds, |bytes, start| {
        let (mut symbol, mut price, mut quantity) = (Text::EMPTY, 0.0, 0);
        scanner.scan(bytes, start, |field, at| match field {
            0 => text(bytes, at, &mut symbol),
            1 => double(bytes, at, &mut price),
            _ => integer(bytes, at, &mut quantity),
        });
        let slot = table.slot(&Text::EMPTY, &symbol);
        let state = &mut table.slots[slot].state;
        if state.count == 0 {
            (state.price_min, state.price_max) = (price, price);
        }
        state.count += 1;
        state.price_sum += price;
        state.price_min = state.price_min.min(price);
        state.price_max = state.price_max.max(price);
        state.quantity_sum += quantity;
    });
    for slot in table.slots.iter().filter(|slot| slot.taken) {
        let (_, symbol) = table.key(slot);
        let state = &slot.state;
        rows.row(|row| {
            row.extend_from_slice(b"{\"symbol\":");
            write_text(row, symbol);
            row.extend_from_slice(b",\"count(*)\":");
            write_integer(row, state.count as i64);
            row.extend_from_slice(b",\"avg(price)\":");
            write_double(row, state.price_sum / state.count as f64);
            row.extend_from_slice(b",\"min(price)\":");
            write_double(row, state.price_min);
            row.extend_from_slice(b",\"max(price)\":");
            write_double(row, state.price_max);
            row.extend_from_slice(b",\"sum(quantity)\":");
            write_integer(row, state.quantity_sum);
            row.push(b'}');
        });
    }
}

/// State of a group of scenarios 3a and 3b.
#[derive(Clone, Copy, Default)]
struct MinuteState {
    count: u64,
    price_sum: f64,
    quantity_sum: i64,
    value_sum: f64,
}

/// A minute.
struct Pane {
    start_ms: i64,
    start_text: String,
    table: Table<MinuteState>,
}

const MINUTE_MS: i64 = 60_000;
const BOUND_MS: i64 = 2_000;

/// `SELECT trader_id, symbol, window_start, COUNT(*), AVG(price), SUM(quantity), SUM(price*quantity) FROM orders GROUP BY
/// trader_id, symbol WINDOW TUMBLING (SIZE 1 MINUTE)`
fn by_minute<const N: usize>(
    partitions: &[Partition<'_>; N],
    rounds: &[[usize; N]],
    changes: bool,
    rows: &mut RowSum,
) {
    let mut scanner = Scanner::new(["trader_id", "symbol", "price", "quantity", "ts"]);
    let mut panes: Vec<Pane> = Vec::new();
    // The place of the last record's pane; when the earliest pane closes; the highest event time.
    let (mut current, mut closes_at, mut highest) = (0, i64::MAX, i64::MIN);
    each_record(partitions, rounds, |bytes, start| {
        let (mut trader, mut symbol) = (Text::EMPTY, Text::EMPTY);
        let (mut price, mut quantity, mut ts) = (0.0, 0, 0);
        scanner.scan(bytes, start, |field, at| match field {
            0 => text(bytes, at, &mut trader),
            1 => text(bytes, at, &mut symbol),
            2 => double(bytes, at, &mut price),
            3 => integer(bytes, at, &mut quantity),
            _ => integer(bytes, at, &mut ts),
        });
        let is_current = panes
            .get(current)
            .is_some_and(|pane| (pane.start_ms..pane.start_ms + MINUTE_MS).contains(&ts));
        if !is_current {
            current = pane_of(&mut panes, ts);
            closes_at = panes.iter().map(Pane::closes_at).min().unwrap_or(i64::MAX);
        }
        let pane = &mut panes[current];
        let slot = pane.table.slot(&trader, &symbol);
        let state = &mut pane.table.slots[slot].state;
        state.count += 1;
        state.price_sum += price;
        state.quantity_sum += quantity;
        state.value_sum += price * quantity as f64;
        if changes {
            write_minute(rows, &trader.bytes, &symbol.bytes, &pane.start_text, state);
        }
        if ts > highest {
            highest = ts;
            if highest >= closes_at {
                panes.retain(|pane| {
                    let closed = pane.closes_at() <= highest;
                    if closed && !changes {
                        pane.write(rows);
                    }
                    !closed
                });
                current = 0;
                closes_at = panes.iter().map(Pane::closes_at).min().unwrap_or(i64::MAX);
            }
        }
    });
    if !changes {
        panes.iter().for_each(|pane| pane.write(rows));
    }
}

/// The place of the pane that `ts` falls into, opened if it was not.
#[cold]
fn pane_of(panes: &mut Vec<Pane>, ts: i64) -> usize {
    let start_ms = ts - ts.rem_euclid(MINUTE_MS);
    if let Some(place) = panes.iter().position(|pane| pane.start_ms == start_ms) {
        return place;
    }
    let slots = panes.last().map_or(1024, |pane| pane.table.slots.len());
    panes.push(Pane {
        start_ms,
        start_text: timestamp(start_ms),
        table: Table::new(slots),
    });
    panes.len() - 1
}

impl Pane {
    fn closes_at(&self) -> i64 {
        self.start_ms + MINUTE_MS + BOUND_MS
    }

    fn write(&self, rows: &mut RowSum) {
        for slot in self.table.slots.iter().filter(|slot| slot.taken) {
            let (trader, symbol) = self.table.key(slot);
            write_minute(rows, trader, symbol, &self.start_text, &slot.state);
        }
    }
}

#[inline]
fn write_minute(rows: &mut RowSum, trader: &[u8], symbol: &[u8], start: &str, state: &MinuteState) {
    rows.row(|row| {
        row.extend_from_slice(b"{\"trader_id\":");
        write_text(row, trader);
        row.extend_from_slice(b",\"symbol\":");
        write_text(row, symbol);
        row.extend_from_slice(b",\"window_start\":\"");
        row.extend_from_slice(start.as_bytes());
        row.extend_from_slice(b"\",\"count(*)\":");
        write_integer(row, state.count as i64);
        row.extend_from_slice(b",\"avg(price)\":");
        write_double(row, state.price_sum / state.count as f64);
        row.extend_from_slice(b",\"sum(quantity)\":");
        write_integer(row, state.quantity_sum);
        row.extend_from_slice(b",\"sum(price * quantity)\":");
        write_double(row, state.value_sum);
        row.push(b'}');
    });
}

// ---- groups

/// Groups by a key of two texts: linear probing, at most half full.
struct Table<S> {
    slots: Vec<Slot<S>>,
    taken: usize,
    /// The keys' bytes.
    keys: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Slot<S> {
    taken: bool,
    lengths: [u32; 2],
    /// The first eight bytes of either text.
    heads: [u64; 2],
    /// Where the key starts in `keys`.
    key: usize,
    state: S,
}

impl<S: Copy + Default> Table<S> {
    fn new(slots: usize) -> Table<S> {
        assert!(slots.is_power_of_two());
        Table {
            slots: vec![Slot::default(); slots],
            taken: 0,
            keys: Vec::new(),
        }
    }

    /// The place of the key's slot, which is taken if it was free.
    #[inline]
    fn slot(&mut self, first: &Text<'_>, second: &Text<'_>) -> usize {
        let hash = hash(first, second);
        let mut place = self.home(hash);
        loop {
            let slot = &self.slots[place];
            if !slot.taken {
                return self.take(place, first, second);
            }
            let same = slot.heads == [first.head, second.head]
                && slot.lengths == [first.bytes.len() as u32, second.bytes.len() as u32];
            if same && (!(first.is_long() || second.is_long()) || self.is_key(slot, first, second))
            {
                return place;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        (hash >> (64 - self.slots.len().trailing_zeros())) as usize
    }

    #[cold]
    fn is_key(&self, slot: &Slot<S>, first: &Text<'_>, second: &Text<'_>) -> bool {
        self.key(slot) == (&first.bytes[..], &second.bytes[..])
    }

    fn key(&self, slot: &Slot<S>) -> (&[u8], &[u8]) {
        let [first, second] = slot.lengths.map(|length| length as usize);
        self.keys[slot.key..slot.key + first + second].split_at(first)
    }

    #[cold]
    fn take(&mut self, place: usize, first: &Text<'_>, second: &Text<'_>) -> usize {
        if self.taken * 2 >= self.slots.len() {
            self.grow();
            return self.slot(first, second);
        }
        self.taken += 1;
        self.slots[place] = Slot {
            taken: true,
            lengths: [first.bytes.len() as u32, second.bytes.len() as u32],
            heads: [first.head, second.head],
            key: self.keys.len(),
            state: S::default(),
        };
        self.keys.extend_from_slice(&first.bytes);
        self.keys.extend_from_slice(&second.bytes);
        place
    }

    fn grow(&mut self) {
        let doubled = vec![Slot::default(); self.slots.len() * 2];
        let before = std::mem::replace(&mut self.slots, doubled);
        for slot in before.into_iter().filter(|slot| slot.taken) {
            let (first, second) = self.key(&slot);
            let mut place = self.home(hash(&Text::of(first), &Text::of(second)));
            while self.slots[place].taken {
                place = (place + 1) & (self.slots.len() - 1);
            }
            self.slots[place] = slot;
        }
    }
}

#[inline]
fn hash(first: &Text<'_>, second: &Text<'_>) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (first.head.wrapping_mul(K).rotate_left(26) ^ second.head).wrapping_mul(K);
    if first.is_long() || second.is_long() {
        hash =
            (hash ^ xxh3_64(&first.bytes) ^ xxh3_64(&second.bytes).rotate_left(32)).wrapping_mul(K);
    }
    hash
}

// ---- scanning

/// Finds the wanted fields of a record.
struct Scanner<const W: usize> {
    wanted: [&'static str; W],
    /// The fields of the last record, in order.
    guesses: Vec<Guess>,
}

/// What is expected at a place: `"name":`, as the low bytes of a word, and which of the wanted it is.
#[derive(Clone, Copy)]
struct Guess {
    word: u128,
    mask: u128,
    length: usize,
    field: usize,
}

const UNWANTED: usize = usize::MAX;

impl<const W: usize> Scanner<W> {
    fn new(wanted: [&'static str; W]) -> Scanner<W> {
        Scanner {
            wanted,
            guesses: Vec::new(),
        }
    }

    /// Calls `take` with each wanted field and where its value starts; `take` says where it ends. Ends with the last of
    /// them.
    #[inline(always)]
    fn scan(&mut self, bytes: &[u8], start: usize, mut take: impl FnMut(usize, usize) -> usize) {
        let mut at = start + 1;
        let mut seen = 0u64;
        let mut index = 0;
        loop {
            let (field, value) = match self.guesses.get(index) {
                Some(guess) if load16(bytes, at) & guess.mask == guess.word => {
                    (guess.field, at + guess.length)
                }
                _ => self.learn(bytes, at, index),
            };
            index += 1;
            if field == UNWANTED || seen & (1 << field) != 0 {
                at = skip_value(bytes, value);
            } else {
                at = take(field, value);
                seen |= 1 << field;
                if seen == (1 << W) - 1 {
                    return;
                }
            }
            if bytes[at] != b',' {
                at = behind_spaces(bytes, at);
                assert_eq!(bytes[at], b',', "a wanted field is missing");
            }
            at += 1;
        }
    }

    /// Reads the name that was not guessed, and guesses it for the next record.
    #[cold]
    fn learn(&mut self, bytes: &[u8], at: usize, index: usize) -> (usize, usize) {
        let at = behind_spaces(bytes, at);
        let mut name = Text::EMPTY;
        let end = text(bytes, at, &mut name);
        let colon = behind_spaces(bytes, end);
        let field = self
            .wanted
            .iter()
            .position(|wanted| wanted.as_bytes() == &name.bytes[..])
            .unwrap_or(UNWANTED);
        let length = colon + 1 - at;
        if length <= 16 && index <= self.guesses.len() {
            let mask = u128::MAX >> (128 - 8 * length);
            self.guesses.truncate(index);
            self.guesses.push(Guess {
                word: load16(bytes, at) & mask,
                mask,
                length,
                field,
            });
        }
        (field, behind_spaces(bytes, colon + 1))
    }
}

/// A text: all of it, and its first eight bytes as a word, with zeros behind a shorter one.
struct Text<'a> {
    head: u64,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Text<'a> {
    const EMPTY: Text<'static> = Text {
        head: 0,
        bytes: Cow::Borrowed(b""),
    };

    fn of(bytes: &'a [u8]) -> Text<'a> {
        Text {
            head: load8(&bytes[..bytes.len().min(8)], 0),
            bytes: Cow::Borrowed(bytes),
        }
    }

    #[inline]
    fn is_long(&self) -> bool {
        self.bytes.len() > 8
    }
}

/// The eight bytes at `at`, the first in the lowest place; zeros behind the last.
#[inline]
fn load8(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => load_last(bytes, at) as u64,
    }
}

/// The sixteen bytes at `at`, as `load8`.
#[inline]
fn load16(bytes: &[u8], at: usize) -> u128 {
    match bytes.get(at..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => u128::from_le_bytes(*chunk),
        None => load_last(bytes, at),
    }
}

#[cold]
fn load_last(bytes: &[u8], at: usize) -> u128 {
    let rest = bytes.get(at..).unwrap_or_default();
    let mut chunk = [0; 16];
    let length = rest.len().min(16);
    chunk[..length].copy_from_slice(&rest[..length]);
    u128::from_le_bytes(chunk)
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of the lowest byte of `word` that is `byte`; bits above it may be wrong.
#[inline]
fn find(word: u64, byte: u8) -> u64 {
    let differs = word ^ (ONES * u64::from(byte));
    differs.wrapping_sub(ONES) & !differs & HIGHS
}

/// Where the string that goes on at `at` has its first quote or backslash.
#[inline]
fn string_stop(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let word = load8(bytes, at);
        let stops = find(word, b'"') | find(word, b'\\');
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
        assert!(at < bytes.len(), "a string is not closed");
    }
}

/// Reads the string at `at`; returns where it ends.
#[inline(always)]
fn text<'a>(bytes: &'a [u8], at: usize, value: &mut Text<'a>) -> usize {
    let start = at + 1;
    let word = load8(bytes, start);
    let stops = find(word, b'"') | find(word, b'\\');
    let (head, end) = if stops != 0 {
        let length = stops.trailing_zeros() / 8;
        // The bits below the stop's byte.
        (
            word & ((stops & stops.wrapping_neg()) >> 7).wrapping_sub(1),
            start + length as usize,
        )
    } else {
        (word, string_stop(bytes, start + 8))
    };
    if bytes[end] == b'\\' {
        return escaped_text(bytes, start, value);
    }
    *value = Text {
        head,
        bytes: Cow::Borrowed(&bytes[start..end]),
    };
    end + 1
}

/// Reads a string that holds an escape.
#[cold]
fn escaped_text<'a>(bytes: &'a [u8], start: usize, value: &mut Text<'a>) -> usize {
    let mut decoded = Vec::new();
    let mut at = start;
    loop {
        let stop = string_stop(bytes, at);
        decoded.extend_from_slice(&bytes[at..stop]);
        if bytes[stop] == b'"' {
            *value = Text {
                head: Text::of(&decoded).head,
                bytes: Cow::Owned(decoded),
            };
            return stop + 1;
        }
        at = stop + 2;
        match bytes[stop + 1] {
            b'b' => decoded.push(0x08),
            b'f' => decoded.push(0x0c),
            b'n' => decoded.push(b'\n'),
            b'r' => decoded.push(b'\r'),
            b't' => decoded.push(b'\t'),
            b'u' => {
                let mut code = hex4(bytes, at);
                at += 4;
                if (0xd800..0xdc00).contains(&code) {
                    let low = hex4(bytes, at + 2);
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
                let letter = char::from_u32(code).expect("an escape is a letter");
                decoded.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
            other => decoded.push(other),
        }
    }
}

fn hex4(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |code, &digit| {
        let value = (digit as char).to_digit(16);
        code * 16 + value.expect("an escape has four hexadecimal digits")
    })
}

/// The digits at `at`: the number they make, and where they end. More than 19 of them wrap.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize) -> (u64, usize) {
    const POWERS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
    let mut value = 0u64;
    loop {
        let word = load8(bytes, at);
        let others = (word.wrapping_add(ONES * 0x46) | word.wrapping_sub(ONES * 0x30)) & HIGHS;
        if others == 0 {
            value = value
                .wrapping_mul(100_000_000)
                .wrapping_add(eight_digits(word));
            at += 8;
            continue;
        }
        let count = (others.trailing_zeros() / 8) as usize;
        if count > 0 {
            // Zeros in the low places are digits of no worth.
            let part = eight_digits(word << (64 - 8 * count));
            value = value.wrapping_mul(POWERS[count]).wrapping_add(part);
        }
        return (value, at + count);
    }
}

#[inline]
fn eight_digits(word: u64) -> u64 {
    let word = (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_mul(2_561) >> 8;
    let word = (word & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    (word & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32
}

/// Reads the integer at `at`; returns where it ends.
#[inline(always)]
fn integer(bytes: &[u8], at: usize, value: &mut i64) -> usize {
    let negative = bytes[at] == b'-';
    let (magnitude, end) = digits(bytes, at + usize::from(negative));
    *value = match negative {
        true => (magnitude as i64).wrapping_neg(),
        false => magnitude as i64,
    };
    end
}

/// Reads the number at `at` as the nearest double; returns where it ends.
#[inline(always)]
fn double(bytes: &[u8], at: usize, value: &mut f64) -> usize {
    const POWERS: [f64; 16] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let negative = bytes[at] == b'-';
    let start = at + usize::from(negative);
    let (whole, point) = digits(bytes, start);
    let (mut end, mut mantissa, mut places) = (point, whole, 0);
    if bytes[point] == b'.' {
        let (fraction, behind) = digits(bytes, point + 1);
        places = behind - point - 1;
        end = behind;
        mantissa = whole
            .wrapping_mul(INTEGER_POWERS[places.min(16)])
            .wrapping_add(fraction);
    }
    // Below 10^15 both are exact doubles, and so one division rounds rightly.
    if end - start > 16 || places > 15 || matches!(bytes[end], b'e' | b'E') {
        return long_double(bytes, at, value);
    }
    let magnitude = mantissa as f64 / POWERS[places];
    *value = if negative { -magnitude } else { magnitude };
    end
}

const INTEGER_POWERS: [u64; 17] = {
    let mut powers = [1; 17];
    let mut place = 1;
    while place < powers.len() {
        powers[place] = powers[place - 1] * 10;
        place += 1;
    }
    powers
};

#[cold]
fn long_double(bytes: &[u8], at: usize, value: &mut f64) -> usize {
    let end = scalar_end(bytes, at);
    let number = std::str::from_utf8(&bytes[at..end]).expect("a number is ASCII");
    *value = number.parse().expect("a number");
    end
}

/// Where the number or word at `at` ends.
#[inline]
fn scalar_end(bytes: &[u8], at: usize) -> usize {
    let length = bytes[at..]
        .iter()
        .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'));
    at + length.expect("an object is closed")
}

#[inline(always)]
fn skip_value(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'"' => {
            let mut stop = string_stop(bytes, at + 1);
            while bytes[stop] == b'\\' {
                stop = string_stop(bytes, stop + 2);
            }
            stop + 1
        }
        b'{' | b'[' => skip_nested(bytes, at),
        _ => scalar_end(bytes, at),
    }
}

#[cold]
fn skip_nested(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0;
    loop {
        match bytes[at] {
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            b'"' => {
                at = skip_value(bytes, at);
                continue;
            }
            _ => {}
        }
        at += 1;
        if open == 0 {
            return at;
        }
    }
}

fn behind_spaces(bytes: &[u8], at: usize) -> usize {
    let spaces = bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace());
    at + spaces.count()
}

// ---- rows

/// Rows so far, and the bytes of the one in the making.
#[derive(Default)]
struct RowSum {
    sum: Rows,
    row: Vec<u8>,
}

impl RowSum {
    #[inline]
    fn row(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.row.clear();
        write(&mut self.row);
        self.sum.count += 1;
        self.sum.checksum = self.sum.checksum.wrapping_add(xxh3_64(&self.row));
    }
}

#[inline]
fn write_integer(row: &mut Vec<u8>, value: i64) {
    row.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
fn write_double(row: &mut Vec<u8>, value: f64) {
    row.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
}

#[inline]
fn write_text(row: &mut Vec<u8>, text: &[u8]) {
    row.push(b'"');
    if text
        .iter()
        .any(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    {
        write_escaped(row, text);
    } else {
        row.extend_from_slice(text);
    }
    row.push(b'"');
}

#[cold]
fn write_escaped(row: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => row.extend_from_slice(&[b'\\', byte]),
            b'\n' => row.extend_from_slice(b"\\n"),
            b'\r' => row.extend_from_slice(b"\\r"),
            b'\t' => row.extend_from_slice(b"\\t"),
            0x08 => row.extend_from_slice(b"\\b"),
            0x0c => row.extend_from_slice(b"\\f"),
            0..0x20 => row.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => row.push(byte),
        }
    }
}

/// `2023-11-14T22:13:00Z`; the calendar is that of 1970 and later.
fn timestamp(ms: i64) -> String {
    let (days, second) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 1_000);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut day) = (1970, days);
    loop {
        let length = 365 + i64::from(is_leap(year));
        if day < length {
            break;
        }
        day -= length;
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < length {
            break;
        }
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        day + 1
    )
}
