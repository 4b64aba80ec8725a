//! Login with a clinic's own identity provider (OpenID Connect Core 1.0, authorization code with PKCE, RFC 7636).
//!
//! The app opens [`start`] in the browser; the provider says who it is to [`callback`]; the app is returned to with a
//! one-time code, and trades it for tokens ([`exchange`]). Tokens stand in no address. Three secrets hold the steps
//! together: `state` and `nonce` those with the provider, a cookie the browser's, and the app's own challenge the first
//! step and the last, so that a code is of use to the app alone that began.
//!
//! An account is found by issuer and subject, which somebody of the clinic has bound to it ([`bind`]); an e-mail address
//! proves nothing here. Such a login is no proof of the account's own: what needs one asks for the password or a code, and
//! so does a first identity key. Each step counts as a try to log in from the caller's address.

mod bind;
mod callback;
mod exchange;
mod http;
mod provider;
mod start;
pub(crate) mod store;

pub use bind::{bind, unbind};
pub use callback::{Answered, callback};
pub use exchange::exchange;
pub use provider::{Providers, verify};
pub use start::{Begun, start};

use std::time::Duration;

use sigilo_wire::ErrorCode;

use crate::Error;

/// How long somebody may take at the provider.
pub const LOGIN_LIFE: Duration = Duration::from_mins(10);
/// How long the app may take to trade its code, its person's second factor included.
pub const CODE_LIFE: Duration = Duration::from_mins(5);

/// The one refusal of everything that does not fit: it does not say what.
const fn refused() -> Error {
    Error::Unauthenticated(ErrorCode::OidcLoginFailed)
}
