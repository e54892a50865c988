//! SQL text to plan: our own clauses around sqlparser and DataFusion's planner.
//!
//! ```text
//!   text --tokens--> statements --> Declare: catalog          (statement, catalog)
//!                               \-> query: WINDOW, EMIT cut   (clause)
//!                                     sqlparser, SqlToRel     (lower)
//!                                     compiled expressions    (compile)
//!                                     exchange                (exchange)
//!                                     sink                    (here) --> Plan
//! ```
//!
//! Law: planning touches no broker and no file. Every error carries a code, the place, and a hint (`diagnose`).

mod catalog;
mod clause;
mod compile;
mod diagnose;
mod exchange;
mod lengths;
mod lower;
mod statement;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Field, FieldRef, Schema};

use self::catalog::{Catalog, Functions};
use self::diagnose::{Code, Place};
use self::lower::{Lowered, lower};
use self::statement::{Declaration, Statement};
use self::tokens::Tokens;
use crate::config::nearest::nearest;
use crate::config::options::{
    KeyFormat, OptionError, QueryOptions, SinkConnector, StreamConnector, WrittenOption,
    query_options, sink_options, stream_options,
};
use crate::error::{Result, Span};
use crate::plan::{
    EmitPolicy, EventTimeColumn, EventTimeSpec, KafkaSink, Plan, PlannedExpr, Shape, SinkSpec,
    SourceConnector, StreamSpec,
};

/// Out-of-orderness of a Kafka stream without a WATERMARK clause: one second.
const MESSAGE_TIME_BOUND_US: i64 = 1_000_000;

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
    /// The declared streams, in the order of their names.
    pub streams: Vec<Arc<StreamSpec>>,
    /// Its query, if it has one.
    pub query: Option<Query>,
}

/// What is to be done with a planned query.
#[derive(Clone, Debug)]
pub enum Query {
    /// Run it.
    Run(Plan),
    /// Show it.
    Explain(Plan),
}

impl Query {
    /// The plan, whatever is to be done with it.
    pub fn plan(&self) -> &Plan {
        match self {
            Query::Run(plan) | Query::Explain(plan) => plan,
        }
    }
}

/// Plans the statements of `text`; `source_name` is how the user named it, for messages.
pub fn plan_script(source_name: &str, text: &str, settings: &Settings) -> Result<Script> {
    assert!(settings.shards > 0, "a plan runs on at least one shard");
    let place = Place::new(source_name, text);
    let mut planner = Planner {
        place: &place,
        settings,
        functions: Functions::new(),
        streams: BTreeMap::new(),
        session: Vec::new(),
        query: None,
    };
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
    for tokens in statements {
        let whole = tokens.whole_span();
        match statement::read(tokens)? {
            Statement::Declare(declaration) => planner.declare(declaration)?,
            Statement::Set(option) => {
                planner.session.push(option);
                planner.session_options()?;
            }
            Statement::Explain(inner) => planner.explain(*inner, whole)?,
            query => planner.run(query, whole)?,
        }
    }
    let query = planner.query.take();
    Ok(Script {
        streams: planner.streams.into_values().collect(),
        query,
    })
}

struct Planner<'t> {
    place: &'t Place,
    settings: &'t Settings,
    functions: Functions,
    streams: BTreeMap<String, Arc<StreamSpec>>,
    /// What SET said so far.
    session: Vec<WrittenOption>,
    query: Option<Query>,
}

