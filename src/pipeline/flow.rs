//! The queries of one shard and what flows between them: batches, watermarks, idleness, the end.
//!
//! ```text
//!   source --take--> query 0 --OutputRows--> Outlet::Sink --encode--> exit lane
//!                    query 1 --OutputRows--> Outlet::Stream --Batch--> query 2 --> ..      the same shard: no lane between
//! ```
//!
//! Laws:
//! 1. Nothing is made unless there is room for it all the way: in the lanes of whoever reads it, and behind them. A query
//!    stands behind those that feed it, so served last to first the last one always drains; nothing deadlocks, not even with
//!    lanes of one block.
//! 2. A promise goes to the readers of a query's rows after the rows that it covers, and is the least over all writers of
//!    the stream on this shard; the least over the shards is the exchange's to find. It may go back where an input wakes that
//!    was idle, and then comes before the first of its records.
//! 3. A row keeps the event time that its query gave it, and a record its partition's watermark just before it, so that
//!    lateness is decided once: for the row of a window nothing is left to decide.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::datatypes::SchemaRef;
use velostream_shards::{Context, Load, MemoryRange, ShardId};

use super::egress::{Egress, Exit, ToJob};
use super::grouping::LateCounts;
use super::ingest::Ingest;
use super::letters::LetterBox;
use super::query::QueryPipeline;
use super::stages;
use super::standing::Held;
use crate::batch::{Batch, LetterStage, Origin, OwnedOriginal};
use crate::config::limits::{INBOX_BLOCKS_MAX, INBOX_ROWS_MAX, QUERIES_MAX};
use crate::emit::{OutputRows, Withheld};
use crate::error::{Error, Place, Result};
use crate::source::BadRecords;
use crate::time::{Coalescer, EventTime, Idle, Standing, Watermark};

/// All queries of a shard.
pub struct Flow {
    nodes: Vec<Node>,
    exit: Exit,
}

/// One query with what stands before and behind it.
pub struct Node {
    name: String,
    pipeline: QueryPipeline,
    inlet: Inlet,
    outlet: Outlet,
    /// Rows that have no value within range.
    bad_rows: BadRecords,
    /// Where its dead letters go; `None` where its stream has none.
    letters: Option<LetterBox>,
    /// Rows given away so far.
    rows: u64,
    /// Whether the job is told which epochs have come through: what it reads is committed.
    tells_epochs: bool,
    /// Whether it was told of the last.
    told_last: bool,
    /// Scratch: rows made and not yet given away.
    made: Vec<OutputRows>,
}

/// Where a query's rows go.
pub enum Outlet {
    /// To a sink of the job.
    Sink(Egress),
    /// To queries of this shard.
    Stream(Fork),
}

/// The readers of a query's rows, and what they have been told.
pub struct Fork {
    readers: Vec<Reader>,
    told: Standing,
    closed: bool,
}

/// A query that reads a stream, and how it sees it.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Index of the query.
    pub query: usize,
    /// Which of the query's inputs this is: one for each writer of the stream.
    pub port: usize,
    /// Its columns among those of the stream; `None` for all of them.
    pub columns: Option<Vec<usize>>,
    /// The schema of its columns.
    pub projected: SchemaRef,
    /// Whether the stream has an event time.
    pub timed: bool,
}

/// The inputs of a query on this shard.
struct Inlet {
    watermarks: Coalescer,
    /// Inputs from which something may still come.
    open: usize,
}

/// What a query has counted on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryCounts {
    /// Rows that left it: for its sink, or for other queries.
    pub rows: u64,
    /// Records for which an expression failed.
    pub bad_records: u64,
    /// Rows with a value out of range.
    pub bad_rows: u64,
    /// Records of which it was asked whether they are late.
    pub judged_records: u64,
    /// Records that corrected rows which had left.
    pub corrections: u64,
    /// Records whose window was closed by their own partition's watermark.
    pub late_records: u64,
    /// Records whose window the query had closed though their partition had not.
    pub late_after_idle: u64,
    /// Most bytes that its groups and dictionaries have taken at once.
    pub state_bytes_max: u64,
    /// Searches for a group or a dictionary entry that went past many others.
    pub long_probes: u64,
}

