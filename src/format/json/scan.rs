//! One pass over one record: names found, wanted values decoded into their columns, the rest skipped.
//!
//! ```text
//!   {"order_id":1234567,"trader_id":"T0042","symbol":"SYM0007","price":123.453125, ..}
//!    ^ guessed ^ skipped                              ^ a view   ^ guessed ^ a plain number
//! ```
//!
//! Law: the contract of `json` (mod.rs), clause by clause. A scan is compiled once for each kernel, whole.

use super::flaw::Flaw;
use super::names::{Found, NONE, Names};
use super::text::{checked_end, decode};
use super::value::{behind_space, byte_at, check, number_length, skip};
use crate::config::options::JsonValidate;
use crate::format::columns::{ColumnBuilders, ShortText};
use crate::format::plain::Plain;
#[cfg(target_arch = "x86_64")]
use crate::format::search::{Avx2, Sse2};
use crate::format::search::{Kernel, Portable, Vector, Width, scalar_stop, string_stop};
use crate::format::token::Token;

/// What a scan keeps from record to record.
pub(super) struct Scanner {
    pub(super) names: Names,
    pub(super) validate: JsonValidate,
    /// A string without its escapes.
    pub(super) decoded: Vec<u8>,
}

impl Scanner {
    /// Puts every wanted field of a record into its column; fails with what is wrong when it is not one JSON object.
    #[inline]
    pub(super) fn scan(
        &mut self,
        kernel: Kernel,
        record: &[u8],
        columns: &mut ColumnBuilders,
    ) -> Result<(), Flaw> {
        match kernel.0 {
            Width::Portable => self.scan_with::<Portable>(record, columns),
            #[cfg(target_arch = "x86_64")]
            Width::Sse2 => self.scan_with::<Sse2>(record, columns),
            // SAFETY: this kernel is chosen only on a machine that has these features (`Kernel::detect`).
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { self.scan_avx2(record, columns) },
        }
    }

