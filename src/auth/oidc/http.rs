//! Asking a provider: only by TLS, for a while, and for so much.

use std::{pin::Pin, time::Duration};

use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};

use crate::{Error, Result, config::is_loopback};

/// How long a provider may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Why a provider's answer was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the answer is larger than 1 MiB")]
    TooLong,
    #[error("{0} is not asked: it is no https:// address")]
    Insecure(String),
}

/// A client that sends a request to nowhere but where it was addressed to: a provider that redirects one could send
/// the client's secret anywhere.
///
/// # Errors
/// When TLS cannot be set up.
pub(super) fn client(patience: Duration) -> Result<reqwest::Client> {
    // Whoever is first installs it; it is the only one here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(patience);
    http.build().map_err(Error::internal)
}

/// Our client, as the library asks with it.
pub(super) struct Http<'a> {
    pub(super) client: &'a reqwest::Client,
    /// Whether the provider's issuer is an `http://` address of this machine, and so may be the others that it names.
    pub(super) in_the_open: bool,
}

impl<'c> AsyncHttpClient<'c> for Http<'_> {
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Trouble>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)?;
            // The provider says where its keys are and where codes are traded.
            if !may_ask(request.url(), self.in_the_open) {
                return Err(Trouble::Insecure(request.url().to_string()));
            }
            let mut answer = self.client.execute(request).await?;
            let mut read = HttpResponse::new(Vec::new());
            *read.status_mut() = answer.status();
            *read.headers_mut() = std::mem::take(answer.headers_mut());
            while let Some(chunk) = answer.chunk().await? {
                if read.body().len() + chunk.len() > LONGEST {
                    return Err(Trouble::TooLong);
                }
                read.body_mut().extend_from_slice(&chunk);
            }
            Ok(read)
        })
    }
}

/// Whether a browser or this server may be sent to an address that a provider names.
pub(super) fn may_ask(url: &reqwest::Url, in_the_open: bool) -> bool {
    url.scheme() == "https" || (in_the_open && is_loopback(url))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// What comes of asking a server that answers so, and where it is.
    async fn asked(answer: Vec<u8>, patience: Duration, in_the_open: bool) -> Result<HttpResponse, Trouble> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            // Whoever has read enough goes away.
            let _ = socket.write_all(&answer).await;
            let _ = socket.read(&mut [0; 4096]).await;
        });
        let mut request = HttpRequest::new(Vec::new());
        *request.uri_mut() = format!("http://{address}/").parse().unwrap();
        let client = client(patience).unwrap();
        let came = Http { client: &client, in_the_open }.call(request).await;
        serving.abort();
        came
    }

    fn of_length(length: usize) -> Vec<u8> {
        let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b' ');
        answer
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_limit() {
        assert_eq!(asked(of_length(LONGEST), PATIENCE, true).await.unwrap().body().len(), LONGEST);
        let longer = asked(of_length(LONGEST + 1), PATIENCE, true).await;
        assert!(matches!(longer, Err(Trouble::TooLong)), "{longer:?}");
    }

    #[tokio::test]
    async fn a_provider_that_does_not_go_on_is_given_up() {
        for begun in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun"] {
            let came = asked(begun.to_vec(), Duration::from_millis(300), true).await;
            assert!(matches!(&came, Err(Trouble::Http(error)) if error.is_timeout()), "{came:?}");
        }
    }

    #[tokio::test]
    async fn a_redirection_is_an_answer_and_no_way() {
        let answer = b"HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(asked(answer.to_vec(), PATIENCE, true).await.unwrap().status(), 307);
    }

    #[tokio::test]
    async fn nothing_is_asked_in_the_open_but_on_this_machine() {
        let came = asked(of_length(1), PATIENCE, false).await;
        assert!(matches!(came, Err(Trouble::Insecure(_))), "{came:?}");
        let may = |url: &str, in_the_open| may_ask(&url.parse().unwrap(), in_the_open);
        assert!(may("https://id.example/keys", false) && may("http://[::1]:80/", true));
        for url in [
            "http://id.example/",
            "http://169.254.169.254/",
            "http://localhost.example/",
            "http://127.0.0.1@id.example/",
            "file:///etc/passwd",
        ] {
            assert!(!may(url, true), "{url}");
        }
    }
}