impl QueryCounts {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: QueryCounts) -> QueryCounts {
        QueryCounts {
            rows: self.rows + other.rows,
            bad_records: self.bad_records + other.bad_records,
            bad_rows: self.bad_rows + other.bad_rows,
            judged_records: self.judged_records + other.judged_records,
            corrections: self.corrections + other.corrections,
            late_records: self.late_records + other.late_records,
            late_after_idle: self.late_after_idle + other.late_after_idle,
            state_bytes_max: self.state_bytes_max + other.state_bytes_max,
            long_probes: self.long_probes + other.long_probes,
        }
    }
}

impl Node {
    /// The query `name`, read from `inputs` inputs (a source, or the writers of its stream).
    pub fn new(
        name: &str,
        pipeline: QueryPipeline,
        inputs: usize,
        outlet: Outlet,
        bad_rows: BadRecords,
        letters: Option<LetterBox>,
    ) -> Node {
        assert!(inputs > 0, "a query reads something");
        Node {
            name: name.to_owned(),
            pipeline,
            inlet: Inlet {
                watermarks: Coalescer::new(inputs),
                open: inputs,
            },
            outlet,
            bad_rows,
            letters,
            rows: 0,
            tells_epochs: false,
            told_last: true,
            made: Vec::new(),
        }
    }

    /// The job is told which epochs have come through.
    #[must_use]
    pub fn telling_epochs(self) -> Node {
        Node {
            tells_epochs: true,
            told_last: false,
            ..self
        }
    }
}

impl Fork {
    /// To `readers`.
    pub fn new(readers: Vec<Reader>) -> Fork {
        Fork {
            readers,
            told: Standing::Promises(Watermark::NONE, 0),
            closed: false,
        }
    }
}

impl Flow {
    /// The queries `nodes`, in the order of `JobPlan::queries`, before `exit`.
    pub fn new(nodes: Vec<Node>, exit: Exit) -> Flow {
        assert!(nodes.len() <= QUERIES_MAX, "the planner admits no more");
        for (query, node) in nodes.iter().enumerate() {
            if let Outlet::Stream(fork) = &node.outlet {
                assert!(
                    fork.readers.iter().all(|reader| reader.query > query),
                    "a query stands behind those that feed it"
                );
            }
        }
        Flow { nodes, exit }
    }

    /// Moves held blocks on; whether any moved.
    pub fn flush(&mut self) -> bool {
        let mut moved = self.exit.flush();
        for node in &mut self.nodes {
            moved |= node.pipeline.flush();
        }
        moved
    }

    /// Queries last to first: fires what is closed, a slice, takes what the peers sent, and tells the readers what they may
    /// count on. Whether anything was done.
    pub fn advance(&mut self, cx: &mut Context) -> Result<bool> {
        let mut progressed = false;
        for query in (0..self.nodes.len()).rev() {
            if self.room_behind(query) {
                cx.enter(stages::FIRE);
                progressed |= self.run(query, QueryPipeline::fire)?;
            }
            cx.enter(stages::PARTIALS);
            progressed |= self.run(query, QueryPipeline::send_partials)?;
            cx.enter(stages::DRAIN);
            progressed |= self.drain(query)?;
            progressed |= self.forward(query);
            progressed |= self.tell_epoch(query);
        }
        Ok(progressed)
    }

    /// The input of `query` has come to the cut of `epoch`.
    pub fn barrier(&mut self, query: usize, epoch: u64) {
        self.nodes[query].pipeline.barrier(epoch);
    }

    /// Tells the job of an epoch that has come through `query`, behind all rows that were made before. Whether there was one.
    fn tell_epoch(&mut self, query: usize) -> bool {
        let node = &mut self.nodes[query];
        if !node.tells_epochs {
            return false;
        }
        let Some((epoch, fired)) = node.pipeline.passed() else {
            return false;
        };
        node.told_last = epoch == u64::MAX;
        self.exit.post(ToJob::Passed {
            query,
            epoch,
            fired,
        });
        true
    }

    /// Takes what the peers sent to `query`, while there is room for what comes of it; whether there was anything.
    fn drain(&mut self, query: usize) -> Result<bool> {
        let mut progressed = false;
        let mut rows = 0;
        for _ in 0..INBOX_BLOCKS_MAX {
            if rows >= INBOX_ROWS_MAX || !self.room_behind(query) {
                break;
            }
            let mut taken = None;
            self.run(query, |pipeline, made| {
                taken = pipeline.drain(made);
                taken.is_some()
            })?;
            let Some(count) = taken else { break };
            rows += count;
            progressed = true;
        }
        Ok(progressed)
    }

