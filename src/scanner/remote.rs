//! The scanner's end of the socket to the server.

use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture, stream};
use reqwest::{Client, Response, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use sigilo_seal::{ScanKey, SignedScanKey};
use tokio_util::io::StreamReader;
use zeroize::Zeroizing;

use super::{
    desk::{Blob, Desk, EngineState, Job, Outcome},
    line::{DoneLine, EngineLine, JobLine, statement},
};
use crate::{Error, Result, config::Config};

/// How long the server may take to begin its answer: longer than it waits for a file.
const ANSWER: Duration = Duration::from_mins(2);

/// The vault of another process.
pub struct RemoteDesk {
    http: Client,
    token: Zeroizing<String>,
}

impl std::fmt::Debug for RemoteDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RemoteDesk")
    }
}

impl RemoteDesk {
    /// The server's at the configured socket.
    ///
    /// # Errors
    /// When the token cannot be read: the server makes it when it starts.
    pub fn new(config: &Config) -> Result<Self> {
        let token = config.scanner_token()?;
        // The client wants one, though nothing here is TLS; the first one stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .tls_certs_only([])
            .unix_socket(config.scanner.socket(&config.storage.data))
            .no_proxy();
        // A scan is as long as it is; only a server that says nothing is away.
        let http = builder.read_timeout(ANSWER).build().map_err(Error::internal)?;
        Ok(Self { http, token })
    }

    async fn ask<T: Serialize + Sync>(&self, what: &str, said: &T) -> Result<Response> {
        let body = serde_json::to_vec(said).map_err(Error::internal)?;
        let request = self.http.post(format!("http://server/{what}")).bearer_auth(self.token.as_str());
        let sent = request.header(CONTENT_TYPE, "application/json").body(body).send().await;
        let answer = sent.map_err(|error| Error::internal(format!("the server does not answer: {error}")))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED => Err(Error::internal(
                "the server knows another token: let both read the same scanner.token_file, and start this anew",
            )),
            status => Err(Error::internal(format!("the server answers /{what} with {status}"))),
        }
    }
}

impl Desk for RemoteDesk {
    fn publish<'a>(&'a self, key: SignedScanKey, _: &'a ScanKey) -> BoxFuture<'a, Result<()>> {
        async move { self.ask("publish", &statement(key)).await.map(drop) }.boxed()
    }

    fn next(&self) -> BoxFuture<'_, Result<Option<Job>>> {
        async move {
            let answer = self.ask("next", &()).await?;
            if answer.status() == StatusCode::NO_CONTENT {
                return Ok(None);
            }
            let job: JobLine = answer.json().await.map_err(Error::internal)?;
            Ok(Some(job.into()))
        }
        .boxed()
    }

    fn blob<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Blob>> {
        async move {
            let answer = self.ask("blob", &JobLine::from(job)).await?;
            let pieces = stream::unfold(answer, async |mut answer| {
                let piece = answer.chunk().await.map_err(std::io::Error::other).transpose()?;
                Some((piece, answer))
            });
            Ok(Box::new(StreamReader::new(Box::pin(pieces))) as Blob)
        }
        .boxed()
    }

    fn done<'a>(&'a self, job: &'a Job, outcome: Outcome) -> BoxFuture<'a, Result<()>> {
        async move {
            let line = DoneLine { job: job.into(), outcome: outcome.into() };
            self.ask("done", &line).await.map(drop)
        }
        .boxed()
    }

    fn engine(&self, state: Option<EngineState>) -> BoxFuture<'_, Result<()>> {
        async move { self.ask("engine", &EngineLine { state }).await.map(drop) }.boxed()
    }
}
