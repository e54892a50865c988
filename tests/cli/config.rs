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
    insta::assert_snapshot!(configured("[metrics]\nlisten = '127.0.0.1:9646'\n", &[]), @r"
    exit 78
    err| velo: velostream.toml: metrics.listen: not available yet; leave it out
    ");
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    insta::assert_snapshot!(configured("", &["--set", "shards.lane_blocks=0"]), @r"
    exit 78
    err| velo: --set: shards.lane_blocks: must be a whole number from 1 to 4096, not 0
    ");
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
