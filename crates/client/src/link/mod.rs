//! Linking: a new device shows a text ([`LinkText`]), an old one of the same user reads it ([`old`]), and the new one
//! becomes the user's ([`new`]).

mod new;
mod old;

use std::{fmt, str::FromStr};

use sigilo_seal::{LinkOffer, LinkSecret};

pub(crate) use self::new::Newcomer;
pub use self::new::{LinkOptions, Linking};
use crate::{
    Error,
    api::ServerUrl,
    uri::{self, Problem, Uri},
};

const KIND: &str = "link";
const NOT_A_LINK: &str = "it is not what a new device shows; that begins with sigilo://link";

/// What a new device shows, as text or QR code:
/// `sigilo://link?v=1&server=&link=&key=&registration=&secret=`. Whoever reads it can link the device to an account;
/// it is shown to the user's other device and to nobody else.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkText {
    /// The server.
    pub server: ServerUrl,
    pub(crate) offer: LinkOffer,
}

impl LinkText {
    /// The code that both devices show: equal, unless somebody put another text in the place of this one.
    #[must_use]
    pub fn code(&self) -> String {
        self.offer.code()
    }
}

impl fmt::Debug for LinkText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkText").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The text itself, with its secret.
impl fmt::Display for LinkText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LinkOffer { link_id, key_sha256, registration_id, secret } = &self.offer;
        f.write_str(&uri::write(
            KIND,
            &[
                ("v", "1"),
                ("server", &self.server.to_string()),
                ("link", &link_id.to_string()),
                ("key", &uri::text_of(key_sha256)),
                ("registration", &registration_id.to_string()),
                ("secret", &uri::text_of(secret.as_bytes())),
            ],
        ))
    }
}

impl FromStr for LinkText {
    type Err = Error;

    /// # Errors
    /// [`Error::Link`] naming what is wrong, [`Error::Insecure`] for a remote server without TLS.
    fn from_str(text: &str) -> Result<Self, Error> {
        let uri = Uri::parse(text, KIND).map_err(wrong)?;
        if uri.part("v").map_err(wrong)? != "1" {
            return Err(Error::Link("it is of a newer version; update this program"));
        }
        let registration_id = uri.part("registration").map_err(wrong)?;
        let offer = LinkOffer {
            link_id: uri.part("link").map_err(wrong)?.parse().map_err(|_| Error::Link(NOT_A_LINK))?,
            key_sha256: uri.bytes("key").map_err(wrong)?,
            registration_id: registration_id.parse().map_err(|_| Error::Link(NOT_A_LINK))?,
            secret: LinkSecret::from_bytes(uri.bytes("secret").map_err(wrong)?),
        };
        Ok(Self { server: uri.part("server").map_err(wrong)?.parse()?, offer })
    }
}

const fn wrong(problem: Problem) -> Error {
    match problem {
        Problem::Kind | Problem::Part(_) => Error::Link(NOT_A_LINK),
    }
}

#[cfg(test)]
mod tests {
    use sigilo_wire::LinkId;

    use super::*;

    fn text() -> LinkText {
        LinkText {
            server: "https://chat.example.org".parse().unwrap(),
            offer: LinkOffer {
                link_id: LinkId::from_bytes([1; 16]),
                key_sha256: [2; 32],
                registration_id: 77,
                secret: LinkSecret::from_bytes([3; 32]),
            },
        }
    }

    #[test]
    fn what_is_shown_is_read_and_debug_hides_it() {
        let shown = text().to_string();
        let read: LinkText = shown.parse().unwrap();
        assert_eq!(read, text());
        assert_eq!(read.code(), text().code());
        let secret = uri::text_of(&[3; 32]);
        assert!(shown.contains(&secret) && !format!("{read:?}").contains(&secret));
    }

    #[test]
    fn each_bad_part_is_refused() {
        let shown = text().to_string();
        let key = uri::text_of(&[2; 32]);
        for (part, with) in [
            ("v=1", "v=2"),
            ("sigilo://", "https://"),
            ("link?", "activate?"),
            ("&registration=77", ""),
            ("registration=77", "registration=x"),
            ("link=0101", "link=01"),
            (key.as_str(), "AAAA"),
            ("&key", "&secret=AAAA&key"),
            ("https://", "http://"),
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
            assert!(shown.replacen(part, with, 1).parse::<LinkText>().is_err(), "{part} -> {with}");
        }
    }
}
