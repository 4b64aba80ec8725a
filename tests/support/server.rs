//! A server in this process, listening on loopback.

use std::{net::SocketAddr, sync::Arc};

use sigilo::{
    App,
    config::Config,
    rng::SystemEntropy,
    server::{self, Running},
    shutdown,
};

use super::{Database, Engine, TestClock};

/// A server that answers on `url`.
pub struct TestServer {
    pub app: Arc<App>,
    pub url: String,
    pub metrics_url: String,
    pub clock: Arc<TestClock>,
    pub client: reqwest::Client,
    pub database: Database,
    config: Config,
    running: Running,
}

/// Another server on the databases of a [`TestServer`].
pub struct Node {
    pub app: Arc<App>,
    pub url: String,
    running: Running,
}

impl Node {
    /// Stops it as SIGTERM would.
    pub async fn stop(self) {
        drop(self.app);
        assert!(self.running.stop().await, "the node drains");
    }
}

impl TestServer {
    /// Starts another one on the same databases.
    pub async fn beside(&self) -> Node {
        let (app, running) = run(&self.config, &self.clock).await;
        Node { url: format!("http://{}", running.address), app, running }
    }

    /// Starts one on fresh databases.
    pub async fn start(engine: Engine) -> Self {
        Self::start_with(engine, &|_: &mut Config| {}).await
    }

    /// Starts one with other settings.
    pub async fn start_with(engine: Engine, settings: &impl Fn(&mut Config)) -> Self {
        let database = Database::migrated(engine).await;
        let mut config = database.config();
        settings(&mut config);
        Self::on(database, config, Arc::new(TestClock::default())).await
    }

    /// Stops it as SIGTERM would and starts it again on the same databases, with the same clock.
    pub async fn restart(self) -> Self {
        let Self { database, config, clock, running, .. } = self;
        assert!(running.stop().await, "the server drains");
        Self::on(database, config, clock).await
    }

    /// Stops it as SIGTERM would, and leaves its databases and its address to somebody else.
    pub async fn halt(self) -> (Database, SocketAddr) {
        let Self { database, running, app, client, .. } = self;
        drop((app, client));
        let address = running.address;
        assert!(running.stop().await, "the server drains");
        (database, address)
    }

    /// Starts one on databases that are there, empty or not.
    pub async fn open(database: Database) -> Self {
        let config = database.config();
        Self::on(database, config, Arc::new(TestClock::default())).await
    }

    /// Starts one with other settings on databases that are there.
    pub async fn open_with(database: Database, settings: &impl Fn(&mut Config)) -> Self {
        let mut config = database.config();
        settings(&mut config);
        Self::on(database, config, Arc::new(TestClock::default())).await
    }

    /// Stops it and removes its databases.
    pub async fn finish(self) {
        let Self { database, running, app, client, .. } = self;
        drop((app, client));
        assert!(running.stop().await, "the server drains");
        database.drop().await;
    }

    async fn on(database: Database, config: Config, clock: Arc<TestClock>) -> Self {
        let (app, running) = run(&config, &clock).await;
        Self {
            url: format!("http://{}", running.address),
            metrics_url: format!("http://{}/metrics", running.metrics_address),
            client: client(),
            app,
            clock,
            database,
            config,
            running,
        }
    }
}

async fn run(config: &Config, clock: &Arc<TestClock>) -> (Arc<App>, Running) {
    let (phase, shutdown) = shutdown::channel();
    let app = App::open(config.clone(), clock.clone(), Arc::new(SystemEntropy), shutdown).await.unwrap();
    let running = server::start(Arc::clone(&app), phase).unwrap();
    (app, running)
}

/// A client that follows no redirects and keeps no cookies.
pub fn client() -> reqwest::Client {
    // Whichever test is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The server ends a connection on which nothing comes for 15 s: a slow test must not be writing on it then.
    let idle = std::time::Duration::from_secs(5);
    // Nothing here is TLS: it takes no time to read whom the machine trusts.
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).tls_certs_only([]);
    client.pool_idle_timeout(idle).build().unwrap()
}
