//! A wrong configuration ends with 78 and says where the key stands and what to write instead.

use super::{done, empty_folder, velo};

fn configured(text: &str, args: &[&str]) -> String {
    let folder = empty_folder();
    std::fs::write(folder.path().join("velostream.toml"), text).expect("it can be written");
    done(velo(&folder).arg("topology").args(args))
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest_one() {
    insta::assert_snapshot!(configured("[shards]\ncoers = 2\n", &[]), @r"
    exit 78
    err| velo: velostream.toml: shards.coers: unknown key; did you mean shards.cores?
    ");
}

#[test]
fn a_key_of_later_work_is_refused() {
    insta::assert_snapshot!(configured("[batch]\nmin = 16\n", &[]), @r"
    exit 78
    err| velo: velostream.toml: batch.min: not available yet; leave it out
    ");
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    insta::assert_snapshot!(configured("", &["--set", "shards.lane_blocks=0"]), @r"
    exit 78
    err| velo: --set: shards.lane_blocks: must be a whole number from 1 to 4096, not 0
    ");
}

/// Regression: without a Kafka stream nobody looked at these keys.
#[test]
fn a_property_of_kafka_is_known_or_refused_though_no_stream_uses_it() {
    let properties =
        "[kafka]\n'bootstrap.servers' = 'a:1'\n[kafka.consumer]\n'fetch.min.bytes' = 1\n";
    assert!(configured(properties, &[]).starts_with("exit 0\n"));
    insta::assert_snapshot!(configured("", &["--set", "kafka.foo=1"]), @r#"
    exit 78
    err| velo: the Kafka property foo cannot be set: No such configuration property: "foo"
    "#);
    insta::assert_snapshot!(configured("[kafka.producer]\nacks = 'most'\n", &[]), @r#"
    exit 78
    err| velo: the Kafka property acks cannot be set: Invalid value for configuration property "request.required.acks"
    "#);
    insta::assert_snapshot!(configured("[kafka.consumer]\n'enable.auto.commit' = true\n", &[]), @r#"
    exit 78
    err| velo: the Kafka property enable.auto.commit cannot be set: the engine decides when an offset is done
    "#);
}

#[test]
fn a_syntax_error_names_file_and_line() {
    insta::assert_snapshot!(configured("[shards]\ncores = \n", &[]), @r"
    exit 78
    err| velo: velostream.toml line 2: string values must be quoted, expected literal string
    ");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    insta::assert_snapshot!(configured("", &["-c", "absent.toml"]), @r"
    exit 78
    err| velo: cannot read the configuration absent.toml: No such file or directory (os error 2)
    ");
}
