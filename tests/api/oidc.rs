//! Logins with a clinic's own identity provider: a real one, run by node.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openidconnect::core::{CoreIdToken, CoreProviderMetadata};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sigilo::{
    Ctx,
    auth::oidc,
    config::{Config, Oidc, OidcSecondFactor},
    execute, fetch_all, people,
};
use sigilo_wire::Role;

use crate::support::{
    Engine, TestServer,
    clinic::{Clinic, Person},
    http::Answer,
    mfa::Authenticator,
};

/// Registered with the provider. Nobody listens there: the test carries what the browser is sent with to the server.
const CALLBACK: &str = "http://127.0.0.1:9/api/auth/oidc/hospital/callback/";
const RETURN_TO: &str = "sigilo://oidc";
const VERIFIER: &str = "a verifier of an app, which has to be long enough to be one";
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
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        assert!(folder.join("node_modules").is_dir(), "run 'npm ci' in tests/oidc, or 'cargo xtask test'");
        let mut process = Command::new("node")
            .args(["provider.mjs", CALLBACK])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut issuer = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut issuer).unwrap();
        let secret = tempfile::tempdir().unwrap();
        std::fs::write(secret.path().join("secret"), "the secret of sigilo\n").unwrap();
        Self { process, issuer: issuer.trim().to_owned(), secret }
    }

    fn configured(&self, second_factor: OidcSecondFactor) -> Oidc {
        Oidc {
            clinic: "ejemplo".to_owned(),
            issuer: self.issuer.clone(),
            client_id: "sigilo".to_owned(),
            client_secret_file: Some(self.secret.path().join("secret")),
            callback: CALLBACK.to_owned(),
            returns: vec![RETURN_TO.to_owned()],
            second_factor,
        }
    }
}

