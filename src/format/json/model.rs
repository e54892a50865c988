//! The contract of `json` once more, clause by clause and byte by byte: what the fuzzer holds the scanner to.
//!
//! Law: nothing of the scanner is used here. What a string holds is left to serde_json; slow and plain is the point.

use std::ops::Range;

use crate::config::limits::JSON_NESTING_MAX;

/// For each wanted name where the value stands that counts; `None` for a record that breaks the contract.
pub(super) fn fields(
    record: &[u8],
    wanted: &[&str],
    strict: bool,
) -> Option<Vec<Option<Range<usize>>>> {
    if strict && std::str::from_utf8(record).is_err() {
        return None;
    }
    let mut model = Model { record, at: 0 };
    let mut found = vec![None; wanted.len()];
    model.space();
    model.byte(b'{')?;
    model.space();
    if model.peek() == Some(b'}') {
        model.at += 1;
    } else {
        loop {
            model.space();
            let name = model.checked_string()?;
            model.space();
            model.byte(b':')?;
            model.space();
            let start = model.at;
            let slot = wanted.iter().position(|wanted| *wanted == name);
            match slot.filter(|&slot| found[slot].is_none()) {
                Some(slot) => {
                    model.checked_value(1)?;
                    found[slot] = Some(start..model.at);
                }
                None if strict => model.checked_value(1)?,
                None => model.skipped_value()?,
            }
            model.space();
            match model.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
    }
    model.space();
    (model.at == record.len()).then_some(found)
}

struct Model<'a> {
    record: &'a [u8],
    at: usize,
}

impl Model<'_> {
    fn peek(&self) -> Option<u8> {
        self.record.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn byte(&mut self, expected: u8) -> Option<()> {
        (self.next()? == expected).then_some(())
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\n\r".contains(&byte)) {
            self.at += 1;
        }
    }

    /// Clause 4: a string by its quotes.
    fn skipped_string(&mut self) -> Option<()> {
        self.byte(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => drop(self.next()?),
                _ => {}
            }
        }
    }

    /// Clause 2: a whole string, decoded.
    fn checked_string(&mut self) -> Option<String> {
        let start = self.at;
        self.skipped_string()?;
        serde_json::from_slice(&self.record[start..self.at]).ok()
    }

    /// Clause 4.
    fn skipped_value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.skipped_string(),
            b'{' | b'[' => {
                let mut closers = Vec::new();
                loop {
                    match self.peek()? {
                        b'"' => {
                            self.skipped_string()?;
                            continue;
                        }
                        b'{' => closers.push(b'}'),
                        b'[' => closers.push(b']'),
                        byte @ (b'}' | b']') if closers.pop() != Some(byte) => return None,
                        _ => {}
                    }
                    self.at += 1;
                    if closers.len() + 1 > JSON_NESTING_MAX {
                        return None;
                    }
                    if closers.is_empty() {
                        return Some(());
                    }
                }
            }
            _ => {
                let start = self.at;
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./".contains(&byte);
                while self.peek().is_some_and(plain) {
                    self.at += 1;
                }
                (self.at > start).then_some(())
            }
        }
    }

    /// Clauses 3 and 5: a whole value, within `level` brackets.
    fn checked_value(&mut self, level: usize) -> Option<()> {
        let start = self.at;
        match self.peek()? {
            b'"' => self.checked_string().map(drop),
            open @ (b'{' | b'[') => {
                if level + 1 > JSON_NESTING_MAX {
                    return None;
                }
                let close = if open == b'{' { b'}' } else { b']' };
                self.at += 1;
                self.space();
                if self.peek()? == close {
                    self.at += 1;
                    return Some(());
                }
                loop {
                    self.space();
                    if open == b'{' {
                        self.checked_string()?;
                        self.space();
                        self.byte(b':')?;
                        self.space();
                    }
                    self.checked_value(level + 1)?;
                    self.space();
                    match self.next()? {
                        b',' => {}
                        byte if byte == close => return Some(()),
                        _ => return None,
                    }
                }
            }
            _ => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
                while self.peek().is_some_and(plain) {
                    self.at += 1;
                }
                let text = std::str::from_utf8(&self.record[start..self.at]).ok()?;
                (matches!(text, "true" | "false" | "null") || is_number(text)).then_some(())
            }
        }
    }
}

/// `-`, a whole part, perhaps a fraction, perhaps an exponent.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((text, exponent)) => (text, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (text, "0"),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let zero_led = whole.len() > 1 && whole.starts_with('0');
    digits(whole) && !zero_led && digits(fraction) && digits(exponent)
}
