//! A command line that cannot be understood ends with 2 and says what could be.

use super::{done, empty_folder, velo};

fn typed(args: &[&str]) -> String {
    done(velo(&empty_folder()).args(args))
}

#[test]
fn an_unknown_command_is_answered_with_the_nearest_one() {
    insta::assert_snapshot!(typed(&["explian"]), @r"
    exit 2
    err| error: unrecognized subcommand 'explian'
    err|
    err|   tip: a similar subcommand exists: 'explain'
    err|
    err| Usage: velo <COMMAND>
    err|
    err| For more information, try '--help'.
    ");
}

#[test]
fn a_run_needs_a_file_or_a_text_and_not_both() {
    insta::assert_snapshot!(typed(&["run"]), @r"
    exit 2
    err| error: the following required arguments were not provided:
    err|   <FILE.sql|--execute <SQL>>
    err|
    err| Usage: velo run <FILE.sql|--execute <SQL>>
    err|
    err| For more information, try '--help'.
    ");
    insta::assert_snapshot!(typed(&["run", "a.sql", "-e", "SELECT 1"]), @r"
    exit 2
    err| error: the argument '[FILE.sql]' cannot be used with '--execute <SQL>'
    err|
    err| Usage: velo run <FILE.sql|--execute <SQL>>
    err|
    err| For more information, try '--help'.
    ");
}

#[test]
fn a_wrong_duration_is_answered_with_its_spelling() {
    insta::assert_snapshot!(typed(&["run", "a.sql", "--duration", "30"]), @r"
    exit 2
    err| error: invalid value '30' for '--duration <TIME>': write a whole number and a unit: 500ms, 30s, 5m, 1h
    err|
    err| For more information, try '--help'.
    ");
}

#[test]
fn a_setting_needs_a_key_and_a_value() {
    insta::assert_snapshot!(typed(&["topology", "--set", "shards"]), @r"
    exit 2
    err| velo: --set shards: has no value; write --set section.key=value
    ");
}

#[test]
fn the_help_lists_the_commands() {
    insta::assert_snapshot!(typed(&["--help"]), @r"
    exit 0
    out| Streaming SQL for Kafka on a thread-per-core runtime
    out|
    out| Usage: velo <COMMAND>
    out|
    out| Commands:
    out|   run          Run the query until its input ends, a signal comes or the duration is over
    out|   check        Parse, plan and validate without touching a broker
    out|   explain      Show the plan, the exchange and why, and what is pushed into the source
    out|   topology     Show the core map that the configuration gives on this machine
    out|   bench        Measure, through the shipped pipeline and beside a plain loop
    out|   doctor       Check this host, with the command that mends what is wrong
    out|   demo         See real flights stream through an in-process broker and a windowed query
    out|   config       Show what is configured
    out|   completions  Print a script that completes the commands in a shell
    out|   help         Print this message or the help of the given subcommand(s)
    out|
    out| Options:
    out|   -h, --help     Print help
    out|   -V, --version  Print version
    ");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    insta::assert_snapshot!(typed(&["check", "absent.sql"]), @r"
    exit 73
    err| velo: cannot read absent.sql: No such file or directory (os error 2); correct the path, which is relative to the working directory
    ");
}
