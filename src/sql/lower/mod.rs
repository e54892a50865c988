//! One query: from its tokens to what it reads, computes and emits.
//!
//! ```text
//!   tokens --own clauses cut out--> sqlparser --> SqlToRel --> type coercion --> collapse --> Plan
//!
//!   Projection (SELECT)  \                        over the groups: HAVING and output columns
//!   Filter (HAVING)      /  above Aggregate
//!   Aggregate  <-- the cut
//!   Filter (WHERE)       \  below Aggregate       over the record: WHERE, keys, arguments
//!   TableScan            /
//! ```
//!
//! Law: what stands below the cut is evaluated on the shard that holds the record's bytes, what stands above it on the shard
//! that owns the group. `collapse` substitutes projections into each other, so each side ends as expressions over one flat
//! schema; predicates keep the order in which they were written.

mod admit;
mod aggregates;
mod bounds;
mod checks;
mod collapse;
mod hidden;
mod is_final;
mod punctuation;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, TableReference};
use datafusion_expr::logical_plan::{Aggregate, LogicalPlan, TableScan};
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Expr, ExprSchemable};
use datafusion_optimizer::Analyzer;
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast;

pub(super) use self::punctuation::punctuation;

use self::collapse::{Collapsed, Leaf, bare_column, plain_name, substitute};
use super::catalog::{
    Catalog, IS_FINAL, StreamTable, TIMESTAMP, UNKNOWN_STREAM, WINDOW_END, WINDOW_START,
};
use super::compile::{CompileError, compile};
use super::diagnose::{Code, at_word, planner_error};
use super::emit_clause::{EmitClause, cut_emit};
use super::micros::Microseconds;
use super::target::IntoStream;
use super::tokens::Tokens;
use super::window_clause::{WindowClause, cut_window};
use crate::config::nearest::nearest;
use crate::error::{Error, Result, Span};
use crate::plan::{AggregatePlan, EmitPolicy, PlannedExpr, Shape, SourceSpec, StreamSpec};

/// A query as far as its own text says.
pub(super) struct Lowered {
    /// What it reads.
    pub source: SourceSpec,
    /// WHERE.
    pub filter: Option<PlannedExpr>,
    /// What it computes.
    pub shape: Shape,
    /// Its output columns.
    pub output: Arc<Schema>,
    /// When rows leave.
    pub emit: EmitPolicy,
    /// Where the EMIT clause stands, if it was written.
    pub emit_span: Option<Span>,
    /// The names of the group columns and the window's start with their expressions: the default message key.
    pub group_key: Vec<(FieldRef, PlannedExpr)>,
}

/// Lowers the query `tokens`, whose rows go `into` a stream that is there; `catalog` tells what names mean, given whether the
/// query has a window.
pub(super) fn lower<'c>(
    mut tokens: Tokens<'c>,
    into: Option<IntoStream<'c>>,
    catalog: impl FnOnce(bool) -> Catalog<'c>,
) -> Result<Lowered> {
    let emit = cut_emit(&mut tokens)?;
    let window = cut_window(&mut tokens)?;
    let mut catalog = catalog(window.is_some());
    catalog.hidden = hidden::names_hidden(&tokens);
    catalog.is_final = is_final::is_asked(emit.as_ref(), &tokens);
    let query = Query {
        tokens: tokens.clone(),
        window,
        emit,
        is_final: catalog.is_final,
        into,
    };
    query.refuse_depth()?;
    query.check_clauses()?;
    let mut parsed = tokens.parse(|parser| parser.parse_query())?;
    tokens.expect_end()?;
    query.admit(&parsed)?;
    if query.window.is_some() || query.is_final {
        bounds::add(&mut parsed, &query, &catalog)?;
    }
    if catalog.hidden {
        hidden::leave_out(&mut parsed, &catalog);
    }
    let logical = query.plan_logically(parsed, &catalog)?;
    query.lower(&logical)
}

/// A query's text and the clauses that were cut out of it.
struct Query<'t> {
    tokens: Tokens<'t>,
    window: Option<WindowClause>,
    emit: Option<EmitClause>,
    /// Whether it asks whether its rows are final.
    is_final: bool,
    into: Option<IntoStream<'t>>,
}

