//! Arrow's and DataFusion's words, as people say them who write SQL.

/// Arrow's names of types, and SQL's.
const TYPES: &[(&str, &str)] = &[
    ("Utf8View", "VARCHAR"),
    ("LargeUtf8", "VARCHAR"),
    ("Utf8", "VARCHAR"),
    ("String", "VARCHAR"),
    ("Boolean", "BOOLEAN"),
    ("Int8", "TINYINT"),
    ("Int16", "SMALLINT"),
    ("Int32", "INT"),
    ("Int64", "BIGINT"),
    ("Integer", "INT"),
    ("Float32", "REAL"),
    ("Float64", "DOUBLE"),
    ("Decimal", "DECIMAL"),
    ("Decimal128", "DECIMAL"),
    ("Decimal256", "DECIMAL"),
    ("BinaryView", "BYTES"),
    ("Binary", "BYTES"),
    ("Date32", "DATE"),
    ("Interval", "INTERVAL"),
];

/// What the layers put before a reason.
const LAYERS: &[&str] = &[
    "Execution error: ",
    "Arrow error: ",
    "Cast error: ",
    "Parser error: ",
    "Arithmetic overflow: ",
    "Invalid argument error: ",
    "Compute error: ",
];

/// `text` with the names of types as people write them, in place of Arrow's. What stands in quotes is a value, and stays.
pub fn sql_types(text: &str) -> String {
    let text = text
        .replace("Timestamp(µs)", "TIMESTAMP")
        .replace("Time64(µs)", "TIME");
    let mut words = String::new();
    let mut word = String::new();
    let mut quoted = false;
    for letter in text.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() || letter == '_' {
            word.push(letter);
            continue;
        }
        let name = TYPES.iter().find(|(arrow, _)| *arrow == word && !quoted);
        words.push_str(name.map_or(word.as_str(), |(_, sql)| sql));
        word.clear();
        words.push(letter);
        quoted ^= letter == '\'';
    }
    words.pop();
    words
}

/// Why a record is bad, without the names of the layers through which that came.
pub fn reason(text: &str) -> String {
    let mut text = text;
    while let Some(rest) = LAYERS.iter().find_map(|layer| text.strip_prefix(layer)) {
        text = rest;
    }
    // An apostrophe in "Can't" is no quote.
    sql_types(&text.replacen("Can't", "Cannot", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_in_the_words_of_sql() {
        for (text, wanted) in [
            (
                "Cast error: Cannot cast string 'Int64' to value of Int64 type",
                "Cannot cast string 'Int64' to value of BIGINT type",
            ),
            (
                "Arrow error: Cast error: Can't cast value 300 to type Int8",
                "Cannot cast value 300 to type TINYINT",
            ),
            (
                "Invalid argument error: 1000 is too large to store in a Decimal128 of precision 3. Max is 999",
                "1000 is too large to store in a DECIMAL of precision 3. Max is 999",
            ),
            ("Divide by zero error", "Divide by zero error"),
        ] {
            assert_eq!(reason(text), wanted);
        }
    }
}