    /// Whether `query` may be given a batch: there is room in its own lanes, and behind them.
    pub fn has_room(&self, query: usize) -> bool {
        self.nodes[query].pipeline.has_room() && self.room_behind(query)
    }

    /// Gives `query` a batch. `has_room` must have said so.
    pub fn take(&mut self, query: usize, batch: Batch) -> Result<()> {
        let mut taken = Ok(());
        self.run(query, |pipeline, made| {
            taken = pipeline.take(batch, made);
            true
        })?;
        let several = self.nodes.len() > 1;
        taken.map_err(|error| match error {
            Error::Data {
                stream,
                place,
                reason,
            } if several => Error::Data {
                stream,
                place,
                reason: format!("{reason} (in query {})", self.nodes[query].name),
            },
            other => other,
        })
    }

    /// Input `port` of `query` promises `time`, moved there by a record due at `due_us` (wall clock, microseconds).
    pub fn watermark(&mut self, query: usize, port: usize, time: Watermark, due_us: i64) {
        let advanced = self.nodes[query]
            .inlet
            .watermarks
            .promise(port, time, due_us);
        self.apply(query, advanced);
    }

    /// Input `port` of `query` holds nobody back until it promises again.
    pub fn idle(&mut self, query: usize, port: usize, idle: Idle) {
        let advanced = self.nodes[query].inlet.watermarks.idle(port, idle);
        self.apply(query, advanced);
        if let Some(idle) = self.nodes[query].inlet.watermarks.idle_since() {
            self.control(query, |pipeline, made| pipeline.idle(idle, made));
            self.forward(query);
        }
    }

    /// It is `now_ns` on the monotonic clock, and `wall_us` on the wall clock, microseconds: lets the watermarks run on that no
    /// input holds. Whether one moved.
    pub fn step(&mut self, now_ns: u64, wall_us: i64) -> bool {
        let mut moved = false;
        for query in 0..self.nodes.len() {
            let mut moves = false;
            self.control(query, |pipeline, made| {
                moves = pipeline.step(now_ns, wall_us, made);
            });
            if moves {
                self.forward(query);
            }
            moved |= moves;
        }
        moved
    }

    /// The watermark of `query`, which groups: the least of its inputs on all shards, as far as is known here.
    pub fn reached(&self, query: usize) -> Watermark {
        self.nodes[query].pipeline.reached()
    }

    /// When the clock alone closes the next window of a query, monotonic clock, nanoseconds; `u64::MAX` when it moves a watermark
    /// and no window is open, `None` when it moves none.
    pub fn fires_ns(&self) -> Option<u64> {
        let nodes = self.nodes.iter();
        nodes.filter_map(|node| node.pipeline.fires_ns()).min()
    }

    /// When the clock lets go what a query holds back, monotonic clock, nanoseconds; `None` when none holds anything back.
    pub fn lets_go_ns(&self) -> Option<u64> {
        // Where there is no room, whoever makes room rings.
        let able = (0..self.nodes.len()).filter(|&query| self.room_behind(query));
        able.filter_map(|query| self.nodes[query].pipeline.lets_go_ns())
            .min()
    }

    /// Nothing follows from one more input of `query`.
    pub fn close_input(&mut self, query: usize) {
        let node = &mut self.nodes[query];
        assert!(node.inlet.open > 0, "an input ends once");
        node.inlet.open -= 1;
        if node.inlet.open == 0 {
            node.pipeline.close_input();
            self.forward(query);
        }
    }

    /// Whether nothing is left to do and nothing can come.
    pub fn is_finished(&self) -> bool {
        self.exit.is_flushed() && self.is_drained()
    }

    /// The same, while what was posted may still be on its way out.
    pub fn is_drained(&self) -> bool {
        self.nodes.iter().all(Node::is_finished)
    }

    /// How long records from outside took until they were applied, as far as `query` recorded it.
    pub fn ingest(&mut self, query: usize) -> &mut Ingest {
        self.nodes[query].pipeline.ingest()
    }

    /// What waits behind all queries.
    pub fn load(&self) -> Load {
        let queries = self.nodes.iter().map(|node| node.pipeline.fill_and_held());
        let all = queries.chain([self.exit.fill_and_held()]);
        all.fold(Load::default(), |load, (fill, held)| Load {
            lane_fill: load.lane_fill.max(fill),
            held_blocks: load.held_blocks + held,
            source_fill: 0.0,
        })
    }

