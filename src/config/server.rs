//! `[server]`

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

/// Where the server listens and whom it answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// HTTP and WebSocket. Beyond loopback only with TLS or behind a proxy.
    pub listen: SocketAddr,
    /// Prometheus metrics, on a listener of their own: not for the public.
    pub metrics_listen: SocketAddr,
    /// A proxy in front ends TLS; its last `X-Forwarded-For` entry is the caller's address.
    pub behind_proxy: bool,
    /// Origins whose pages may call the API (CORS). Empty: none.
    pub allowed_origins: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            metrics_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            behind_proxy: false,
            allowed_origins: Vec::new(),
        }
    }
}
