//! A JSON value from its first byte to the one behind it: checked wholly, or skipped by its structure.
//!
//! Law: nothing here recurses; which brackets are open is a word of bits, so that a record cannot exhaust a shard's stack.

use super::flaw::Flaw;
use super::text::{checked_end, skipped_end};
use crate::config::limits::JSON_NESTING_MAX;
use crate::format::search::{Vector, nesting_stop, scalar_stop};

/// The byte at `at`; zero, which stands nowhere in JSON, behind the end.
#[inline(always)]
pub(super) fn byte_at(record: &[u8], at: usize) -> u8 {
    record.get(at).copied().unwrap_or(0)
}

/// The first byte from `at` on that is no whitespace.
#[inline(always)]
pub(super) fn behind_space(record: &[u8], mut at: usize) -> usize {
    while matches!(byte_at(record, at), b' ' | b'\t' | b'\n' | b'\r') {
        at += 1;
    }
    at
}

/// The brackets that are open within the record's own object: a bit each, set for an object.
struct Open {
    kinds: u128,
    levels: u32,
}

/// All but the record's own.
const LEVELS_MAX: u32 = JSON_NESTING_MAX as u32 - 1;
const _: () = assert!(LEVELS_MAX <= u128::BITS, "a level is a bit");

impl Open {
    fn none() -> Open {
        Open {
            kinds: 0,
            levels: 0,
        }
    }

    #[inline(always)]
    fn push(&mut self, object: bool) -> Result<(), Flaw> {
        if self.levels == LEVELS_MAX {
            return Err(Flaw::TooDeep);
        }
        self.levels += 1;
        self.kinds = self.kinds << 1 | u128::from(object);
        Ok(())
    }

    /// Whether the innermost is an object; `None` if nothing is open.
    #[inline(always)]
    fn innermost(&self) -> Option<bool> {
        (self.levels > 0).then_some(self.kinds & 1 == 1)
    }

    #[inline(always)]
    fn pop(&mut self) {
        self.levels -= 1;
        self.kinds >>= 1;
    }
}

/// The byte behind the value at `start`, of which only the structure is looked at.
#[inline(always)]
pub(super) fn skip<V: Vector>(record: &[u8], start: usize) -> Result<usize, Flaw> {
    match byte_at(record, start) {
        b'"' => skipped_end::<V>(record, start),
        b'{' | b'[' => skip_nested::<V>(record, start),
        _ => match scalar_stop::<V>(record, start.min(record.len())) {
            end if end > start => Ok(end),
            _ => Err(Flaw::NoValue(start)),
        },
    }
}

#[inline(always)]
fn skip_nested<V: Vector>(record: &[u8], start: usize) -> Result<usize, Flaw> {
    let mut open = Open::none();
    let mut at = start;
    loop {
        match record.get(at) {
            Some(&byte @ (b'{' | b'[')) => {
                open.push(byte == b'{')?;
                at += 1;
            }
            Some(&byte @ (b'}' | b']')) => {
                if open.innermost() != Some(byte == b'}') {
                    return Err(Flaw::Missing("another closing bracket", at));
                }
                open.pop();
                at += 1;
                if open.levels == 0 {
                    return Ok(at);
                }
            }
            Some(b'"') => at = skipped_end::<V>(record, at)?,
            Some(_) => at = nesting_stop::<V>(record, at),
            None => return Err(Flaw::Missing("a closing bracket", at)),
        }
    }
}

/// The byte behind the value at `start`, everything of which is checked but UTF-8.
#[inline(always)]
pub(super) fn check<V: Vector>(record: &[u8], start: usize) -> Result<usize, Flaw> {
    match byte_at(record, start) {
        b'"' => checked_end::<V>(record, start),
        b'{' | b'[' => check_nested::<V>(record, start),
        _ => scalar_end(record, start),
    }
}

#[inline(always)]
fn check_nested<V: Vector>(record: &[u8], start: usize) -> Result<usize, Flaw> {
    let mut open = Open::none();
    let mut at = start;
    loop {
        // A value starts here.
        let byte = byte_at(record, at);
        if matches!(byte, b'{' | b'[') {
            let object = byte == b'{';
            open.push(object)?;
            at = behind_space(record, at + 1);
            if byte_at(record, at) != (if object { b'}' } else { b']' }) {
                if object {
                    at = behind_name::<V>(record, at)?;
                }
                continue;
            }
            open.pop();
            at += 1;
        } else if byte == b'"' {
            at = checked_end::<V>(record, at)?;
        } else {
            at = scalar_end(record, at)?;
        }
        // A value ends here.
        loop {
            let Some(object) = open.innermost() else {
                return Ok(at);
            };
            at = behind_space(record, at);
            match (byte_at(record, at), object) {
                (b',', _) => {
                    at = behind_space(record, at + 1);
                    if object {
                        at = behind_name::<V>(record, at)?;
                    }
                    break;
                }
                (b'}', true) | (b']', false) => {
                    open.pop();
                    at += 1;
                }
                (_, true) => return Err(Flaw::Missing("a comma or a closing brace", at)),
                (_, false) => return Err(Flaw::Missing("a comma or a closing bracket", at)),
            }
        }
    }
}

/// The first byte of the value that belongs to the name at `at`.
#[inline(always)]
fn behind_name<V: Vector>(record: &[u8], at: usize) -> Result<usize, Flaw> {
    if byte_at(record, at) != b'"' {
        return Err(Flaw::Missing("a name in quotes", at));
    }
    let at = behind_space(record, checked_end::<V>(record, at)?);
    behind_colon(record, at)
}

/// The first byte of the value behind the colon that stands at `at`.
#[inline(always)]
fn behind_colon(record: &[u8], at: usize) -> Result<usize, Flaw> {
    if byte_at(record, at) != b':' {
        return Err(Flaw::Missing("a colon", at));
    }
    Ok(behind_space(record, at + 1))
}

/// The byte behind the number or the word at `start`.
fn scalar_end(record: &[u8], start: usize) -> Result<usize, Flaw> {
    let rest = &record[start.min(record.len())..];
    let length = match rest.first() {
        Some(b't') if rest.starts_with(b"true") => Some(4),
        Some(b'f') if rest.starts_with(b"false") => Some(5),
        Some(b'n') if rest.starts_with(b"null") => Some(4),
        _ => number_length(rest),
    };
    match length {
        Some(length) => Ok(start + length),
        None => Err(Flaw::NoValue(start)),
    }
}

/// How many bytes of `text` are a JSON number: `-`, digits without a zero before others, a point and digits, an exponent.
/// `None` if it does not start with one.
pub(super) fn number_length(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let digits = text.get(from..).unwrap_or_default();
        let count = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        (count > 0).then_some(from + count)
    };
    let whole = usize::from(text.first() == Some(&b'-'));
    let mut end = match text.get(whole) {
        Some(b'0') => whole + 1,
        _ => digits(whole)?,
    };
    if text.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let signed = matches!(text.get(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(signed))?;
    }
    Some(end)
}
