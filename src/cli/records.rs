//! `sigilo records`: what the clinic's officers do on an offline machine.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Outcome,
    output::{Answer, finish, tell},
    qr,
};
use crate::{
    Error, Result,
    clock::{Clock as _, SystemClock},
    config::write_private,
    people::{self, Ceremony, CertificationRequest},
    rng::{EntropyRng, SystemEntropy},
};

/// The clinic's root and records keys. OFFLINE: nothing here opens a connection or a database.
#[derive(Debug, Subcommand)]
pub enum Records {
    /// Makes the clinic's root, records and moderation keys and certifies the server's.
    #[command(after_help = "Example: sigilo records init --request request.json --out ./safe")]
    Init(Init),
}

/// `sigilo records init`
#[derive(Debug, Args)]
pub struct Init {
    /// request.json of 'sigilo admin clinic create'.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// The folder for what is made; must be new or empty.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Into how many files the private keys are split. This version writes one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    shares: u8,
    /// How many of them open the records. This version has one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=1))]
    threshold: u8,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
}

/// The files of a ceremony.
struct Files {
    clinic_keys: PathBuf,
    private_keys: PathBuf,
    card_text: PathBuf,
    card_drawing: PathBuf,
}

impl Records {
    pub(super) fn run(self) -> Result<Outcome> {
        match self {
            Self::Init(command) => finish(command.json, command.run()),
        }
    }
}

impl Init {
    fn run(&self) -> Result<Answer> {
        let wrong = |error: &dyn std::fmt::Display| {
            Error::field("request", format!("{}: {error}", self.request.display()))
        };
        let text = fs::read_to_string(&self.request).map_err(|error| wrong(&error))?;
        let request: CertificationRequest = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        let mut rng = EntropyRng(&SystemEntropy);
        let ceremony =
            people::certify(&request, SystemClock.now(), &mut rng).map_err(|error| wrong(&error))?;
        prepare(&self.out)?;
        let files = write(&self.out, &request, &ceremony)?;
        tell(&format!(
            "{} holds the root, records and moderation keys, whole: this version does not split them into \
             shares. Whoever reads it reads every record of the clinic and can replace its keys. Keep it on an \
             encrypted medium in a safe, with a second copy elsewhere, and never on the server.",
            files.private_keys.display()
        ));
        Ok(answer(&ceremony, &files))
    }
}

/// Makes the folder, or makes sure that it is empty.
fn prepare(out: &Path) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| Error::field("out", format!("{}: {error}", out.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(out).map_err(|error| wrong(&error))?;
    match fs::read_dir(out).map_err(|error| wrong(&error))?.next() {
        None => Ok(()),
        Some(_) => Err(wrong(&"the folder is not empty")),
    }
}

fn write(out: &Path, request: &CertificationRequest, ceremony: &Ceremony) -> Result<Files> {
    let files = Files {
        clinic_keys: out.join("clinic-keys.json"),
        private_keys: out.join("private-keys.json"),
        card_text: out.join("root-card.txt"),
        card_drawing: out.join("root-card.svg"),
    };
    let uri = ceremony.card.uri();
    // The secret first: without it the public files would certify keys nobody has.
    let private = Zeroizing::new(serde_json::to_vec_pretty(&ceremony.private_keys).map_err(Error::internal)?);
    write_private(&files.private_keys, &private)?;
    let public = serde_json::to_string_pretty(&ceremony.clinic_keys).map_err(Error::internal)?;
    write_public(&files.clinic_keys, &public)?;
    write_public(&files.card_text, &ceremony.card.text(&request.name, &qr::paper(&uri)?))?;
    write_public(&files.card_drawing, &drawing(&request.name, ceremony, &uri)?)?;
    Ok(files)
}

fn write_public(path: &Path, content: &str) -> Result<()> {
    let fail = |error: std::io::Error| Error::internal(format!("cannot write {}: {error}", path.display()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(fail)?;
    file.write_all(content.as_bytes()).map_err(fail)?;
    file.sync_all().map_err(fail)
}

/// The card as a page to print: A6, in tenths of a millimetre.
fn drawing(name: &str, ceremony: &Ceremony, uri: &str) -> Result<String> {
    let name: String = name
        .chars()
        .map(|letter| match letter {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            other => other.to_string(),
        })
        .collect();
    let groups = ceremony.card.groups();
    let words: Vec<&str> = groups.split(' ').collect();
    let mut lines = String::new();
    for (row, words) in words.chunks(5).enumerate() {
        let y = 1_000 + row * 70;
        lines.push_str(&format!("<text x=\"525\" y=\"{y}\" font-size=\"52\">{}</text>", words.join("  ")));
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"105mm\" height=\"148mm\" viewBox=\"0 0 1050 1480\" \
         text-anchor=\"middle\" font-family=\"monospace\"><rect width=\"1050\" height=\"1480\" fill=\"white\"/>\
         <text x=\"525\" y=\"110\" font-size=\"60\" font-weight=\"bold\">{name}</text>\
         <text x=\"525\" y=\"180\" font-size=\"36\">Sigilo root card</text>{qr}{lines}\
         <text x=\"525\" y=\"1290\" font-size=\"26\">{clinic}</text>\
         <text x=\"525\" y=\"1360\" font-size=\"26\">Compare with what the app shows.</text></svg>\n",
        qr = qr::drawing(uri, 175, 215, 700)?,
        clinic = ceremony.card.clinic,
    ))
}

fn answer(ceremony: &Ceremony, files: &Files) -> Answer {
    let card = &ceremony.card;
    Answer {
        json: json!({
            "clinic_id": card.clinic, "root_card": card.uri(), "root_groups": card.groups(),
            "files": {
                "clinic_keys": files.clinic_keys, "private_keys": files.private_keys,
                "root_card_text": files.card_text, "root_card_drawing": files.card_drawing,
            },
        }),
        text: format!(
            "Root card of clinic {}:\n\n    {}\n\n  {}   for the server: 'sigilo admin clinic install-keys'\n  \
             {}      for invitations\n  {}      to print\n  {}  for the safe",
            card.clinic,
            card.groups(),
            files.clinic_keys.display(),
            files.card_text.display(),
            files.card_drawing.display(),
            files.private_keys.display(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clinics_name_cannot_break_the_drawing() {
        let mut rng = crate::rng::EntropyRng(&SystemEntropy);
        let mut key = || sigilo_seal::Ed25519Secret::generate(&mut rng).public();
        let keys = [
            sigilo_seal::KeyPurpose::Ledger,
            sigilo_seal::KeyPurpose::Receipt,
            sigilo_seal::KeyPurpose::Scanner,
            sigilo_seal::KeyPurpose::Export,
        ]
        .map(|purpose| people::ServerKey { purpose, public_key: key() });
        let request = CertificationRequest {
            format: CertificationRequest::FORMAT.to_owned(),
            clinic_id: sigilo_wire::TenantId::from_bytes([1; 16]),
            name: "A & <B>".to_owned(),
            slug: "ab".to_owned(),
            created_at: SystemClock.now(),
            keys: keys.to_vec(),
        };
        let ceremony = people::certify(&request, SystemClock.now(), &mut EntropyRng(&SystemEntropy)).unwrap();
        let drawing = drawing(&request.name, &ceremony, &ceremony.card.uri()).unwrap();
        assert!(drawing.contains("A &amp; &lt;B&gt;"));
        assert_eq!(drawing.matches("<svg").count(), 2);
        assert_eq!(drawing.matches("</svg>").count(), 2);
        assert!(!drawing.contains("<?xml"));
    }
}
