//! The scanner in a process of its own.

use std::{fs, path::Path, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sigilo::scanner::Outcome;
use sigilo_seal::{FileKey, Refusal, ScanResult};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::timeout,
};

use super::{
    clamd::socket,
    content::{pdf, test_virus},
    vault::{LONG, PDF, Vault, refused},
};

fn scanner(vault: &Vault, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sigilo"));
    command.arg("scanner").current_dir(folder).env_clear().env("SIGILO__STORAGE__DATA", vault.folder());
    command.env("SIGILO__SCANNER__MODE", "separate").env("SIGILO__SCANNER__CLAMD", socket());
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn said(mut child: Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).await.unwrap();
    child.wait().await.unwrap();
    text
}

#[tokio::test]
async fn it_looks_into_files_and_has_given_up_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::for_others(&socket());
    let child = scanner(&vault, folder.path()).spawn().unwrap();
    let pid = child.id().unwrap();
    vault.until_keys().await;

    let clean = vault.add(&pdf(&vault.noise(300_000)), PDF);
    assert_eq!(vault.verdict(clean).await.result, ScanResult::Clean);
    let found = vault.result(&pdf(&[vault.noise(1 << 20), test_virus()].concat()), PDF).await;
    assert!(matches!(found, ScanResult::Infected(_)), "{found:?}");
    assert_eq!(vault.result(b"#!/bin/sh", PDF).await, refused(Refusal::Type));
    let sealed = vault.seal(b"%PDF-1.4");
    let wrong = vault.add_blob(&sealed.blob, &FileKey::from_bytes([1; 32]), PDF);
    assert_eq!(vault.outcome(wrong).await, Outcome::WrongKey);
    assert!(vault.until_engine(true).await.is_some());

    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let has = |line: &str| status.lines().any(|found| found.split_whitespace().eq(line.split_whitespace()));
    assert!(has("NoNewPrivs: 1") && has("Seccomp: 2"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert!(
        limits.lines().any(|line| line.starts_with("Max core file size") && line.contains(" 0 ")),
        "{limits}"
    );
    // What may not be dumped belongs to root in /proc, whoever runs it.
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::TERM).unwrap();
    let log = timeout(LONG, said(child)).await.unwrap();
    assert!(log.contains("gave up what is not needed"), "{log}");
    if Path::new("/sys/kernel/security/landlock").exists() || kernel_has_landlock() {
        assert!(log.contains("full") || log.contains("partly"), "{log}");
    }
}

/// The kernel's own word: the version of its Landlock, or that there is none.
fn kernel_has_landlock() -> bool {
    fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|list| list.contains("landlock"))
}

#[tokio::test]
async fn whoever_has_another_token_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::for_others(&socket());
    let other = folder.path().join("other.token");
    sigilo::config::write_private(&other, &[b'x'; 64]).unwrap();
    let mut command = scanner(&vault, folder.path());
    let mut child = command
        .env("SIGILO__SCANNER__TOKEN_FILE", &other)
        .env("SIGILO__LOG__FILTER", "sigilo=debug")
        .spawn()
        .unwrap();
    let mut log = child.stderr.take().unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("the server knows another token") {
        let read = timeout(LONG, log.read_buf(&mut text)).await.expect("it says what is wrong").unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&text));
    }
    assert!(vault.is_unknown());
}

#[tokio::test]
async fn it_does_not_run_beside_a_server_that_looks_itself() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::for_others(&socket());
    let mut command = scanner(&vault, folder.path());
    let output = command.env_remove("SIGILO__SCANNER__MODE").output().await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("scanner.mode"), "{output:?}");
}
