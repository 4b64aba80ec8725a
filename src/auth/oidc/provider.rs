//! Talking to providers, and believing them.

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use moka::future::Cache;
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, TokenResponse as _,
    core::{CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreIdTokenVerifier, CoreProviderMetadata},
};
use sigilo_wire::Timestamp;

use super::refused;
use crate::{Error, Result, config::Oidc};

/// How long what a provider says of itself is kept. Its keys are read anew when none of them verifies.
const METADATA_KEPT: Duration = Duration::from_mins(10);
/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Who a provider says it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider's name for the person, never given to another.
    pub subject: String,
    /// Whether the provider asked for a second factor (`amr` of RFC 8176 names `mfa`, or `otp`, `hwk` or `swk` beside
    /// another).
    pub second_factor: bool,
}

/// The configured providers, and what they said of themselves.
#[derive(Debug)]
pub struct Providers {
    configured: BTreeMap<String, Oidc>,
    http: reqwest::Client,
    known: Cache<String, Arc<CoreProviderMetadata>>,
}

/// Why a provider's answer was not read.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the answer is larger than 1 MiB")]
    TooLong,
}

/// Our HTTP client, as the library asks with it.
struct Http<'a>(&'a reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Http<'_> {
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Trouble>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(async move {
            let mut answer = self.0.execute(request.try_into()?).await?;
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

impl Providers {
    /// Those of the configuration.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(configured: BTreeMap<String, Oidc>) -> Result<Self> {
        // Whoever is first installs it; it is the only one here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A provider that redirects these requests could send them anywhere.
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        let http = http.build().map_err(Error::internal)?;
        let known = Cache::builder().max_capacity(1_000).time_to_live(METADATA_KEPT).build();
        Ok(Self { configured, http, known })
    }

    /// One of them.
    ///
    /// # Errors
    /// `not_found`.
    pub(super) fn named(&self, name: &str) -> Result<&Oidc> {
        self.configured.get(name).ok_or(Error::NotFound)
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
    /// `unavailable` while the provider does not answer.
    pub(super) async fn authorize_url(
        &self,
        provider: &Oidc,
        (state, nonce, verifier): (&str, &str, &str),
    ) -> Result<String> {
        let metadata = self.metadata(provider).await?;
        let callback = RedirectUrl::new(provider.callback.clone()).map_err(Error::internal)?;
        let client = client(provider, &metadata)?.set_redirect_uri(callback);
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned()));
        let (state, nonce) = (state.to_owned(), nonce.to_owned());
        let (url, ..) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state.clone()),
                move || Nonce::new(nonce.clone()),
            )
            .add_scope(Scope::new("openid".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        Ok(url.to_string())
    }

    /// Trades the provider's code for its word on who it was.
    ///
    /// # Errors
    /// `unavailable` while the provider does not answer; `oidc_login_failed` for everything that does not fit.
    pub(super) async fn identity(
        &self,
        provider: &Oidc,
        code: &str,
        (nonce, verifier): (&str, &str),
        now: Timestamp,
    ) -> Result<Identity> {
        let metadata = self.metadata(provider).await?;
        let callback = RedirectUrl::new(provider.callback.clone()).map_err(Error::internal)?;
        let client = client(provider, &metadata)?.set_redirect_uri(callback);
        let request =
            client.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(Error::internal)?;
        let answer = request
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()))
            .request_async(&Http(&self.http))
            .await
            .map_err(|error| {
                tracing::info!(issuer = provider.issuer, %error, "a provider refused a code");
                refused()
            })?;
        let token = answer.id_token().ok_or_else(refused)?;
        let verified = verify(provider, &metadata, token, nonce, now);
        if verified.is_err() {
            // It may sign with a new key since: the next login reads its keys anew.
            self.known.invalidate(&provider.issuer).await;
        }
        verified
    }

    /// What a provider says of itself, its keys included (OpenID Connect Discovery 1.0).
    async fn metadata(&self, provider: &Oidc) -> Result<Arc<CoreProviderMetadata>> {
        let read = async {
            let issuer = IssuerUrl::new(provider.issuer.clone()).map_err(Error::internal)?;
            let found = CoreProviderMetadata::discover_async(issuer, &Http(&self.http)).await;
            found.map(Arc::new).map_err(|error| {
                tracing::warn!(issuer = provider.issuer, %error, "a provider cannot be discovered");
                Error::Unavailable("identity provider".to_owned())
            })
        };
        let found = self.known.try_get_with(provider.issuer.clone(), read).await;
        found.map_err(|_: Arc<Error>| Error::Unavailable("identity provider".to_owned()))
    }
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
    let secret = provider.client_secret()?.map(ClientSecret::new);
    Ok(CoreClient::from_provider_metadata(metadata.clone(), id, secret))
}

/// What an ID token says, if the provider made it for this client and this login, and it has not expired (OpenID Connect
/// Core 1.0, section 3.1.3.7): signature, issuer, audience, times and nonce.
///
/// # Errors
/// `oidc_login_failed`.
pub fn verify(
    provider: &Oidc,
    metadata: &CoreProviderMetadata,
    token: &CoreIdToken,
    nonce: &str,
    now: Timestamp,
) -> Result<Identity> {
    let at = chrono::DateTime::from_timestamp_micros(now.micros()).ok_or_else(refused)?;
    let issuer = IssuerUrl::new(provider.issuer.clone()).map_err(Error::internal)?;
    // Only keys of the provider: a secret of both sides signs nothing here.
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(provider.client_id.clone()),
        issuer,
        metadata.jwks().clone(),
    )
    .set_time_fn(move || at);
    let claims = token.claims(&verifier, &Nonce::new(nonce.to_owned())).map_err(|error| {
        tracing::info!(issuer = provider.issuer, %error, "an ID token was not accepted");
        refused()
    })?;
    let methods: Vec<&str> = claims
        .auth_method_refs()
        .map_or_else(Vec::new, |methods| methods.iter().map(|m| m.as_str()).collect());
    let possession = methods.iter().any(|method| ["otp", "hwk", "swk"].contains(method));
    let second_factor = methods.contains(&"mfa") || (possession && methods.len() > 1);
    Ok(Identity { subject: claims.subject().as_str().to_owned(), second_factor })
}
