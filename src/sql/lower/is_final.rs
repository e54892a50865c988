//! `is_final`: whether a row is the last of its group and window. Only EMIT FINAL AND CHANGES has both kinds.
//!
//! Law: the planner knows of it only where the clause is written and the query's text names it; there it is a column that stands
//! beside the window's bounds, and is known when the row leaves.

use datafusion_common::{DataFusionError, SchemaError};
use datafusion_expr::Expr;

use super::Query;
use crate::error::Error;
use crate::plan::EmitPolicy;
use crate::sql::catalog::IS_FINAL;
use crate::sql::diagnose::{Code, at_word};
use crate::sql::emit_clause::EmitClause;
use crate::sql::tokens::Tokens;

/// Whether the query asks for it, where it is.
pub(super) fn is_asked(emit: Option<&EmitClause>, tokens: &Tokens<'_>) -> bool {
    let policy = emit.map(|emit| emit.policy);
    matches!(policy, Some(EmitPolicy::FinalAndChanges { .. }))
        && tokens.find_last_word(IS_FINAL).is_some()
}

impl Query<'_> {
    /// Whether an expression is that column.
    pub(super) fn is_final_column(&self, expr: &Expr) -> bool {
        self.is_final && matches!(expr, Expr::Column(column) if column.name == IS_FINAL)
    }

    /// Why it is not there, if that is what the planner does not find.
    pub(super) fn is_final_absent(&self, error: &DataFusionError) -> Option<Error> {
        let DataFusionError::SchemaError(problem, _) = error.find_root() else {
            return None;
        };
        let SchemaError::FieldNotFound { field, .. } = problem.as_ref() else {
            return None;
        };
        (field.name() == IS_FINAL && !self.is_final).then(|| {
            at_word(
                &self.tokens,
                IS_FINAL,
                Code::BadEmit,
                "is_final tells final rows from early ones, and only EMIT FINAL AND CHANGES EVERY d has both"
                    .to_owned(),
                Some("leave it out, or write EMIT FINAL AND CHANGES EVERY 10 SECONDS".to_owned()),
            )
        })
    }
}
