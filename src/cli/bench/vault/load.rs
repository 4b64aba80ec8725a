//! What people do with files: they upload them, wait for their verdicts and download them; and uploads that stop half
//! way.

use std::{collections::HashSet, path::Path, time::Duration};

use axum::body::Bytes;
use serde::Deserialize;
use sigilo_seal::ScanKey;
use sigilo_wire::{
    FileId,
    vault::{FileChanged, ScanStatus, ScannerStatement, StoredFile},
};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::files::{Form, Noise, Ready, Sealed, Target};
use crate::{
    Error, Result,
    cli::bench::{
        provision::{Pair, Provisioned},
        socket::{Acks, Incoming, Socket},
    },
    clock::{Clock as _, SystemClock},
};

/// How long a file may take from its first byte to its verdict before the run is given up.
pub(super) const PATIENCE: Duration = Duration::from_mins(5);
/// How often it is looked whether something is so.
const LOOK: Duration = Duration::from_millis(5);
/// What the parser of a form may keep of a file: it could be the beginning of the form's end.
const KEPT_BY_PARSER: u64 = 4 * 1024;
/// Held uploads before those that count: what the first of a kind costs is not theirs.
const WARM_UP: usize = 8;

/// A server, as its clients reach it.
pub(super) struct Api {
    http: reqwest::Client,
    address: String,
}

impl Api {
    /// The server at `host:port`.
    ///
    /// # Errors
    /// When there is no HTTP client.
    pub(super) fn new(address: &str) -> Result<Self> {
        // The HTTP client's TLS library wants to know; nothing here uses TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().http1_only().no_proxy().timeout(PATIENCE).build();
        Ok(Self { http: http.map_err(Error::internal)?, address: address.to_owned() })
    }

    /// The scan key in use; waits for the worker to have one. Whose it is is not looked at: both ends are ours.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn scan_key(&self, pair: &Pair) -> Result<ScanKey> {
        let url = format!("http://{}/api/chat/vault/scan-key/", self.address);
        let end = Instant::now() + PATIENCE;
        loop {
            let asked = self.http.get(&url).bearer_auth(&pair.sender.token).send().await;
            let answer = asked.map_err(Error::internal)?;
            let status = answer.status();
            if status.is_success() {
                let said: ScannerStatement = answer.json().await.map_err(Error::internal)?;
                return ScanKey::decode(&said.statement.0).map_err(Error::internal);
            }
            if status.as_u16() != 503 || Instant::now() > end {
                return Err(Error::internal(format!("the server gives no scan key: {status}")));
            }
            sleep(LOOK).await;
        }
    }

    /// Uploads files and waits until each is clean: those of a pair one after the other, the pairs at once. How long that
    /// took, and what one of the first pair's is called.
    ///
    /// # Errors
    /// When the server refuses a file, calls one anything but clean, or falls silent.
    pub(super) async fn upload(
        &self,
        made: &Provisioned,
        load: Vec<Vec<Ready>>,
    ) -> Result<(Duration, FileId)> {
        let url = format!("http://{}/api/chat/upload-file/", self.address);
        let mut lanes = Vec::with_capacity(load.len());
        for (pair, files) in made.pairs.iter().zip(load) {
            let token = pair.sender.token.clone();
            let socket = Socket::open_device(&self.address, "/ws/chat/", &token).await?;
            let post = Post { http: self.http.clone(), url: url.clone(), token };
            lanes.push(Lane { post, socket, files });
        }
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for (number, lane) in lanes.into_iter().enumerate() {
            tasks.spawn(async move { Ok::<_, Error>((number, lane.run().await?)) });
        }
        let mut first = None;
        while let Some(ended) = tasks.join_next().await {
            let (number, files) = ended.map_err(Error::internal)??;
            first = first.or_else(|| files.first().copied().filter(|_| number == 0));
        }
        let first = first.ok_or_else(|| Error::internal("the first pair has no file"))?;
        Ok((start.elapsed(), first))
    }

    /// How long it takes from the request for a file to its first byte. All of it is read.
    ///
    /// # Errors
    /// When it is not given out, or is not of this length.
    pub(super) async fn first_byte(
        &self,
        path: &str,
        token: Option<&str>,
        length: usize,
    ) -> Result<Duration> {
        let request = self.http.get(format!("http://{}{path}", self.address));
        let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let start = Instant::now();
        let mut answer = request.send().await.map_err(Error::internal)?;
        let status = answer.status();
        let first = answer.chunk().await.map_err(Error::internal)?;
        let time = start.elapsed();
        let mut came = first.map_or(0, |first| first.len());
        while let Some(piece) = answer.chunk().await.map_err(Error::internal)? {
            came += piece.len();
        }
        if status.as_u16() != 200 || came != length {
            return Err(Error::internal(format!("{path}: {status} with {came} bytes of {length}")));
        }
        Ok(time)
    }
}

/// One device's uploads.
struct Lane {
    post: Post,
    socket: Socket,
    files: Vec<Ready>,
}

