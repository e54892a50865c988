//! The records of the scenarios: orders, the same bytes from the same seed in every release.
//!
//! ```text
//!   {"order_id":1000000001,"trader_id":"T0017","symbol":"SYM0042","price":151.234375,"quantity":37,"side":"BUY","venue":"XNAS","ts":1700000000123}
//! ```
//!
//! Laws: keys are uniform and drawn independently. Event time moves 1 ms each ten records (10,000 records an event second);
//! one record in a hundred stands up to 1.9 s behind, so under a bound of 2 s none is late, neither in its own partition nor
//! in the order of `Rounds`. Prices are multiples of 1/64 and quantities small, so double sums are exact in any order. A
//! record's partition is its key's, whatever the number of shards.

use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::plan::in_memory::{MemoryInput, MemoryPartition};

/// Partitions of the input.
pub const PARTITIONS: usize = 8;

/// The generator's seed.
pub const SEED: u64 = 1;

/// Records of a round: few enough that the event times within one differ by less than what the bound leaves.
const ROUND: u64 = 512;

const RECORDS_A_MILLISECOND: u64 = 10;

/// How far behind a record may stand, milliseconds. With the length of a round, below the bound of 2 s.
const BEHIND_MS_MAX: u64 = 1_900;

const _: () = assert!(BEHIND_MS_MAX + ROUND / RECORDS_A_MILLISECOND < 2_000);

/// The first record's event time, milliseconds since the epoch: half a second before a minute begins, so that a short run
/// closes more than one window.
const FIRST_MS: u64 = 1_699_999_979_500;

const VENUES: [&[u8]; 4] = [b"XNAS", b"XNYS", b"BATS", b"ARCX"];

/// How many different keys there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Traders.
    pub traders: u64,
    /// Symbols.
    pub symbols: u64,
    /// Whether a key is a trader and a symbol, or a symbol alone.
    pub by_trader: bool,
}

impl Keys {
    /// Number of keys.
    pub fn groups(&self) -> u64 {
        match self.by_trader {
            true => self.traders * self.symbols,
            false => self.symbols,
        }
    }
}

/// Orders dealt to partitions.
pub struct Orders {
    /// Their bytes.
    pub input: MemoryInput,
    /// In which order they were made.
    pub rounds: Rounds,
}

/// After each round: how many records each partition holds. Read a round at a time, partition by partition, the records come
/// nearly in the order in which they were made.
pub type Rounds = Vec<[usize; PARTITIONS]>;

/// Makes `records` orders.
pub fn generate(records: u64, keys: Keys) -> Orders {
    assert!(
        keys.traders > 0 && keys.symbols > 0,
        "a record has a trader and a symbol"
    );
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut partitions: [MemoryPartition; PARTITIONS] = Default::default();
    let share = records as usize / PARTITIONS;
    for partition in &mut partitions {
        // A little more than the mean record and the even share.
        partition.bytes.reserve(share * 148);
        partition.ends.reserve(share + share / 64);
    }
    let mut rounds = Rounds::new();
    for number in 0..records {
        let order = Order::draw(number, keys, &mut random);
        let partition = &mut partitions[(order.key(keys) % PARTITIONS as u64) as usize];
        order.write(&mut partition.bytes);
        partition.ends.push(partition.bytes.len());
        if (number + 1) % ROUND == 0 || number + 1 == records {
            rounds.push(partitions.each_ref().map(MemoryPartition::len));
        }
    }
    Orders {
        input: MemoryInput {
            partitions: partitions.into(),
        },
        rounds,
    }
}

impl Orders {
    /// Every record, nearly in the order in which they were made.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.placed().map(|(_, record)| record)
    }

    /// The same, each behind the number of its partition.
    pub fn placed(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let starts = std::iter::once([0; PARTITIONS]).chain(self.rounds.iter().copied());
        let rounds = starts.zip(&self.rounds);
        rounds
            .flat_map(|(from, to)| {
                (0..PARTITIONS).map(move |place| (place, from[place], to[place]))
            })
            .flat_map(|(place, from, to)| {
                let partition = &self.input.partitions[place];
                (from..to).map(move |index| {
                    let record = &partition.bytes[partition.start(index)..partition.ends[index]];
                    (place, record)
                })
            })
    }
}

/// One order.
struct Order {
    order_id: u64,
    trader: u64,
    symbol: u64,
    /// In 64ths.
    price: u64,
    quantity: u64,
    buy: bool,
    venue: u64,
    ts_ms: u64,
}

