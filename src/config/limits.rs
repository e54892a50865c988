//! Every bound in one place: what is refused beyond it, and how the bounds relate.
//!
//! Law: a bound is stated here and nowhere else, and the code that enforces it names it in its message.

use std::ops::RangeInclusive;

const MICROSECONDS_A_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Shards of one process.
pub const SHARDS: RangeInclusive<usize> = 1..=velostream_shards::core_map::MAX_SHARDS;

/// Cores kept for housekeeping, when they are asked for by number.
pub const HOUSEKEEPING_CORES: RangeInclusive<usize> = 0..=velostream_shards::core_map::MAX_SHARDS;

/// How long a turn may take before it is a stall, microseconds.
pub const TURN_BUDGET_US: RangeInclusive<usize> = 1..=1_000_000;

/// How long a turn may take unless configured, microseconds.
pub const TURN_BUDGET_US_DEFAULT: u64 = velostream_shards::runtime::TURN_BUDGET_US;

/// Blocks that a lane holds. One is enough for progress: the mesh must not deadlock on it.
pub const LANE_BLOCKS: RangeInclusive<usize> = 1..=4096;

/// Blocks that a lane holds unless configured.
pub const LANE_BLOCKS_DEFAULT: usize = 64;

/// Blocks of a file's records that lie in a lane to a shard which decodes them: enough that it has the next one at hand.
pub const DEALT_LANE_BLOCKS_MAX: usize = 8;

/// Bytes of records behind which such a block takes no further record.
pub const DEALT_BLOCK_BYTES: usize = 1 << 20;

/// Records that a turn takes from its source at most.
pub const BATCH_RECORDS: RangeInclusive<usize> = 1..=65_536;

/// Records that a turn takes from its source at most unless configured.
pub const BATCH_RECORDS_DEFAULT: usize = 1024;

/// Records that a turn over its budget may still take from its source unless configured.
pub const BATCH_RECORDS_MIN_DEFAULT: usize = 16;

/// Operators of one statement. Each may nest one deeper than the last, and what evaluates them does so by recursion.
pub const OPERATORS_MAX: usize = 1_000;

/// Queries of one file.
pub const QUERIES_MAX: usize = 256;

/// Bits of a Kafka delivery's opaque word that say of which query the record is; the others are its epoch and its due time.
pub const DELIVERY_QUERY_BITS: u32 = 10;

/// Bits of the same word that tell the epoch from its neighbours: two epochs have rows under way at a time.
pub const DELIVERY_EPOCH_BITS: u32 = 1;

/// Length of a window, microseconds: up to a hundred years.
pub const WINDOW_SIZE_US: RangeInclusive<i64> = 1..=36_525 * MICROSECONDS_A_DAY;

/// In how many windows a record may count: each of them keeps a group of its own for it.
pub const WINDOWS_A_RECORD_MAX: i64 = 10_000;

/// From one window's start to the next one's, microseconds, at which overlapping windows are made of slices: a quarter of it must
/// number every microsecond of an `i64`.
pub const SLICED_ADVANCE_US_MIN: i64 = 8;

/// Grace period of a window, microseconds.
pub const GRACE_US: RangeInclusive<i64> = 0..=36_525 * MICROSECONDS_A_DAY;

/// Time between two rows of a group under EMIT .. EVERY, microseconds: from a millisecond on.
pub const EMIT_EVERY_US: RangeInclusive<i64> = 1_000..=36_525 * MICROSECONDS_A_DAY;

/// Records between two rows of a group under EMIT CHANGES EVERY n ROWS.
pub const EMIT_EVERY_ROWS: RangeInclusive<u32> = 1..=1_000_000_000;

/// Records of a query before which nothing is said of how many are late while it runs: the first few say little.
pub const LATE_WARN_RECORDS_MIN: u64 = 1_000;

/// How far out of order the records of a partition may stand, microseconds.
pub const WATERMARK_BOUND_US: RangeInclusive<i64> = 0..=36_525 * MICROSECONDS_A_DAY;

/// Blocks that a shard takes from its inbox in one turn.
pub const INBOX_BLOCKS_MAX: usize = 64;

/// Records of a partition that librdkafka keeps waiting before it fetches no more of it (its `queued.min.messages`, as it is
/// unless configured).
pub const KAFKA_QUEUE_RECORDS: usize = 100_000;

/// Records of a batch that the helper of a consumer of tier `dedicated` takes at most.
pub const FETCH_BLOCK_RECORDS: usize = 1_024;

/// Such batches that lie between a helper and its shard.
pub const FETCH_LANE_BLOCKS: usize = 8;

/// How long a broker may take to answer a fetch, besides the time for which it may hold the answer back to fill it, before its
/// partitions are no longer taken to be quiet, nanoseconds.
pub const KAFKA_ANSWER_NS_MAX: u64 = 1_000_000_000;

/// How long nothing may come from a partition before it is idle, microseconds: up to thirty days.
pub const IDLE_TIMEOUT_US: RangeInclusive<i64> = 1_000..=30 * MICROSECONDS_A_DAY;

/// The same unless asked otherwise.
pub const IDLE_TIMEOUT_US_DEFAULT: i64 = 10_000_000;

