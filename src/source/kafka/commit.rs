//! What stands beside a committed offset: enough to go on exactly where a run had come to.
//!
//! ```text
//!   velo1;f=<fingerprint>;w=<query watermark>;n=<next offset>;s=<watermark at the offset>;m=<watermark at next>;c=<checksum>
//!   velo1;f=9f86d081884c7d65;w=1385892000000000;n=151234;s=1385888399000000;m=1385892003000000;c=1b2e40d7
//! ```
//!
//! A number is decimal, `-` the watermark before the first record; fingerprint and checksum are hexadecimal. The committed
//! offset itself is where a restart seeks to, and is covered by the checksum too.
//!
//! Law: what does not read back byte for byte as it would be written is not ours. At most `COMMIT_METADATA_BYTES_MAX` bytes, ASCII.

use std::fmt::Write;

use crate::config::limits::COMMIT_METADATA_BYTES_MAX;
use crate::time::Watermark;

/// A commit of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCommit {
    /// Partition.
    pub partition: i32,
    /// The offset that is committed: the first that an open window may still need.
    pub seek: i64,
    /// What the offset means to the queries that wrote it.
    pub fingerprint: u64,
    /// Windows with end and grace at or below it are done: their rows are acknowledged.
    pub done: Watermark,
    /// The offset behind the last record whose rows and dead letters are acknowledged.
    pub next: i64,
    /// The partition's own watermark just before `seek`.
    pub watermark_at_seek: Watermark,
    /// And just before `next`.
    pub watermark_at_next: Watermark,
}

/// The version that is written, and the only one that is read.
const VERSION: &str = "velo1";

impl PartitionCommit {
    /// The text beside the offset.
    pub fn metadata(&self) -> String {
        let mut text = self.unchecked();
        let checksum = checksum(self.seek, &text);
        write!(text, ";c={checksum:08x}").expect("writing to a string does not fail");
        debug_assert!(text.len() <= COMMIT_METADATA_BYTES_MAX && text.is_ascii());
        text
    }

    fn unchecked(&self) -> String {
        format!(
            "{VERSION};f={:016x};w={};n={};s={};m={}",
            self.fingerprint,
            number(self.done),
            self.next,
            number(self.watermark_at_seek),
            number(self.watermark_at_next),
        )
    }

    /// What was committed of `partition` as `seek` with `metadata` beside it, or why that is none of ours.
    pub fn read(partition: i32, seek: i64, metadata: &str) -> Result<PartitionCommit, String> {
        if metadata.is_empty() {
            return Err("nothing stands beside the offset".to_owned());
        }
        let mut fields = metadata.split(';');
        let version = fields.next().unwrap_or_default();
        if version != VERSION {
            return Err(match version.strip_prefix("velo") {
                Some(other) if other.bytes().all(|byte| byte.is_ascii_digit()) => {
                    format!("it was written in version {other} of its form, and this is version 1")
                }
                _ => "another program wrote it".to_owned(),
            });
        }
        let damaged = || "what stands beside the offset is damaged".to_owned();
        let mut field = |name: &str| {
            fields
                .next()
                .and_then(|field| field.strip_prefix(name))
                .ok_or_else(damaged)
        };
        let fingerprint = u64::from_str_radix(field("f=")?, 16).map_err(|_| damaged())?;
        let done = watermark(field("w=")?).ok_or_else(damaged)?;
        let next = field("n=")?.parse().map_err(|_| damaged())?;
        let watermark_at_seek = watermark(field("s=")?).ok_or_else(damaged)?;
        let watermark_at_next = watermark(field("m=")?).ok_or_else(damaged)?;
        let read = PartitionCommit {
            partition,
            seek,
            fingerprint,
            done,
            next,
            watermark_at_seek,
            watermark_at_next,
        };
        match read.metadata() == metadata && seek <= next {
            true => Ok(read),
            false => Err(damaged()),
        }
    }
}

