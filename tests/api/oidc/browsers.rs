//! A login belongs to one browser, one app, one provider and one moment.

use reqwest::header::HeaderMap;
use serde_json::Value;
use sigilo::{auth::oidc, execute, fetch_all};

use super::{
    Browser, CALLBACK, RETURN_TO, START, VERIFIER, beginning, bind, challenge, code_of, error, parameter,
    trade, with_provider, with_provider_and,
};
use crate::support::{TestServer, http::Answer};

async fn refused_without_a_return(answer: reqwest::Response) {
    Answer::of(answer).await.expect_error(401, "oidc_login_failed");
}

/// The query with another value of a parameter.
fn with(query: &str, name: &str, value: &str) -> String {
    let other = |pair: &str| match pair.split_once('=') {
        Some((of, _)) if of == name => format!("{name}={value}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(other).collect::<Vec<_>>().join("&")
}

fn value<'a>(query: &'a str, name: &str) -> &'a str {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

#[tokio::test]
async fn a_login_belongs_to_one_browser_one_provider_and_one_moment() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let mut browser = Browser::default();
        // Somebody else's browser brings the answer: a victim's, or a thief's.
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        refused_without_a_return(Browser::default().back(server, &query).await).await;
        // It is used up by that, too.
        refused_without_a_return(browser.back(server, &query).await).await;
        // A browser with a login of its own under way is no better.
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        let mut victim = Browser::default();
        victim.at_the_provider(server, provider, "who=v-1").await;
        refused_without_a_return(victim.back(server, &query).await).await;
        // A state nobody made; one brought back twice; one that is too old.
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        for forged in ["forged", "", &"a".repeat(43), &"a".repeat(1000)] {
            refused_without_a_return(browser.back(server, &with(&query, "state", forged)).await).await;
        }
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
        let failed = error("oidc_login_failed");
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        assert_eq!(
            parameter(&browser.back(server, &with(&query, "iss", "https://evil.example")).await),
            failed
        );
        assert_eq!(Browser::default().returned(server, provider, "refuse").await, failed);
    })
    .await;
}

#[tokio::test]
async fn a_token_for_another_login_is_not_believed() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let mut browser = Browser::default();
        let failed = error("oidc_login_failed");
        // The nonce is that of another login.
        let query = browser.at_the_provider(server, provider, "who=m-17").await;
        let mut tx = server.app.db.begin("test").await.unwrap();
        execute!(&mut tx, "UPDATE oidc_logins SET nonce = 'of another login'").unwrap();
        tx.commit().await.unwrap();
        assert_eq!(parameter(&browser.back(server, &query).await), failed);
        // A code of the provider is used once, and with the verifier of its login.
        let used = browser.at_the_provider(server, provider, "who=m-17").await;
        assert_eq!(parameter(&browser.back(server, &used).await).0, "code");
        let fresh = browser.at_the_provider(server, provider, "who=m-17").await;
        let replayed = with(&fresh, "code", value(&used, "code"));
        assert_eq!(parameter(&browser.back(server, &replayed).await), failed);
        let theirs = Browser::default().at_the_provider(server, provider, "who=m-17").await;
        let mine = browser.at_the_provider(server, provider, "who=m-17").await;
        let injected = with(&mine, "code", value(&theirs, "code"));
        assert_eq!(parameter(&browser.back(server, &injected).await), failed);
    })
    .await;
}

fn set_cookie(headers: &HeaderMap) -> &str {
    headers["set-cookie"].to_str().unwrap()
}

#[tokio::test]
async fn a_browser_is_sent_to_the_provider_and_back_to_the_app_and_nowhere_else() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let mut browser = Browser::default();
        let begun = browser.visit(server, &beginning(server)).await;
        assert_eq!(begun.status(), 303);
        let cookie = set_cookie(begun.headers());
        assert!(cookie.starts_with("sigilo_oidc=") && !cookie.contains("Secure"), "{cookie}");
        for attribute in ["; Path=/", "; Max-Age=600", "; HttpOnly", "; SameSite=Lax"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        let headers = begun.headers();
        assert_eq!(
            (&headers["cache-control"], &headers["referrer-policy"]),
            (&"no-store".parse().unwrap(), &"no-referrer".parse().unwrap())
        );
        let url = headers["location"].to_str().unwrap().to_owned();
        let (page, query) = url.split_once('?').unwrap();
        assert_eq!(page, format!("{}/auth", provider.issuer));
        let given =
            ["response_type", "client_id", "scope", "code_challenge_method"].map(|name| value(query, name));
        assert_eq!(given, ["code", "sigilo", "openid", "S256"]);
        let secrets = ["state", "nonce", "code_challenge"].map(|name| value(query, name));
        assert!(secrets.iter().all(|secret| secret.len() == 43), "{secrets:?}");
        // The app's challenge is for this server, and the provider's is another.
        assert!(!query.contains(&challenge()) && !query.contains("client_secret"), "{query}");

        let query = browser.through(server, provider, url.clone(), "who=m-17").await;
        let returned = browser.back(server, &query).await;
        assert!(set_cookie(returned.headers()).contains("Max-Age=0"), "{:?}", returned.headers());
        assert!(returned.headers()["location"].to_str().unwrap().starts_with("sigilo://oidc?code="));

        for return_to in [
            "https://evil.example/",
            "sigilo://oidc/",
            "sigilo://oidc?a=b",
            "sigilo://oidc%00",
            "sigilo://oidc%0d%0aSet-Cookie:a=b",
            "sigilo://oidc.evil.example",
            "SIGILO://OIDC",
            "//evil.example",
            "",
        ] {
            let start = format!("{START}?challenge={}&return_to={return_to}", challenge());
            server.get(&start, None).await.expect_error(400, "invalid_field");
        }
        for wrong in ["", "short", &"a".repeat(44), &"%2B".repeat(43)] {
            let start = format!("{START}?challenge={wrong}&return_to={RETURN_TO}");
            server.get(&start, None).await.expect_error(400, "invalid_field");
        }
        let nowhere = beginning(server).replace("hospital", "nowhere");
        assert_eq!(browser.visit(server, &nowhere).await.status(), 404);
    })
    .await;
}