/// Runs a scenario on each engine, with one provider for both.
async fn with_provider(
    second_factor: OidcSecondFactor,
    scenario: impl AsyncFn(&TestServer, &Provider, &Clinic, &Person),
) {
    let provider = Provider::start();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        println!("on {engine:?}");
        let settings = |config: &mut Config| {
            config.oidc.insert("hospital".to_owned(), provider.configured(second_factor));
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

/// A browser: it keeps cookies by origin, and is told where to go.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    /// Fetches a page, and gives where it sends on to.
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

    async fn sent_on(&mut self, server: &TestServer, url: &str) -> String {
        let answer = self.visit(server, url).await;
        assert_eq!(answer.status(), 303, "{url}: {:?}", answer.headers());
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// Begins, logs in at the provider as somebody, and comes back with the query of the callback.
    async fn at_the_provider(&mut self, server: &TestServer, provider: &Provider, who: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let query = format!("{START}?challenge={challenge}&return_to={RETURN_TO}");
        let mut url = self.sent_on(server, &format!("{}{query}", server.url)).await;
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

/// The parameter with which a browser is sent back to the app.
fn parameter(answer: &reqwest::Response) -> (String, String) {
    let location = answer.headers()["location"].to_str().unwrap();
    let (name, value) = location.strip_prefix(&format!("{RETURN_TO}?")).unwrap().split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

async fn refused_without_a_return(answer: reqwest::Response) {
    Answer::of(answer).await.expect_error(401, "oidc_login_failed");
}

async fn trade(server: &TestServer, code: &str, verifier: &str) -> Answer {
    server.post(TOKEN, None, &json!({"code": code, "verifier": verifier})).await
}

#[tokio::test]
async fn a_bound_subject_logs_in_and_proves_nothing_else() {
    with_provider(OidcSecondFactor::Own, async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let mut browser = Browser::default();
        let (name, code) = browser.returned(server, provider, "who=m-17").await;
        assert_eq!(name, "code");
        trade(server, &code, "another app's verifier").await.expect_error(401, "oidc_login_failed");
        let tokens = trade(server, &code, VERIFIER).await.expect(200);
        assert_eq!(tokens["user_id"], json!(maria.tokens.user_id));
        assert_eq!(tokens["device"]["kind"], "session");
        trade(server, &code, VERIFIER).await.expect_error(401, "oidc_login_failed");
        let token = tokens["access_token"].as_str();
        server.get("/api/me/", token).await.expect(200);
        // What could lock the owner out wants the password or a code first.
        let path = format!("/api/devices/{}/", maria.tokens.device.id);
        server.delete(&path, token).await.expect_error(403, "step_up_required");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_not_bound_gets_nothing_whatever_their_address() {
    with_provider(OidcSecondFactor::Own, async |server, provider, clinic, maria| {
        let mut browser = Browser::default();
        let unbound = ("error".to_owned(), "oidc_not_bound".to_owned());
        assert_eq!(browser.returned(server, provider, "who=m-17").await, unbound);
        // The subject is the e-mail address of the account: that binds nobody.
        assert_eq!(browser.returned(server, provider, "who=maria@clinic.example").await, unbound);
        bind(server, clinic, maria, "m-17").await.unwrap();
        // Subjects are compared as they are.
        assert_eq!(browser.returned(server, provider, "who=M-17").await, unbound);
        let eva = clinic.person(server, Role::Doctor, "eva@clinic.example").await;
        for (who, subject) in [(&eva, "m-17"), (maria, "m-18")] {
            let error = bind(server, clinic, who, subject).await.unwrap_err();
            assert_eq!(error.code().as_str(), "already_settled");
        }
        let mut tx = server.app.db.read("test").await.unwrap();
        let sql = "SELECT canonical FROM audit_entries WHERE act = 'login' AND outcome = 'failed'";
        let noted = fetch_all!(&mut tx, (Vec<u8>,), sql).unwrap();
        assert_eq!(noted.len(), 3);
        assert!(noted.iter().all(|(entry,)| String::from_utf8_lossy(entry).contains("oidc_not_bound")));
        let subjects = fetch_all!(&mut tx, (Vec<u8>,), "SELECT subject_index FROM oidc_bindings").unwrap();
        assert!(subjects.iter().all(|(index,)| index.len() == 32), "{subjects:?}");
    })
    .await;
}

#[tokio::test]
async fn a_login_belongs_to_one_browser_one_provider_and_one_moment() {
    with_provider(OidcSecondFactor::Own, async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let mut browser = Browser::default();
        // Somebody else's browser brings the answer: a victim's, or a thief's.
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        refused_without_a_return(Browser::default().back(server, &query).await).await;
        // It is used up by that, too.
        refused_without_a_return(browser.back(server, &query).await).await;
        // A state nobody made; one brought back twice; one that is too old.
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        let forged =
            query.split('&').map(|pair| if pair.starts_with("state=") { "state=forged" } else { pair });
        let forged = forged.collect::<Vec<_>>().join("&");
        refused_without_a_return(browser.back(server, &forged).await).await;
        assert_eq!(parameter(&browser.back(server, &query).await).0, "code");
        refused_without_a_return(browser.back(server, &query).await).await;
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        server.clock.advance(oidc::LOGIN_LIFE);
        refused_without_a_return(browser.back(server, &query).await).await;
        // The code that the app gets is good for minutes.
        let (_, code) = browser.returned(server, provider, "who=m-17").await;
        server.clock.advance(oidc::CODE_LIFE);
        trade(server, &code, VERIFIER).await.expect_error(401, "oidc_login_failed");
        // Another issuer answers, or none.
        let failed = ("error".to_owned(), "oidc_login_failed".to_owned());
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        let (before, _) = query.split_once("iss=").unwrap();
        let query = format!("{before}iss=https://evil.example");
        assert_eq!(parameter(&browser.back(server, &query).await), failed);
        assert_eq!(browser.returned(server, provider, "refuse").await, failed);
    })
    .await;
}

#[tokio::test]
async fn a_token_for_another_login_is_not_believed() {
    with_provider(OidcSecondFactor::Own, async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let mut browser = Browser::default();
        let failed = ("error".to_owned(), "oidc_login_failed".to_owned());
        // The nonce is that of another login.
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        let mut tx = server.app.db.begin("test").await.unwrap();
        execute!(&mut tx, "UPDATE oidc_logins SET nonce = 'of another login'").unwrap();
        tx.commit().await.unwrap();
        assert_eq!(parameter(&browser.back(server, &query).await), failed);
        // A code of the provider is used once, and with the verifier of its login.
        let code_of =
            |query: &str| query.split('&').find(|pair| pair.starts_with("code=")).unwrap().to_owned();
        let with_code = |query: &str, code: &str| {
            let pairs = query.split('&').map(|pair| if pair.starts_with("code=") { code } else { pair });
            pairs.collect::<Vec<_>>().join("&")
        };
        let used = browser.at_the_provider(server, provider, "who=m-17").await;
        assert_eq!(parameter(&browser.back(server, &used).await).0, "code");
        let fresh = browser.at_the_provider(server, provider, "who=m-17").await;
        let replayed = with_code(&fresh, &code_of(&used));
        assert_eq!(parameter(&browser.back(server, &replayed).await), failed);
        let theirs = Browser::default().at_the_provider(server, provider, "who=m-17").await;
        let mine = browser.at_the_provider(server, provider, "who=m-17").await;
        let injected = with_code(&mine, &code_of(&theirs));
        assert_eq!(parameter(&browser.back(server, &injected).await), failed);
    })
    .await;
}

/// An ID token as the provider makes it, for this client.
async fn id_token(
    server: &TestServer,
    provider: &Provider,
    client: &str,
) -> (CoreIdToken, CoreProviderMetadata) {
    let mut browser = Browser::default();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let callback = CALLBACK.replace(':', "%3A").replace('/', "%2F");
    let mut url = format!(
        "{}/auth?client_id={client}&response_type=code&scope=openid&redirect_uri={callback}&state=s&nonce=n\
         &code_challenge={challenge}&code_challenge_method=S256",
        provider.issuer
    );
    while !url.starts_with(CALLBACK) {
        if url.contains("/as/") {
            url = format!("{url}?who=m-17&amr=pwd%20otp");
        }
        url = browser.sent_on(server, &url).await;
        if url.starts_with('/') {
            url = format!("{}{url}", provider.issuer);
        }
    }
    let code = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).unwrap();
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={callback}&code_verifier={}",
        VERIFIER.replace(' ', "%20").replace(',', "%2C")
    );
    let answer = server
        .client
        .post(format!("{}/token", provider.issuer))
        .basic_auth(client, Some(format!("the%20secret%20of%20{client}")))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    let answer: Value = answer.json().await.unwrap();
    let token = answer["id_token"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
    let read = async |path: &str| -> Value {
        server.client.get(format!("{}{path}", provider.issuer)).send().await.unwrap().json().await.unwrap()
    };
    let metadata: CoreProviderMetadata =
        serde_json::from_value(read("/.well-known/openid-configuration").await).unwrap();
    let keys = serde_json::from_value(read("/jwks").await).unwrap();
    (token, metadata.set_jwks(keys))
}

#[tokio::test]
async fn a_token_counts_for_its_client_issuer_nonce_and_time() {
    let (provider, other) = (Provider::start(), Provider::start());
    let server = TestServer::start(Engine::Sqlite).await;
    let configured = provider.configured(OidcSecondFactor::Own);
    let now = server.app.clock.now();
    let (token, metadata) = id_token(&server, &provider, "sigilo").await;
    let good = oidc::verify(&configured, &metadata, &token, "n", now).unwrap();
    assert_eq!((good.subject.as_str(), good.second_factor), ("m-17", true));
    let refused =
        |configured: &Oidc, metadata: &CoreProviderMetadata, token: &CoreIdToken, nonce: &str, at| {
            let error = oidc::verify(configured, metadata, token, nonce, at).unwrap_err();
            assert_eq!(error.code().as_str(), "oidc_login_failed");
        };
    refused(&configured, &metadata, &token, "another", now);
    refused(&configured, &metadata, &token, "n", now + Duration::from_secs(11 * 3600));
    let (for_another, _) = id_token(&server, &provider, "another").await;
    refused(&configured, &metadata, &for_another, "n", now);
    // Of another issuer: by its word, and by its keys.
    let (theirs, their_metadata) = id_token(&server, &other, "sigilo").await;
    refused(&configured, &metadata, &theirs, "n", now);
    refused(&configured, &their_metadata, &theirs, "n", now);
    // Changed in one letter of what it says.
    let text = token.to_string();
    let (head, rest) = text.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let said = String::from_utf8(URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap().replace("m-17", "m-18");
    let forged = format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(said)).parse().unwrap();
    refused(&configured, &metadata, &forged, "n", now);
    server.finish().await;
}

#[tokio::test]
async fn whose_second_factor_counts_is_the_operators_choice() {
    for (choice, amr, asked) in [
        (OidcSecondFactor::Own, "pwd%20otp", true),
        (OidcSecondFactor::Provider, "pwd", true),
        (OidcSecondFactor::Provider, "pwd%20otp", false),
    ] {
        with_provider(choice, async |server, provider, clinic, maria| {
            bind(server, clinic, maria, "m-17").await.unwrap();
            let (app, _) = Authenticator::enroll(server, maria.token()).await;
            let mut browser = Browser::default();
            let (_, code) = browser.returned(server, provider, &format!("who=m-17&amr={amr}")).await;
            let answer = trade(server, &code, VERIFIER).await;
            if !asked {
                answer.expect(200);
                return;
            }
            answer.expect_error(401, "mfa_required");
            // The code stays good for whoever has the second factor at hand.
            let body = json!({"code": code, "verifier": VERIFIER, "totp": app.next_code(server)});
            server.post(TOKEN, None, &body).await.expect(200);
        })
        .await;
    }
}
