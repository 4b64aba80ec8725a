//! A running server: its listeners, and how it stops.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{Router, extract::connect_info::IntoMakeServiceWithConnectInfo};
use axum_server::{
    Handle,
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use hyper_util::rt::TokioTimer;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::task::JoinHandle;

use crate::{
    Error, Result,
    app::SharedApp,
    auth, break_glass,
    config::Tls,
    emergency,
    gateway::http,
    keys, relay,
    relay::hub::CloseReason,
    shutdown::{Phase, ShutdownHandle},
    telemetry, vault,
};

/// How long a client may take to send a request's headers.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(15);
/// What a connection holds of what has come and was not read, in bytes: twice what headers may have. An upload passes through
/// it some times over.
const CONNECTION_BUFFER: usize = 128 * 1024;

/// A server that answers.
pub struct Running {
    /// Where it answers.
    pub address: SocketAddr,
    /// Where its metrics are.
    pub metrics_address: SocketAddr,
    app: SharedApp,
    handle: Handle<SocketAddr>,
    metrics: Handle<SocketAddr>,
    tls: Option<RustlsConfig>,
    phase: ShutdownHandle,
    api: JoinHandle<io::Result<()>>,
    watched: JoinHandle<io::Result<()>>,
}

type Make = IntoMakeServiceWithConnectInfo<Router, SocketAddr>;

/// Listens and answers. Port 0 takes a free one.
///
/// # Errors
/// When an address is taken, or a certificate cannot be read.
pub fn start(app: SharedApp, phase: ShutdownHandle) -> Result<Running> {
    let settings = &app.config.server;
    let (listener, address) = listen(settings.listen)?;
    let (metrics_listener, metrics_address) = listen(settings.metrics_listen)?;
    let tls = tls_config(&app.config.tls)?.map(|config| RustlsConfig::from_config(Arc::new(config)));
    let (handle, metrics) = (Handle::new(), Handle::new());
    vault::scan::start(&app)?;
    let service = http::router(app.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let metrics_service = telemetry::metrics_router()?.into_make_service_with_connect_info::<SocketAddr>();
    let api = serve(listener, handle.clone(), service, tls.clone())?;
    let watched = serve(metrics_listener, metrics.clone(), metrics_service, None)?;
    tokio::spawn(keys::keep_reminding(app.clone()));
    tokio::spawn(auth::keep_watching(app.clone()));
    tokio::spawn(relay::held::keep_releasing(app.clone()));
    tokio::spawn(relay::deliver::keep_shortening(app.clone()));
    tokio::spawn(emergency::keep_escalating(app.clone()));
    tokio::spawn(break_glass::keep_ending(app.clone()));
    tokio::spawn(vault::keep_sweeping(app.clone()));
    tokio::spawn(vault::scan::keep_counting(app.clone()));
    Ok(Running { address, metrics_address, app, handle, metrics, tls, phase, api, watched })
}

impl Running {
    /// Reads the certificates again. On failure the old ones stay.
    ///
    /// # Errors
    /// When a file cannot be read or does not hold what it should.
    pub fn reload_certificates(&self) -> Result<()> {
        if let (Some(running), Some(config)) = (&self.tls, tls_config(&self.app.config.tls)?) {
            running.reload_from_config(Arc::new(config));
        }
        Ok(())
    }

    /// Stops: no new connections, requests under way are answered, sockets are closed with 1012, the writer
    /// flushes; then the stores are closed. Takes at most `limits.drain_s`, of which requests and sockets have
    /// four fifths; says `false` when it gave up on something.
    pub async fn stop(self) -> bool {
        let whole = self.app.config.limits.drain();
        let drain = whole * 4 / 5;
        self.phase.send_replace(Phase::Draining);
        self.handle.graceful_shutdown(Some(drain));
        self.app.hub.disconnect_all(CloseReason::Restart);
        let requests_and_sockets = async {
            ended(self.api.await);
            self.app.sockets.drained().await;
        };
        let drained = tokio::time::timeout(drain, requests_and_sockets).await.is_ok();
        if !drained {
            tracing::warn!(seconds = drain.as_secs_f64(), "stopped before everything under way had ended");
        }
        self.phase.send_replace(Phase::Stopped);
        let closed = tokio::time::timeout(whole - drain, self.app.close()).await.is_ok();
        if !closed {
            tracing::warn!("stopped before the stores were closed; what was answered is durable");
        }
        // The metrics listener goes last, so that the end can be watched.
        self.metrics.shutdown();
        ended(self.watched.await);
        drained && closed
    }
}

fn ended(result: std::result::Result<io::Result<()>, tokio::task::JoinError>) {
    match result {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "a listener failed"),
        Err(error) => tracing::error!(%error, "a listener's task failed"),
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let fail = |error: io::Error| Error::internal(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(fail)?;
    listener.set_nonblocking(true).map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    Ok((listener, bound))
}

fn serve(
    listener: TcpListener,
    handle: Handle<SocketAddr>,
    service: Make,
    tls: Option<RustlsConfig>,
) -> Result<JoinHandle<io::Result<()>>> {
    let mut server = axum_server::from_tcp(listener).map_err(Error::internal)?.handle(handle);
    // A client that never finishes its headers holds nothing for long.
    let mut http = server.http_builder().http1();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT).max_buf_size(CONNECTION_BUFFER);
    server.http_builder().http2().timer(TokioTimer::new()).keep_alive_interval(HEADERS_TIMEOUT);
    Ok(match tls {
        None => tokio::spawn(server.acceptor(NoDelayAcceptor::new()).serve(service)),
        Some(tls) => {
            let acceptor = RustlsAcceptor::new(tls).acceptor(NoDelayAcceptor::new());
            tokio::spawn(server.acceptor(acceptor).serve(service))
        }
    })
}

/// Whether certificate and key can be read and fit; nothing to check without TLS.
///
/// # Errors
/// With the file and what is wrong with it.
pub fn check_certificates(tls: &Tls) -> Result<()> {
    tls_config(tls).map(drop)
}

/// TLS 1.3 only, by ring.
fn tls_config(tls: &Tls) -> Result<Option<ServerConfig>> {
    let Some((certificate, key)) = tls.files() else { return Ok(None) };
    let fail = |file: &std::path::Path, error: &dyn std::fmt::Display| {
        Error::internal(format!("cannot use {}: {error}", file.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| fail(certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| fail(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::internal)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| fail(certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(config))
}