    /// The memory that holds the state of all queries.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        let nodes = self.nodes.iter();
        nodes.flat_map(|node| node.pipeline.ranges()).collect()
    }

    /// The way out, for what is not rows.
    pub fn exit(&mut self) -> &mut Exit {
        &mut self.exit
    }

    /// What each query holds now.
    pub fn held(&self) -> Vec<Held> {
        self.nodes.iter().map(|node| node.pipeline.held()).collect()
    }

    /// How many blocks lie in the lanes to each peer, or are held for them, over all queries.
    pub fn lane_depths(&self) -> Vec<(ShardId, usize)> {
        let mut depths = BTreeMap::new();
        for (to, depth) in self
            .nodes
            .iter()
            .flat_map(|node| node.pipeline.lane_depths())
        {
            *depths.entry(to).or_insert(0) += depth;
        }
        depths.into_iter().collect()
    }

    /// What each query has counted.
    pub fn counts(&self) -> Vec<QueryCounts> {
        self.nodes.iter().map(Node::counts).collect()
    }

    /// Whether there is room for what `query` makes.
    fn room_behind(&self, query: usize) -> bool {
        match &self.nodes[query].outlet {
            Outlet::Sink(_) => self.exit.has_room(),
            Outlet::Stream(fork) => self.readers_have_room(fork, &mut [false; QUERIES_MAX]),
        }
    }

    /// Whether all readers have room, and behind them. Each query is asked once, however many ways lead to it: their number
    /// doubles with every stream that two queries read and two write.
    fn readers_have_room(&self, fork: &Fork, asked: &mut [bool; QUERIES_MAX]) -> bool {
        fork.readers.iter().all(|reader| {
            let node = &self.nodes[reader.query];
            // One that was asked had room: the first that has none is the last to be asked.
            std::mem::replace(&mut asked[reader.query], true)
                || node.pipeline.has_room()
                    && match &node.outlet {
                        Outlet::Sink(_) => self.exit.has_room(),
                        Outlet::Stream(fork) => self.readers_have_room(fork, asked),
                    }
        })
    }

    fn apply(&mut self, query: usize, advanced: Option<(Watermark, i64)>) {
        if let Some((time, due_us)) = advanced {
            self.control(query, |pipeline, made| {
                pipeline.watermark(time, due_us, made);
            });
            self.forward(query);
        }
    }

    /// Lets `query` hear what makes no rows at once: they fire in slices.
    fn control(
        &mut self,
        query: usize,
        say: impl FnOnce(&mut QueryPipeline, &mut Vec<OutputRows>),
    ) {
        let Node { pipeline, made, .. } = &mut self.nodes[query];
        say(pipeline, made);
        assert!(made.is_empty(), "a watermark makes no rows at once");
    }

    /// Lets `query` work, and gives away what it makes.
    fn run(
        &mut self,
        query: usize,
        work: impl FnOnce(&mut QueryPipeline, &mut Vec<OutputRows>) -> bool,
    ) -> Result<bool> {
        let node = &mut self.nodes[query];
        let mut made = std::mem::take(&mut node.made);
        let progressed = work(&mut node.pipeline, &mut made);
        let given = made.drain(..).try_for_each(|rows| self.give(query, rows));
        self.nodes[query].made = made;
        self.post_letters(query)?;
        given.map(|()| progressed)
    }

    /// Hands on what `query` could not use.
    fn post_letters(&mut self, query: usize) -> Result<()> {
        let Node {
            pipeline,
            bad_rows,
            letters,
            ..
        } = &mut self.nodes[query];
        if let Some(letters) = letters {
            letters.post(pipeline.take_letters(), &mut self.exit)?;
            letters.post(bad_rows.take_letters(), &mut self.exit)?;
        }
        Ok(())
    }

    /// Gives rows of `query` to its sink, or to each of their readers.
    fn give(&mut self, query: usize, rows: OutputRows) -> Result<()> {
        let Node {
            name,
            outlet,
            bad_rows,
            rows: counted,
            ..
        } = &mut self.nodes[query];
        let mut withhold = |rows: &[Withheld]| {
            rows.iter().try_for_each(|row| {
                let place = || Place::Output {
                    query: name.clone(),
                };
                let keys = || OwnedOriginal {
                    payload: Some(row.keys_as_json()),
                    ..OwnedOriginal::default()
                };
                bad_rows.take(LetterStage::Output, place, &row.reason, keys)
            })
        };
        withhold(&rows.bad)?;
        if rows.leaves_nothing() {
            return Ok(());
        }
        let readers = match outlet {
            Outlet::Sink(egress) => {
                let mut too_large = Vec::new();
                let block = egress.encode(rows, &mut too_large);
                withhold(&too_large)?;
                *counted += block.rows();
                if !block.values.is_empty() {
                    self.exit.post(ToJob::Rows(block));
                }
                return Ok(());
            }
            Outlet::Stream(fork) => fork.readers.len(),
        };
        *counted += rows.batch.num_rows() as u64;
        for place in 0..readers {
            let reader = self.reader(query, place);
            let (to, batch) = (reader.query, reader.batch(&rows));
            self.take(to, batch)?;
        }
        Ok(())
    }

    fn reader(&self, query: usize, place: usize) -> &Reader {
        match &self.nodes[query].outlet {
            Outlet::Stream(fork) => &fork.readers[place],
            Outlet::Sink(_) => panic!("a sink has no readers"),
        }
    }

    /// Tells the readers of `query` what is new: its promise, that it is idle, that it has ended. Whether anything was.
    fn forward(&mut self, query: usize) -> bool {
        let Node {
            pipeline, outlet, ..
        } = &mut self.nodes[query];
        let Outlet::Stream(fork) = outlet else {
            return false;
        };
        let standing = pipeline.standing();
        let moves = !fork.told.is_like(standing);
        if moves {
            fork.told = standing;
        }
        let closes = pipeline.is_finished() && !std::mem::replace(&mut fork.closed, true);
        let readers = fork.readers.len();
        for place in 0..readers {
            let &Reader {
                query: to, port, ..
            } = self.reader(query, place);
            match standing {
                _ if !moves => {}
                Standing::Promises(time, due_us) => self.watermark(to, port, time, due_us),
                Standing::Idle(idle) => self.idle(to, port, idle),
            }
            if closes {
                self.close_input(to);
            }
        }
        moves || closes
    }
}