#[tokio::test]
async fn by_tls_no_other_host_sets_the_cookie() {
    let public = |config: &mut sigilo::config::Config| {
        let provider = config.oidc.get_mut("hospital").unwrap();
        provider.callback = CALLBACK.replace("http://127.0.0.1:9", "https://chat.hospital.example");
    };
    with_provider_and(public, async |server, _, _, _| {
        let begun = Browser::default().visit(server, &beginning(server)).await;
        let cookie = set_cookie(begun.headers());
        assert!(cookie.starts_with("__Host-sigilo_oidc=") && cookie.ends_with("; Secure"), "{cookie}");
        assert!(cookie.contains("; Path=/;") && !cookie.contains("Domain"), "{cookie}");
    })
    .await;
}

/// Every text and every byte that the tables of logins hold.
async fn kept(server: &TestServer) -> String {
    let mut tx = server.app.db.read("test").await.unwrap();
    let sql = "SELECT state_hash, browser_hash, verifier_enc, nonce || challenge || return_to || provider FROM oidc_logins";
    let logins = fetch_all!(&mut tx, (Vec<u8>, Vec<u8>, Vec<u8>, String), sql).unwrap();
    let sql = "SELECT code_hash, subject_index, provider || issuer || challenge FROM oidc_codes";
    let codes = fetch_all!(&mut tx, (Vec<u8>, Vec<u8>, String), sql).unwrap();
    assert!(!logins.is_empty() || !codes.is_empty());
    let mut kept = String::new();
    for (state, browser, verifier, rest) in &logins {
        for bytes in [state, browser, verifier] {
            kept += &String::from_utf8_lossy(bytes);
        }
        kept += rest;
    }
    for (code, subject, rest) in &codes {
        kept += &String::from_utf8_lossy(code);
        kept += &String::from_utf8_lossy(subject);
        kept += rest;
    }
    kept
}

#[tokio::test]
async fn what_is_kept_of_a_login_opens_none() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let mut browser = Browser::default();
        let url = browser.sent_on(server, &beginning(server)).await;
        let (_, query) = url.split_once('?').unwrap();
        let under_way = kept(server).await;
        let cookies: Vec<&String> = browser.cookies.values().collect();
        assert_eq!(cookies.len(), 1);
        for secret in [value(query, "state"), cookies[0], "the secret of", VERIFIER] {
            assert!(!under_way.contains(secret), "{secret} is in {under_way}");
        }
        let query = browser.through(server, provider, url, "who=m-17").await;
        let (_, code) = parameter(&browser.back(server, &query).await);
        let before_the_trade = kept(server).await;
        for secret in [code.as_str(), value(&query, "code"), "m-17"] {
            assert!(!before_the_trade.contains(secret), "{secret} is in {before_the_trade}");
        }
        trade(server, &code, VERIFIER).await.expect(200);
        let mut tx = server.app.db.read("test").await.unwrap();
        for sql in ["SELECT state_hash FROM oidc_logins", "SELECT code_hash FROM oidc_codes"] {
            assert!(fetch_all!(&mut tx, (Vec<u8>,), sql).unwrap().is_empty(), "{sql}");
        }
    })
    .await;
}

#[tokio::test]
async fn two_who_trade_one_code_get_one_answer() {
    with_provider(async |server, provider, clinic, maria| {
        bind(server, clinic, maria, "m-17").await.unwrap();
        let code = code_of(server, provider, "m-17").await;
        let answers = futures_util::future::join_all((0..4).map(|_| trade(server, &code, VERIFIER))).await;
        let given = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(given, 1, "{:?}", answers.iter().map(|answer| &answer.body).collect::<Vec<&Value>>());
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_is_not_the_one_configured_is_not_asked_for_logins() {
    let renamed = |config: &mut sigilo::config::Config| {
        let provider = config.oidc.get_mut("hospital").unwrap();
        // It answers there, and says that it is another.
        provider.issuer = provider.issuer.replace("127.0.0.1", "localhost");
        let mut nobody = provider.clone();
        nobody.issuer = "http://127.0.0.1:9".to_owned();
        config.oidc.insert("nobody".to_owned(), nobody);
    };
    with_provider_and(renamed, async |server, _, _, _| {
        for name in ["hospital", "nobody"] {
            let start = beginning(server).replace("hospital", name);
            for _ in 0..2 {
                let answer = Answer::of(Browser::default().visit(server, &start).await).await;
                answer.expect_error(503, "unavailable");
            }
        }
    })
    .await;
}