/// How far ahead of the clock an event time may be, microseconds: up to a hundred years.
pub const FUTURE_SKEW_US: RangeInclusive<i64> = 0..=36_525 * MICROSECONDS_A_DAY;

/// The same of a Kafka stream without end unless asked otherwise.
pub const FUTURE_SKEW_US_DEFAULT: i64 = 3_600_000_000;

/// How far apart the steps of the clock may be that move a watermark (`watermark.emit`), microseconds: from a millisecond to a day.
pub const WATERMARK_INTERVAL_US: RangeInclusive<i64> = 1_000..=MICROSECONDS_A_DAY;

/// How far an input may be let run ahead of the slowest (`watermark.max_drift`), microseconds: from a millisecond to a hundred years.
pub const WATERMARK_DRIFT_US: RangeInclusive<i64> = 1_000..=36_525 * MICROSECONDS_A_DAY;

/// How often a partition that is idle, or could be if its broker answered, is looked at again, nanoseconds.
pub const IDLE_LOOK_NS: u64 = 250_000_000;

/// How soon a partition is looked at again that is due to be idle as soon as its broker has said so, nanoseconds.
pub const IDLE_LOOK_SOON_NS: u64 = 20_000_000;

/// How often the brokers are asked whether a topic has more partitions, nanoseconds. A new one is read within 30 s.
pub const KAFKA_WATCH_NS: u64 = 10_000_000_000;

/// Rows, or groups of partials, after which a shard takes no further block from its inbox in one turn: a block of partials
/// holds more than a batch does.
pub const INBOX_ROWS_MAX: usize = 4_096;

/// Groups that a shard emits, and as many that it sends as partials, at a time when windows fire.
pub const FIRE_GROUPS_MAX: usize = 1_024;

/// Panes of which a shard emits groups in one turn: each costs an evaluation of the output columns.
pub const FIRE_PANES_MAX: usize = 64;

/// Panes that are found by their number modulo this at most; what does not fit is found in a tree.
pub const RING_PANES_MAX: usize = 4096;

/// Records that a busy shard takes before it tells its job of them; an idle one tells at once.
pub const UNTOLD_RECORDS_MAX: u64 = 4096;

/// How often a shard tells its job of latencies and counts, at most, nanoseconds. A histogram is up to 190 KB.
pub const FIGURES_TOLD_EVERY_NS: u64 = 500_000_000;

/// How often the clock moves a watermark that no input holds, at least, nanoseconds; it does besides when a window closes by it.
pub const CLOCK_STEP_NS: u64 = 100_000_000;

/// Busy turns after which a shard is taken to run steadily, where its allocations are counted.
pub const STEADY_AFTER_TURNS: u64 = 64;

/// How long the rows of a topic wait while its brokers take none of them, seconds, before the run ends.
pub const SINK_PATIENCE_S: u64 = 60;

/// How long a sink that takes nothing is waited for once the run has been asked to stop, seconds.
pub const STOP_PATIENCE_S: u64 = 30;

/// How long the job's thread waits for room in standard output before it looks elsewhere, milliseconds.
pub const STDOUT_WAIT_MS: u64 = 5;

/// Blocks of rows that wait between a shard and its job's sink.
pub const EXIT_LANE_BLOCKS: usize = 64;

/// Messages that `velo bench runtime` sends along its chain of shards.
pub const BENCH_MESSAGES: RangeInclusive<u64> = 1..=1_000_000_000;

/// The same unless asked otherwise.
pub const BENCH_MESSAGES_DEFAULT: u64 = 10_000_000;

/// Shards that `velo bench runtime` needs: one to send and one to take.
pub const BENCH_RUNTIME_SHARDS_MIN: usize = 2;

/// Bytes of a request's head that the metrics endpoint reads.
pub const METRICS_REQUEST_BYTES_MAX: usize = 8 << 10;

/// Requests that the metrics endpoint serves at once.
pub const METRICS_REQUESTS_MAX: usize = 8;

/// How long a client of the metrics endpoint may take to send its request, or to take the answer, milliseconds.
pub const METRICS_CLIENT_MS_MAX: u64 = 2_000;

/// How long the job's thread may take to answer a request before it counts as one that makes no rounds, milliseconds.
pub const METRICS_ANSWER_MS_MAX: u64 = 5_000;

/// Letters of the token of a metrics endpoint.
pub const METRICS_TOKEN_BYTES: RangeInclusive<usize> = 16..=1024;

/// How long the job's thread sleeps at most, microseconds: the longest that a signal or the end of the duration waits to be
/// seen. All else rings.
pub const JOB_SLEEP_US_MAX: u64 = 10_000;

/// Least room that one read of a file is given.
pub const FILE_READ_BYTES_MIN: usize = 256 << 10;

/// Bytes of one record of a file. A longer one is taken for a quote that was never closed, or for no text at all.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Levels of brackets of a JSON record, its own counted. Deeper ones are bad records: which are open is a word of bits.
pub const JSON_NESTING_MAX: usize = 128;

/// Names of JSON fields that are remembered; more than that are looked up each time.
pub const JSON_GUESSES_MAX: usize = 1024;

