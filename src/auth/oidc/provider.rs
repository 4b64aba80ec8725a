//! Talking to providers, and believing them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    TokenResponse as _,
    core::{
        CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreIdTokenVerifier,
        CoreJwsSigningAlgorithm as Alg, CoreProviderMetadata,
    },
};
use sigilo_wire::Timestamp;
use tokio::sync::Mutex;

use super::{
    http::{self, Http},
    refused,
};
use crate::{Error, Result, config::Oidc};

/// How long what a provider says of itself is kept.
const METADATA_KEPT: Duration = Duration::from_mins(10);
/// How long what a provider said of itself still counts while it does not answer.
const METADATA_LASTS: Duration = Duration::from_hours(24);
/// How soon a provider is asked again after it did not answer, or after none of its keys verified.
const ASKED_AGAIN: Duration = Duration::from_secs(5);
/// With which algorithms ID tokens may be signed: only those with public keys. A secret of both sides signs nothing here.
const SIGNED_WITH: [Alg; 9] = [
    Alg::RsaSsaPkcs1V15Sha256,
    Alg::RsaSsaPkcs1V15Sha384,
    Alg::RsaSsaPkcs1V15Sha512,
    Alg::RsaSsaPssSha256,
    Alg::RsaSsaPssSha384,
    Alg::RsaSsaPssSha512,
    Alg::EcdsaP256Sha256,
    Alg::EcdsaP384Sha384,
    Alg::EdDsa,
];

/// The configured providers, and what they said of themselves.
#[derive(Debug)]
pub struct Providers {
    http: reqwest::Client,
    known: BTreeMap<String, Known>,
}

/// One of them. Whoever asks it holds the lock: the others then see what came of it.
#[derive(Debug)]
struct Known {
    configured: Oidc,
    said: Mutex<Option<Said>>,
}

/// What a provider said of itself last, its keys included, and how asking it ended.
#[derive(Clone, Debug)]
struct Said {
    asked_at: Timestamp,
    answered: bool,
    last: Option<(Timestamp, Arc<CoreProviderMetadata>)>,
}

impl Said {
    /// What still counts.
    fn metadata(&self, now: Timestamp) -> Result<Arc<CoreProviderMetadata>> {
        let last = self.last.as_ref().filter(|(at, _)| now < *at + METADATA_LASTS);
        last.map(|(_, metadata)| Arc::clone(metadata)).ok_or_else(away)
    }
}

impl Providers {
    /// Those of the configuration.
    ///
    /// # Errors
    /// When TLS cannot be set up, or a client's secret cannot be read.
    pub fn new(configured: &BTreeMap<String, Oidc>) -> Result<Self> {
        for provider in configured.values() {
            provider.client_secret()?;
        }
        let known = |configured: &Oidc| Known { configured: configured.clone(), said: Mutex::default() };
        Ok(Self {
            http: http::client(http::PATIENCE)?,
            known: configured.iter().map(|(name, provider)| (name.clone(), known(provider))).collect(),
        })
    }

    /// One of them, as it is configured.
    ///
    /// # Errors
    /// `not_found`.
    pub(super) fn named(&self, name: &str) -> Result<&Oidc> {
        Ok(&self.known(name)?.configured)
    }

    fn known(&self, name: &str) -> Result<&Known> {
        self.known.get(name).ok_or(Error::NotFound)
    }

    /// Whether browsers reach this server by TLS for its logins.
    ///
    /// # Errors
    /// `not_found`.
    pub fn is_public(&self, name: &str) -> Result<bool> {
        Ok(self.named(name)?.callback.starts_with("https://"))
    }

