//! SQL text to plan: our own clauses around sqlparser and DataFusion's planner.
//!
//! ```text
//!   text --tokens--> statements --> Declare: streams, catalog (statement, streams, catalog)
//!                               \-> query: WINDOW, EMIT cut   (window_clause, emit_clause)
//!                                     sqlparser, SqlToRel     (lower)
//!                                     compiled expressions    (compile)
//!                                     exchange                (exchange)
//!                                     target                  (planner, target) --> Plan
//!   all queries of the text --> JobPlan
//! ```
//!
//! Laws: planning touches no broker and no file. Every error carries a code, the place, and a hint (`diagnose`); a statement
//! that is wrong hides nothing that is wrong in another.

mod by_row;
mod catalog;
mod clause;
mod clause_place;
mod compile;
mod diagnose;
mod emit_clause;
mod exchange;
mod lengths;
mod lower;
mod micros;
mod planner;
mod start;
mod statement;
mod streams;
mod target;
mod tokens;
mod window_clause;

use std::sync::Arc;

pub use self::diagnose::not_available;
use self::diagnose::{Code, Place};
use self::planner::Planner;
use self::tokens::Tokens;
use crate::error::{Error, Result, Span};
use crate::plan::{JobPlan, Plan, StreamSpec};

/// What planning needs to know of the run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of shards, above zero.
    pub shards: usize,
    /// The job's name, unless the text sets `job.name`.
    pub job_name: Option<String>,
}

/// A planned file.
#[derive(Clone, Debug)]
pub struct Script {
    /// The streams that can be read or written, declared and created, in the order of their names.
    pub streams: Vec<Arc<StreamSpec>>,
    /// The queries that are to be run; none if the file only declares and shows.
    pub job: JobPlan,
    /// What is to be shown, in the order in which it was asked for.
    pub shown: Vec<Shown>,
}

/// What a statement shows instead of running it.
#[derive(Clone, Debug)]
pub enum Shown {
    /// EXPLAIN: the plan of a query.
    Explain(Box<Plan>),
    /// SHOW STREAMS: what was declared and created until then, by name.
    Streams(Vec<Arc<StreamSpec>>),
    /// DESCRIBE: the columns of a stream.
    Columns(Arc<StreamSpec>),
}

impl Script {
    /// The queries that are run, then those that are only explained.
    pub fn queries(&self) -> impl Iterator<Item = &Plan> {
        let explained = self.shown.iter().filter_map(|shown| match shown {
            Shown::Explain(plan) => Some(plan.as_ref()),
            Shown::Streams(_) | Shown::Columns(_) => None,
        });
        let run = self.job.queries.iter();
        run.map(|query| &query.plan).chain(explained)
    }
}

/// Plans the statements of `text`; `source_name` is how the user named it, for messages. Every statement that is wrong is an
/// error of its own.
pub fn plan_script(source_name: &str, text: &str, settings: &Settings) -> Result<Script> {
    assert!(settings.shards > 0, "a plan runs on at least one shard");
    let place = Place::new(source_name, text);
    let statements = Tokens::statements(&place)?;
    if statements.is_empty() {
        return Err(place.error(
            Code::Syntax,
            "there is no statement",
            Some(Span { start: 0, end: 0 }),
            Some(
                "write CREATE STREAM name (columns) WITH (connector = ..), then a SELECT"
                    .to_owned(),
            ),
        ));
    }
    plant_panic();
    let mut planner = Planner::new(&place, settings);
    let mut errors: Vec<Error> = Vec::new();
    for tokens in statements {
        errors.extend(planner.statement(tokens).err());
    }
    planner.finish(errors)
}

/// The fault that tests plant: `VELO_PLANT_PANIC=planning` makes planning panic.
#[cfg(feature = "checks")]
fn plant_panic() {
    if std::env::var("VELO_PLANT_PANIC").as_deref() == Ok("planning") {
        panic!("planted by VELO_PLANT_PANIC");
    }
}

#[cfg(not(feature = "checks"))]
fn plant_panic() {}
