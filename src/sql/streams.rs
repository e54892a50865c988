//! The streams of a file: which may be read, which may be written, and by whom they are.
//!
//! Laws: a name stands for one stream. What a job writes outside it does not read, and what writes an in-memory stream stands
//! before what reads it; so records never run in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use datafusion_common::arrow::datatypes::{Field, Schema};

use super::diagnose::{Code, Place};
use crate::config::nearest::nearest;
use crate::config::options::{
    DeadLetterTarget, End, KafkaSinkOptions, KafkaSourceOptions, OnError, SinkConnector, Start,
    TimeOptions, TimeUnit,
};
use crate::error::{Error, Result, Span};
use crate::plan::{
    EventTimeColumn, EventTimeSpec, Plan, Shape, SinkSpec, SourceConnector, StreamSpec, Written,
};

/// The streams known so far.
#[derive(Default)]
pub(super) struct Streams {
    known: BTreeMap<String, Known>,
    /// Those that queries may read, as the catalog wants them.
    readable: BTreeMap<String, Arc<StreamSpec>>,
    /// Names whose statement was wrong: what is missing because of that is no error of its own.
    broken: BTreeSet<String>,
    /// Files, by their path from the root.
    files: BTreeMap<PathBuf, FileUser>,
    /// Topics that are read or written, with who does it.
    topics: BTreeMap<String, String>,
    /// Topics of dead letters, with a stream that sends to it.
    letter_topics: BTreeMap<String, String>,
}

/// Who reads or writes a file.
struct FileUser {
    /// `stream NAME`, or `dead letters`.
    name: String,
    /// The path as written.
    path: PathBuf,
}

/// One stream.
struct Known {
    /// Where its name stands in the text.
    span: Span,
    spec: Arc<StreamSpec>,
    way: Way,
    readers: usize,
    /// Whether an EXPLAIN reads it.
    explained: bool,
    /// INSERT INTO and its CREATE STREAM AS.
    writers: usize,
}

/// Where rows written to a stream go.
enum Way {
    /// Outside.
    Out(SinkConnector),
    /// To the queries that read it.
    Memory,
    /// Nowhere: it is only read.
    Shut,
}

/// A stream that INSERT INTO writes.
pub(super) struct Writable {
    pub(super) name: String,
    pub(super) columns: Arc<Schema>,
    /// `None` when it is in memory.
    pub(super) sink: Option<SinkConnector>,
    /// How many queries wrote it before.
    pub(super) writers: usize,
}

impl Streams {
    /// What queries may read.
    pub(super) fn readable(&self) -> &BTreeMap<String, Arc<StreamSpec>> {
        &self.readable
    }

    /// The names of those that queries only write.
    pub(super) fn outside(&self) -> impl Iterator<Item = &str> {
        let known = self.known.keys().map(String::as_str);
        known.filter(|name| !self.readable.contains_key(*name))
    }

    /// All streams, by name.
    pub(super) fn all(&self) -> Vec<Arc<StreamSpec>> {
        let known = self.known.values();
        known.map(|known| Arc::clone(&known.spec)).collect()
    }