impl Planner<'_> {
    fn declare(&mut self, declaration: Declaration) -> Result<()> {
        self.check_new_name(&declaration.name, declaration.span)?;
        let options = stream_options(&declaration.options)
            .map_err(|error| self.option_error(error, declaration.span))?;
        let connector = match options.connector {
            StreamConnector::File(file) => SourceConnector::File(file),
            StreamConnector::Kafka(kafka) => SourceConnector::Kafka(kafka),
            StreamConnector::Datagen(datagen) => {
                let event_time = declaration.watermark.map(|(index, _)| index);
                let drawn = datagen.resolve(&declaration.columns, event_time);
                let drawn = drawn.map_err(|error| self.option_error(error, declaration.span))?;
                SourceConnector::Datagen(drawn)
            }
        };
        let event_time = match (declaration.watermark, &connector) {
            (Some((index, bound_us)), _) => Some(EventTimeSpec {
                column: EventTimeColumn::Declared(index),
                bound_us,
            }),
            (None, SourceConnector::Kafka(_)) => Some(EventTimeSpec {
                column: EventTimeColumn::Message,
                bound_us: MESSAGE_TIME_BOUND_US,
            }),
            (None, _) => None,
        };
        if let SourceConnector::Kafka(kafka) = &connector {
            self.check_columns_exist(
                &kafka.key_columns,
                &declaration.columns,
                &declaration.options,
            )?;
        }
        let stream = StreamSpec {
            name: declaration.name.clone(),
            columns: declaration.columns,
            event_time,
            on_error: options.on_error,
            event_time_unit: options.event_time_unit,
            connector,
        };
        self.streams.insert(declaration.name, Arc::new(stream));
        Ok(())
    }

    fn explain(&mut self, statement: Statement<'_>, span: Span) -> Result<()> {
        self.run(statement, span)?;
        self.query = self.query.take().map(|query| match query {
            Query::Run(plan) | Query::Explain(plan) => Query::Explain(plan),
        });
        Ok(())
    }

    fn run(&mut self, statement: Statement<'_>, span: Span) -> Result<()> {
        if self.query.is_some() {
            return Err(self.place.error(
                Code::NotAvailable,
                "several queries in a file are not available yet",
                Some(span),
                Some("put this one into a file of its own".to_owned()),
            ));
        }
        let (name, query, written, name_span) = match statement {
            Statement::Write {
                name,
                span,
                options,
                query,
            } => {
                self.check_new_name(&name, span)?;
                (name, query, options, span)
            }
            Statement::Print(query) => ("query".to_owned(), query, Vec::new(), span),
            Statement::Declare(_) | Statement::Set(_) | Statement::Explain(_) => {
                unreachable!("only queries are run: `read` and `plan_script` saw to it")
            }
        };
        let sql = self.place.text()[span.start..span.end].to_owned();
        let session = self.session_options()?;
        let sink = match written.is_empty() {
            true => None,
            false => {
                Some(sink_options(&written).map_err(|error| self.option_error(error, name_span))?)
            }
        };
        let options = match &sink {
            Some(sink) => sink.query.clone().or(session),
            None => session,
        };
        let (streams, functions) = (&self.streams, &self.functions);
        let lowered = lower(query, |windowed| Catalog {
            streams,
            functions,
            windowed,
        })?;
        self.check_emit(&lowered)?;
        let exchange_span =
            option_span(&written, "exchange").or_else(|| option_span(&self.session, "exchange"));
        let exchange = exchange::exchange(
            &lowered,
            options.exchange,
            self.settings.shards,
            self.place,
            exchange_span.unwrap_or(span),
        )?;
        let sink = match sink.map(|sink| sink.connector) {
            None => SinkSpec::Stdout,
            Some(SinkConnector::File(file)) => SinkSpec::File(file),
            Some(SinkConnector::Kafka(kafka)) => {
                let (key, key_columns) =
                    self.message_key(&kafka.key_columns, &lowered, &written)?;
                let key_format = kafka
                    .key_format
                    .unwrap_or(match key_columns.fields().as_ref() {
                        [only] if is_text(only.data_type()) => KeyFormat::Raw,
                        _ => KeyFormat::Json,
                    });
                if key_format == KeyFormat::Raw
                    && !matches!(key_columns.fields().as_ref(), [only] if is_text(only.data_type()))
                {
                    return Err(self.place.error(
                        Code::BadOption,
                        "key.format = 'raw' needs a key of one VARCHAR column",
                        Some(option_span(&written, "key.format").unwrap_or(name_span)),
                        Some("use key.format = 'json'".to_owned()),
                    ));
                }
                SinkSpec::Kafka(KafkaSink {
                    options: kafka,
                    key,
                    key_columns,
                    key_format,
                })
            }
        };
        let job = options
            .job_name
            .clone()
            .or_else(|| self.settings.job_name.clone());
        self.query = Some(Query::Run(Plan {
            job: job.unwrap_or_else(|| "velo".to_owned()),
            name,
            sql,
            source: lowered.source,
            filter: lowered.filter,
            shape: lowered.shape,
            output: lowered.output,
            emit: lowered.emit,
            exchange,
            sink,
        }));
        Ok(())
    }

    fn check_new_name(&self, name: &str, span: Span) -> Result<()> {
        if !self.streams.contains_key(name) {
            return Ok(());
        }
        Err(self.place.error(
            Code::DuplicateName,
            format!("stream {name} is declared twice"),
            Some(span),
            Some("give one of them another name".to_owned()),
        ))
    }

    /// EMIT FINAL without a window waits for an end, so there must be one.
    fn check_emit(&self, lowered: &Lowered) -> Result<()> {
        let Shape::Aggregate(aggregate) = &lowered.shape else {
            return Ok(());
        };
        let bounded = lowered.source.stream.connector.is_bounded();
        if lowered.emit != EmitPolicy::Final || aggregate.window.is_some() || bounded {
            return Ok(());
        }
        Err(self.place.error(
            Code::BadEmit,
            "EMIT FINAL without a window waits for the end of the input, and this input has none",
            lowered.emit_span,
            Some("add a WINDOW, use EMIT CHANGES, or end the stream: end = 'latest'".to_owned()),
        ))
    }

    /// The message key of a Kafka sink: `key.columns` of the output, else the group columns and the window's start.
    fn message_key(
        &self,
        named: &Option<Vec<String>>,
        lowered: &Lowered,
        written: &[WrittenOption],
    ) -> Result<(Vec<PlannedExpr>, Arc<Schema>)> {
        let Some(named) = named else {
            let (fields, key): (Vec<FieldRef>, Vec<PlannedExpr>) =
                lowered.group_key.iter().cloned().unzip();
            return Ok((key, Arc::new(Schema::new(fields))));
        };
        self.check_columns_exist(named, &lowered.output, written)?;
        let rows = match &lowered.shape {
            Shape::Project(rows) => rows,
            Shape::Aggregate(aggregate) => &aggregate.rows,
        };
        let mut key = Vec::new();
        let mut fields = Vec::new();
        for name in named {
            let index = lowered.output.index_of(name).expect("checked just before");
            key.push(rows[index].clone());
            let field: &Field = lowered.output.field(index);
            fields.push(Arc::new(field.clone()));
        }
        Ok((key, Arc::new(Schema::new(fields))))
    }

    fn check_columns_exist(
        &self,
        named: &[String],
        columns: &Schema,
        written: &[WrittenOption],
    ) -> Result<()> {
        for name in named {
            if columns.index_of(name).is_err() {
                let known: Vec<&str> = columns
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect();
                return Err(self.place.error(
                    Code::UnknownColumn,
                    format!("key.columns names {name}, and there is no such column"),
                    option_span(written, "key.columns"),
                    Some(match nearest(name, known.iter().copied()) {
                        Some(found) => format!("did you mean {found}?"),
                        None => format!("the columns are {}", known.join(", ")),
                    }),
                ));
            }
        }
        Ok(())
    }

    fn session_options(&self) -> Result<QueryOptions> {
        query_options(&self.session)
            .map_err(|error| self.option_error(error, Span { start: 0, end: 0 }))
    }

    fn option_error(&self, error: OptionError, otherwise: Span) -> crate::error::Error {
        let span = error.span.unwrap_or(otherwise);
        self.place
            .error(Code::BadOption, error.message, Some(span), error.hint)
    }
}

fn option_span(options: &[WrittenOption], key: &str) -> Option<Span> {
    options
        .iter()
        .rev()
        .find(|option| option.key.eq_ignore_ascii_case(key))
        .map(|option| option.span)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}
