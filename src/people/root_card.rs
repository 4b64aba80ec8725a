//! The root card: the fingerprint of the clinic's root key, for the wall of the reception, the person who
//! invites, and everyone who wants to compare.
//!
//! People compare 13 groups of four letters and digits (base32 of RFC 4648 without padding: 52 characters for
//! 256 bits, no 0, 1, 8, 9 to confuse with letters; the same in every language). Programs read the line that
//! begins with `sigilo://root-card`, which is also the QR code.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sigilo_seal::RootFingerprint;
use sigilo_wire::TenantId;

const SCHEME: &str = "sigilo://root-card?";
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a root card says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootCard {
    /// The clinic.
    pub clinic: TenantId,
    /// SHA-256 of its root public key.
    pub root: RootFingerprint,
}

impl RootCard {
    /// The line programs read.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{SCHEME}v=1&clinic={}&root={}", self.clinic, URL_SAFE_NO_PAD.encode(self.root.0))
    }

    /// The groups people compare.
    #[must_use]
    pub fn groups(&self) -> String {
        Self::groups_of(&self.root)
    }

    /// A root's fingerprint as the card shows it, for a client to show beside it.
    #[must_use]
    pub fn groups_of(root: &RootFingerprint) -> String {
        let mut text = String::with_capacity(65);
        for (position, letter) in base32(&root.0).chars().enumerate() {
            if position > 0 && position % 4 == 0 {
                text.push(' ');
            }
            text.push(letter);
        }
        text
    }

    /// The printable card.
    #[must_use]
    pub fn text(&self, clinic_name: &str, qr: &str) -> String {
        let mut text = String::new();
        let groups = self.groups();
        let words: Vec<&str> = groups.split(' ').collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "ROOT CARD  {clinic_name}\nclinic     {}\n", self.clinic);
        for row in words.chunks(5) {
            let _ = writeln!(text, "    {}", row.join("  "));
        }
        let _ = writeln!(text, "\n{}\n\n{qr}", self.uri());
        text.push_str(
            "Hang this where patients and staff can compare it with what their app shows.\n\
             It is public: who knows it can verify the clinic's keys, and nothing else.\n",
        );
        text
    }

    /// Reads a card: the text of [`RootCard::text`] or its `sigilo://root-card` line alone. The groups, when
    /// they are there, must agree with the line.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| line.starts_with(SCHEME));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(format!("a root card has exactly one line that begins with {SCHEME}"));
        };
        let card = Self::parse_uri(line)?;
        let groups = card.groups();
        let printed: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("    "))
            .flat_map(str::split_whitespace)
            .filter(|word| word.len() == 4 && word.bytes().all(|byte| ALPHABET.contains(&byte)))
            .collect();
        if !printed.is_empty() && printed.join(" ") != groups {
            return Err("the card's letters and its sigilo:// line do not agree: it was altered".to_owned());
        }
        Ok(card)
    }

    fn parse_uri(line: &str) -> Result<Self, String> {
        let (mut version, mut clinic, mut root) = (None, None, None);
        for pair in line.trim_start_matches(SCHEME).split('&') {
            let (name, value) = pair.split_once('=').ok_or("a part without a value")?;
            let slot = match name {
                "v" => &mut version,
                "clinic" => &mut clinic,
                "root" => &mut root,
                other => return Err(format!("an unknown part '{other}'")),
            };
            if slot.replace(value).is_some() {
                return Err(format!("'{name}' stands twice"));
            }
        }
        if version != Some("1") {
            return Err("this version of root cards is not known".to_owned());
        }
        let clinic = clinic.and_then(|id| id.parse().ok()).ok_or("the clinic's id is missing or wrong")?;
        let root = root
            .and_then(|root| URL_SAFE_NO_PAD.decode(root).ok())
            .and_then(|root| <[u8; 32]>::try_from(root).ok())
            .ok_or("the fingerprint is missing or wrong")?;
        Ok(Self { clinic, root: RootFingerprint(root) })
    }
}

fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut buffer, mut bits) = (0u32, 0u32);
    let mut push = |index: u32| {
        if let Some(letter) = ALPHABET.get((index & 31) as usize) {
            text.push(char::from(*letter));
        }
    };
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            push(buffer >> bits);
        }
    }
    if bits > 0 {
        push(buffer << (5 - bits));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> RootCard {
        RootCard { clinic: TenantId::from_bytes([7; 16]), root: RootFingerprint([0xa5; 32]) }
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_printed_card_reads_back() {
        let card = card();
        assert_eq!(card.groups().split(' ').count(), 13);
        assert_eq!(RootCard::parse(&card.text("Clínica Ejemplo", "▄▄▄▄ ▄▄▄▄")), Ok(card));
        assert_eq!(RootCard::parse(&card.uri()), Ok(card));
    }

    #[test]
    fn an_altered_card_is_refused() {
        let card = card();
        let text = card.text("Clínica Ejemplo", "");
        let first = card.groups()[..4].to_owned();
        assert!(RootCard::parse(&text.replacen(&first, "AAAA", 1)).is_err(), "other letters");
        let other = RootCard { root: RootFingerprint([0; 32]), ..card };
        assert!(RootCard::parse(&text.replace(&card.uri(), &other.uri())).is_err(), "another line");
        assert!(RootCard::parse(&format!("{text}\n{}", card.uri())).is_err(), "two lines");
        assert!(RootCard::parse("").is_err(), "no line");
        let uri = card.uri();
        for wrong in [
            uri.replace("v=1", "v=2"),
            uri.replace("v=1&", ""),
            format!("{uri}&more=1"),
            format!("{uri}&v=1"),
            uri.replace("root=", "root=x"),
        ] {
            assert!(RootCard::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
