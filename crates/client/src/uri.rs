//! `sigilo://` texts: what is in an invitation and what a new device shows.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;

/// Why a text is not one.
pub(crate) enum Problem {
    /// It is no link, or not of this kind.
    Kind,
    /// A part is missing, empty, there twice, or not what it should be.
    Part(&'static str),
}

/// A text whose kind is right.
pub(crate) struct Uri(Url);

impl Uri {
    /// Reads `sigilo://<kind>?...`.
    pub(crate) fn parse(text: &str, kind: &str) -> Result<Self, Problem> {
        let url = Url::parse(text.trim()).map_err(|_| Problem::Kind)?;
        let right = url.scheme() == "sigilo" && url.host_str() == Some(kind);
        if right { Ok(Self(url)) } else { Err(Problem::Kind) }
    }

    /// A part that is there once and not empty.
    pub(crate) fn part(&self, name: &'static str) -> Result<String, Problem> {
        let mut values = self.0.query_pairs().filter(|(key, _)| key == name).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) if !value.is_empty() => Ok(value.into_owned()),
            _ => Err(Problem::Part(name)),
        }
    }

    /// A part of exactly 32 bytes, in base64url.
    pub(crate) fn bytes(&self, name: &'static str) -> Result<[u8; 32], Problem> {
        let text = self.part(name)?;
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(Problem::Part(name))
    }
}

/// Writes `sigilo://<kind>?...` with these parts.
pub(crate) fn write(kind: &str, parts: &[(&str, &str)]) -> String {
    let encoded = |value: &str| {
        let byte = |byte: u8| match byte {
            // RFC 3986 unreserved, and what a query may hold unescaped that URLs are made of.
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        };
        value.bytes().map(byte).collect::<String>()
    };
    let parts: Vec<String> = parts.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("sigilo://{kind}?{}", parts.join("&"))
}

/// 32 bytes as a part.
pub(crate) fn text_of(bytes: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
