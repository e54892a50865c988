//! A wrong configuration ends with 78 and says where the key stands and what to write instead.

use super::{done, empty_folder, velo};

const SECRETIVE: &str = "[shards]\nlane_blocks = 8\n[kafka]\n'bootstrap.servers' = 'a:1'\n'sasl.password' = { file = 'password' }\n\
    [kafka.producer]\n'ssl.key.password' = 'hunter2'\n";

/// `velo config show` with a file, the environment and the command line.
fn shown(args: &[&str]) -> String {
    let folder = empty_folder();
    let write = |name: &str, text| std::fs::write(folder.path().join(name), text).expect("a file");
    write("velostream.toml", SECRETIVE);
    write("password", "hunter2\n");
    let command = &mut velo(&folder);
    command
        .env("VELO__BATCH__MAX", "64")
        .env("VELO__KAFKA__CLIENT__ID", "${WHO}")
        .env("WHO", "hunter2")
        .args(["config", "show", "--set", "shards.cores=2-9,12"]);
    let text = done(command.args(args));
    assert!(!text.contains("hunter2"), "{text}");
    text
}

fn configured(text: &str, args: &[&str]) -> String {
    let folder = empty_folder();
    std::fs::write(folder.path().join("velostream.toml"), text).expect("it can be written");
    done(velo(&folder).arg("topology").args(args))
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest_one() {
    insta::assert_snapshot!(configured("[shards]\ncoers = 2\n", &[]), @r"
    exit 78
    err| velo: velostream.toml:2: shards.coers: unknown key; did you mean shards.cores?
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
    insta::assert_snapshot!(configured("", &["--set", "kafka.foo=1"]), @r"
    exit 78
    err| velo: --set: kafka.foo: unknown property of librdkafka; its CONFIGURATION.md lists them all
    ");
    insta::assert_snapshot!(configured("[kafka.producer]\nacks = 'most'\n", &[]), @r"
    exit 78
    err| velo: velostream.toml:2: kafka.producer.acks cannot be most; allowed: -1 .. 1000
    ");
    insta::assert_snapshot!(configured("[kafka.consumer]\n'enable.auto.commit' = true\n", &[]), @r"
    exit 78
    err| velo: velostream.toml:2: kafka.consumer.enable.auto.commit cannot be set: the engine says when a record is done; leave it out
    ");
}

#[test]
fn a_syntax_error_names_file_and_line() {
    insta::assert_snapshot!(configured("[shards]\ncores = \n", &[]), @r"
    exit 78
    err| velo: velostream.toml:2: string values must be quoted, expected literal string; mend the line, or see docs/OPERATIONS.md for a whole file
    ");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    insta::assert_snapshot!(configured("", &["-c", "absent.toml"]), @r"
    exit 78
    err| velo: cannot read the configuration absent.toml: No such file or directory (os error 2); correct --config, or allow this user to read it
    ");
}

#[test]
fn every_key_is_shown_with_its_origin_and_no_secret() {
    let text = shown(&["--origin", "--format", "csv"]);
    let lines: Vec<&str> = text.lines().collect();
    for line in [
        "out| key,value,origin",
        "out| job.name,,default",
        "out| shards.cores,\"2-9,12\",--set",
        "out| shards.lane_blocks,8,velostream.toml:2",
        "out| shards.numa,prefer,default",
        "out| batch.max,64,VELO__BATCH__MAX",
        "out| kafka.bootstrap.servers,a:1,velostream.toml:4",
        "out| kafka.client.id,${WHO},VELO__KAFKA__CLIENT__ID",
        "out| kafka.consumer.check.crcs,true,default",
        "out| kafka.producer.ssl.key.password,(secret),velostream.toml:7",
        "out| kafka.sasl.password,\"{ file = \"\"password\"\" }\",velostream.toml:5",
    ] {
        assert!(lines.contains(&line), "{line} is not in\n{text}");
    }
}

#[test]
fn what_is_configured_is_shown_as_a_table_and_as_objects() {
    let table = shown(&["--format", "table"]);
    assert!(
        table
            .lines()
            .any(|line| line.split_whitespace().eq(["out|", "batch.max", "64"])),
        "{table}"
    );
    let objects = shown(&["--origin", "--format", "json"]);
    for line in [
        r#"out| {"schema":1,"key":"job.name","value":null,"origin":"default"}"#,
        r#"out| {"schema":1,"key":"shards.oversubscribe","value":false,"origin":"default"}"#,
        r#"out| {"schema":1,"key":"batch.max","value":64,"origin":"VELO__BATCH__MAX"}"#,
    ] {
        assert!(
            objects.lines().any(|one| one == line),
            "{line} is not in\n{objects}"
        );
    }
}

#[test]
fn each_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = done(velo(&empty_folder()).args(["completions", shell]));
        assert!(script.starts_with("exit 0\n"), "{script}");
        for word in ["topology", "duration", "origin"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
}