    /// Where to send the browser.
    ///
    /// # Errors
    /// `not_found`; `unavailable` while the provider does not answer.
    pub(super) async fn authorize_url(
        &self,
        name: &str,
        (state, nonce, verifier): (&str, &str, &str),
        in_person: bool,
        now: Timestamp,
    ) -> Result<String> {
        let known = self.known(name)?;
        let provider = &known.configured;
        let metadata = self.metadata(known, now, METADATA_KEPT).await?;
        if !http::may_ask(metadata.authorization_endpoint().url(), provider.is_in_the_open()) {
            tracing::warn!(
                issuer = provider.issuer,
                "a provider's authorization endpoint is no https:// address"
            );
            return Err(away());
        }
        let callback = RedirectUrl::new(provider.callback.clone()).map_err(Error::internal)?;
        let client = client(provider, &metadata)?.set_redirect_uri(callback);
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned()));
        let (state, nonce) = (state.to_owned(), nonce.to_owned());
        // The library asks for the scope `openid`, and for nothing else.
        let asked = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state.clone()),
                move || Nonce::new(nonce.clone()),
            )
            .set_pkce_challenge(challenge);
        let asked = if in_person { asked.add_prompt(CoreAuthPrompt::Login) } else { asked };
        Ok(asked.url().0.to_string())
    }

    /// Trades the provider's code for its word on who it was: the subject, its name for the person, which it never gives
    /// to another.
    ///
    /// # Errors
    /// `not_found`; `unavailable` while the provider does not answer; `oidc_login_failed` for everything that does not
    /// fit.
    pub(super) async fn subject(
        &self,
        name: &str,
        code: &str,
        (nonce, verifier): (&str, &str),
        now: Timestamp,
    ) -> Result<String> {
        let known = self.known(name)?;
        let provider = &known.configured;
        let metadata = self.metadata(known, now, METADATA_KEPT).await?;
        let callback = RedirectUrl::new(provider.callback.clone()).map_err(Error::internal)?;
        let client = client(provider, &metadata)?.set_redirect_uri(callback);
        let request =
            client.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(Error::internal)?;
        let http = self.http(provider);
        let asked =
            request.set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned())).request_async(&http);
        // What the provider answered may hold tokens, and is not shown.
        let answer = asked.await.map_err(|error| match error {
            RequestTokenError::Request(trouble) => {
                tracing::warn!(issuer = provider.issuer, error = %trouble, "a provider does not trade codes");
                away()
            }
            RequestTokenError::ServerResponse(said) => {
                tracing::info!(issuer = provider.issuer, error = ?said.error(), "a provider refused a code");
                refused()
            }
            _ => {
                tracing::info!(issuer = provider.issuer, "a provider's answer is none of OpenID Connect");
                refused()
            }
        })?;
        let token = answer.id_token().ok_or_else(refused)?;
        match verify(provider, &metadata, token, nonce, now) {
            Ok(subject) => Ok(subject),
            Err(_) => {
                // It may sign with another key since.
                let metadata = self.metadata(known, now, ASKED_AGAIN).await?;
                verify(provider, &metadata, token, nonce, now)
            }
        }
    }

    fn http(&self, provider: &Oidc) -> Http<'_> {
        Http { client: &self.http, in_the_open: provider.is_in_the_open() }
    }

    /// What a provider said of itself (OpenID Connect Discovery 1.0) within `age`, or says now. While it does not
    /// answer, what it said within a day counts: one page of it that is away for a moment shuts nobody out.
    async fn metadata(
        &self,
        known: &Known,
        now: Timestamp,
        age: Duration,
    ) -> Result<Arc<CoreProviderMetadata>> {
        let provider = &known.configured;
        let mut said = known.said.lock().await;
        if let Some(known) = said.as_ref() {
            let age = if known.answered { age } else { ASKED_AGAIN };
            if now < known.asked_at + age {
                return known.metadata(now);
            }
        }
        let issuer = IssuerUrl::new(provider.issuer.clone()).map_err(Error::internal)?;
        let http = self.http(provider);
        let asked = CoreProviderMetadata::discover_async(issuer, &http);
        let metadata = match tokio::time::timeout(http::PATIENCE, asked).await {
            Ok(Ok(metadata)) => Some(Arc::new(metadata)),
            Ok(Err(error)) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(issuer = provider.issuer, %error, why, "a provider cannot be discovered");
                None
            }
            Err(_) => {
                tracing::warn!(issuer = provider.issuer, "a provider does not answer in time");
                None
            }
        };
        let answered = metadata.is_some();
        let last =
            metadata.map(|metadata| (now, metadata)).or_else(|| said.take().and_then(|said| said.last));
        said.insert(Said { asked_at: now, answered, last }).metadata(now)
    }
}

fn away() -> Error {
    Error::Unavailable("identity provider".to_owned())
}

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// This server, as the provider knows it.
fn client(provider: &Oidc, metadata: &CoreProviderMetadata) -> Result<Client> {
    let id = ClientId::new(provider.client_id.clone());
    let secret = provider.client_secret()?.map(|secret| ClientSecret::new(secret.to_string()));
    Ok(CoreClient::from_provider_metadata(metadata.clone(), id, secret))
}

/// Whom an ID token names, if the provider made it for this client and this login, and it has not expired (OpenID Connect
/// Core 1.0, section 3.1.3.7): signature, issuer, audience, authorized party, times and nonce.
///
/// # Errors
/// `oidc_login_failed`.
pub fn verify(
    provider: &Oidc,
    metadata: &CoreProviderMetadata,
    token: &CoreIdToken,
    nonce: &str,
    now: Timestamp,
) -> Result<String> {
    let at = chrono::DateTime::from_timestamp_micros(now.micros()).ok_or_else(refused)?;
    let issuer = IssuerUrl::new(provider.issuer.clone()).map_err(Error::internal)?;
    let client = ClientId::new(provider.client_id.clone());
    let verifier = CoreIdTokenVerifier::new_public_client(client.clone(), issuer, metadata.jwks().clone())
        .set_allowed_algs(SIGNED_WITH)
        .set_time_fn(move || at);
    let claims = token.claims(&verifier, &Nonce::new(nonce.to_owned())).map_err(|error| {
        tracing::info!(issuer = provider.issuer, %error, "an ID token was not accepted");
        refused()
    })?;
    // The library leaves this one to its callers.
    if claims.authorized_party().is_some_and(|party| *party != client) {
        tracing::info!(issuer = provider.issuer, "an ID token is for another party");
        return Err(refused());
    }
    Ok(claims.subject().as_str().to_owned())
}
