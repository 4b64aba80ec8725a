//! The server's HTTP API: one request, one typed answer or one typed error.
//!
//! Access tokens are renewed before they expire and once more when the server says they have. A refresh token is
//! single use, so the new pair is on disk before it is used.

mod blocks;
mod calls;
mod emergencies;
mod finding;
mod members;
mod url;
mod vault;

use std::{cell::RefCell, rc::Rc, time::Duration};

use reqwest::{Method, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use sigilo_seal::decision::request_hash;
use sigilo_wire::{
    ErrorBody, ErrorCode, Timestamp,
    account::{RefreshToken, Tokens},
};

pub(crate) use self::calls::path;
pub use self::url::ServerUrl;
use crate::{
    Error, Result,
    env::Env,
    profile::{
        Profile,
        records::{ONLY, SecretBytes, StoredTokens},
    },
};

/// A request that takes longer than this has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// An access token is renewed this long before it expires.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// A read is tried this often when the server is busy for a moment.
const READ_ATTEMPTS: u32 = 3;
/// The longest wait between two attempts of one read; longer ones are the caller's to wait for.
const READ_WAIT: Duration = Duration::from_secs(2);

/// A limit that passes again within this is waited for; longer ones are the caller's to wait for.
const LIMIT_WAIT: Duration = Duration::from_secs(2);
/// The acts that are decided on before a request's body is read.
const BEFORE_THE_BODY: [&str; 2] = ["connect", "use_tokens"];
/// How often it is waited for.
const LIMIT_ATTEMPTS: u32 = 10;

/// The API of one server for one device.
pub(crate) struct Api {
    http: reqwest::Client,
    server: ServerUrl,
    profile: Rc<Profile>,
    env: Rc<Env>,
    tokens: RefCell<Option<StoredTokens>>,
    renewing: tokio::sync::Mutex<()>,
}

/// Whether a request carries the access token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Auth {
    Token,
    None,
}

impl Api {
    /// Reads the tokens from the profile; opens no connection.
    pub(crate) async fn new(server: ServerUrl, profile: Rc<Profile>, env: Rc<Env>) -> Result<Self> {
        use_ring();
        let mut http = reqwest::Client::builder();
        if server.is_plain() {
            // It takes time to read whom the machine trusts, and nobody is asked for a certificate.
            http = http.tls_certs_only([]);
        }
        let http = http
            .timeout(REQUEST_TIMEOUT)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sigilo-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(Error::internal)?;
        let tokens = RefCell::new(profile.get(ONLY).await?);
        Ok(Self { http, server, profile, env, tokens, renewing: tokio::sync::Mutex::new(()) })
    }

    /// The server's address.
    pub(crate) const fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// Keeps new tokens, on disk first.
    pub(crate) async fn keep_tokens(&self, tokens: &Tokens) -> Result<()> {
        let stored = StoredTokens {
            access: SecretBytes(tokens.access_token.clone().into_bytes()),
            expires_at: self.env.now() + Duration::from_secs(tokens.expires_in),
            refresh: SecretBytes(tokens.refresh_token.clone().into_bytes()),
        };
        self.profile.put(&stored).await?;
        self.tokens.replace(Some(stored));
        Ok(())
    }

    /// Forgets the tokens.
    pub(crate) async fn forget_tokens(&self) -> Result<()> {
        let step = self.profile.step();
        step.delete::<StoredTokens>(ONLY);
        step.commit().await?;
        self.tokens.replace(None);
        Ok(())
    }

    /// Whether there are tokens, valid or not.
    pub(crate) fn has_tokens(&self) -> bool {
        self.tokens.borrow().is_some()
    }

    /// An access token with some life left.
    pub(crate) async fn access_token(&self) -> Result<String> {
        let (token, expires_at) = self.current()?;
        if expires_at - RENEW_BEFORE > self.env.now() { Ok(token) } else { self.renew(&token).await }
    }

    /// The newest refresh token, for the logout.
    pub(crate) fn refresh_token(&self) -> Result<RefreshToken> {
        let tokens = self.tokens.borrow();
        let tokens = tokens.as_ref().ok_or(Error::LoggedOut)?;
        Ok(RefreshToken { refresh_token: text(&tokens.refresh) })
    }

    fn current(&self) -> Result<(String, Timestamp)> {
        let tokens = self.tokens.borrow();
        let tokens = tokens.as_ref().ok_or(Error::LoggedOut)?;
        Ok((text(&tokens.access), tokens.expires_at))
    }

