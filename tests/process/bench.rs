//! The load tool: short runs, whose reports must be whole, whose messages must all arrive and whose files must all be
//! clean.

use serde_json::Value;

use super::{sigilo, text};

#[test]
fn a_short_run_times_decisions_and_their_share_of_a_send() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "bench",
        "policy",
        "--engine",
        "sqlite",
        "--relationships",
        "30",
        "--sends",
        "5",
        "--json",
        "--data",
        ".",
    ];
    let output = sigilo(folder.path(), &arguments).env("PATH", "/usr/bin:/bin").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["relationships"], 30);
    let engine = &report["engines"][0];
    let of = |what: &str| engine[what]["p50_us"].as_f64().unwrap();
    // Each saves what the next has to do.
    assert!(of("read") > of("kept") && of("kept") > of("remembered"), "{engine}");
    assert!(of("send") > of("remembered") && engine["share_of_send"].as_f64().unwrap() < 1.0, "{engine}");
}

#[test]
fn a_short_run_delivers_every_message_once_and_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "bench",
        "relay",
        "--engine",
        "sqlite",
        "--pairs",
        "2",
        "--messages",
        "10",
        "--seconds",
        "60",
        "--rate",
        "100",
        "--idle",
        "4",
        "--json",
        "--data",
        ".",
    ];
    let output = sigilo(folder.path(), &arguments).env("PATH", "/usr/bin:/bin").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("bare inserts"), "the table is for people");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["settings"]["pairs"], 2);
    let engine = &report["engines"][0];
    assert_eq!(engine["engine"], "sqlite");

    let phases = engine["phases"].as_array().unwrap();
    let ways: Vec<_> = phases.iter().map(|phase| (&phase["transport"], &phase["offered_per_s"])).collect();
    let (ws, http, most, paced) = ("ws".into(), "http".into(), Value::Null, 100.0.into());
    assert_eq!(ways, [(&ws, &most), (&ws, &paced), (&http, &most), (&http, &paced)]);
    for phase in phases {
        assert_eq!(
            (&phase["accepted"], &phase["delivered"], &phase["duplicates"]),
            (&20.into(), &20.into(), &0.into())
        );
        for times in ["to_receipt", "to_delivery", "to_mark"] {
            let of = |percentile: &str| phase[times][percentile].as_f64().unwrap();
            assert!(
                0.0 < of("p50_ms") && of("p50_ms") <= of("p95_ms") && of("p95_ms") <= of("max_ms"),
                "{phase}"
            );
        }
        assert!(phase["to_mark"]["p50_ms"].as_f64() > phase["to_delivery"]["p50_ms"].as_f64(), "{phase}");
        for figure in ["messages_per_s", "server_rss_kib", "of_storage_ceiling", "of_echo_ceiling"] {
            assert!(phase[figure].as_f64().unwrap() > 0.0, "{figure}: {phase}");
        }
    }
    assert_eq!(engine["idle"]["connections"], 4);
    assert!(engine["storage_ceiling"]["messages_per_s"].as_f64().unwrap() > 0.0);
    assert!(report["echo_ceiling"]["echoes_per_s"].as_f64().unwrap() > 0.0);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "the run's data is gone: {left:?}");
}

#[test]
fn a_short_run_has_files_scanned_and_downloaded_and_says_what_they_cost() {
    let clamd = std::env::var("SIGILO_TEST_CLAMD").expect("run it by cargo xtask pg -- cargo test");
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "bench",
        "vault",
        "--engine",
        "sqlite",
        "--files",
        "3",
        "--bytes",
        "300000",
        "--at-once",
        "2",
        "--rounds",
        "2",
        "--held",
        "4",
        "--downloads",
        "3",
        "--seed",
        "7",
        "--json",
        "--data",
        ".",
    ];
    let mut command = sigilo(folder.path(), &arguments);
    let output = command.env("PATH", "/usr/bin:/bin").env("SIGILO_TEST_CLAMD", clamd).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("seed 7"), "the table is for people");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["settings"]["seed"], &report["settings"]["bytes"]), (&7.into(), &300_000.into()));
    assert!(report["clamd"]["engine"].as_str().unwrap().starts_with("ClamAV"), "{report}");
    let engine = &report["engines"][0];
    assert_eq!(engine["engine"], "sqlite");
    for compared in [&engine["scan"], &engine["without_engine"]] {
        assert_eq!(compared["rounds"].as_array().unwrap().len(), 2);
        for figure in ["bytes_per_s", "ceiling_bytes_per_s", "of_ceiling"] {
            assert!(compared[figure].as_f64().unwrap() > 0.0, "{figure}: {compared}");
        }
    }
    let memory = &engine["memory"];
    let of = |what: &str| memory[what].as_i64().unwrap();
    assert_eq!(of("uploads"), 4);
    let grown = (of("rss_after_kib") - of("rss_before_kib")) * 1024;
    assert!((grown / 4 - of("bytes_per_upload")).abs() < 1024, "{memory}");
    assert!(of("peak_rss_kib") >= of("rss_after_kib"), "{memory}");
    for times in ["first_byte", "bare_first_byte"] {
        let of = |percentile: &str| engine["download"][times][percentile].as_f64().unwrap();
        assert!(0.0 < of("p50_ms") && of("p50_ms") <= of("p99_ms"), "{engine}");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "the run's data is gone: {left:?}");
}

#[test]
fn a_run_with_files_needs_to_know_where_clamd_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = sigilo(folder.path(), &["bench", "vault"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("SIGILO_TEST_CLAMD"), "{}", text(&output.stderr));
}

#[test]
fn a_run_on_postgresql_needs_to_know_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = sigilo(folder.path(), &["bench", "relay", "--engine", "postgres"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("SIGILO_TEST_POSTGRES"), "{}", text(&output.stderr));
}