    /// # Safety
    /// The machine must have AVX2, BMI1, BMI2 and LZCNT.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    unsafe fn scan_avx2(
        &mut self,
        record: &[u8],
        columns: &mut ColumnBuilders,
    ) -> Result<(), Flaw> {
        self.scan_with::<Avx2>(record, columns)
    }

    #[inline(always)]
    fn scan_with<V: Vector>(
        &mut self,
        record: &[u8],
        columns: &mut ColumnBuilders,
    ) -> Result<(), Flaw> {
        let strict = self.validate == JsonValidate::Strict;
        if strict && std::str::from_utf8(record).is_err() {
            return Err(Flaw::NotUtf8(0));
        }
        let mut at = behind_space(record, 0);
        if byte_at(record, at) != b'{' {
            return Err(match at < record.len() {
                true => Flaw::Missing("an opening brace", at),
                false => Flaw::Empty,
            });
        }
        at += 1;
        let mut last = NONE;
        if byte_at(record, behind_space(record, at)) == b'}' {
            at = behind_space(record, at);
        } else {
            loop {
                let guess = self.names.behind(last);
                let found = match self.names.try_guess(guess, record, at) {
                    Some(found) => found,
                    None => self.find_name(last, guess, record, at)?,
                };
                last = found.guess;
                let value = behind_space(record, found.behind);
                at = if columns.awaits(found.slot) {
                    self.put::<V>(record, value, found.slot, columns)?
                } else if strict {
                    check::<V>(record, value)?
                } else {
                    skip::<V>(record, value)?
                };
                at = behind_space(record, at);
                match byte_at(record, at) {
                    b',' => at += 1,
                    b'}' => break,
                    _ => return Err(Flaw::Missing("a comma or a closing brace", at)),
                }
            }
        }
        match behind_space(record, at + 1) {
            end if end == record.len() => Ok(()),
            behind => Err(Flaw::Behind(behind)),
        }
    }

    /// The field whose name stands at `at`, whitespace ahead, behind the name of guess `last` and perhaps of `guess`.
    /// Names are short: the kernel of every machine does.
    #[cold]
    #[inline(never)]
    fn find_name(
        &mut self,
        last: usize,
        guess: usize,
        record: &[u8],
        at: usize,
    ) -> Result<Found, Flaw> {
        let open = behind_space(record, at);
        if let Some(found) = self.names.try_guess(guess, record, open) {
            return Ok(found);
        }
        if byte_at(record, open) != b'"' {
            return Err(Flaw::Missing("a name in quotes", open));
        }
        let close = checked_end::<Portable>(record, open)?;
        if std::str::from_utf8(&record[open..close]).is_err() {
            return Err(Flaw::NotUtf8(open));
        }
        let colon = behind_space(record, close);
        if byte_at(record, colon) != b':' {
            return Err(Flaw::Missing("a colon", colon));
        }
        decode(record, open + 1, close - 1, &mut self.decoded);
        let written = &record[open..=colon];
        Ok(self.names.find(last, written, &self.decoded, colon + 1))
    }

    /// Decodes the value at `at` into its column; the byte behind it.
    #[inline(always)]
    fn put<V: Vector>(
        &mut self,
        record: &[u8],
        at: usize,
        slot: usize,
        columns: &mut ColumnBuilders,
    ) -> Result<usize, Flaw> {
        match byte_at(record, at) {
            b'"' => {
                let start = at + 1;
                let stop = string_stop::<V>(record, start);
                if byte_at(record, stop) == b'"'
                    && let Some(text) = ShortText::read(record, start, stop)
                    && columns.put_short(slot, text)
                {
                    return Ok(stop + 1);
                }
                self.put_text::<V>(record, at, slot, columns)
            }
            b'-' | b'0'..=b'9' => {
                let end = scalar_stop::<V>(record, at);
                if let Some(number) = Plain::read(record, at, end)
                    && !number.zero_led
                    && columns.put_plain(slot, number)
                {
                    return Ok(end);
                }
                put_number(record, at, end, slot, columns)
            }
            _ => put_rest::<V>(record, at, slot, columns),
        }
    }

    /// Any string.
    #[inline(always)]
    fn put_text<V: Vector>(
        &mut self,
        record: &[u8],
        at: usize,
        slot: usize,
        columns: &mut ColumnBuilders,
    ) -> Result<usize, Flaw> {
        let behind = checked_end::<V>(record, at)?;
        let written = &record[at + 1..behind - 1];
        let bytes = if written.contains(&b'\\') {
            decode(record, at + 1, behind - 1, &mut self.decoded);
            self.decoded.as_slice()
        } else {
            written
        };
        let text = std::str::from_utf8(bytes).map_err(|_| Flaw::NotUtf8(at))?;
        columns.put(slot, Token::Text(text));
        Ok(behind)
    }
}

/// Any number.
#[inline(never)]
fn put_number(
    record: &[u8],
    at: usize,
    end: usize,
    slot: usize,
    columns: &mut ColumnBuilders,
) -> Result<usize, Flaw> {
    let written = &record[at..end];
    if number_length(written) != Some(written.len()) {
        return Err(Flaw::NoValue(at));
    }
    let text = std::str::from_utf8(written).expect("a number is ASCII");
    columns.put(slot, Token::Number(text));
    Ok(end)
}

/// Words, objects, arrays, and what is no value.
#[inline(always)]
fn put_rest<V: Vector>(
    record: &[u8],
    at: usize,
    slot: usize,
    columns: &mut ColumnBuilders,
) -> Result<usize, Flaw> {
    let end = check::<V>(record, at)?;
    let written = std::str::from_utf8(&record[at..end]).map_err(|_| Flaw::NotUtf8(at))?;
    let token = match written {
        "null" => Token::Null,
        "true" => Token::Boolean(true),
        "false" => Token::Boolean(false),
        nested => Token::Nested(nested),
    };
    columns.put(slot, token);
    Ok(end)
}
