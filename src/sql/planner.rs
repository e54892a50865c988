//! Statement by statement through a file: declarations to streams, queries to plans, all plans to one job.
//!
//! Law: a query is planned against what stands before it. A statement that is wrong leaves nothing behind but its name, so
//! that what is missing because of it is not told again.

use std::sync::Arc;

use super::catalog::{Catalog, Functions};
use super::diagnose::{Code, Place};
use super::exchange::exchange;
use super::lower::{Lowered, lower, punctuation};
use super::start;
use super::statement::{self, Declaration, Statement};
use super::streams::{Streams, Writable, in_memory_stream};
use super::target::{self, Written};
use super::tokens::Tokens;
use super::{Script, Settings, Shown};
use crate::config::limits::QUERIES_MAX;
use crate::config::nearest::nearest;
use crate::config::options::{
    DeadLetterTarget, Late, OptionError, QueryOptions, SinkConnector, StreamConnector, WrittenEmit,
    WrittenOption, query_options, sink_options, stream_options,
};
use crate::error::{Error, Result, Span};
use crate::plan::{
    DeadLetterSpec, Dealing, EventTimeColumn, EventTimeSpec, JobPlan, Plan, Shape, SourceConnector,
    StreamSpec, WatermarkEmit,
};

/// Out-of-orderness of a Kafka stream without a WATERMARK clause: one second.
const MESSAGE_TIME_BOUND_US: i64 = 1_000_000;

/// What was planned so far.
pub(super) struct Planner<'t> {
    place: &'t Place,
    settings: &'t Settings,
    functions: Functions,
    streams: Streams,
    /// What SET said so far.
    session: Vec<WrittenOption>,
    /// Whether a query has used it.
    session_used: bool,
    job_name: Option<String>,
    queries: Vec<Plan>,
    /// Whether there is a query that prints its rows.
    bare: bool,
    shown: Vec<Shown>,
}

/// A planned query and where its rows go.
struct Planned {
    plan: Plan,
    /// The stream that is written; `None` for standard output.
    target: Option<String>,
    /// Where that is said.
    span: Span,
    /// For a stream that the query makes, its sink outside.
    makes: Option<Option<SinkConnector>>,
}

