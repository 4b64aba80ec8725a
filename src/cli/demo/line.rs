//! The line between a phone and the server, which the story cuts. What the phone sends is counted, and who listens on it
//! learns the phone's token: so the demo can ask the server as a phone that heeds no verdict would.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use super::stage::PATIENCE;
use crate::{Error, Result};

/// How much is carried at once.
const PIECE: usize = 16 * 1024;
/// What stands before the token in a request.
const BEARER: &str = "authorization: bearer ";

/// A line to the server.
pub(super) struct Line {
    /// Where the phone finds the server.
    pub url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    server: String,
    up: watch::Sender<bool>,
    /// How many bytes the phone has sent.
    sent: AtomicU64,
    /// After how many of them it breaks.
    cut_at: AtomicU64,
    token: Mutex<String>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Line {
    /// A line to this server.
    pub(super) async fn to(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(Error::internal)?;
        let url = format!("http://{}", listener.local_addr().map_err(Error::internal)?);
        let shared = Arc::new(Shared {
            server: server.trim_start_matches("http://").to_owned(),
            up: watch::Sender::new(true),
            sent: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            token: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { url, shared, accepting })
    }

    /// How many bytes the phone has sent so far.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Breaks when the phone has sent so many bytes more, and stays so.
    pub(super) fn cut_after(&self, bytes: u64) {
        self.shared.cut_at.store(self.sent().saturating_add(bytes), Ordering::SeqCst);
    }

    /// Waits until it has broken.
    pub(super) async fn broken(&self) -> Result<()> {
        let mut up = self.shared.up.subscribe();
        let broken = timeout(PATIENCE, up.wait_for(|up| !*up)).await;
        broken.map_err(|_| Error::internal("the line did not break"))?.map(drop).map_err(Error::internal)
    }

    /// It is whole again.
    pub(super) fn mend(&self) {
        self.shared.up.send_replace(true);
    }

    /// What the phone last showed the server to be let in.
    pub(super) fn token(&self) -> String {
        self.shared.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((phone, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // What goes wrong on it both ends see for themselves.
        tokio::spawn(async move { shared.carry(phone).await });
    }
}

impl Shared {
    async fn carry(&self, phone: TcpStream) -> io::Result<()> {
        let mut up = self.up.subscribe();
        if !*up.borrow() {
            return Ok(());
        }
        let server = TcpStream::connect(&self.server).await?;
        let ((from_phone, mut to_phone), (mut from_server, to_server)) =
            (phone.into_split(), server.into_split());
        tokio::select! {
            _ = up.wait_for(|up| !*up) => Ok(()),
            sent = self.send(from_phone, to_server) => sent,
            got = tokio::io::copy(&mut from_server, &mut to_phone) => got.map(drop),
        }
    }

    async fn send(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let read = from.read(&mut piece).await?;
            let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            self.overhear(bytes);
            let sent = self.sent.fetch_add(read as u64, Ordering::SeqCst).saturating_add(read as u64);
            if sent >= self.cut_at.load(Ordering::SeqCst) {
                self.cut_at.store(u64::MAX, Ordering::SeqCst);
                self.up.send_replace(false);
                return Ok(());
            }
            to.write_all(bytes).await?;
        }
    }

    /// Keeps the token of a request that begins here.
    fn overhear(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let after = text.to_ascii_lowercase().find(BEARER).and_then(|at| text.get(at + BEARER.len()..));
        if let Some((token, _)) = after.and_then(|after| after.split_once("\r\n")) {
            token.clone_into(&mut self.token.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