impl Order {
    fn draw(number: u64, keys: Keys, random: &mut impl RngCore) -> Order {
        // Below `bound`, evenly enough: the bias is 2^-64 of the bound.
        let mut below =
            |bound: u64| ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64;
        let (trader, symbol) = (below(keys.traders), below(keys.symbols));
        let price = 64 * 100 + below(64 * 100);
        let quantity = 1 + below(100);
        let (buy, venue) = (below(2) == 0, below(4));
        let behind_ms = match below(100) {
            0 => 1 + below(BEHIND_MS_MAX),
            _ => 0,
        };
        Order {
            order_id: 1_000_000_000 + number,
            trader,
            symbol,
            price,
            quantity,
            buy,
            venue,
            ts_ms: FIRST_MS + number / RECORDS_A_MILLISECOND - behind_ms,
        }
    }

    fn key(&self, keys: Keys) -> u64 {
        match keys.by_trader {
            true => self.trader * keys.symbols + self.symbol,
            false => self.symbol,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"order_id\":");
        write_digits(out, self.order_id, 1);
        out.extend_from_slice(b",\"trader_id\":\"T");
        write_digits(out, self.trader, 4);
        out.extend_from_slice(b"\",\"symbol\":\"SYM");
        write_digits(out, self.symbol, 4);
        out.extend_from_slice(b"\",\"price\":");
        write_digits(out, self.price / 64, 1);
        let mut millionths = self.price % 64 * 1_000_000 / 64;
        if millionths > 0 {
            out.push(b'.');
            let mut places = 6;
            while millionths.is_multiple_of(10) {
                millionths /= 10;
                places -= 1;
            }
            write_digits(out, millionths, places);
        }
        out.extend_from_slice(b",\"quantity\":");
        write_digits(out, self.quantity, 1);
        out.extend_from_slice(b",\"side\":\"");
        out.extend_from_slice(if self.buy { b"BUY" } else { b"SELL" });
        out.extend_from_slice(b"\",\"venue\":\"");
        out.extend_from_slice(VENUES[self.venue as usize]);
        out.extend_from_slice(b"\",\"ts\":");
        write_digits(out, self.ts_ms, 1);
        out.push(b'}');
    }
}

/// Appends `value` in at least `places` digits.
fn write_digits(out: &mut Vec<u8>, value: u64, places: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(value).as_bytes();
    out.extend(std::iter::repeat_n(
        b'0',
        places.saturating_sub(digits.len()),
    ));
    out.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    const KEYS: Keys = Keys {
        traders: 50,
        symbols: 100,
        by_trader: true,
    };

    #[test]
    fn the_bytes_are_the_same_in_every_release() {
        let orders = generate(10_000, KEYS);
        let first = orders.records().next().expect("there are records");
        assert_eq!(
            String::from_utf8_lossy(first),
            r#"{"order_id":1000000022,"trader_id":"T0032","symbol":"SYM0048","price":142.921875,"quantity":28,"side":"BUY","venue":"BATS","ts":1699999979502}"#
        );
        let sum = orders
            .records()
            .fold(0u64, |sum, record| sum.wrapping_add(xxh3_64(record)));
        assert_eq!(sum, 0x25d2_ed1c_24b9_80ff);
    }

    #[test]
    fn nothing_is_late_and_the_rest_is_as_promised() {
        let orders = generate(100_000, KEYS);
        let field = |record: &[u8], name: &str| {
            let value: serde_json::Value = serde_json::from_slice(record).expect("JSON");
            value[name].clone()
        };
        let late = |records: &mut dyn Iterator<Item = &[u8]>| {
            let mut highest = 0;
            records
                .filter(|record| {
                    let ts = field(record, "ts").as_u64().expect("a number");
                    highest = highest.max(ts);
                    ts + 2_000 <= highest
                })
                .count()
        };
        assert_eq!(late(&mut orders.records()), 0);
        let mut seen = 0;
        for partition in &orders.input.partitions {
            let records = |index| &partition.bytes[partition.start(index)..partition.ends[index]];
            assert_eq!(late(&mut (0..partition.len()).map(records)), 0);
            assert!((11_500..13_500).contains(&partition.len()), "an even share");
            seen += partition.len();
        }
        assert_eq!(seen, 100_000);
        assert_eq!(orders.records().count(), 100_000);
        let dear = orders
            .records()
            .filter(|record| field(record, "price").as_f64() > Some(150.0))
            .count();
        assert!((49_000..51_000).contains(&dear), "half of them: {dear}");
        let bytes: usize = orders.records().map(<[u8]>::len).sum();
        assert!((141..144).contains(&(bytes / 100_000)), "{bytes}");
    }
}