/// Bytes of such a name, its quotes and colon included.
pub const JSON_GUESS_BYTES_MAX: usize = 256;

/// Letters of a text that `lpad`, `rpad` or `repeat` make of one record.
pub const MADE_TEXT_MAX: i64 = 1 << 20;

/// Bytes of lines that a sink gathers before it hands them on.
pub const SINK_BUFFER_BYTES: usize = 128 << 10;

/// How often offsets are committed, milliseconds.
pub const COMMIT_INTERVAL_MS: RangeInclusive<usize> = 10..=3_600_000;

/// How often offsets are committed unless configured, milliseconds.
pub const COMMIT_INTERVAL_MS_DEFAULT: u64 = 1_000;

/// How long a commit that says nothing new is left out, seconds: brokers forget a group that has not committed for days.
pub const COMMIT_REFRESH_S: u64 = 3_600;

/// Bytes of the text beside a committed offset.
pub const COMMIT_METADATA_BYTES_MAX: usize = 200;

/// Rungs of a ladder for each length of the shortest window: how near a restart comes to the first record that it needs.
pub const RUNGS_A_WINDOW: i64 = 8;

/// Rungs that a source keeps of one partition until it is asked for them.
pub const CLIMB_RUNGS_MAX: usize = 64;

/// Rungs that the job keeps of one partition.
pub const LADDER_RUNGS_MAX: usize = 512;

/// Bytes of a job's name, which becomes a part of consumer group names.
pub const JOB_NAME_BYTES: RangeInclusive<usize> = 1..=128;

/// Bytes of a secret that is kept in a file: a chain of certificates fits.
pub const SECRET_BYTES_MAX: usize = 64 << 10;

/// How long a run may be asked to last, seconds: up to a hundred years.
pub const DURATION_SECONDS_MAX: u64 = 36_525 * 24 * 60 * 60;

/// Rows of a generated stream with an end.
pub const DATAGEN_ROWS: RangeInclusive<u64> = 1..=1 << 60;

/// Rows a second of a generated stream.
pub const DATAGEN_RATE: RangeInclusive<u64> = 1..=1_000_000_000;

/// Letters of a generated text.
pub const DATAGEN_LENGTH: RangeInclusive<usize> = 1..=1 << 20;

/// Different texts of a generated column.
pub const DATAGEN_CARDINALITY: RangeInclusive<u64> = 1..=1 << 60;

/// From a generated time to the next, nanoseconds: at most a day.
pub const DATAGEN_STEP_NS: RangeInclusive<u64> = 0..=24 * 60 * 60 * 1_000_000_000;

/// Records of one run of a benchmark: they are kept in memory.
pub const BENCH_RECORDS: RangeInclusive<u64> = 1..=100_000_000;

/// Records of one run of a benchmark unless asked for.
pub const BENCH_RECORDS_DEFAULT: u64 = 1_000_000;

/// Records of one run of `velo bench kafka` unless asked for.
pub const BENCH_KAFKA_RECORDS_DEFAULT: u64 = 2_000_000;

/// How long the feed of `velo bench kafka` lasts, seconds.
pub const BENCH_SECONDS: RangeInclusive<u64> = 0..=3_600;

/// Different keys of a benchmark's records.
pub const BENCH_GROUPS_MAX: u64 = 100_000_000;

/// Pairs of runs of a benchmark.
pub const BENCH_REPEATS: RangeInclusive<usize> = 1..=1_000;

const _: () = {
    assert!(
        *LANE_BLOCKS.start() <= LANE_BLOCKS_DEFAULT && LANE_BLOCKS_DEFAULT <= *LANE_BLOCKS.end()
    );
    assert!(
        *BATCH_RECORDS.start() <= BATCH_RECORDS_DEFAULT
            && BATCH_RECORDS_DEFAULT <= *BATCH_RECORDS.end()
    );
    assert!(
        METRICS_ANSWER_MS_MAX * 1_000 > 100 * JOB_SLEEP_US_MAX,
        "a job's thread that sleeps is not taken for one that makes no rounds"
    );
    assert!(
        *BATCH_RECORDS.start() <= BATCH_RECORDS_MIN_DEFAULT
            && BATCH_RECORDS_MIN_DEFAULT <= BATCH_RECORDS_DEFAULT
    );
    assert!(
        2 * QUERIES_MAX <= 1 << DELIVERY_QUERY_BITS,
        "the number of a query, or of a dead letter's target, fits beside a due time in a delivery"
    );
    assert!(
        DEALT_BLOCK_BYTES + RECORD_BYTES_MAX <= u32::MAX as usize,
        "where a record of a dealt block ends fits 32 bits"
    );
    assert!(
        *BATCH_RECORDS.end() <= u32::MAX as usize,
        "a record's place in a batch fits 32 bits"
    );
    // An event time of any year that can be written (up to 9999) plus a window, its grace and a bound does not wrap.
    assert!(
        8_100 * 366 * MICROSECONDS_A_DAY
            < i64::MAX - *WINDOW_SIZE_US.end() - *GRACE_US.end() - *WATERMARK_BOUND_US.end()
    );
};