impl Query<'_> {
    fn plan_logically(&self, query: Box<ast::Query>, catalog: &Catalog<'_>) -> Result<LogicalPlan> {
        let options = ParserOptions::new().with_collect_spans(true);
        let mut analyzer = Analyzer::new();
        analyzer.rules.insert(0, Arc::new(Microseconds));
        let planned = SqlToRel::new_with_options(catalog, options)
            .sql_statement_to_plan(ast::Statement::Query(query))
            .and_then(|plan| analyzer.execute_and_check(plan, catalog_options(catalog), |_, _| {}));
        planned.map_err(|error| {
            self.unknown_stream(&error, catalog)
                .or_else(|| self.hidden_absent(&error, catalog))
                .or_else(|| self.is_final_absent(&error))
                .unwrap_or_else(|| planner_error(&self.tokens, &error))
        })
    }

    fn unknown_stream(&self, error: &DataFusionError, catalog: &Catalog<'_>) -> Option<Error> {
        let message = error.find_root().strip_backtrace();
        let name = message
            .split(UNKNOWN_STREAM)
            .nth(1)?
            .trim_matches('\'')
            .to_owned();
        let known = catalog.streams.keys().map(String::as_str);
        if catalog.outside.contains(&name.as_str()) {
            return Some(at_word(
                &self.tokens,
                &name,
                Code::Circle,
                format!("stream {name} is written by this file, and cannot be read by it too"),
                Some(
                    "leave out its WITH: a stream without WITH is in memory, and feeds later queries"
                        .to_owned(),
                ),
            ));
        }
        let hint = match nearest(&name, known) {
            Some(found) => format!("did you mean {found}?"),
            None if catalog.streams.is_empty() => "declare it before with CREATE STREAM".to_owned(),
            None => {
                let names: Vec<&str> = catalog.streams.keys().map(String::as_str).collect();
                format!("the streams are {}", names.join(", "))
            }
        };
        Some(at_word(
            &self.tokens,
            &name,
            Code::UnknownStream,
            format!("there is no stream {name}"),
            Some(hint),
        ))
    }

    fn lower(&self, logical: &LogicalPlan) -> Result<Lowered> {
        let top = self.collapse(logical)?;
        let (scan, grouping) = match top.leaf {
            Leaf::Scan(scan) => (scan, None),
            Leaf::Aggregate(aggregate) => {
                let below = self.collapse(&aggregate.input)?;
                match below.leaf {
                    Leaf::Scan(scan) => (scan, Some((aggregate, below))),
                    Leaf::Aggregate(_) => {
                        return Err(self.not_available("FROM", "an aggregation of an aggregation", "make the inner query a stream, CREATE STREAM name AS SELECT .., and aggregate that"));
                    }
                }
            }
        };
        let stream = stream_of(scan);
        self.check_written(&stream)?;
        self.check_event_time(&stream)?;
        if let Some((aggregate, _)) = &grouping {
            self.refuse_grouping_sets(aggregate)?;
        }
        let output = self.output_columns(logical)?;
        if let Some(into) = &self.into {
            into.check(&self.tokens, &output)?;
        }
        match grouping {
            None => self.lower_stateless(&stream, top, output),
            Some((aggregate, below)) => {
                self.lower_grouping(&stream, &top, aggregate, below, output)
            }
        }
    }

    /// SELECT and WHERE alone.
    fn lower_stateless(
        &self,
        stream: &Arc<StreamSpec>,
        top: Collapsed<'_>,
        output: Arc<Schema>,
    ) -> Result<Lowered> {
        if let Some(emit) = self
            .emit
            .as_ref()
            .filter(|emit| emit.policy != EmitPolicy::Changes)
        {
            let name = emit.policy.name();
            return Err(self.error(
                Code::BadEmit,
                format!("EMIT {name} needs groups: a query without aggregates emits each record as it comes"),
                emit.span,
                Some(format!("leave EMIT {name} out")),
            ));
        }
        let outputs: Vec<Expr> = top.outputs.into_iter().map(|(_, _, expr)| expr).collect();
        let (outputs, output) = self.coerced(outputs, output);
        let reading = Reading::new(stream, top.filters.iter().chain(&outputs));
        Ok(Lowered {
            filter: self.conjunction(top.filters, &reading.schema)?,
            shape: Shape::Project(self.compile_all(&outputs, &reading.schema)?),
            source: reading.source,
            output,
            emit: EmitPolicy::Changes,
            emit_span: self.emit.as_ref().map(|emit| emit.span),
            group_key: Vec::new(),
        })
    }

    fn lower_grouping(
        &self,
        stream: &Arc<StreamSpec>,
        top: &Collapsed<'_>,
        aggregate: &Aggregate,
        below: Collapsed<'_>,
        output: Arc<Schema>,
    ) -> Result<Lowered> {
        self.refuse_updates(stream)?;
        let below_schema = aggregate.input.schema();
        let over_record = |expr: &Expr| {
            substitute(expr.clone(), below_schema, &below.outputs)
                .map_err(|error| planner_error(&self.tokens, &error))
        };

        // Below the cut: keys and arguments over the record.
        let mut keys = Vec::new();
        let mut column_of_group = Vec::new();
        for group in self.groups(aggregate)? {
            let expr = over_record(group)?;
            self.refuse_aggregate(&expr)?;
            match self.window_bound(&expr) {
                Some(is_end) => column_of_group.push(GroupColumn::Bound { is_end }),
                None if self.is_final_column(&expr) => column_of_group.push(GroupColumn::IsFinal),
                None => {
                    column_of_group.push(GroupColumn::Key(keys.len()));
                    keys.push((group, expr));
                }
            }
        }
        let mut arguments: Vec<Expr> = Vec::new();
        let mut aggregates = Vec::new();
        for function in &aggregate.aggr_expr {
            aggregates.push(self.aggregate_spec(
                function,
                below_schema,
                &over_record,
                &mut arguments,
            )?);
        }
        assert_eq!(
            aggregate.schema.fields().len(),
            column_of_group.len() + aggregates.len(),
            "the planner's columns are the groups, then the aggregates"
        );
        for expr in keys.iter().map(|(_, expr)| expr).chain(&arguments) {
            self.refuse_clock(expr)?;
        }
        let key_exprs: Vec<Expr> = keys.iter().map(|(_, expr)| expr.clone()).collect();
        self.check_partition(&key_exprs)?;
        self.refuse_known_later(&below.filters, Some("where"))?;
        self.refuse_known_later(&key_exprs, Some("group"))?;
        self.refuse_known_later(&arguments, None)?;
        let below_exprs = below.filters.iter().chain(&key_exprs).chain(&arguments);
        let reading = Reading::new(stream, below_exprs);

        // Above the cut: HAVING and the output columns over the groups.
        let window = self.window.as_ref().map(|window| window.spec);
        let mut fields: Vec<FieldRef> = Vec::new();
        for (group, expr) in &keys {
            let name = plain_name(group);
            let data_type = expr
                .get_type(&reading.schema)
                .map_err(|error| planner_error(&self.tokens, &error))?;
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        let bounds_at = fields.len();
        if window.is_some() {
            fields.push(Arc::new(Field::new(WINDOW_START[0], TIMESTAMP, false)));
            fields.push(Arc::new(Field::new(WINDOW_END[0], TIMESTAMP, false)));
        }
        let is_final_at = fields.len();
        if self.is_final {
            fields.push(Arc::new(Field::new(IS_FINAL, DataType::Boolean, false)));
        }
        let aggregates_at = fields.len();
        for spec in &aggregates {
            fields.push(Arc::new(Field::new(
                &spec.text,
                spec.result_type.clone(),
                true,
            )));
        }
        let grouped = Arc::new(Schema::new(fields.clone()));
        // Two groups or aggregates may have the same text; the compiler knows them by place, not by name.
        let places: Vec<FieldRef> = fields
            .iter()
            .enumerate()
            .map(|(place, field)| Arc::new(field.as_ref().clone().with_name(place_name(place))))
            .collect();
        let places: DFSchemaRef = Arc::new(
            DFSchema::from_unqualified_fields(places.into(), Default::default())
                .map_err(|error| planner_error(&self.tokens, &error))?,
        );
        let leaf_outputs: Vec<(Option<TableReference>, String, Expr)> = aggregate
            .schema
            .iter()
            .enumerate()
            .map(|(index, (qualifier, field))| {
                let place = match column_of_group.get(index) {
                    Some(GroupColumn::Key(key)) => *key,
                    Some(GroupColumn::Bound { is_end }) => bounds_at + usize::from(*is_end),
                    Some(GroupColumn::IsFinal) => is_final_at,
                    None => aggregates_at + index - column_of_group.len(),
                };
                (
                    qualifier.cloned(),
                    field.name().clone(),
                    bare_column(place_name(place)),
                )
            })
            .collect();
        let over_groups = |expr: &Expr| {
            substitute(expr.clone(), &aggregate.schema, &leaf_outputs)
                .map_err(|error| planner_error(&self.tokens, &error))
        };
        let having: Vec<Expr> = top.filters.iter().map(over_groups).collect::<Result<_>>()?;
        let rows: Vec<Expr> = top
            .outputs
            .iter()
            .map(|(_, _, expr)| over_groups(expr))
            .collect::<Result<_>>()?;
        let (rows, output) = self.coerced(rows, output);
        let readable = |planned: PlannedExpr| readable(planned, &fields);

        let compiled_rows: Vec<PlannedExpr> = self
            .compile_all(&rows, &places)?
            .into_iter()
            .map(readable)
            .collect();
        let mut group_key = Vec::new();
        let key_columns = (0..keys.len()).chain(window.is_some().then_some(bounds_at));
        for place in key_columns {
            let compiled = self.compile_all(&[bare_column(place_name(place))], &places)?;
            let planned = compiled
                .into_iter()
                .next()
                .expect("one expression in, one out");
            group_key.push((Arc::clone(&fields[place]), readable(planned)));
        }
        let emit = match (&self.emit, window) {
            (Some(emit), _) => emit.policy,
            (None, Some(_)) => EmitPolicy::Final,
            (None, None) => EmitPolicy::Changes,
        };
        Ok(Lowered {
            filter: self.conjunction(below.filters, &reading.schema)?,
            shape: Shape::Aggregate(AggregatePlan {
                keys: self.compile_all(&key_exprs, &reading.schema)?,
                arguments: self.compile_all(&arguments, &reading.schema)?,
                aggregates,
                window,
                is_final: self.is_final,
                grouped,
                having: self.conjunction(having, &places)?.map(readable),
                rows: compiled_rows,
            }),
            source: reading.source,
            output,
            emit,
            emit_span: self.emit.as_ref().map(|emit| emit.span),
            group_key,
        })
    }

    /// The output columns as those of the stream into which they go.
    fn coerced(&self, exprs: Vec<Expr>, output: Arc<Schema>) -> (Vec<Expr>, Arc<Schema>) {
        match &self.into {
            None => (exprs, output),
            Some(into) => (into.coerced(exprs, &output), Arc::clone(into.columns)),
        }
    }

    /// Refuses several groupings in one query: their groups have a column that says which grouping they are of, and which no
    /// list of groups and aggregates names.
    fn refuse_grouping_sets(&self, aggregate: &Aggregate) -> Result<()> {
        let is_set = |group: &Expr| matches!(group, Expr::GroupingSet(_));
        if !aggregate.group_expr.iter().any(is_set) {
            return Ok(());
        }
        let names = [
            ("ROLLUP", "ROLLUP"),
            ("CUBE", "CUBE"),
            ("GROUPING", "GROUPING SETS"),
        ];
        let written = |(word, _): &(&str, &str)| self.tokens.find_word(word).is_some();
        let (word, name) = names.into_iter().find(written).unwrap_or(names[2]);
        let instead = "write a query for each grouping, and INSERT INTO one stream";
        Err(self.not_available(word, name, instead))
    }

    /// The distinct groups, in the planner's order: the columns that its schema begins with.
    fn groups<'a>(&self, aggregate: &'a Aggregate) -> Result<Vec<&'a Expr>> {
        grouping_set_to_exprlist(&aggregate.group_expr)
            .map_err(|error| planner_error(&self.tokens, &error))
    }

    /// The output columns, without the stream's name before each column. Their names differ.
    fn output_columns(&self, plan: &LogicalPlan) -> Result<Arc<Schema>> {
        let mut fields: Vec<Field> = Vec::new();
        for (index, field) in plan.schema().fields().iter().enumerate() {
            let name = match plan {
                LogicalPlan::Projection(projection) => {
                    output_name(&projection.expr[index], &projection.input)
                }
                _ => field.name().clone(),
            };
            if fields.iter().any(|known| *known.name() == name) {
                return Err(at_word(
                    &self.tokens,
                    &name,
                    Code::DuplicateName,
                    format!("two columns of the result are called {name}"),
                    Some("give one of them a name of its own with AS".to_owned()),
                ));
            }
            fields.push(Field::new(
                name,
                field.data_type().clone(),
                field.is_nullable(),
            ));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    fn conjunction(&self, filters: Vec<Expr>, schema: &DFSchemaRef) -> Result<Option<PlannedExpr>> {
        match filters.into_iter().reduce(Expr::and) {
            None => Ok(None),
            Some(filter) => Ok(self.compile_all(&[filter], schema)?.pop()),
        }
    }

    fn compile_all(&self, exprs: &[Expr], schema: &DFSchemaRef) -> Result<Vec<PlannedExpr>> {
        exprs
            .iter()
            .map(|expr| {
                compile(expr, schema).map_err(|error| match error {
                    CompileError::Planner(error) => planner_error(&self.tokens, &error),
                    CompileError::OutOfRange(text) => self.error(
                        Code::OutOfRange,
                        format!("{text} is out of range"),
                        self.tokens
                            .find_expression(&text)
                            .unwrap_or_else(|| self.tokens.whole_span()),
                        Some("CAST one side to DOUBLE or DECIMAL"),
                    ),
                })
            })
            .collect()
    }

    fn not_available(&self, word: &str, what: &str, instead: &str) -> Error {
        at_word(
            &self.tokens,
            word,
            Code::NotAvailable,
            format!("{what} is not available yet"),
            Some(instead.to_owned()),
        )
    }

    fn error(
        &self,
        code: Code,
        message: impl Into<String>,
        span: Span,
        hint: Option<impl Into<String>>,
    ) -> Error {
        self.tokens
            .place()
            .error(code, message, Some(span), hint.map(Into::into))
    }
}

/// Where a group column of the planner's goes.
enum GroupColumn {
    Key(usize),
    Bound { is_end: bool },
    IsFinal,
}

/// What a query reads of its stream.
struct Reading {
    source: SourceSpec,
    schema: DFSchemaRef,
}

impl Reading {
    /// The columns that `exprs` name, in the order of the stream.
    fn new<'e>(stream: &Arc<StreamSpec>, exprs: impl Iterator<Item = &'e Expr>) -> Reading {
        let readable = stream.readable();
        let named: BTreeSet<usize> = exprs
            .flat_map(|expr| expr.column_refs())
            .filter_map(|column| readable.index_of(&column.name).ok())
            .collect();
        let projection: Vec<usize> = named.into_iter().collect();
        let projected = Arc::new(
            readable
                .project(&projection)
                .expect("the indexes come from this schema"),
        );
        let schema = DFSchema::try_from(Arc::clone(&projected))
            .expect("declared columns have names of their own");
        Reading {
            source: SourceSpec {
                stream: Arc::clone(stream),
                projection,
                projected,
                dealing: None,
            },
            schema: Arc::new(schema),
        }
    }
}