impl<'t> Planner<'t> {
    pub(super) fn new(place: &'t Place, settings: &'t Settings) -> Planner<'t> {
        Planner {
            place,
            settings,
            functions: Functions::new(),
            streams: Streams::default(),
            session: Vec::new(),
            session_used: false,
            job_name: None,
            queries: Vec::new(),
            bare: false,
            shown: Vec::new(),
        }
    }

    /// Plans one statement.
    pub(super) fn statement(&mut self, tokens: Tokens<'t>) -> Result<()> {
        let whole = tokens.whole_span();
        let text = tokens.clone();
        let planned = statement::read(tokens).and_then(|read| self.plan(read, whole));
        if let Err(error) = &planned {
            let follows = self.follows_from_another(error, &text);
            if let Some(name) = statement::name_made_by(&text) {
                self.streams.broke(name);
            }
            if follows {
                return Ok(());
            }
        }
        planned
    }

    /// All that was planned, or `errors` and what else is wrong.
    pub(super) fn finish(mut self, mut errors: Vec<Error>) -> Result<Script> {
        if errors.is_empty() {
            errors = self.streams.unread(self.place);
            let named = self.job_name.is_some() || self.settings.job_name.is_some();
            let queries = &mut self.queries;
            errors.extend(start::decide(self.place, &self.streams, queries, named));
        }
        Error::all(errors.into_iter())?;
        let name = self
            .job_name
            .or_else(|| self.settings.job_name.clone())
            .unwrap_or_else(|| "velo".to_owned());
        Ok(Script {
            streams: self.streams.all(),
            job: JobPlan::new(name, self.queries),
            shown: self.shown,
        })
    }

    /// Whether `error` is only that a stream is missing whose own statement is wrong.
    fn follows_from_another(&self, error: &Error, text: &Tokens<'_>) -> bool {
        let Error::Sql(error) = error else {
            return false;
        };
        let mut broken = self.streams.broken().iter();
        error.code == Code::UnknownStream.text()
            && broken.any(|name| text.find_word(name).is_some())
    }

    fn plan(&mut self, statement: Statement<'t>, span: Span) -> Result<()> {
        match statement {
            Statement::Declare(declaration) => self.declare(declaration),
            Statement::Set(option) => self.set(option),
            Statement::ShowStreams => {
                self.shown.push(Shown::Streams(self.streams.all()));
                Ok(())
            }
            Statement::Describe { name, span } => self.describe(&name, span),
            Statement::Explain(inner) => {
                let mut plan = Box::new(self.query(*inner, span)?.plan);
                // Nothing else reads what it reads.
                let alone = std::iter::once(plan.as_ref());
                plan.source.dealing = Dealing::of(&plan.source.stream, alone);
                self.streams.explain(&plan.source.stream.name);
                self.shown.push(Shown::Explain(plan));
                Ok(())
            }
            query => self.run(query, span),
        }
    }

    fn set(&mut self, option: WrittenOption) -> Result<()> {
        if std::mem::take(&mut self.session_used) {
            // For the queries that follow; those before had theirs.
            self.session.retain(|before| before.key != option.key);
        }
        self.session.push(option);
        let known = self.session_options().map(|_| ());
        if known.is_err() {
            self.session.pop();
        }
        known
    }

    fn describe(&mut self, name: &str, span: Span) -> Result<()> {
        let Some(stream) = self.streams.get(name) else {
            let hint = match nearest(name, self.streams.names()) {
                Some(found) => format!("did you mean {found}?"),
                None => "SHOW STREAMS lists them".to_owned(),
            };
            return Err(self.place.error(
                Code::UnknownStream,
                format!("there is no stream {name}"),
                Some(span),
                Some(hint),
            ));
        };
        self.shown.push(Shown::Columns(Arc::clone(stream)));
        Ok(())
    }

    fn declare(&mut self, declaration: Declaration) -> Result<()> {
        let Declaration {
            name,
            span,
            columns,
            watermark,
            watermark_span,
            options: written,
        } = declaration;
        self.streams.check_new(self.place, &name, span)?;
        if written.is_empty() {
            if let Some(span) = watermark_span {
                return Err(self.place.error(
                    Code::BadWatermark,
                    format!("stream {name} is in memory: its watermark is that of the queries that write it"),
                    Some(span),
                    Some("leave WATERMARK out, or say with WITH (connector = ..) where records come from".to_owned()),
                ));
            }
            self.streams.declare(span, in_memory_stream(&name, columns));
            return Ok(());
        }
        let options = stream_options(&written).map_err(|error| self.option_error(error, span))?;
        let connector = match options.connector {
            StreamConnector::File(file) => SourceConnector::File(file),
            StreamConnector::Kafka(kafka) => SourceConnector::Kafka(kafka),
            StreamConnector::Datagen(datagen) => {
                let event_time = watermark.map(|(index, _)| index);
                let drawn = datagen.resolve(&columns, event_time);
                SourceConnector::Datagen(drawn.map_err(|error| self.option_error(error, span))?)
            }
        };
        let event_time = match (watermark, &connector) {
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
            target::check_columns_exist(self.place, &kafka.key_columns, &columns, &written)?;
        }
        let properties = match (&connector, &options.dead_letter) {
            (SourceConnector::Kafka(kafka), Some(DeadLetterTarget::Topic(_))) => {
                kafka.properties.clone()
            }
            _ => Vec::new(),
        };
        let dead_letter = options
            .dead_letter
            .map(|target| DeadLetterSpec { target, properties });
        let mut spec = StreamSpec {
            name,
            columns,
            event_time,
            on_error: options.on_error,
            dead_letter,
            event_time_unit: options.event_time_unit,
            time: options.time,
            watermark_emit: WatermarkEmit::default(),
            connector,
        };
        spec.watermark_emit = self.watermark_emit(&spec, options.watermark_emit, &written)?;
        self.streams.declare(span, spec);
        Ok(())
    }

    /// What moves the watermarks of `stream`, as its options say; refuses what they say of watermarks that it does not have.
    fn watermark_emit(
        &self,
        stream: &StreamSpec,
        emit: WrittenEmit,
        written: &[WrittenOption],
    ) -> Result<WatermarkEmit> {
        let WrittenEmit {
            interval_us,
            punctuation: text,
        } = emit;
        for name in ["watermark.emit", "watermark.max_drift"] {
            if let Some(span) = option_span(written, name)
                && stream.event_time.is_none()
            {
                return Err(self.place.error(
                    Code::BadWatermark,
                    format!("option {name} is about a watermark, and stream {} has none", stream.name),
                    Some(span),
                    Some("add WATERMARK FOR ts AS ts - INTERVAL '5' SECOND to its columns, or leave it out".to_owned()),
                ));
            }
        }
        let punctuation = match (text, option_span(written, "watermark.emit")) {
            (Some(text), Some(span)) => Some(punctuation(
                self.place,
                span,
                &text,
                stream,
                &self.functions,
            )?),
            _ => None,
        };
        Ok(WatermarkEmit {
            interval_us,
            punctuation,
        })
    }

    /// Plans a query and adds it to those that run.
    fn run(&mut self, statement: Statement<'t>, span: Span) -> Result<()> {
        let is_bare = matches!(statement, Statement::Print(_));
        if is_bare && self.bare {
            return Err(self.place.error(
                Code::NotAvailable,
                "a file has one query that prints its rows, and this is another",
                Some(span),
                Some("write its rows to a stream: CREATE STREAM name WITH (connector = ..) AS SELECT ..".to_owned()),
            ));
        }
        if self.queries.len() == QUERIES_MAX {
            return Err(self.place.error(
                Code::NotAvailable,
                format!("more than {QUERIES_MAX} queries in a file: not available"),
                Some(span),
                Some("put some of them into a file of their own".to_owned()),
            ));
        }
        let Planned {
            plan,
            target,
            span,
            makes,
        } = self.query(statement, span)?;
        if let (Some(name), Some(sink)) = (&target, makes) {
            self.streams.create(name, span, &plan.output, sink);
        }
        let target = target.unwrap_or_default();
        self.streams.run(self.place, &plan, &target, span)?;
        self.bare |= is_bare;
        self.queries.push(plan);
        Ok(())
    }

    /// Plans a query.
    fn query(&mut self, statement: Statement<'t>, whole: Span) -> Result<Planned> {
        let sql = self.place.shown()[whole.start..whole.end].to_owned();
        let session = self.session_options()?;
        self.session_used = true;
        let (name, query, span, written, into) = match statement {
            Statement::Write {
                name,
                span,
                options,
                query,
            } => {
                self.streams.check_new(self.place, &name, span)?;
                (name, query, span, options, None)
            }
            Statement::Insert { name, span, query } => {
                let into = self.streams.writable(self.place, &name, span)?;
                let number = into.writers + 1;
                (
                    format!("{name}#{number}"),
                    query,
                    span,
                    Vec::new(),
                    Some(into),
                )
            }
            Statement::Print(query) => ("query".to_owned(), query, whole, Vec::new(), None),
            Statement::Declare(_)
            | Statement::Set(_)
            | Statement::Explain(_)
            | Statement::ShowStreams
            | Statement::Describe { .. } => {
                unreachable!("only queries are planned: `read` and `plan` saw to it")
            }
        };
        let is_bare = into.is_none() && name == "query" && span == whole;
        let sink = match written.is_empty() {
            true => None,
            false => Some(sink_options(&written).map_err(|error| self.option_error(error, span))?),
        };
        let options = match &sink {
            Some(sink) => sink.query.clone().or(session),
            None => session,
        };
        self.take_job_name(&options, &written, span)?;
        let (streams, functions) = (self.streams.readable(), &self.functions);
        let outside = self.streams.outside().collect();
        let columns = into.as_ref().map(|into| target::IntoStream {
            stream: &into.name,
            columns: &into.columns,
            span,
        });
        let lowered = lower(query, columns, |windowed| Catalog {
            streams,
            outside,
            functions,
            windowed,
            hidden: false,
            is_final: false,
        })?;
        self.check_emit(&lowered)?;
        let late = options.late.unwrap_or(Late::Drop);
        self.check_late(late, &lowered, &written, whole)?;
        let exchange_span =
            option_span(&written, "exchange").or_else(|| option_span(&self.session, "exchange"));
        let exchange = exchange(
            &lowered,
            options.exchange,
            late,
            self.settings.shards,
            self.place,
            exchange_span.unwrap_or(whole),
        )?;
        let (stream, connector, makes) = match (into, sink, is_bare) {
            (Some(Writable { name, sink, .. }), _, _) => (Some(name), sink, None),
            (None, _, true) => (None, None, None),
            (None, sink, false) => {
                let connector = sink.map(|sink| sink.connector);
                (Some(name.clone()), connector.clone(), Some(connector))
            }
        };
        let target = Written {
            stream: stream.as_deref(),
            connector,
            options: &written,
            span,
        };
        let sink = target.resolve(self.place, &lowered)?;
        Ok(Planned {
            plan: Plan {
                name,
                sql,
                source: lowered.source,
                filter: lowered.filter,
                shape: lowered.shape,
                output: lowered.output,
                emit: lowered.emit,
                exchange,
                late,
                late_warn: options.late_warn,
                sink,
            },
            target: stream,
            span,
            makes,
        })
    }

    /// A file is one job, so its queries agree on the name.
    fn take_job_name(
        &mut self,
        options: &QueryOptions,
        written: &[WrittenOption],
        span: Span,
    ) -> Result<()> {
        let Some(name) = &options.job_name else {
            return Ok(());
        };
        let known = self.job_name.get_or_insert_with(|| name.clone());
        if known == name {
            return Ok(());
        }
        Err(self.place.error(
            Code::BadOption,
            format!("all queries of a file are one job, and it is called {known} already"),
            Some(
                option_span(written, "job.name")
                    .or_else(|| option_span(&self.session, "job.name"))
                    .unwrap_or(span),
            ),
            Some("set job.name once, before the first query".to_owned()),
        ))
    }

    /// EMIT FINAL without a window waits for an end, so there must be one.
    fn check_emit(&self, lowered: &Lowered) -> Result<()> {
        let Shape::Aggregate(aggregate) = &lowered.shape else {
            return Ok(());
        };
        let bounded = lowered.source.stream.connector.is_bounded();
        if !lowered.emit.ends() || aggregate.window.is_some() || bounded {
            return Ok(());
        }
        let name = lowered.emit.name();
        Err(self.place.error(
            Code::BadEmit,
            format!("EMIT {name} without a window waits for the end of the input, and this input has none"),
            lowered.emit_span,
            Some("add a WINDOW, use EMIT CHANGES, or end the stream: end = 'latest'".to_owned()),
        ))
    }

    /// Late records go where the bad ones of their stream go, so these must go somewhere.
    fn check_late(
        &self,
        late: Late,
        lowered: &Lowered,
        written: &[WrittenOption],
        whole: Span,
    ) -> Result<()> {
        if late == Late::Update {
            return self.check_late_update(lowered, written, whole);
        }
        let windowed =
            matches!(&lowered.shape, Shape::Aggregate(aggregate) if aggregate.window.is_some());
        let stream = &lowered.source.stream;
        if late != Late::DeadLetter || !windowed || stream.dead_letter.is_some() {
            return Ok(());
        }
        let span = option_span(written, "late").or_else(|| option_span(&self.session, "late"));
        Err(self.place.error(
            Code::BadOption,
            format!("late = 'dead_letter', and stream {} has no dead letter", stream.name),
            Some(span.unwrap_or(whole)),
            Some(
                "add on_error = 'dead_letter' and dead_letter = 'file:PATH' or 'kafka:TOPIC' to its WITH"
                    .to_owned(),
            ),
        ))
    }

    /// Rows are corrected that have left at the end of a window, until its grace is over.
    fn check_late_update(
        &self,
        lowered: &Lowered,
        written: &[WrittenOption],
        whole: Span,
    ) -> Result<()> {
        let Shape::Aggregate(aggregate) = &lowered.shape else {
            return Ok(());
        };
        let (message, hint) = match aggregate.window {
            None => (
                "late = 'update' corrects the rows of windows, and this query has no window",
                "add a WINDOW with a GRACE PERIOD, or leave it out",
            ),
            Some(window) if window.grace_us() == 0 => (
                "late = 'update' corrects rows until the grace period is over, and this window has none",
                "add GRACE PERIOD 1 MINUTE to the window, or leave it out",
            ),
            Some(_) if !lowered.emit.ends() => (
                "late = 'update' corrects the rows of EMIT FINAL, and under EMIT CHANGES every record within the grace period changes its row anyway",
                "leave it out, or use EMIT FINAL",
            ),
            Some(_) => return Ok(()),
        };
        let span = option_span(written, "late").or_else(|| option_span(&self.session, "late"));
        Err(self.place.error(
            Code::BadOption,
            message,
            Some(span.unwrap_or(whole)),
            Some(hint.to_owned()),
        ))
    }

    fn session_options(&self) -> Result<QueryOptions> {
        query_options(&self.session)
            .map_err(|error| self.option_error(error, Span { start: 0, end: 0 }))
    }

    fn option_error(&self, error: OptionError, otherwise: Span) -> Error {
        let span = error.span.unwrap_or(otherwise);
        self.place
            .error(Code::BadOption, error.message, Some(span), error.hint)
    }
}

