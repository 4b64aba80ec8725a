//! The invitation: `sigilo://activate?v=1&server=&clinic=&code=&root=<base64url SHA-256 of the root key>`.

use std::str::FromStr;

use sigilo_seal::RootFingerprint;

use crate::{
    Error,
    api::ServerUrl,
    uri::{Problem, Uri},
};

/// What a person was given, on paper or by a QR code, to activate an account on a device.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The server.
    pub server: ServerUrl,
    /// The clinic, by id or slug.
    pub clinic: String,
    /// The single-use code.
    pub code: String,
    /// SHA-256 of the clinic root's public key, from the root card: the server has no say in it.
    pub root: RootFingerprint,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation")
            .field("server", &self.server)
            .field("clinic", &self.clinic)
            .finish_non_exhaustive()
    }
}

impl FromStr for Invitation {
    type Err = Error;

    /// # Errors
    /// [`Error::Invitation`] naming the wrong part, [`Error::Insecure`] for a remote server without TLS.
    fn from_str(text: &str) -> Result<Self, Error> {
        let uri = Uri::parse(text, "activate").map_err(wrong)?;
        if uri.part("v").map_err(wrong)? != "1" {
            return Err(Error::Invitation("it is of a newer version; update this program"));
        }
        Ok(Self {
            server: uri.part("server").map_err(wrong)?.parse()?,
            clinic: uri.part("clinic").map_err(wrong)?,
            code: uri.part("code").map_err(wrong)?,
            root: RootFingerprint(uri.bytes("root").map_err(wrong)?),
        })
    }
}

fn wrong(problem: Problem) -> Error {
    Error::Invitation(match problem {
        Problem::Kind => "it does not begin with sigilo://activate",
        Problem::Part("v") => "the version is missing",
        Problem::Part("server") => "the server is missing",
        Problem::Part("clinic") => "the clinic is missing",
        Problem::Part("code") => "the code is missing",
        Problem::Part(_) => "the root key's fingerprint is not 32 bytes of base64url",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "sigilo://activate?v=1&server=https%3A%2F%2Fchat.example.org&clinic=centro&code=AB12-CD34\
                        &root=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

    #[test]
    fn a_good_invitation_parses_and_debug_hides_its_code() {
        let invitation: Invitation = GOOD.parse().unwrap();
        assert_eq!(invitation.clinic, "centro");
        assert_eq!(invitation.code, "AB12-CD34");
        assert_eq!(invitation.root, RootFingerprint([7; 32]));
        assert!(!format!("{invitation:?}").contains("AB12"));
    }

    #[test]
    fn each_bad_part_is_refused() {
        for (part, with) in [
            ("v=1", "v=2"),
            ("sigilo://", "https://"),
            ("activate", "login"),
            ("&clinic=centro", ""),
            ("code=AB12-CD34", "code="),
            ("&code", "&clinic=other&code"),
            ("root=Bw", "root="),
            ("https%3A%2F%2Fchat.example.org", "http%3A%2F%2Fchat.example.org"),
            ("https%3A%2F%2Fchat.example.org", "ftp%3A%2F%2F127.0.0.1"),
        ] {
            assert!(GOOD.replacen(part, with, 1).parse::<Invitation>().is_err(), "{part} -> {with}");
        }
    }
}
