//! Where the clauses WINDOW and EMIT may stand.
//!
//! ```text
//!   SELECT .. FROM s WHERE qty > 1 | WINDOW TUMBLING (SIZE 1 MINUTE) | GROUP BY customer
//!   what is before it is a query      the clause, cut out              another clause, or the end
//! ```
//!
//! Law: a clause is cut out of the text, so it is accepted only where nothing grows together behind it: what stands before it
//! is a complete query by itself, and what follows it begins another clause. What the clauses say is not looked at here.

use super::diagnose::Code;
use super::tokens::Tokens;
use crate::config::nearest::nearest;
use crate::error::{Error, Result, Span};

/// The words with which a clause begins that may follow.
const CLAUSES: &[&str] = &[
    "where",
    "group",
    "having",
    "window",
    "emit",
    "order",
    "limit",
    "union",
    "intersect",
    "except",
];

/// Words that are written behind a clause out of habit, and what is meant by them.
const HABITS: &[(&[&str], &str)] = &[
    (
        &["changes", "final", "every", "emitchanges", "emitfinal"],
        "write EMIT CHANGES or EMIT FINAL, in two words",
    ),
    (
        &["grace"],
        "put it into the window: WINDOW TUMBLING (SIZE 1 HOUR, GRACE PERIOD 5 SECONDS)",
    ),
    (
        &["retention"],
        "leave it out: a window is kept until it closes, which is at its end plus GRACE PERIOD",
    ),
];

/// Refuses what follows the clause `name` at the cursor `behind`, unless it is another clause or the end.
pub(super) fn check_follower(behind: &Tokens<'_>, name: &str, clause: Span) -> Result<()> {
    if behind.is_at_end() || CLAUSES.iter().any(|word| behind.at_word(word)) {
        return Ok(());
    }
    if !has_from(&behind.before(clause)) {
        return Err(misplaced(behind, name, clause, "in the SELECT list"));
    }
    let word = behind.peek().map(|token| token.to_string().to_lowercase());
    let word = word.unwrap_or_default();
    let habit = HABITS
        .iter()
        .find(|(words, _)| words.contains(&word.as_str()));
    let hint = match (habit, nearest(&word, CLAUSES.iter().copied())) {
        (Some((_, hint)), _) => (*hint).to_owned(),
        (None, Some(clause)) => format!("did you mean {}?", clause.to_uppercase()),
        (None, None) => where_it_stands(name),
    };
    Err(behind.place().error(
        Code::Syntax,
        format!(
            "expected another clause or the end behind the {name} clause, {}",
            behind.found()
        ),
        Some(behind.span()),
        Some(hint),
    ))
}

/// Refuses the clause `name`, which stood at `clause` and was cut out of `query`, unless what is before it is complete.
pub(super) fn check_before(query: &Tokens<'_>, name: &str, clause: Span) -> Result<()> {
    let before = query.before(clause);
    if before.is_whole_query()? {
        return Ok(());
    }
    let at = match has_from(&before) {
        true => "where the clause before it is not complete",
        false => "in the SELECT list",
    };
    Err(misplaced(query, name, clause, at))
}

fn has_from(before: &Tokens<'_>) -> bool {
    before.find(|tokens| tokens.at_word("from")).is_some()
}

fn misplaced(query: &Tokens<'_>, name: &str, clause: Span, at: &str) -> Error {
    query.place().error(
        Code::Syntax,
        format!("the {name} clause stands {at}"),
        Some(clause),
        Some(where_it_stands(name)),
    )
}

fn where_it_stands(name: &str) -> String {
    format!("the {name} clause stands behind FROM, WHERE, GROUP BY or HAVING, each of them whole")
}
