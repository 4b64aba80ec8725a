//! Logins with a clinic's own identity provider: a real one, run by node.

mod accounts;
mod browsers;
mod tokens;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use sigilo::{
    Ctx,
    auth::oidc,
    config::{Config, Oidc, write_private},
    people,
};
use sigilo_wire::Role;

use crate::support::{
    Engine, TestServer,
    clinic::{Clinic, Person},
    http::Answer,
};

/// Registered with the provider. Nobody listens there: the test carries what the browser is sent with to the server.
const CALLBACK: &str = "http://127.0.0.1:9/api/auth/oidc/hospital/callback/";
const RETURN_TO: &str = "sigilo://oidc";
const VERIFIER: &str = "a-verifier-of-an-app-that-is-long-enough-to-be-one";
const START: &str = "/api/auth/oidc/hospital/start/";
const TOKEN: &str = "/api/auth/oidc/hospital/token/";

/// The provider's process.
struct Provider {
    process: Child,
    issuer: String,
    secret: tempfile::TempDir,
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It ends with its input anyway.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Provider {
    fn start() -> Self {
        let secret = tempfile::tempdir().unwrap();
        write_private(&secret.path().join("secret"), b"the secret of sigilo\n").unwrap();
        let (process, issuer) = run(&[]);
        Self { process, issuer, secret }
    }

    /// Ends it.
    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again where it was, with other keys.
    fn change_keys(&mut self) {
        self.stop();
        let (_, port) = self.issuer.rsplit_once(':').unwrap();
        let (process, issuer) = run(&[port]);
        assert_eq!(issuer, self.issuer);
        self.process = process;
    }

    fn configured(&self) -> Oidc {
        Oidc {
            clinic: "ejemplo".to_owned(),
            issuer: self.issuer.clone(),
            client_id: "sigilo".to_owned(),
            client_secret_file: Some(self.secret.path().join("secret")),
            callback: CALLBACK.to_owned(),
            returns: vec![RETURN_TO.to_owned()],
        }
    }
}

/// The program, and the issuer it prints.
fn run(port: &[&str]) -> (Child, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
    assert!(folder.join("node_modules").is_dir(), "run 'npm ci' in tests/oidc, or 'cargo xtask test'");
    let mut process = Command::new("node")
        .args(["provider.mjs", CALLBACK])
        .args(port)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut issuer = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut issuer).unwrap();
    (process, issuer.trim().to_owned())
}

/// Runs a scenario on each engine, with one provider for both.
async fn with_provider(scenario: impl AsyncFn(&TestServer, &Provider, &Clinic, &Person)) {
    with_provider_and(|_| {}, scenario).await;
}

/// As [`with_provider`], with other settings.
async fn with_provider_and(
    settings: impl Fn(&mut Config),
    scenario: impl AsyncFn(&TestServer, &Provider, &Clinic, &Person),
) {
    let provider = Provider::start();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        println!("on {engine:?}");
        let settings = |config: &mut Config| {
            config.oidc.insert("hospital".to_owned(), provider.configured());
            settings(config);
        };
        let server = TestServer::start_with(engine, &settings).await;
        let clinic = Clinic::create(&server, "ejemplo").await;
        let maria = clinic.person(&server, Role::Doctor, "maria@clinic.example").await;
        scenario(&server, &provider, &clinic, &maria).await;
        server.finish().await;
    }
}

async fn bind(server: &TestServer, clinic: &Clinic, who: &Person, subject: &str) -> sigilo::Result<()> {
    let ctx = Ctx::operator(&server.app, clinic.id);
    let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
    oidc::bind(&server.app, &ctx, grant, (who.tokens.user_id, "hospital"), subject).await
}

async fn unbind(server: &TestServer, clinic: &Clinic, who: &Person) -> sigilo::Result<()> {
    let ctx = Ctx::operator(&server.app, clinic.id);
    let grant = people::authorize_manage_people(&server.app, &ctx).unwrap();
    oidc::unbind(&server.app, &ctx, grant, (who.tokens.user_id, "hospital")).await
}

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))
}

/// Where an app of the test begins.
fn beginning(server: &TestServer) -> String {
    format!("{}{START}?challenge={}&return_to={RETURN_TO}", server.url, challenge())
}

/// A browser: it keeps cookies by origin, and is told where to go. The provider knows it again, so that who logs in is
/// asked once.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    /// Fetches a page, and keeps its cookies.
    async fn visit(&mut self, server: &TestServer, url: &str) -> reqwest::Response {
        let origin = url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let mine = self.cookies.iter().filter(|((of, _), _)| *of == origin);
        let cookies: Vec<String> = mine.map(|((_, name), value)| format!("{name}={value}")).collect();
        let answer = server.client.get(url).header("cookie", cookies.join("; ")).send().await.unwrap();
        for set in answer.headers().get_all("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.insert((origin.clone(), name.to_owned()), value.to_owned());
        }
        answer
    }

    /// Fetches a page, and gives where it sends on to.
    async fn sent_on(&mut self, server: &TestServer, url: &str) -> String {
        let answer = self.visit(server, url).await;
        assert_eq!(answer.status(), 303, "{url}: {:?}", answer.headers());
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// Begins, logs in at the provider as somebody, and comes back with the query of the callback.
    async fn at_the_provider(&mut self, server: &TestServer, provider: &Provider, who: &str) -> String {
        let url = self.sent_on(server, &beginning(server)).await;
        self.through(server, provider, url, who).await
    }

    /// Goes on from a page of the provider to the query of the callback.
    async fn through(
        &mut self,
        server: &TestServer,
        provider: &Provider,
        mut url: String,
        who: &str,
    ) -> String {
        assert!(url.starts_with(&provider.issuer), "{url}");
        while !url.starts_with(CALLBACK) {
            if url.starts_with('/') {
                url = format!("{}{url}", provider.issuer);
            }
            if url.contains("/as/") {
                url = format!("{url}?{who}");
            }
            url = self.sent_on(server, &url).await;
        }
        url.split_once('?').unwrap().1.to_owned()
    }

    /// Brings what the provider said to the server.
    async fn back(&mut self, server: &TestServer, query: &str) -> reqwest::Response {
        let url = format!("{}/api/auth/oidc/hospital/callback/?{query}", server.url);
        self.visit(server, &url).await
    }

    /// All of it: what the app is returned to with.
    async fn returned(&mut self, server: &TestServer, provider: &Provider, who: &str) -> (String, String) {
        let query = self.at_the_provider(server, provider, who).await;
        let answer = self.back(server, &query).await;
        assert_eq!(answer.status(), 303);
        parameter(&answer)
    }
}

/// The code that an app of somebody with a new browser is returned to with.
async fn code_of(server: &TestServer, provider: &Provider, subject: &str) -> String {
    let returned = Browser::default().returned(server, provider, &format!("who={subject}")).await;
    assert_eq!(returned.0, "code", "{returned:?}");
    returned.1
}

/// The parameter with which a browser is sent back to the app.
fn parameter(answer: &reqwest::Response) -> (String, String) {
    let location = answer.headers()["location"].to_str().unwrap();
    let (name, value) = location.strip_prefix(&format!("{RETURN_TO}?")).unwrap().split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

/// What an app is returned to with after a refusal.
fn error(code: &str) -> (String, String) {
    ("error".to_owned(), code.to_owned())
}

async fn trade(server: &TestServer, code: &str, verifier: &str) -> Answer {
    server.post(TOKEN, None, &json!({"code": code, "verifier": verifier})).await
}
