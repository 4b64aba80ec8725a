//! What looks into files. clamd does; nothing else can be configured.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Bytes;
use clamav_client::tokio::{TransportProtocol, get_version, scan_stream};
use sigilo_seal::verdict::MAX_WORD_LENGTH;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    sync::mpsc,
    time::timeout,
};

use super::desk::EngineState;
use crate::{
    Result,
    config::{ClamdAddress, Scanner},
};

/// What looks into files.
#[derive(Clone, Debug)]
pub enum Engine {
    /// A ClamAV daemon.
    Clamd(Clamd),
    /// Nothing looks: what the worker itself costs is measured with it. No configuration makes one.
    Null,
}

/// What the engine says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was found.
    Nothing,
    /// What it calls by this name.
    Infected(String),
    /// It cannot look into it.
    Encrypted,
    /// It is larger, or nested deeper, than it looks.
    Limits,
}

/// The engine gave no word of it: it is away, took too long, or said what nobody understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the engine is away")]
pub struct Away;

/// A ClamAV daemon.
#[derive(Clone, Debug)]
pub struct Clamd {
    address: ClamdAddress,
    connect: Duration,
    write: Duration,
    verdict: Duration,
}

impl Engine {
    /// The configured daemon.
    ///
    /// # Errors
    /// When its address is none.
    pub fn clamd(config: &Scanner) -> Result<Self> {
        Ok(Self::Clamd(Clamd {
            address: config.address()?,
            connect: config.connect_timeout(),
            write: config.write_timeout(),
            verdict: config.verdict_timeout(),
        }))
    }

    /// How long it may take to take a piece of a file.
    #[must_use]
    pub const fn write_timeout(&self) -> Duration {
        match self {
            Self::Clamd(clamd) => clamd.write,
            Self::Null => Duration::MAX,
        }
    }

    /// How long it may take to answer when all of a file was handed to it.
    #[must_use]
    pub const fn verdict_timeout(&self) -> Duration {
        match self {
            // The last piece may still be on its way.
            Self::Clamd(clamd) => clamd.write.saturating_add(clamd.verdict),
            Self::Null => Duration::MAX,
        }
    }

    /// What it is, and what it knows.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn state(&self) -> Result<EngineState, Away> {
        match self {
            Self::Clamd(clamd) => clamd.state().await,
            Self::Null => Ok(EngineState { engine: "none".into(), database: String::new(), official: false }),
        }
    }

    /// What it says of the file whose pieces come, until their sender is dropped. How long it may take is the caller's
    /// to say, who does not listen when the pieces were not all.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn scan(&self, mut pieces: mpsc::Receiver<Bytes>) -> Result<Found, Away> {
        match self {
            Self::Clamd(clamd) => clamd.scan(pieces).await,
            Self::Null => {
                while pieces.recv().await.is_some() {}
                Ok(Found::Nothing)
            }
        }
    }
}

impl Clamd {
    async fn state(&self) -> Result<EngineState, Away> {
        let line = Line { clamd: self, lost: Arc::default() };
        let asked = timeout(self.write, get_version(line)).await;
        let reply = asked.map_err(|_| Away)?.map_err(|_| Away)?;
        version(&reply).ok_or(Away)
    }

    async fn scan(&self, pieces: mpsc::Receiver<Bytes>) -> Result<Found, Away> {
        let lost = Arc::new(AtomicBool::new(false));
        let line = Line { clamd: self, lost: Arc::clone(&lost) };
        let stream = futures_util::stream::unfold(pieces, async |mut pieces| {
            let piece = pieces.recv().await?;
            Some((Ok(piece), pieces))
        });
        let reply = scan_stream(stream, line, Some(PIECE)).await;
        let reply = reply.map_err(|_| Away)?;
        match parse(&reply).ok_or(Away)? {
            // It never had all of the file.
            Found::Nothing if lost.load(Ordering::SeqCst) => Err(Away),
            found => Ok(found),
        }
    }
}

/// The longest piece that is sent under one length.
const PIECE: usize = 64 * 1024;

/// The longest reply in bytes: a few words.
const LONGEST_REPLY: usize = 4096;

/// The words of a reply to INSTREAM. There are three forms, and what has none of them is no answer.
fn parse(reply: &[u8]) -> Option<Found> {
    const TOO_LARGE: &str = "INSTREAM size limit exceeded.";
    let text = std::str::from_utf8(reply.strip_suffix(b"\0")?).ok()?;
    if let Some(error) = text.strip_suffix(" ERROR") {
        return (error == TOO_LARGE).then_some(Found::Limits);
    }
    let said = text.strip_prefix("stream: ")?;
    if said == "OK" {
        return Some(Found::Nothing);
    }
    let name = said.strip_suffix(" FOUND").filter(|name| !name.is_empty())?;
    if name.starts_with("Heuristics.Encrypted.") {
        return Some(Found::Encrypted);
    }
    if name.starts_with("Heuristics.Limits.Exceeded") {
        return Some(Found::Limits);
    }
    // A name that cannot be said must not keep what was found from being found.
    Some(Found::Infected(if is_word(name) { name.to_owned() } else { "unnamed".to_owned() }))
}