impl Node {
    fn is_finished(&self) -> bool {
        self.inlet.open == 0 && self.pipeline.is_finished() && self.told_last
    }

    fn counts(&self) -> QueryCounts {
        let LateCounts {
            judged,
            late,
            after_idle,
            corrections,
        } = self.pipeline.late();
        let (state_bytes_max, long_probes) = self.pipeline.state();
        QueryCounts {
            rows: self.rows,
            bad_records: self.pipeline.bad_records(),
            bad_rows: self.bad_rows.left_out(),
            judged_records: judged,
            corrections,
            late_records: late,
            late_after_idle: after_idle,
            state_bytes_max,
            long_probes,
        }
    }
}

impl Reader {
    /// The reader's share of a batch that others read too.
    pub fn view(&self, batch: &Batch) -> Batch {
        Batch {
            columns: self.columns_of(&batch.columns),
            ..batch.clone()
        }
    }

    /// The reader's share of a batch that nobody else reads any more.
    pub fn own(&self, batch: Batch) -> Batch {
        match self.columns {
            None => batch,
            Some(_) => Batch {
                columns: self.columns_of(&batch.columns),
                ..batch
            },
        }
    }

    /// The rows of a query as records.
    fn batch(&self, rows: &OutputRows) -> Batch {
        let count = rows.batch.num_rows();
        let event_times: Vec<EventTime> = match self.timed {
            true => rows
                .event_times_us
                .iter()
                .map(|&us| EventTime(us))
                .collect(),
            false => Vec::new(),
        };
        let watermarks_before = match (self.timed, rows.watermarks_before.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => vec![Watermark::NONE; event_times.len()],
            (true, false) => rows.watermarks_before.clone(),
        };
        let origin = Origin {
            partition: 0,
            offset: 0,
        };
        let batch = Batch {
            columns: self.columns_of(&rows.batch),
            event_times,
            watermarks_before,
            origins: vec![origin; count],
            due_us: rows.due_us,
            originals: None,
        };
        batch.assert_consistent();
        batch
    }

    fn columns_of(&self, all: &RecordBatch) -> RecordBatch {
        let columns = match &self.columns {
            None => all.columns().to_vec(),
            Some(columns) => columns
                .iter()
                .map(|&column| Arc::clone(all.column(column)))
                .collect(),
        };
        let options = RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.projected), columns, &options)
            .expect("the plan's columns are the stream's")
    }
}