/// FNV-1a over what a plan, or a commit, consists of: stable over runs, machines and versions.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of nothing.
    pub fn new() -> Fingerprint {
        Fingerprint(0xcbf2_9ce4_8422_2325)
    }

    /// Takes a part in. Where one part ends and the next begins counts.
    pub fn take(&mut self, part: &str) {
        let length = part.len() as u64;
        for byte in length.to_le_bytes().into_iter().chain(part.bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Of all parts, in their order.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl Default for Fingerprint {
    fn default() -> Fingerprint {
        Fingerprint::new()
    }
}

fn checksum(seek: i64, text: &str) -> u32 {
    let mut all = Fingerprint::new();
    all.take(&seek.to_string());
    all.take(text);
    let value = all.value();
    (value ^ (value >> 32)) as u32
}

fn number(watermark: Watermark) -> String {
    match watermark {
        Watermark::NONE => "-".to_owned(),
        Watermark(time_us) => time_us.to_string(),
    }
}

fn watermark(text: &str) -> Option<Watermark> {
    match text {
        "-" => Some(Watermark::NONE),
        number => number.parse().ok().map(Watermark),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: PartitionCommit = PartitionCommit {
        partition: 3,
        seek: 120_000,
        fingerprint: 0x9f86_d081_884c_7d65,
        done: Watermark(1_385_892_000_000_000),
        next: 151_234,
        watermark_at_seek: Watermark(1_385_888_399_000_000),
        watermark_at_next: Watermark::NONE,
    };

    #[test]
    fn the_form_is_short_and_stays_as_it_is() {
        let text = COMMIT.metadata();
        assert!(
            text.starts_with(
                "velo1;f=9f86d081884c7d65;w=1385892000000000;n=151234;s=1385888399000000;m=-;c="
            ),
            "{text}"
        );
        assert_eq!(PartitionCommit::read(3, 120_000, &text), Ok(COMMIT));
    }

    #[test]
    fn what_others_wrote_is_told_apart_from_what_is_damaged() {
        let says = |metadata: &str, word: &str| {
            let reason = PartitionCommit::read(3, 120_000, metadata).expect_err("none of ours");
            assert!(reason.contains(word), "{metadata}: {reason}");
        };
        says("", "nothing stands");
        says("{\"app\":7}", "another program");
        says("velo2;f=0", "version 2");
        says("velo1", "damaged");
        says(
            &COMMIT.metadata().replace("n=151234", "n=151235"),
            "damaged",
        );
        says(&COMMIT.metadata().replace("w=1", "w=+1"), "damaged");
        let text = COMMIT.metadata();
        PartitionCommit::read(3, 119_999, &text).expect_err("another offset than was committed");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| {
            let mut all = Fingerprint::new();
            parts.iter().for_each(|part| all.take(part));
            all.value()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a"]), of(&["a", ""]));
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
    }

    fn any_watermark() -> impl Strategy<Value = Watermark> {
        prop_oneof![
            Just(Watermark::NONE),
            Just(Watermark::END),
            any::<i64>().prop_map(Watermark)
        ]
    }

    proptest! {
        #[test]
        fn any_commit_reads_back_and_any_changed_byte_is_seen(
            seek in 0..=i64::MAX,
            ahead in 0..=i64::MAX,
            fingerprint in any::<u64>(),
            watermarks in prop::array::uniform3(any_watermark()),
            at in any::<prop::sample::Index>(),
            byte in b' '..b'~',
        ) {
            let [done, watermark_at_seek, watermark_at_next] = watermarks;
            let next = seek.saturating_add(ahead);
            let commit = PartitionCommit { partition: 7, seek, fingerprint, done, next, watermark_at_seek, watermark_at_next };
            let text = commit.metadata();
            prop_assert!(text.len() <= COMMIT_METADATA_BYTES_MAX && text.is_ascii());
            prop_assert_eq!(PartitionCommit::read(7, seek, &text), Ok(commit));
            let mut damaged = text.clone().into_bytes();
            let place = at.index(damaged.len());
            damaged[place] = byte;
            let damaged = String::from_utf8(damaged).expect("ASCII");
            if damaged != text {
                PartitionCommit::read(7, seek, &damaged).expect_err("damaged");
            }
        }
    }
}
