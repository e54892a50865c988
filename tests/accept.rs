//! The acceptance scripts, as a user runs them: scripts/accept 2 to 7, 13 and 41 on, over all flights and, for most, a real
//! Apache Kafka that scripts/kafka starts. What they need and cannot have fails the test with their words; nothing is
//! skipped. `ACCEPT_SHARDS` narrows the shard counts; 7 runs 30 s here unless `ACCEPT_SECONDS` says otherwise.
//!
//! A binary of its own, so that all of them can be begun at once and each waits for its turn.

#![expect(
    clippy::disallowed_types,
    reason = "the test runner's threads share one machine"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, PoisonError};

const VELO: &str = env!("CARGO_BIN_EXE_velo");

/// What runs now. Two scripts at a time, one that computes beside one that mostly waits: each of the first uses all cores.
static RUNNING: Mutex<Running> = Mutex::new(Running {
    computes: false,
    waits: false,
});
static ENDED: Condvar = Condvar::new();

struct Running {
    computes: bool,
    waits: bool,
}

/// What a script does most of its time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mostly {
    Computes,
    Waits,
    /// It measures, or has moments to keep: nothing runs beside it.
    Measures,
}

use Mostly::{Computes, Measures, Waits};

/// The right to run, until it is dropped.
struct Turn(Mostly);

impl Turn {
    /// Waits for it. Whoever measures holds nobody up meanwhile, and so comes last.
    fn of(mostly: Mostly) -> Turn {
        let turn = Turn(mostly);
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut running = ENDED
            .wait_while(running, |running| {
                turn.computes() && running.computes || turn.waits() && running.waits
            })
            .unwrap_or_else(PoisonError::into_inner);
        running.computes |= turn.computes();
        running.waits |= turn.waits();
        turn
    }

    fn computes(&self) -> bool {
        self.0 != Waits
    }

    fn waits(&self) -> bool {
        self.0 != Computes
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.computes &= !self.computes();
        running.waits &= !self.waits();
        ENDED.notify_all();
    }
}

/// Runs `scripts/accept number`; its lines are this test's output.
fn accept(number: u32, mostly: Mostly) {
    accept_with(number, mostly, &[]);
}