    /// The stream `name`.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<StreamSpec>> {
        self.known.get(name).map(|known| &known.spec)
    }

    /// Where the name of the stream `name` stands.
    pub(super) fn span_of(&self, name: &str) -> Option<Span> {
        self.known.get(name).map(|known| known.span)
    }

    /// The names of all streams.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// Remembers that the statement which makes `name` is wrong.
    pub(super) fn broke(&mut self, name: String) {
        self.broken.insert(name);
    }

    /// The names whose statement was wrong.
    pub(super) fn broken(&self) -> &BTreeSet<String> {
        &self.broken
    }

    /// Refuses a name that is taken.
    pub(super) fn check_new(&self, place: &Place, name: &str, span: Span) -> Result<()> {
        if !self.known.contains_key(name) {
            return Ok(());
        }
        Err(place.error(
            Code::DuplicateName,
            format!("stream {name} is declared twice"),
            Some(span),
            Some("give one of them another name".to_owned()),
        ))
    }

    /// Adds a stream with declared columns.
    pub(super) fn declare(&mut self, span: Span, spec: StreamSpec) {
        let way = match &spec.connector {
            SourceConnector::File(file) => Way::Out(SinkConnector::File(file.clone())),
            SourceConnector::Kafka(kafka) => Way::Out(SinkConnector::Kafka(KafkaSinkOptions {
                topic: kafka.topic.clone(),
                format: kafka.format,
                csv: kafka.csv.clone(),
                key_columns: (!kafka.key_columns.is_empty()).then(|| kafka.key_columns.clone()),
                key_format: None,
                properties: kafka.properties.clone(),
            })),
            SourceConnector::Queries(_) => Way::Memory,
            SourceConnector::Datagen(_) | SourceConnector::Memory(_) => Way::Shut,
        };
        let spec = self.add(span, spec, way);
        self.readable.insert(spec.name.clone(), spec);
    }

    /// Adds a stream that CREATE STREAM AS makes, with the columns of its query. `sink` is `None` for one in memory, and only
    /// that can be read.
    pub(super) fn create(
        &mut self,
        name: &str,
        span: Span,
        columns: &Schema,
        sink: Option<SinkConnector>,
    ) {
        let fields = columns.fields().iter();
        // Another query may write it too, and its columns may be NULL where these never are.
        let fields: Vec<Field> = fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let mut spec = in_memory_stream(name, Arc::new(Schema::new(fields)));
        match sink {
            Some(sink) => {
                spec.connector = read_back(&sink);
                self.add(span, spec, Way::Out(sink));
            }
            None => {
                let spec = self.add(span, spec, Way::Memory);
                self.readable.insert(name.to_owned(), spec);
            }
        }
    }

    fn add(&mut self, span: Span, spec: StreamSpec, way: Way) -> Arc<StreamSpec> {
        let spec = Arc::new(spec);
        let known = Known {
            span,
            spec: Arc::clone(&spec),
            way,
            readers: 0,
            explained: false,
            writers: 0,
        };
        self.known.insert(spec.name.clone(), known);
        spec
    }

    /// The stream that INSERT INTO `name` writes.
    pub(super) fn writable(&self, place: &Place, name: &str, span: Span) -> Result<Writable> {
        let Some(known) = self.known.get(name) else {
            let hint = match nearest(name, self.names()) {
                Some(found) => format!("did you mean {found}?"),
                None => "declare it before with CREATE STREAM".to_owned(),
            };
            return Err(place.error(
                Code::UnknownStream,
                format!("there is no stream {name}"),
                Some(span),
                Some(hint),
            ));
        };
        match (known.readers, &known.way) {
            (_, Way::Shut) => Err(place.error(
                Code::BadTarget,
                format!("stream {name} makes its own rows, and takes none"),
                Some(span),
                Some(
                    "write a stream with connector = 'kafka' or 'file', or one without WITH"
                        .to_owned(),
                ),
            )),
            (0, way) => Ok(Writable {
                name: name.to_owned(),
                columns: Arc::clone(&known.spec.columns),
                sink: match way {
                    Way::Out(sink) => Some(sink.clone()),
                    Way::Memory | Way::Shut => None,
                },
                writers: known.writers,
            }),
            (_, Way::Memory) => Err(place.error(
                Code::Circle,
                format!("stream {name} is read before this query writes it"),
                Some(span),
                Some(
                    "put this INSERT INTO before the first query that reads the stream".to_owned(),
                ),
            )),
            (_, Way::Out(_)) => Err(place.error(
                Code::Circle,
                format!("stream {name} is read by this file, and cannot be written by it too"),
                Some(span),
                Some("write another stream, with a path or a topic of its own".to_owned()),
            )),
        }
    }

    /// Notes that `plan`, whose name or INSERT INTO stands at `span`, runs: who reads, who writes.
    pub(super) fn run(
        &mut self,
        place: &Place,
        plan: &Plan,
        target: &str,
        span: Span,
    ) -> Result<()> {
        let source = plan.source.stream.name.clone();
        let circle = |message: String, hint: &str| {
            place.error(Code::Circle, message, Some(span), Some(hint.to_owned()))
        };
        if source == target {
            return Err(circle(
                format!("stream {source} is read by the query that writes it"),
                "write another stream",
            ));
        }
        let known = self
            .known
            .get(&source)
            .expect("the catalog knows what is read");
        if known.writers > 0 && matches!(known.way, Way::Out(_)) {
            return Err(circle(
                format!("stream {source} is written by this file, and cannot be read by it too"),
                "leave out its WITH: a stream without WITH is in memory, and feeds later queries",
            ));
        }
        if let SourceConnector::File(file) = &plan.source.stream.connector {
            self.use_file(&file.path, &format!("stream {source}"))
                .map_err(|message| circle(message, ONE_STREAM))?;
        }
        if let SinkSpec::File(file) = &plan.sink {
            self.use_file(&file.path, &format!("stream {target}"))
                .map_err(|message| circle(message, ONE_STREAM))?;
        }
        self.use_targets(plan)
            .map_err(|message| circle(message, "give the dead letter a place of its own"))?;
        self.known
            .get_mut(&source)
            .expect("found just before")
            .readers += 1;
        if let Some(known) = self.known.get_mut(target) {
            known.writers += 1;
            if matches!(known.way, Way::Memory) {
                let spec = Arc::new(written_by(&known.spec, plan, known.writers));
                known.spec = Arc::clone(&spec);
                self.readable.insert(target.to_owned(), spec);
            }
        }
        Ok(())
    }

    /// Notes that a query which is only explained reads `name`.
    pub(super) fn explain(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            known.explained = true;
        }
    }

    /// A file belongs to one stream: to two, one would read what the other is about to empty. Says whose it is already.
    fn use_file(&mut self, path: &Path, user: &str) -> Result<(), String> {
        let from_root = from_root(path);
        if from_root == Path::new("/dev/null") {
            return Ok(());
        }
        let known = self.files.entry(from_root).or_insert_with(|| FileUser {
            name: user.to_owned(),
            path: path.to_owned(),
        });
        if known.name == user {
            return Ok(());
        }
        let (path, other) = (path.display(), &known.name);
        Err(match known.path.display() {
            written if written.to_string() == path.to_string() => {
                format!("{path} is the file of {user} and of {other}")
            }
            written => format!("{path} is the file of {user} and, as {written}, of {other}"),
        })
    }

    /// A dead letter has a file or a topic of its own: in one that is read the records would run in a circle, and in one that
    /// queries write nobody could tell them from rows. Several streams may share one: each letter names its stream.
    fn use_targets(&mut self, plan: &Plan) -> Result<(), String> {
        let stream = &plan.source.stream;
        if let SourceConnector::Kafka(kafka) = &stream.connector {
            self.topics
                .insert(kafka.topic.clone(), format!("stream {} reads", stream.name));
        }
        if let SinkSpec::Kafka(kafka) = &plan.sink {
            self.topics.insert(
                kafka.options.topic.clone(),
                format!("query {} writes", plan.name),
            );
        }
        match stream.dead_letter.as_ref().map(|spec| &spec.target) {
            None => {}
            Some(DeadLetterTarget::File(path)) => self.use_file(path, DEAD_LETTERS)?,
            Some(DeadLetterTarget::Topic(topic)) => {
                self.letter_topics
                    .insert(topic.clone(), stream.name.clone());
            }
        }
        let mut topics = self.letter_topics.iter();
        let shared = topics.find_map(|(topic, of)| Some((topic, of, self.topics.get(topic)?)));
        match shared {
            None => Ok(()),
            Some((topic, of, user)) => Err(format!(
                "topic {topic} is the dead letter of stream {of}, and {user} it"
            )),
        }
    }

    /// In-memory streams that are written and that nothing reads.
    pub(super) fn unread(&self, place: &Place) -> Vec<Error> {
        let unread = self
            .known
            .values()
            .filter(|known| matches!(known.way, Way::Memory) && known.writers > 0)
            .filter(|known| known.readers == 0 && !known.explained);
        unread
            .map(|known| {
                let name = &known.spec.name;
                place.error(
                    Code::UnknownStream,
                    format!("stream {name} is in memory, and no query reads it: its rows would go nowhere"),
                    Some(known.span),
                    Some(format!(
                        "say where they go with WITH (connector = ..), or add a query that reads {name}"
                    )),
                )
            })
            .collect()
    }
}

