//! The EMIT clause: when rows leave.
//!
//! ```text
//!   EMIT CHANGES [EVERY d | EVERY n ROWS]       EMIT EVERY d | n ROWS
//!   EMIT FINAL [AND CHANGES EVERY d]
//! ```
//!
//! Law: it is read from the tokens of the query and cut out whole. A column or stream may be called emit; the clause is what one of
//! its words follows.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::clause::duration;
use super::clause_place::check_follower;
use super::diagnose::Code;
use super::tokens::Tokens;
use crate::config::limits::{EMIT_EVERY_ROWS, EMIT_EVERY_US};
use crate::error::{Result, Span};
use crate::plan::EmitPolicy;

/// An EMIT clause and where it stands.
pub(super) struct EmitClause {
    /// What it says.
    pub policy: EmitPolicy,
    /// The whole clause.
    pub span: Span,
}

/// Between two rows of a group.
enum Every {
    Time(i64),
    Rows(u32),
}

/// Cuts the EMIT clause off the end of a query, if it has one: what CHANGES, FINAL or EVERY follows, or else what one last word
/// follows, which is then refused.
pub(super) fn cut_emit(query: &mut Tokens<'_>) -> Result<Option<EmitClause>> {
    let is_attempt = |at: &Tokens<'_>| {
        at.at_word("emit")
            && matches!(at.peek_at(1), Some(Token::Word(_)))
            && at.peek_at(2).is_none()
    };
    let Some(start) = query.find(at_emit).or_else(|| query.find(is_attempt)) else {
        return Ok(None);
    };
    let mut cursor = query.at(start);
    let first = cursor.span();
    cursor.take();
    let policy = policy(&mut cursor)?;
    let end = cursor.position();
    let span = Span {
        start: first.start,
        end: query.at(end - 1).span().end,
    };
    if cursor.at_word("emit") {
        return Err(cursor.place().error(
            Code::BadEmit,
            "a query has one EMIT clause",
            Some(cursor.span()),
            Some("leave one of them out".to_owned()),
        ));
    }
    check_follower(&cursor, "EMIT", span)?;
    query.cut(start, end);
    Ok(Some(EmitClause { policy, span }))
}

/// Whether an EMIT clause comes next.
pub(super) fn at_emit(at: &Tokens<'_>) -> bool {
    ["changes", "final", "every"]
        .iter()
        .any(|word| at.at_words(&["emit", word]))
}

/// What stands behind EMIT.
fn policy(cursor: &mut Tokens<'_>) -> Result<EmitPolicy> {
    if cursor.take_word("final") {
        if !cursor.take_words(&["and", "changes"]) {
            return Ok(EmitPolicy::Final);
        }
        if !cursor.at_word("every") {
            return Err(cursor.expected("EVERY and a duration, such as EVERY 10 SECONDS"));
        }
        let place = cursor.span();
        return match every(cursor)? {
            Every::Time(every_us) => Ok(EmitPolicy::FinalAndChanges { every_us }),
            Every::Rows(_) => Err(cursor.place().error(
                Code::BadEmit,
                "EMIT FINAL AND CHANGES goes by time",
                Some(place),
                Some("write EVERY 10 SECONDS, or EMIT CHANGES EVERY n ROWS".to_owned()),
            )),
        };
    }
    let named = cursor.take_word("changes");
    if cursor.at_word("every") {
        return Ok(match every(cursor)? {
            Every::Time(every_us) => EmitPolicy::ChangesEvery { every_us },
            Every::Rows(rows) => EmitPolicy::ChangesEveryRows { rows },
        });
    }
    match named {
        true => Ok(EmitPolicy::Changes),
        false => Err(cursor.expected("CHANGES or FINAL")),
    }
}

/// `EVERY d` or `EVERY n ROWS`.
fn every(cursor: &mut Tokens<'_>) -> Result<Every> {
    cursor.expect_word("every")?;
    let start = cursor.span();
    if let Some(Token::Number(number, _)) = cursor.peek().cloned() {
        let mut behind = cursor.clone();
        behind.take();
        if behind.take_word("rows") || behind.take_word("row") {
            *cursor = behind;
            let rows = number.parse().ok();
            let rows = rows.filter(|rows| EMIT_EVERY_ROWS.contains(rows));
            return rows.map(Every::Rows).ok_or_else(|| {
                let most = EMIT_EVERY_ROWS.end();
                cursor.place().error(
                    Code::BadEmit,
                    format!("EVERY n ROWS goes from 1 to {most}"),
                    Some(start),
                    Some("write EVERY 100 ROWS, or EMIT CHANGES for each".to_owned()),
                )
            });
        }
    }
    let every_us = duration(cursor)?;
    if EMIT_EVERY_US.contains(&every_us) {
        return Ok(Every::Time(every_us));
    }
    Err(cursor.place().error(
        Code::BadEmit,
        "EVERY is at least a millisecond and at most a hundred years",
        Some(start),
        Some("write EVERY 10 SECONDS, or EMIT CHANGES for each record".to_owned()),
    ))
}