/// The same with these variables set.
fn accept_with(number: u32, mostly: Mostly, variables: &[(&str, &str)]) {
    let _turn = Turn::of(mostly);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/accept");
    let mut command = Command::new(script);
    command
        .arg(number.to_string())
        .env("VELO", VELO)
        .envs(variables.iter().copied());
    for name in ["RUST_BACKTRACE", "HWLOC_SYNTHETIC", "HWLOC_XMLFILE"] {
        command.env_remove(name);
    }
    let (lines, both) = std::io::pipe().expect("a pipe");
    let again = both.try_clone().expect("a descriptor");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(both)
        .stderr(again)
        .spawn()
        .expect("scripts/accept can be started");
    // The command holds the pipe's writing end; without it the lines would have no end.
    drop(command);
    let mut last = String::new();
    for line in BufReader::new(lines).lines() {
        last = line.expect("it writes text");
        println!("{last}");
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(
        status.success() && last == format!("accept {number}: ok"),
        "scripts/accept {number} ended with {status}: {last}"
    );
}

#[test]
fn script_accept_2_windows_over_files_equal_the_oracle() {
    accept(2, Computes);
}

#[test]
fn script_accept_3_windows_through_kafka_equal_the_oracle() {
    accept(3, Computes);
}

#[test]
fn script_accept_4_changes_end_in_the_final_rows() {
    accept(4, Computes);
}

#[test]
fn script_accept_5_a_machine_that_is_not_there_has_a_core_map_and_runs_nothing() {
    accept(5, Computes);
}

#[test]
fn script_accept_6_brokers_that_are_down_and_records_that_are_bad() {
    accept(6, Waits);
}

#[test]
fn script_accept_7_latencies_of_two_processes_and_shards_that_idle() {
    let given = std::env::var("ACCEPT_SECONDS");
    let seconds = given.as_deref().unwrap_or("30");
    accept_with(7, Measures, &[("ACCEPT_SECONDS", seconds)]);
}

#[test]
fn script_accept_410_a_host_a_unit_and_a_job_that_is_watched() {
    accept(410, Waits);
}

/// Of few flights in a topic, at two shards, with three lives that end by kill -9; the script alone takes all of them, files too,
/// more shards and more lives.
#[test]
fn script_accept_43_dead_letters_are_the_damaged_records_byte_for_byte() {
    let few = [
        ("ACCEPT_RECORDS", "60000"),
        ("ACCEPT_PARTS", "topic lives-kafka"),
        ("ACCEPT_SHARDS", "2"),
        ("ACCEPT_KILLS", "3"),
        ("ACCEPT_SETTLE", "2"),
    ];
    accept_with(43, Waits, &few);
}

#[test]
fn script_accept_46_a_slow_broker_holds_the_shards_back_and_loses_nothing() {
    accept_with(46, Measures, &[("ACCEPT_SECONDS", "32")]);
}

/// With few records, which give the same rows by every tier; what a batch saves is measured by the script alone.
#[test]
fn script_accept_47_every_tier_gives_the_same_rows_and_its_figures() {
    let few = [
        ("ACCEPT_RECORDS", "400000"),
        ("ACCEPT_SECONDS", "2"),
        ("ACCEPT_RATIOS", "no"),
    ];
    accept_with(47, Measures, &few);
}

#[test]
fn script_accept_48_keys_land_where_the_java_producer_puts_them() {
    accept(48, Waits);
}

/// With 600,000 keys, and a close of 500,000 as ever; the script alone takes 20 million.
#[test]
fn script_accept_13_state_stays_flat_and_closes_in_slices() {
    accept_with(13, Computes, &[("ACCEPT_KEYS", "600000")]);
}

/// Of few flights at seven shards, without lives that end; the script alone takes more of each.
#[test]
fn script_accept_53_changes_of_every_kind_end_in_the_final_rows() {
    let few = [
        ("ACCEPT_RECORDS", "4000"),
        ("ACCEPT_SHARDS", "7"),
        ("ACCEPT_PARTS", "files topics"),
    ];
    accept_with(53, Computes, &few);
}

/// Of few flights, at one shard and at seven; the script alone takes more of both.
#[test]
fn script_accept_56_late_records_are_counted_dead_lettered_or_corrections() {
    let few = [("ACCEPT_RECORDS", "10000"), ("ACCEPT_SHARDS", "1 7")];
    accept_with(56, Computes, &few);
}

#[test]
fn script_accept_49_a_password_is_shown_nowhere() {
    accept(49, Waits);
}

/// At two shards; the script alone takes four counts.
#[test]
fn script_accept_51_windows_of_every_kind_equal_the_oracle() {
    let given = std::env::var("ACCEPT_SHARDS");
    accept_with(
        51,
        Computes,
        &[("ACCEPT_SHARDS", given.as_deref().unwrap_or("2"))],
    );
}

/// With 300,000 keys; the script alone takes 5 million.
#[test]
fn script_accept_58_memory_of_overlapping_windows_is_flat() {
    let few = [("ACCEPT_KEYS", "300000"), ("ACCEPT_SHARDS", "2")];
    accept_with(58, Computes, &few);
}

/// Three lives that end by SIGTERM and six by kill -9; the script alone takes eight and a hundred.
#[test]
fn script_accept_41_a_job_that_dies_goes_on_and_no_row_is_lost() {
    let given = std::env::var("ACCEPT_KILLS");
    let kills = given.as_deref().unwrap_or("6");
    let few = [
        ("ACCEPT_KILLS", kills),
        ("ACCEPT_STOPS", "3"),
        ("ACCEPT_SETTLE", "4"),
    ];
    accept_with(41, Waits, &few);
}

#[test]
fn script_accept_42_what_cannot_go_on_is_refused() {
    accept(42, Waits);
}

#[test]
fn script_accept_44_a_broker_that_goes_and_comes_back_makes_nothing_late() {
    accept(44, Waits);
}

#[test]
fn script_accept_45_silence_delivers_windows_at_their_moments() {
    let given = std::env::var("ACCEPT_SHARDS");
    accept_with(
        45,
        Measures,
        &[("ACCEPT_SHARDS", given.as_deref().unwrap_or("2"))],
    );
}

#[test]
fn script_accept_450_a_topic_grows_and_goes_while_it_is_read() {
    accept(450, Waits);
}

#[test]
fn script_accept_451_a_topic_grows_while_its_offsets_are_committed() {
    accept(451, Waits);
}

/// Through Kafka at two shards; the script alone takes more.
#[test]
fn script_accept_55_chained_windows_are_the_windows_themselves() {
    let given = std::env::var("ACCEPT_SHARDS");
    accept_with(
        55,
        Computes,
        &[("ACCEPT_SHARDS", given.as_deref().unwrap_or("2"))],
    );
}

#[test]
fn script_accept_57_times_far_ahead_are_bad_and_far_back_are_what_they_are() {
    let given = std::env::var("ACCEPT_SHARDS");
    accept_with(
        57,
        Waits,
        &[("ACCEPT_SHARDS", given.as_deref().unwrap_or("2"))],
    );
}

/// Of ten days in three seconds, at two shards; the script alone takes forty, at 1, 2 and 7.
#[test]
fn script_accept_59_inputs_that_run_ahead_wait_and_nothing_differs() {
    let few = [
        ("ACCEPT_DAYS", "10"),
        ("ACCEPT_SECONDS", "3"),
        ("ACCEPT_SHARDS", "2"),
    ];
    accept_with(59, Measures, &few);
}

/// At two shards; the script alone takes more.
#[test]
fn script_accept_54_sessions_of_users_that_interleave_and_a_bridge_between_shards() {
    accept_with(54, Computes, &[("ACCEPT_SHARDS", "2")]);
}

/// At two shards; the script alone takes more.
#[test]
fn script_accept_511_sessions_of_the_flights_equal_the_oracle() {
    accept_with(511, Computes, &[("ACCEPT_SHARDS", "2")]);
}

/// With few keys; the script alone takes twenty million.
#[test]
fn script_accept_581_sessions_that_come_and_go_leave_memory_flat() {
    accept_with(
        581,
        Computes,
        &[("ACCEPT_KEYS", "1200000"), ("ACCEPT_SHARDS", "2")],
    );
}
