//! What an ID token has to be.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use openidconnect::core::{CoreIdToken, CoreProviderMetadata};
use serde_json::{Value, json};
use sha2::Sha256;
use sigilo::{auth::oidc, config::Oidc};
use sigilo_wire::{Role, Timestamp};

use super::{Browser, CALLBACK, Provider, VERIFIER, bind, challenge, parameter, trade};
use crate::support::{Engine, TestServer, clinic::Clinic};

/// An ID token as the provider makes it, for a client.
async fn id_token(
    server: &TestServer,
    provider: &Provider,
    client: &str,
) -> (CoreIdToken, CoreProviderMetadata) {
    let callback = CALLBACK.replace(':', "%3A").replace('/', "%2F");
    let url = format!(
        "{}/auth?client_id={client}&response_type=code&scope=openid&redirect_uri={callback}&state=s&nonce=n\
         &code_challenge={}&code_challenge_method=S256",
        provider.issuer,
        challenge()
    );
    let query = Browser::default().through(server, provider, url, "who=m-17").await;
    let code = query.split('&').find_map(|pair| pair.strip_prefix("code=")).unwrap();
    let form =
        format!("grant_type=authorization_code&code={code}&redirect_uri={callback}&code_verifier={VERIFIER}");
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
    assert!(answer["id_token"].is_string(), "{answer}");
    let token = answer["id_token"].as_str().unwrap().parse().unwrap();
    let read = async |path: &str| -> Value {
        server.client.get(format!("{}{path}", provider.issuer)).send().await.unwrap().json().await.unwrap()
    };
    let metadata: CoreProviderMetadata =
        serde_json::from_value(read("/.well-known/openid-configuration").await).unwrap();
    let keys = serde_json::from_value(read("/jwks").await).unwrap();
    (token, metadata.set_jwks(keys))
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[track_caller]
fn refused(
    configured: &Oidc,
    metadata: &CoreProviderMetadata,
    token: &CoreIdToken,
    nonce: &str,
    at: Timestamp,
) {
    let error = oidc::verify(configured, metadata, token, nonce, at).unwrap_err();
    assert_eq!(error.code().as_str(), "oidc_login_failed");
}

#[tokio::test]
async fn a_token_counts_for_its_client_issuer_nonce_and_time() {
    let (provider, other) = (Provider::start(), Provider::start());
    let server = TestServer::start(Engine::Sqlite).await;
    let configured = provider.configured();
    let now = server.app.clock.now();
    let (token, metadata) = id_token(&server, &provider, "sigilo").await;
    assert_eq!(oidc::verify(&configured, &metadata, &token, "n", now).unwrap(), "m-17");
    refused(&configured, &metadata, &token, "another", now);
    refused(&configured, &metadata, &token, "", now);
    refused(&configured, &metadata, &token, "n", now + Duration::from_secs(11 * 3600));
    // For another client of the provider, signed with its elliptic key.
    let (for_another, _) = id_token(&server, &provider, "another").await;
    let another = Oidc { client_id: "another".to_owned(), ..configured.clone() };
    assert_eq!(oidc::verify(&another, &metadata, &for_another, "n", now).unwrap(), "m-17");
    refused(&configured, &metadata, &for_another, "n", now);
    refused(&another, &metadata, &token, "n", now);
    // Of another issuer: by its word, and by its keys.
    let (theirs, their_metadata) = id_token(&server, &other, "sigilo").await;
    refused(&configured, &their_metadata, &theirs, "n", now);
    refused(&configured, &their_metadata, &token, "n", now);
    refused(&other.configured(), &metadata, &theirs, "n", now);
    server.finish().await;
}

#[tokio::test]
async fn a_token_that_somebody_else_made_is_not_believed() {
    let provider = Provider::start();
    let server = TestServer::start(Engine::Sqlite).await;
    let (configured, now) = (provider.configured(), server.app.clock.now());
    let (token, metadata) = id_token(&server, &provider, "sigilo").await;
    let text = token.to_string();
    let parts: Vec<&str> = text.split('.').collect();
    let (head, body) = (decoded(parts[0]), decoded(parts[1]));
    let mut said = body.clone();
    said["sub"] = json!("m-18");
    let forged = |token: String| {
        // What the library cannot even read is no token either.
        if let Ok(token) = token.parse() {
            refused(&configured, &metadata, &token, "n", now);
        }
    };
    forged(format!("{}.{}.{}", parts[0], encoded(&said), parts[2]));
    // Signed by nobody, and with what both sides know.
    let with_algorithm = |algorithm: &str| {
        let mut head = head.clone();
        head["alg"] = json!(algorithm);
        format!("{}.{}", encoded(&head), encoded(&said))
    };
    for signature in ["", parts[2]] {
        forged(format!("{}.{signature}", with_algorithm("none")));
    }
    let public = serde_json::to_string(metadata.jwks()).unwrap();
    for secret in ["the secret of sigilo", "", &public] {
        let signed = with_algorithm("HS256");
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        let token: CoreIdToken = token.parse().unwrap();
        refused(&configured, &metadata, &token, "n", now);
    }
    server.finish().await;
}

#[tokio::test]
async fn a_provider_may_change_its_keys_while_somebody_logs_in() {
    let mut provider = Provider::start();
    let settings = |config: &mut sigilo::config::Config| {
        config.oidc.insert("hospital".to_owned(), provider.configured());
    };
    let server = TestServer::start_with(Engine::Sqlite, &settings).await;
    let clinic = Clinic::create(&server, "ejemplo").await;
    let maria = clinic.person(&server, Role::Doctor, "maria@clinic.example").await;
    bind(&server, &clinic, &maria, "m-17").await.unwrap();
    // The server reads the keys when somebody begins.
    Browser::default().at_the_provider(&server, &provider, "who=m-17").await;
    provider.change_keys();
    // It asks again for keys that do not fit, but not at every login.
    server.clock.advance(Duration::from_secs(30));
    let mut browser = Browser::default();
    let query = browser.at_the_provider(&server, &provider, "who=m-17").await;
    let (name, code) = parameter(&browser.back(&server, &query).await);
    assert_eq!(name, "code", "{code}");
    trade(&server, &code, VERIFIER).await.expect(200);
    server.finish().await;
}

#[tokio::test]
async fn what_a_provider_said_counts_for_a_day_while_it_is_away() {
    let mut provider = Provider::start();
    let settings = |config: &mut sigilo::config::Config| {
        config.oidc.insert("hospital".to_owned(), provider.configured());
    };
    let server = TestServer::start_with(Engine::Sqlite, &settings).await;
    Clinic::create(&server, "ejemplo").await;
    let begin = async |server: &TestServer| {
        server.client.get(super::beginning(server)).send().await.unwrap().status().as_u16()
    };
    assert_eq!(begin(&server).await, 303);
    provider.stop();
    for hours in [1, 22] {
        server.clock.advance(Duration::from_hours(hours));
        assert_eq!(begin(&server).await, 303, "after {hours} hours more");
    }
    server.clock.advance(Duration::from_hours(2));
    assert_eq!(begin(&server).await, 503);
    server.finish().await;
}
