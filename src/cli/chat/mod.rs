//! `sigilo chat`: one profile, one device, in a terminal or as lines of JSON for programs.

mod command;
mod input;
mod output;
mod screen;
mod session;

use std::path::PathBuf;

use clap::Args;
use sigilo_client::{
    ActivateOptions, Client, Error as ClientError, Invitation, OpenOptions, ServerUrl, Unlock,
};
use zeroize::Zeroizing;

use super::Outcome;
use crate::{Error, Result};
use screen::Screen;

/// The interactive client: one profile is one device, its keys encrypted at rest.
#[derive(Debug, Args)]
pub struct Chat {
    /// The server, to compare with the invitation's.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The profile's folder; made at the activation.
    #[arg(long, value_name = "DIR")]
    profile: PathBuf,
    /// Activates an account with this invitation (sigilo://activate?...).
    #[arg(long, value_name = "CODE")]
    activate: Option<String>,
    /// How the device is called in the account's list of devices.
    #[arg(long, value_name = "NAME", default_value = "terminal")]
    device_name: String,
    /// A file with the profile's passphrase [default: SIGILO_PASSPHRASE, or asked].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A file with the account's password, for the activation [default: SIGILO_PASSWORD, or asked].
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Commands as lines on stdin, events as lines of JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl Chat {
    pub(super) async fn run(self) -> Result<Outcome> {
        let passphrase =
            secret(self.passphrase_file.as_deref(), "SIGILO_PASSPHRASE", "Passphrase of this profile: ")?;
        let client = match self.open(&passphrase).await {
            Ok(client) => client,
            Err(error) => {
                Screen::plain(self.json).show(&output::Output::error(&error));
                return Ok(Outcome::No);
            }
        };
        let (screen, commands) = input::start(self.json)?;
        session::run(client, screen, commands).await
    }

    async fn open(&self, passphrase: &str) -> Result<Client, ClientError> {
        let file = self.profile.join("profile.db");
        let unlock = Unlock::Passphrase(passphrase.to_owned());
        let Some(text) = &self.activate else {
            return Client::open(file, unlock, OpenOptions::default()).await;
        };
        let invitation: Invitation = text.parse()?;
        if let Some(named) = &self.server
            && named.parse::<ServerUrl>()? != invitation.server
        {
            return Err(ClientError::Answer("the invitation is for another server than --server".to_owned()));
        }
        std::fs::create_dir_all(&self.profile).map_err(|error| ClientError::Profile(error.to_string()))?;
        let password =
            secret(self.password_file.as_deref(), "SIGILO_PASSWORD", "New password of the account: ")
                .map_err(|error| ClientError::Profile(error.to_string()))?;
        let mut options = ActivateOptions::new(password.as_str());
        options.device_name.clone_from(&self.device_name);
        Client::activate(file, unlock, invitation, options).await
    }
}

/// A secret from a file, the environment or the terminal; never from the command line.
fn secret(file: Option<&std::path::Path>, variable: &str, question: &str) -> Result<Zeroizing<String>> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::internal(format!("cannot read {}: {error}", file.display())))?;
        return Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if let Ok(text) = std::env::var(variable) {
        return Ok(Zeroizing::new(text));
    }
    rpassword::prompt_password(question)
        .map(Zeroizing::new)
        .map_err(|_| Error::internal(format!("no terminal to ask on: set {variable} or give a file")))
}
