//! Engines that die, hang and lie: the file waits, is never called clean, and has its verdict when they are back.

use std::time::Duration;

use sigilo::scanner::Outcome;
use sigilo_seal::{Refusal, ScanResult};
use tokio::{
    net::{UnixSocket, UnixStream},
    time::{Instant, sleep},
};

use super::{
    clamd::Clamd,
    content::{pdf, test_virus},
    liar::{Liar, Lie},
    vault::{LONG, PDF, Vault, refused},
};

/// A virus after so much noise that it does not fit in a socket.
fn late_virus(vault: &Vault) -> Vec<u8> {
    pdf(&[vault.noise(4 << 20), test_virus()].concat())
}

fn is_infected(result: &ScanResult) -> bool {
    matches!(result, ScanResult::Infected(_))
}

#[tokio::test]
async fn killed_before_a_file_comes() {
    let mut clamd = Clamd::start().await;
    let vault = Vault::with_clamd(&clamd.socket()).await;
    vault.until_engine(true).await;
    clamd.kill().await;
    vault.until_engine(false).await;
    let file = vault.add(&late_virus(&vault), PDF);
    clamd.run().await;
    assert!(is_infected(&vault.verdict(file).await.result));
    vault.until_engine(true).await;
}

#[tokio::test]
async fn killed_while_it_takes_a_file() {
    let mut clamd = Clamd::start().await;
    let vault = Vault::with_clamd(&clamd.socket()).await;
    vault.until_engine(true).await;
    vault.hold_blobs();
    let file = vault.add(&late_virus(&vault), PDF);
    until_taken(&clamd).await;
    clamd.kill().await;
    vault.let_go();
    assert_eq!(vault.outcome(file).await, Outcome::Unavailable);
    clamd.run().await;
    assert!(is_infected(&vault.verdict(file).await.result));
}

#[tokio::test]
async fn killed_when_it_has_the_file() {
    let mut clamd = Clamd::start().await;
    let vault = Vault::with_clamd(&clamd.socket()).await;
    vault.until_engine(true).await;
    vault.hold_blobs();
    let file = vault.add(&pdf(&test_virus()), PDF);
    until_taken(&clamd).await;
    clamd.hang();
    vault.let_go();
    clamd.kill().await;
    assert_eq!(vault.outcome(file).await, Outcome::Unavailable);
    clamd.run().await;
    assert!(is_infected(&vault.verdict(file).await.result));
}

#[tokio::test]
async fn hung_when_it_has_the_file_and_then_killed() {
    let mut clamd = Clamd::start().await;
    let vault = Vault::start(&clamd.socket(), 2).await;
    vault.until_engine(true).await;
    vault.hold_blobs();
    let file = vault.add(&pdf(&test_virus()), PDF);
    until_taken(&clamd).await;
    clamd.hang();
    vault.let_go();
    assert_eq!(vault.outcome(file).await, Outcome::Unavailable);
    vault.until_engine(false).await;
    clamd.kill().await;
    clamd.run().await;
    assert!(is_infected(&vault.verdict(file).await.result));
}

/// Waits until the daemon has begun with a file: something of it lies in its folder.
async fn until_taken(clamd: &Clamd) {
    let end = Instant::now() + LONG;
    while std::fs::read_dir(clamd.temporary()).unwrap().next().is_none() {
        assert!(Instant::now() < end, "clamd takes nothing");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn hung_and_awake_again() {
    let clamd = Clamd::start().await;
    let vault = Vault::start(&clamd.socket(), 1).await;
    vault.until_engine(true).await;
    clamd.hang();
    let file = vault.add(&late_virus(&vault), PDF);
    vault.until_engine(false).await;
    clamd.wake();
    assert!(is_infected(&vault.verdict(file).await.result));
}

#[tokio::test]
async fn without_signatures() {
    let mut clamd = Clamd::new().await;
    clamd.set_signatures(false);
    // It ends by itself, and leaves nobody who listens.
    clamd.run_to_end().await;
    let vault = Vault::start(&clamd.socket(), 2).await;
    vault.until_engine(false).await;
    let file = vault.add(&pdf(&test_virus()), PDF);
    clamd.set_signatures(true);
    clamd.run().await;
    assert!(is_infected(&vault.verdict(file).await.result));
}

#[tokio::test]
async fn out_of_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("full.sock");
    let listening = UnixSocket::new_stream().unwrap();
    listening.bind(&socket).unwrap();
    // Nobody accepts, and as many wait as may.
    let listener = listening.listen(4).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = UnixStream::connect(&socket).await {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the socket never fills");
    }
    let vault = Vault::start(&socket, 1).await;
    vault.until_engine(false).await;
    let file = vault.add(&pdf(&test_virus()), PDF);
    drop((listener, waiting));
    std::fs::remove_file(&socket).unwrap();
    let clamd = Clamd::start().await;
    std::os::unix::fs::symlink(clamd.socket(), &socket).unwrap();
    assert!(is_infected(&vault.verdict(file).await.result));
}

#[tokio::test]
async fn nonsense_is_no_answer() {
    let nonsense: [&[u8]; 12] = [
        b"",
        b"\0",
        b"stream: OK",
        b"stream: OK\n",
        b"stream: OK\0stream: OK\0",
        b"OK\0",
        b"file: OK\0",
        b"stream: FOUND\0",
        b"PONG\0",
        b"stream: Can't open file ERROR\0",
        b"COMMAND READ TIMED OUT\0",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nstream: OK",
    ];
    for words in nonsense {
        let liar = Liar::start(Lie::Says(words));
        let vault = Vault::start(&liar.socket(), 2).await;
        let file = vault.add(&pdf(&vault.noise(100)), PDF);
        assert_eq!(vault.outcome(file).await, Outcome::Unavailable, "{:?}", String::from_utf8_lossy(words));
    }
}

#[tokio::test]
async fn an_answer_before_the_file_was_sent_is_no_answer() {
    for lie in [Lie::Blurts(b"stream: OK\0"), Lie::Blurts(b""), Lie::Silent, Lie::Deaf] {
        let liar = Liar::start(lie);
        let vault = Vault::start(&liar.socket(), 1).await;
        let file = vault.add(&pdf(&vault.noise(4 << 20)), PDF);
        assert_eq!(vault.outcome(file).await, Outcome::Unavailable, "{lie:?}");
        assert!(vault.endings(file) >= 1);
    }
    let liar = Liar::start(Lie::Blurts(b"INSTREAM size limit exceeded. ERROR\0"));
    let vault = Vault::with_clamd(&liar.socket()).await;
    let file = vault.add(&pdf(&vault.noise(4 << 20)), PDF);
    assert_eq!(vault.verdict(file).await.result, refused(Refusal::Limits), "too large for the daemon");
}