/// Where the option `key` stands, the last time.
pub(super) fn option_span(options: &[WrittenOption], key: &str) -> Option<Span> {
    options
        .iter()
        .rev()
        .find(|option| option.key.eq_ignore_ascii_case(key))
        .map(|option| option.span)
}

#[cfg(test)]
mod tests {
    use crate::plan::{Dealing, Input};
    use crate::sql::{Settings, plan_script};

    /// What is decided of the file `s` that these queries read.
    fn dealing(queries: &str) -> Dealing {
        let text = format!(
            "CREATE STREAM s (a VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts)
             WITH (connector = 'file', path = 'in.csv', deal = 'true'); {queries}"
        );
        let settings = Settings {
            shards: 2,
            job_name: None,
        };
        let script = plan_script("test.sql", &text, &settings);
        let job = script.expect("queries that can be planned").job;
        let decided = job.sources[0].dealing.clone();
        for query in &job.queries {
            let told = match query.input {
                Input::Source { .. } => decided.as_ref(),
                Input::Link { .. } => None,
            };
            assert_eq!(query.plan.source.dealing.as_ref(), told);
        }
        decided.expect("a file")
    }

    const FINAL: &str = "CREATE STREAM f WITH (connector = 'file', path = 'out.json') AS
        SELECT a, COUNT(*) AS n FROM s GROUP BY a WINDOW TUMBLING (SIZE 1 MINUTE);";
    const CHAINED: &str = "CREATE STREAM f AS SELECT a, COUNT(*) AS n FROM s GROUP BY a EMIT FINAL;
        SELECT a, n FROM f;";

    #[test]
    fn a_file_is_dealt_when_every_query_that_reads_it_groups_under_emit_final() {
        let global = "SELECT COUNT(*) AS n FROM s EMIT FINAL;";
        for queries in [global, &format!("{FINAL} {global}"), CHAINED] {
            let dealing = dealing(queries);
            assert!(dealing.dealt, "{queries}: {}", dealing.reason);
            assert!(dealing.deals(2) && !dealing.deals(1));
        }
    }

    #[test]
    fn a_query_that_emits_as_records_come_keeps_a_file_from_being_dealt() {
        for (query, reason) in [
            ("SELECT a FROM s;", "query query has no groups"),
            (
                "SELECT a, COUNT(*) AS n FROM s GROUP BY a;",
                "query query emits changes",
            ),
        ] {
            for queries in [query, &format!("{FINAL} {query}")] {
                let dealing = dealing(queries);
                assert_eq!((dealing.dealt, dealing.reason.as_str()), (false, reason));
                assert!(!dealing.deals(2));
            }
        }
    }
}