fn catalog_options<'o>(catalog: &'o Catalog<'_>) -> &'o datafusion_common::config::ConfigOptions {
    use datafusion_expr::planner::ContextProvider;
    catalog.options()
}

fn stream_of(scan: &TableScan) -> Arc<StreamSpec> {
    let table = (scan.source.as_ref() as &dyn std::any::Any)
        .downcast_ref::<StreamTable>()
        .expect("the catalog makes no other tables");
    Arc::clone(&table.stream)
}

/// The name of an output column. The planner names a grouped or aggregated expression after its text, stream's name included;
/// that text is made anew without it.
fn output_name(expr: &Expr, input: &LogicalPlan) -> String {
    let aggregate = match input {
        LogicalPlan::Filter(having) => having.input.as_ref(),
        other => other,
    };
    let LogicalPlan::Aggregate(aggregate) = aggregate else {
        return plain_name(expr);
    };
    let groups = grouping_set_to_exprlist(&aggregate.group_expr).unwrap_or_default();
    let computed: Vec<&Expr> = groups.into_iter().chain(&aggregate.aggr_expr).collect();
    let named = expr.clone().transform_up(|node| match &node {
        Expr::Column(column) => {
            let place = aggregate.schema.index_of_column(column)?;
            Ok(Transformed::yes(bare_column(plain_name(computed[place]))))
        }
        _ => Ok(Transformed::no(node)),
    });
    named.map_or_else(
        |_| plain_name(expr),
        |named| named.data.schema_name().to_string(),
    )
}

fn place_name(place: usize) -> String {
    format!("#{place}")
}

/// The text of an expression over places, with the columns' names in place of their numbers.
fn readable(planned: PlannedExpr, fields: &[FieldRef]) -> PlannedExpr {
    let text = (0..fields.len()).rev().fold(planned.text, |text, place| {
        text.replace(&place_name(place), fields[place].name())
    });
    PlannedExpr { text, ..planned }
}
