//! Every bound in one place: what is refused beyond it, and how the bounds relate.
//!
//! Law: a bound is stated here and nowhere else, and the code that enforces it names it in its message.

use std::ops::RangeInclusive;

const MICROSECONDS_A_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Shards of one process.
pub const SHARDS: RangeInclusive<usize> = 1..=velostream_shards::core_map::MAX_SHARDS;

/// Blocks that a lane holds. One is enough for progress: the mesh must not deadlock on it.
pub const LANE_BLOCKS: RangeInclusive<usize> = 1..=4096;

/// Blocks that a lane holds unless configured.
pub const LANE_BLOCKS_DEFAULT: usize = 64;

/// Records that a turn takes from its source at most.
pub const BATCH_RECORDS: RangeInclusive<usize> = 1..=65_536;

/// Records that a turn takes from its source at most unless configured.
pub const BATCH_RECORDS_DEFAULT: usize = 1024;

/// Operators of one statement. Each may nest one deeper than the last, and what evaluates them does so by recursion.
pub const OPERATORS_MAX: usize = 1_000;

/// Queries of one file.
pub const QUERIES_MAX: usize = 256;

/// Bits of a Kafka delivery's opaque word that say of which query the record is; the others are its due time.
pub const DELIVERY_QUERY_BITS: u32 = 11;

/// Length of a window, microseconds: up to a hundred years.
pub const WINDOW_SIZE_US: RangeInclusive<i64> = 1..=36_525 * MICROSECONDS_A_DAY;

/// Grace period of a window, microseconds.
pub const GRACE_US: RangeInclusive<i64> = 0..=36_525 * MICROSECONDS_A_DAY;

/// How far out of order the records of a partition may stand, microseconds.
pub const WATERMARK_BOUND_US: RangeInclusive<i64> = 0..=36_525 * MICROSECONDS_A_DAY;

/// Blocks that a shard takes from its inbox in one turn.
pub const INBOX_BLOCKS_MAX: usize = 64;

/// Groups that a shard emits in one turn when windows fire.
pub const FIRE_GROUPS_MAX: usize = 4096;

/// Records that a busy shard takes before it tells its job of them; an idle one tells at once.
pub const UNTOLD_RECORDS_MAX: u64 = 4096;

/// Blocks of rows that wait between a shard and its job's sink.
pub const EXIT_LANE_BLOCKS: usize = 64;

/// Least room that one read of a file is given.
pub const FILE_READ_BYTES_MIN: usize = 256 << 10;

/// Bytes of one record of a file. A longer one is taken for a quote that was never closed, or for no text at all.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// Levels of a JSON record. Deeper ones are bad records: values that are not wanted are skipped by recursion.
pub const JSON_NESTING_MAX: usize = 128;

/// Fields of a JSON record that are remembered as a guess for the next record.
pub const JSON_GUESSES_MAX: usize = 1024;

/// Struck rows that are kept in the column builders while there are no others.
pub const STRUCK_ROWS_MAX: usize = 1024;

/// Bytes of lines that a sink gathers before it hands them on.
pub const SINK_BUFFER_BYTES: usize = 128 << 10;

/// Bytes of a job's name, which becomes a part of consumer group names.
pub const JOB_NAME_BYTES: RangeInclusive<usize> = 1..=128;

/// How long a run may be asked to last, seconds: up to a hundred years.
pub const DURATION_SECONDS_MAX: u64 = 36_525 * 24 * 60 * 60;

const _: () = {
    assert!(
        *LANE_BLOCKS.start() <= LANE_BLOCKS_DEFAULT && LANE_BLOCKS_DEFAULT <= *LANE_BLOCKS.end()
    );
    assert!(
        *BATCH_RECORDS.start() <= BATCH_RECORDS_DEFAULT
            && BATCH_RECORDS_DEFAULT <= *BATCH_RECORDS.end()
    );
    assert!(
        QUERIES_MAX <= 1 << DELIVERY_QUERY_BITS,
        "the number of a query fits beside a due time in a delivery"
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