/// What uses a file where no stream does.
const DEAD_LETTERS: &str = "dead letters";

const ONE_STREAM: &str =
    "give one of them another path; INSERT INTO lets several queries write one stream";

/// `path` from the root on, without `.` and `..`: two spellings of one path are one. Read off the text, because planning looks
/// at no file; a job sees through links when it starts (`job::files`).
fn from_root(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// The connector under which rows that go to `sink` could be read.
fn read_back(sink: &SinkConnector) -> SourceConnector {
    match sink {
        SinkConnector::File(file) => SourceConnector::File(file.clone()),
        SinkConnector::Kafka(kafka) => SourceConnector::Kafka(KafkaSourceOptions {
            topic: kafka.topic.clone(),
            format: kafka.format,
            json_validate: Default::default(),
            csv: kafka.csv.clone(),
            key_columns: kafka.key_columns.clone().unwrap_or_default(),
            group: None,
            start: Start::Earliest,
            start_written: false,
            end: End::Never,
            tier: Default::default(),
            properties: kafka.properties.clone(),
        }),
    }
}

/// An in-memory stream that nothing has written yet.
pub(super) fn in_memory_stream(name: &str, columns: Arc<Schema>) -> StreamSpec {
    StreamSpec {
        name: name.to_owned(),
        columns,
        event_time: None,
        on_error: OnError::Skip,
        dead_letter: None,
        event_time_unit: TimeUnit::Milliseconds,
        time: TimeOptions::default(),
        watermark_emit: Default::default(),
        connector: SourceConnector::Queries(Written {
            queries: 0,
            bounded: true,
            updates: None,
        }),
    }
}

/// The in-memory stream `spec` with `plan` as its writer number `writers`, from 1.
fn written_by(spec: &StreamSpec, plan: &Plan, writers: usize) -> StreamSpec {
    let source = &plan.source.stream;
    let (timed, updates) = match &plan.shape {
        Shape::Project(_) => (source.event_time.is_some(), source.connector.updates()),
        Shape::Aggregate(aggregate) => (
            aggregate.window.is_some(),
            plan.updates().then_some(plan.name.as_str()),
        ),
    };
    let SourceConnector::Queries(before) = &spec.connector else {
        panic!("only an in-memory stream is written by queries");
    };
    let timed = timed && (writers == 1 || spec.event_time.is_some());
    StreamSpec {
        event_time: timed.then_some(EventTimeSpec {
            column: EventTimeColumn::Row,
            bound_us: 0,
        }),
        // The strictest of what is asked for where the records come from.
        on_error: match (spec.on_error, source.on_error) {
            (OnError::Fail, _) | (_, OnError::Fail) => OnError::Fail,
            (OnError::DeadLetter, _) | (_, OnError::DeadLetter) => OnError::DeadLetter,
            (OnError::Skip, OnError::Skip) => OnError::Skip,
        },
        dead_letter: spec.dead_letter.clone().or(source.dead_letter.clone()),
        connector: SourceConnector::Queries(Written {
            queries: writers,
            bounded: before.bounded && source.connector.is_bounded(),
            updates: before.updates.clone().or(updates.map(str::to_owned)),
        }),
        ..spec.clone()
    }
}
