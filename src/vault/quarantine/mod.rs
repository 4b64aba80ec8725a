//! Files that were found infected. Nobody is given one, unless two moderators call the finding false; or one destroys it.
//!
//! A release is signed by each of the two for themselves, under their own identity key, and shown to whoever opens the
//! file ([`sigilo_seal::release`]). It is about one verdict: a newer one counts again. The server holds it to the same
//! rules as every device does, and to who is a moderator.

mod destroy;
mod list;
mod release;
pub(crate) mod store;

pub use destroy::destroy;
pub use list::{authorize_manage, list};
pub(crate) use release::look_release;
pub use release::{authorize_release, release};
