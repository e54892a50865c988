//! JSON strings: checked, and decoded where they have escapes.
//!
//! Law: a string ends at its first quote that no backslash takes along; between there is no control character, every
//! escape is one of RFC 8259, and surrogates come in pairs. UTF-8 is for the caller to check: where nobody looks it need
//! not hold.

use super::flaw::Flaw;
use crate::format::search::{Vector, quote_stop, string_stop};

/// The byte behind the string whose opening quote stands at `open`. Everything in it is checked but UTF-8.
#[inline(always)]
pub(super) fn checked_end<V: Vector>(record: &[u8], open: usize) -> Result<usize, Flaw> {
    let mut at = open + 1;
    loop {
        at = string_stop::<V>(record, at);
        match record.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(record, at)?.1,
            Some(_) => return Err(Flaw::Control(at)),
            None => return Err(Flaw::OpenText(open)),
        }
    }
}

/// The byte behind the string whose opening quote stands at `open`. Nothing in it is looked at: a backslash takes the byte
/// behind it along.
#[inline(always)]
pub(super) fn skipped_end<V: Vector>(record: &[u8], open: usize) -> Result<usize, Flaw> {
    let mut at = open + 1;
    loop {
        at = quote_stop::<V>(record, at);
        match record.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(_) if at + 2 <= record.len() => at += 2,
            _ => return Err(Flaw::OpenText(open)),
        }
    }
}

/// Decodes the string between `start` and `end`, which was checked, into `decoded`.
#[cold]
pub(super) fn decode(record: &[u8], start: usize, end: usize, decoded: &mut Vec<u8>) {
    decoded.clear();
    let mut at = start;
    while at < end {
        let rest = &record[at..end];
        let plain = rest.iter().position(|&byte| byte == b'\\');
        let plain = plain.unwrap_or(rest.len());
        decoded.extend_from_slice(&rest[..plain]);
        at += plain;
        if at < end {
            let (character, behind) = escape(record, at).expect("the string was checked");
            let mut utf8 = [0; 4];
            decoded.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
            at = behind;
        }
    }
}

/// The character that the escape at `at` stands for, and the byte behind it.
fn escape(record: &[u8], at: usize) -> Result<(char, usize), Flaw> {
    let broken = Flaw::Escape(at);
    let character = match record.get(at + 1).ok_or(broken)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let unit = unit(record, at).ok_or(broken)?;
            return match char::from_u32(unit) {
                Some(character) => Ok((character, at + 6)),
                None => {
                    let low = self::unit(record, at + 6).ok_or(broken)?;
                    let pair = char::decode_utf16([unit as u16, low as u16]).next();
                    match pair {
                        Some(Ok(character)) => Ok((character, at + 12)),
                        _ => Err(broken),
                    }
                }
            };
        }
        _ => return Err(broken),
    };
    Ok((character, at + 2))
}

/// The sixteen bits of `\uXXXX` at `at`.
fn unit(record: &[u8], at: usize) -> Option<u32> {
    let written: &[u8; 6] = record.get(at..)?.first_chunk()?;
    if written[..2] != *b"\\u" {
        return None;
    }
    written[2..].iter().try_fold(0, |unit, &digit| {
        Some(unit << 4 | char::from(digit).to_digit(16)?)
    })
}
