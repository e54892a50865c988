//! The nearest known name to one that nobody knows, for "did you mean".
//!
//! Law: a suggestion is close enough to be a slip of the pen; a far one is worse than none.

/// The name among `known` that `written` is probably meant to be: at most a third of its letters differ, and at most
/// three. Ties go to the first.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let allowed = (written.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&written, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_pen_is_understood() {
        assert_eq!(nearest("topik", ["topic", "format"]), Some("topic"));
        assert_eq!(nearest("ofrmat", ["topic", "format"]), Some("format"));
        assert_eq!(nearest("TOPIC", ["topic", "format"]), Some("topic"));
    }

    #[test]
    fn a_far_name_is_not_suggested() {
        assert_eq!(nearest("rows", ["topic", "format"]), None);
        assert_eq!(nearest("x", ["topic", "format"]), None);
    }
}
