//! `velo bench runtime`: its line holds every figure, and no ring was forgotten, on either reactor.

use crate::process::Folder;

#[test]
fn the_runtime_is_measured_on_both_reactors_and_no_ring_is_forgotten() {
    let folder = Folder::new();
    for reactor in ["glommio", "poll"] {
        let set = format!("shards.reactor={reactor}");
        let ended = folder.run(&[
            "bench",
            "runtime",
            "--shards",
            "2",
            "--messages",
            "200000",
            "--format",
            "json",
            "--set",
            "shards.oversubscribe=true",
            "--set",
            &set,
        ]);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let line: serde_json::Value = serde_json::from_str(&ended.out).expect("one JSON object");
        assert_eq!(line["bench"], "runtime");
        assert_eq!(line["reactor"], reactor);
        assert_eq!(line["shards"], 2);
        for part in ["turn_ns", "block_ns", "ping_pong_ns", "wake_ns"] {
            for quantile in ["p50", "p99", "max"] {
                let figure = line[part][quantile].as_u64();
                assert!(figure.is_some_and(|ns| ns > 0), "{part}.{quantile}: {line}");
            }
        }
        assert_eq!(line["pauses"]["messages"], 200_000);
        assert_eq!(line["pauses"]["safety_tick_found_work"], 0, "{line}");
        assert!(line["pauses"]["parks"].as_u64() > Some(20), "{line}");
    }
}

#[test]
fn a_runtime_of_one_shard_is_not_measured() {
    let folder = Folder::new();
    let ended = folder.run(&["bench", "runtime", "--shards", "1"]);
    assert_eq!(ended.code, Some(78), "{}", ended.err);
    assert!(ended.err.contains("needs 2 shards"), "{}", ended.err);
}