/// `ClamAV 1.4.6/27500/Thu Jan  1 00:00:00 2026`, or `ClamAV 1.4.6` where there are no signatures of the maker's.
fn version(reply: &[u8]) -> Option<EngineState> {
    let text = std::str::from_utf8(reply.strip_suffix(b"\0")?).ok()?;
    let (engine, database) = text.split_once('/').unwrap_or((text, ""));
    let engine = engine.trim_end();
    let is_version = engine.starts_with("ClamAV ") && is_word(engine) && is_word(database);
    is_version.then(|| EngineState {
        engine: engine.to_owned(),
        database: database.to_owned(),
        official: !database.is_empty(),
    })
}

fn is_word(text: &str) -> bool {
    text.len() <= MAX_WORD_LENGTH && !text.chars().any(char::is_control)
}

/// One connection to the daemon.
struct Line<'a> {
    clamd: &'a Clamd,
    lost: Arc<AtomicBool>,
}

impl TransportProtocol for Line<'_> {
    type Stream = Connection;

    async fn connect(&self) -> io::Result<Connection> {
        let connecting = async {
            Ok(match &self.clamd.address {
                ClamdAddress::Unix(path) => Stream::Unix(UnixStream::connect(path).await?),
                ClamdAddress::Tcp(address) => Stream::Tcp(TcpStream::connect(address).await?),
            })
        };
        let stream = timeout(self.clamd.connect, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?;
        stream.map(|stream| Connection { stream, heard: 0, lost: Arc::clone(&self.lost) })
    }
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// A connection that can still be read when the daemon has closed its end: it answers a file that is too large at
/// once, and takes no more of it.
struct Connection {
    stream: Stream,
    heard: usize,
    lost: Arc<AtomicBool>,
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(match &mut this.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
        });
        match read {
            // It closed its end on what it had not read; what it said before is its reply.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && this.heard > 0 => {
                this.lost.store(true, Ordering::SeqCst);
                return Poll::Ready(Ok(()));
            }
            read => read?,
        }
        this.heard += buffer.filled().len() - before;
        let is_reply = this.heard <= LONGEST_REPLY;
        Poll::Ready(if is_reply { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) })
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.lost.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(match &mut this.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
        });
        Poll::Ready(written.or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                this.lost.store(true, Ordering::SeqCst);
                Ok(bytes.len())
            }
            _ => Err(error),
        }))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Sockets keep nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_words_are_an_answer() {
        assert_eq!(parse(b"stream: OK\0"), Some(Found::Nothing));
        assert_eq!(parse(b"stream: A.B-1 FOUND\0"), Some(Found::Infected("A.B-1".into())));
        assert_eq!(parse(b"stream: Heuristics.Encrypted.Zip FOUND\0"), Some(Found::Encrypted));
        assert_eq!(parse(b"stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\0"), Some(Found::Limits));
        assert_eq!(parse(b"INSTREAM size limit exceeded. ERROR\0"), Some(Found::Limits));
        let long = format!("stream: {} FOUND\0", "x".repeat(MAX_WORD_LENGTH + 1));
        for hidden in [long.as_bytes(), b"stream: a\nb FOUND\0"] {
            assert_eq!(parse(hidden), Some(Found::Infected("unnamed".into())));
        }
        for nonsense in [
            &b""[..],
            b"\0",
            b"stream: OK",
            b"stream: OK\n\0",
            b"stream: OK \0",
            b"stream:OK\0",
            b"Stream: OK\0",
            b"/tmp/x: OK\0",
            b"stream: FOUND\0",
            b"stream:  FOUND\0",
            b"stream: ok\0",
            b"OK\0",
            b"PONG\0",
            b"stream: OK\0stream: OK\0",
            b"stream: Can't allocate memory ERROR\0",
            b"stream: INSTREAM size limit exceeded. ERROR\0",
            b"stream: \xff FOUND\0",
            b"COMMAND READ TIMED OUT\0",
            b"HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(parse(nonsense), None, "{:?}", String::from_utf8_lossy(nonsense));
        }
    }

    #[test]
    fn a_version_without_a_database_is_for_development() {
        let official = version(b"ClamAV 1.4.6/27500/Thu Jan  1 00:00:00 2026\0").unwrap();
        assert!(official.official && official.engine == "ClamAV 1.4.6", "{official:?}");
        assert_eq!(official.database, "27500/Thu Jan  1 00:00:00 2026");
        let own = version(b"ClamAV 1.4.6\0").unwrap();
        assert!(!own.official && own.database.is_empty(), "{own:?}");
        for nonsense in [&b""[..], b"\0", b"ClamAV 1.4.6", b"UNKNOWN COMMAND\0", b"ClamAV \x1b[1m\0"] {
            assert_eq!(version(nonsense), None, "{nonsense:?}");
        }
    }
}
