//! Secrets in a text of SQL, blotted out where they stand, so that its lines can be shown.
//!
//! Law: the text is read as it is, for it may be what is wrong: a secret is found by the name before it and by nothing else.

use std::ops::Range;

use super::secret::is_secret_name;

/// `text` with every secret in it blotted out, and as long as before, so that places in it stay where they are. A secret is what
/// stands, quoted, behind a word that is the name of one; behind an option of Kafka it need not be quoted. Whatever else is wrong
/// with the text does not matter.
pub fn blot(text: &str) -> String {
    let mut blotted = text.to_owned();
    let mut from = 0;
    while let Some(place) = next_secret(text, from) {
        let stars = "*".repeat(place.len());
        blotted.replace_range(place.clone(), &stars);
        from = place.end;
    }
    blotted
}

/// The next secret in `text`, its quotes left out.
fn next_secret(text: &str, from: usize) -> Option<Range<usize>> {
    let in_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-');
    let mut at = from;
    loop {
        let start = at + text[at..].find(in_word)?;
        let end = text[start..]
            .find(|letter| !in_word(letter))
            .map_or(text.len(), |length| start + length);
        at = end;
        let name = &text[start..end];
        if !is_secret_name(name) {
            continue;
        }
        // Behind the name stand the quote that closes it, spaces, and what joins it to its value.
        let joint =
            |letter: char| letter.is_whitespace() || matches!(letter, '=' | ':' | '>' | '"');
        let behind = text[end..].strip_prefix('\'').unwrap_or(&text[end..]);
        let value = behind.trim_start_matches(joint);
        let start = text.len() - value.len();
        if let Some(quoted) = value.strip_prefix('\'') {
            return Some(start + 1..start + 1 + quoted_length(quoted));
        }
        let of_kafka =
            name.to_ascii_lowercase().starts_with("kafka.") && value.len() < behind.len();
        let bare = |letter: char| letter.is_whitespace() || matches!(letter, ',' | ')' | ';');
        let length = value.find(bare).unwrap_or(value.len());
        if of_kafka && length > 0 {
            return Some(start..start + length);
        }
    }
}

/// How long a quoted text is whose first quote has been read: a quote within is doubled, and where the last one is missing all of
/// the rest belongs to it.
fn quoted_length(quoted: &str) -> usize {
    let mut length = 0;
    while let Some(quote) = quoted[length..].find('\'') {
        length += quote;
        if !quoted[length + 1..].starts_with('\'') {
            return length;
        }
        length += 2;
    }
    quoted.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_sql_are_blotted_out_where_they_stand() {
        for (text, wanted) in [
            (
                "WITH (kafka.sasl.password = 'hunter2', topic = 'x')",
                "WITH (kafka.sasl.password = '*******', topic = 'x')",
            ),
            (
                "('kafka.sasl.password'='it''s', \"ssl.key.password\" =\n 'b')",
                "('kafka.sasl.password'='*****', \"ssl.key.password\" =\n '*')",
            ),
            (
                "kafka.sasl.password 'never closed",
                "kafka.sasl.password '************",
            ),
            (
                "KAFKA.SASL.PASSWORD => 'é' x",
                "KAFKA.SASL.PASSWORD => '**' x",
            ),
            (
                "kafka.sasl.password = hunter2, a",
                "kafka.sasl.password = *******, a",
            ),
            ("'kafka.sasl.password' = 42)", "'kafka.sasl.password' = **)"),
            ("SELECT password, 'x' FROM t", "SELECT password, 'x' FROM t"),
            (
                "SELECT password FROM t WHERE a = 'x'",
                "SELECT password FROM t WHERE a = 'x'",
            ),
            ("key.columns = 'carrier'", "key.columns = 'carrier'"),
        ] {
            assert_eq!(blot(text), wanted);
            assert_eq!(blot(text).len(), text.len());
        }
    }
}
