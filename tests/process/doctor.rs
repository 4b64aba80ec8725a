//! What `sigilo doctor` finds, as machines read it.

use std::path::Path;

use serde_json::Value;

use crate::{run, sigilo, text};

/// Exit status, and what it found of one thing.
fn finds(folder: &Path, name: &str, settings: &[(&str, &str)]) -> (Option<i32>, bool, String) {
    let done = sigilo(folder, &["doctor", "--json"]).envs(settings.iter().copied()).output().unwrap();
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["ok"], done.status.success(), "{report}");
    let findings = report["findings"].as_array().unwrap();
    let of_it = findings.iter().find(|finding| finding["name"] == name).unwrap();
    let detail = of_it["detail"].as_str().unwrap().to_owned();
    (done.status.code(), of_it["ok"].as_bool().unwrap(), detail)
}

/// The clamd for tests knows one file, and none of its maker's signatures: a clinic that relied on it would be wrong.
#[test]
fn a_clamd_that_knows_nothing_is_asked_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let clamd = std::env::var("SIGILO_TEST_CLAMD").expect("run it by cargo xtask pg -- cargo test");
    let (status, ok, detail) = finds(folder.path(), "scanner", &[("SIGILO__SCANNER__CLAMD", &clamd)]);
    assert!(status == Some(1) && !ok, "{detail}");
    assert!(detail.starts_with("ClamAV ") && detail.contains("install clamav-freshclam"), "{detail}");
}

#[test]
fn a_clamd_that_does_not_answer_is_found_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = folder.path().join("clamd.sock").display().to_string();
    let (status, ok, detail) = finds(folder.path(), "scanner", &[("SIGILO__SCANNER__CLAMD", &nobody)]);
    assert!(status == Some(1) && !ok, "{detail}");
    assert!(detail.contains(&nobody) && detail.contains("is clamav-daemon running"), "{detail}");
}

#[test]
fn the_folder_of_files_is_looked_at_and_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let (_, ok, detail) = finds(folder.path(), "object_store", &[]);
    assert!(ok && detail == "will be made at the first start", "{detail}");
    assert!(!folder.path().join("data").exists());
    let (_, ok, detail) =
        finds(folder.path(), "object_store", &[("SIGILO__VAULT__OBJECT_STORE_URL", "ftp://files")]);
    assert!(!ok && detail.contains("vault.object_store_url"), "{detail}");
    let told = run(folder.path(), &["doctor"]);
    assert!(text(&told.stdout).lines().any(|line| line.starts_with("ok    object_store")));
}