/// How a device uploads.
struct Post {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// The frame that says what a scan has found.
#[derive(Deserialize)]
struct Scanned {
    data: FileChanged,
}

impl Lane {
    async fn run(self) -> Result<Vec<FileId>> {
        let Self { post, mut socket, files } = self;
        let posting = async {
            let mut all = Vec::with_capacity(files.len());
            for file in files {
                all.push(post.send(file).await?);
            }
            Ok::<_, Error>(all)
        };
        tokio::pin!(posting);
        let (mut posted, mut clean, mut acks) = (None::<Vec<FileId>>, HashSet::new(), Acks::default());
        loop {
            if let Some(all) = posted.take_if(|all| all.iter().all(|file| clean.contains(file))) {
                return Ok(all);
            }
            let text = tokio::select! {
                all = &mut posting, if posted.is_none() => {
                    posted = Some(all?);
                    continue;
                }
                text = socket.next(Instant::now() + PATIENCE) => text?,
            };
            let text = text.ok_or_else(|| Error::internal("a file got no verdict in time"))?;
            let frame = Incoming::parse(&text)?;
            acks.note(&frame);
            if frame.r#type == "file_scanned" {
                let Scanned { data } = serde_json::from_str(&text).map_err(Error::internal)?;
                if data.virus_scan != ScanStatus::Clean {
                    return Err(Error::internal(format!("noise is called {}", data.virus_scan.as_str())));
                }
                clean.insert(data.file_id);
            }
            socket.acknowledge(&mut acks).await?;
        }
    }
}

impl Post {
    async fn send(&self, file: Ready) -> Result<FileId> {
        let request = self.http.post(&self.url).bearer_auth(&self.token);
        let request = request.header("content-type", file.content_type).body(file.body);
        let answer = request.send().await.map_err(Error::internal)?;
        let status = answer.status();
        let said = answer.bytes().await.map_err(Error::internal)?;
        if status.as_u16() != 201 {
            let said = String::from_utf8_lossy(&said);
            return Err(Error::internal(format!("the server refused a file: {status} {said}")));
        }
        let stored: StoredFile = serde_json::from_slice(&said).map_err(Error::internal)?;
        Ok(stored.file_id)
    }
}

/// What uploads cost that have stopped half way.
pub(super) struct Cost {
    /// The server's memory without them, in bytes.
    pub(super) before: u64,
    /// With them, in bytes.
    pub(super) after: u64,
}

/// Holds `count` uploads of one file open half way, and gives them up. `resident` says what the server's memory is,
/// `spool` is where it keeps what has come.
///
/// # Errors
/// When the server does not take them.
pub(super) async fn hold(
    api: &Api,
    made: &Provisioned,
    noise: &mut Noise,
    (count, spool): (usize, &Path),
    resident: impl Fn() -> Result<u64>,
) -> Result<Cost> {
    let pair = made.pairs.first().ok_or_else(|| Error::internal("there is no pair"))?;
    let to =
        Target { tenant: made.tenant, conversation: pair.conversation, scan_key: api.scan_key(pair).await? };
    let file = noise.sealed()?;
    let half = file.blob.slice(..file.blob.len() / 2);
    let mut before = resident()?;
    let mut held = Vec::with_capacity(WARM_UP + count);
    for number in 0..WARM_UP + count {
        if number == WARM_UP {
            wait_for(|| has_come(spool, WARM_UP, half.len() as u64)).await?;
            before = resident()?;
        }
        held.push(begin(api, pair, noise, (&file, &half), &to).await?);
    }
    wait_for(|| has_come(spool, WARM_UP + count, half.len() as u64)).await?;
    let after = resident()?;
    drop(held);
    // They are undone, so that nothing of them is measured later.
    wait_for(|| Ok(lengths(spool)?.iter().all(|length| *length == 0))).await?;
    Ok(Cost { before, after })
}

async fn begin(
    api: &Api,
    pair: &Pair,
    noise: &mut Noise,
    (file, half): (&Sealed, &Bytes),
    to: &Target,
) -> Result<TcpStream> {
    let Form { content_type, before, after } = noise.announce(file, to, SystemClock.now())?;
    let length = before.len() + file.blob.len() + after.len();
    let head = format!(
        "POST /api/chat/upload-file/ HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{before}",
        api.address, pair.sender.token
    );
    let sending = async {
        let mut stream = TcpStream::connect(&api.address).await?;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(half).await?;
        Ok::<_, std::io::Error>(stream)
    };
    let sent = timeout(PATIENCE, sending).await.map_err(|_| Error::internal("an upload is not taken"))?;
    sent.map_err(Error::internal)
}

/// Whether so many uploads lie in the spool, each with so many bytes, less what a parser keeps.
fn has_come(spool: &Path, count: usize, length: u64) -> Result<bool> {
    let lengths = lengths(spool)?;
    let least = length.saturating_sub(KEPT_BY_PARSER);
    Ok(lengths.len() == count && lengths.iter().all(|there| *there >= least))
}

fn lengths(spool: &Path) -> Result<Vec<u64>> {
    let entries = std::fs::read_dir(spool).map_err(Error::internal)?;
    entries
        .map(|entry| entry.and_then(|entry| entry.metadata()).map(|found| found.len()))
        .collect::<std::io::Result<_>>()
        .map_err(Error::internal)
}

async fn wait_for(is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        if Instant::now() > end {
            return Err(Error::internal("the uploads that are held open do not come"));
        }
        sleep(LOOK).await;
    }
    Ok(())
}