    /// A token other than `stale`: renews, unless somebody else just did.
    pub(crate) async fn renew(&self, stale: &str) -> Result<String> {
        let _only_one = self.renewing.lock().await;
        let (token, _) = self.current()?;
        if token != stale {
            return Ok(token);
        }
        let request = json(&self.refresh_token()?)?;
        let answer = self.attempt(&Method::POST, path::REFRESH, Some(&request), None, None).await;
        let tokens: Tokens = match answer {
            Err(Error::Server { status: 401, .. }) => {
                self.forget_tokens().await?;
                return Err(Error::LoggedOut);
            }
            other => other?,
        };
        self.keep_tokens(&tokens).await?;
        Ok(tokens.access_token)
    }

    /// Reads; tries again when the server is busy for a moment.
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let mut attempt = 1;
        loop {
            match self.call::<(), T>(&Method::GET, path, None, None, Auth::Token).await {
                Err(error) if attempt < READ_ATTEMPTS && error.code() == Some(ErrorCode::Unavailable) => {
                    let wait = error.retry_after().unwrap_or(Duration::from_millis(200)).min(READ_WAIT);
                    tokio::time::sleep(self.env.jitter(wait)).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn send<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T> {
        self.call(&method, path, Some(body), None, Auth::Token).await
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&B>,
        idempotency_key: Option<&str>,
        auth: Auth,
    ) -> Result<T> {
        let body = body.map(json).transpose()?;
        let body = body.as_deref();
        if auth == Auth::None {
            return self.attempt(method, path, body, idempotency_key, None).await;
        }
        let mut attempt = 1;
        loop {
            match self.authorized(method, path, body, idempotency_key).await {
                // Nothing was done: it may be asked again, whatever it is.
                Err(error) if attempt < LIMIT_ATTEMPTS && error.code() == Some(ErrorCode::RateLimited) => {
                    let Some(wait) = error.retry_after().filter(|wait| *wait <= LIMIT_WAIT) else {
                        return Err(error);
                    };
                    tokio::time::sleep(self.env.not_before(wait)).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// Sends a request with the access token, and once more with a fresh one.
    async fn authorized<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
        idempotency_key: Option<&str>,
    ) -> Result<T> {
        let token = self.access_token().await?;
        match self.attempt(method, path, body, idempotency_key, Some(&token)).await {
            Err(Error::Server { status: 401, body: why, .. }) if !is_wrong_proof(why.error) => {
                let token = self.renew(&token).await?;
                self.attempt(method, path, body, idempotency_key, Some(&token)).await
            }
            other => other,
        }
    }

    /// Sends a request once; `body` is JSON.
    async fn attempt<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
        idempotency_key: Option<&str>,
        token: Option<&str>,
    ) -> Result<T> {
        let mut request = self.http.request(method.clone(), self.server.join(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let answer = request.send().await.map_err(offline)?;
        let status = answer.status();
        let retry_after = retry_after(&answer);
        let bytes = answer.bytes().await.map_err(offline)?;
        if status.is_success() {
            return parse(&bytes);
        }
        let asked = |body: &[u8]| request_hash(method.as_str(), path, body);
        Err(refusal(status, &bytes, retry_after, asked, body.unwrap_or_default()))
    }
}

fn json(body: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(body).map_err(Error::internal)
}

/// Whether a 401 is about what the person typed and not about the token: another attempt would count against
/// them.
const fn is_wrong_proof(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InvalidCredentials | ErrorCode::InvalidTotp)
}

/// An empty answer reads as JSON's `null`.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let bytes = if bytes.is_empty() { b"null" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| Error::Answer(error.to_string()))
}

fn refusal(
    status: StatusCode,
    bytes: &[u8],
    retry_after: Option<Duration>,
    asked: impl Fn(&[u8]) -> [u8; 32],
    with: &[u8],
) -> Error {
    match serde_json::from_slice::<ErrorBody>(bytes) {
        Ok(body) => {
            // Who is not let in is refused before the body is read.
            let unread = body.decision.as_ref().is_some_and(|d| BEFORE_THE_BODY.contains(&d.action.as_str()));
            let request_sha256 = asked(if unread { b"" } else { with });
            Error::Server { status: status.as_u16(), body: Box::new(body), retry_after, request_sha256 }
        }
        // A proxy in between answers with a page of its own.
        Err(_) if status.is_server_error() => Error::Offline(format!("status {status}")),
        Err(_) => Error::Answer(format!("status {status} without a reason")),
    }
}

fn retry_after(answer: &reqwest::Response) -> Option<Duration> {
    let seconds = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn offline(error: reqwest::Error) -> Error {
    // The address would be repeated in every log line; the cause is what matters.
    let error = error.without_url();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    Error::Offline(cause.unwrap_or_else(|| error.to_string()))
}

fn text(secret: &SecretBytes) -> String {
    String::from_utf8_lossy(&secret.0).into_owned()
}

/// TLS by rustls with ring, process-wide; whoever was first stays.
fn use_ring() {
    let _first_wins = rustls::crypto::ring::default_provider().install_default();
}
