//! `sigilo chat`: one profile, one device, in a terminal or as lines of JSON for programs.

mod command;
mod devices;
mod enrol;
mod files;
mod input;
mod opening;
mod output;
mod screen;
mod session;
mod talk;

use std::path::{Path, PathBuf};

use clap::Args;
use sigilo_client::{
    ActivateOptions, Client, Error as ClientError, Invitation, OpenOptions, ServerUrl, Unlock,
};
use sigilo_wire::ErrorCode;
use zeroize::Zeroizing;

use super::Outcome;
use crate::{Error, Result};
use screen::Screen;

/// The interactive client: one profile is one device, its keys encrypted at rest.
#[derive(Debug, Args)]
pub struct Chat {
    /// The server: of a new device to link, or to compare with the invitation's.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The profile's folder; made at the activation.
    #[arg(long, value_name = "DIR")]
    profile: PathBuf,
    /// Activates an account with this invitation (sigilo://activate?...).
    #[arg(long, value_name = "CODE")]
    activate: Option<String>,
    /// The account's e-mail address: goes on with an activation whose answer was lost more than a day ago.
    #[arg(long, value_name = "ADDRESS", requires = "activate")]
    email: Option<String>,
    /// Links this new device to the account of another one: shows what that one's /link needs, and waits.
    #[arg(long, requires = "server", conflicts_with_all = ["activate", "login"])]
    link: bool,
    /// Logs in with this e-mail address: for a device that was logged out, or as a fresh proof of who you are.
    #[arg(long, value_name = "EMAIL", conflicts_with = "activate")]
    login: Option<String>,
    /// Before logging in, chooses a new password with a code of the clinic [SIGILO_RESET_CODE, or asked].
    #[arg(long, requires = "login")]
    reset_password: bool,
    /// How the device is called in the account's list of devices.
    #[arg(long, value_name = "NAME", default_value = "terminal")]
    device_name: String,
    /// A file with the profile's passphrase [default: SIGILO_PASSPHRASE, or asked].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A file with the account's password, for the activation and the login [default: SIGILO_PASSWORD, or asked].
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// First reads the history of all conversations from the server: for a device that has the keys and no messages.
    /// A reading that was cut, or is needed because the server dropped events, goes on without being asked for.
    #[arg(long)]
    restore: bool,
    /// Commands as lines on stdin, events as lines of JSON on stdout.
    #[arg(long)]
    json: bool,
}

impl Chat {
    pub(super) async fn run(self) -> Result<Outcome> {
        let invitation = match self.invitation() {
            Ok(invitation) => invitation,
            Err(error) => return self.cannot_open(&error),
        };
        let passphrase = self.passphrase()?;
        let opened = match invitation {
            Some(invitation) => self.activate(invitation, &passphrase, &self.password()?).await,
            None if self.link => self.link(&passphrase).await,
            None => Client::open(self.file(), unlock(&passphrase), OpenOptions::default()).await,
        };
        let client = match opened {
            Ok(client) => client,
            Err(error) => return self.cannot_open(&error),
        };
        if let Some(email) = &self.login
            && let Err(error) = self.log_in(&client, email).await?
        {
            client.shutdown().await.map_err(Error::internal)?;
            return self.cannot_open(&error);
        }
        let due = self.restore || client.restore_due().await.map_err(Error::internal)?;
        if due
            && !self.json
            && let Err(error) = session::restore_first(&client).await
        {
            Screen::plain(false).show(&output::Output::error(&error));
        }
        let (screen, commands) = input::start(self.json)?;
        session::run(client, screen, commands, due && self.json).await
    }

    fn file(&self) -> PathBuf {
        self.profile.join("profile.db")
    }

    fn make_folder(&self) -> Result<(), ClientError> {
        std::fs::create_dir_all(&self.profile).map_err(|error| ClientError::Profile(error.to_string()))
    }

    fn invitation(&self) -> Result<Option<Invitation>, ClientError> {
        let Some(text) = &self.activate else { return Ok(None) };
        let invitation: Invitation = text.parse()?;
        if let Some(named) = &self.server
            && named.parse::<ServerUrl>()? != invitation.server
        {
            return Err(ClientError::Invitation("it is for another server than --server"));
        }
        Ok(Some(invitation))
    }

    async fn activate(
        &self,
        invitation: Invitation,
        passphrase: &str,
        password: &str,
    ) -> Result<Client, ClientError> {
        self.make_folder()?;
        let mut options = ActivateOptions::new(password);
        options.device_name.clone_from(&self.device_name);
        options.email.clone_from(&self.email);
        options.second_factor = Some(Box::new(enrol::Terminal::new(self.json)));
        Client::activate(self.file(), unlock(passphrase), invitation, options).await
    }

    async fn log_in(&self, client: &Client, email: &str) -> Result<Result<(), ClientError>> {
        let password = if self.reset_password {
            let code = secret(None, "SIGILO_RESET_CODE", Question::Known("Code of the clinic: "))?;
            let password = self.password()?;
            if let Err(error) = client.reset_password(code.as_str(), password.as_str()).await {
                return Ok(Err(error));
            }
            password
        } else {
            let question = Question::Known("Password of the account: ");
            secret(self.password_file.as_deref(), "SIGILO_PASSWORD", question)?
        };
        match client.log_in(email, password.as_str(), None).await {
            Err(error) if error.code() == Some(ErrorCode::MfaRequired) => {
                let question = Question::Known("Code of the authenticator app, or a recovery code: ");
                let code = secret(None, "SIGILO_TOTP", question)?;
                Ok(client.log_in(email, password.as_str(), Some(code.as_str().to_owned())).await)
            }
            came_of_it => Ok(came_of_it),
        }
    }

    fn passphrase(&self) -> Result<Zeroizing<String>> {
        let question = if (self.activate.is_some() || self.link) && !self.file().exists() {
            Question::New("New passphrase, for what this device keeps: ")
        } else {
            Question::Known("Passphrase of this profile: ")
        };
        secret(self.passphrase_file.as_deref(), "SIGILO_PASSPHRASE", question)
    }

    fn password(&self) -> Result<Zeroizing<String>> {
        let question = Question::New("New password of the account: ");
        secret(self.password_file.as_deref(), "SIGILO_PASSWORD", question)
    }

    /// Says why there is no chat. A refusal and a check that failed are answers; the rest could not run.
    fn cannot_open(&self, error: &ClientError) -> Result<Outcome> {
        let outcome = match error {
            ClientError::Server { .. }
            | ClientError::ClinicKeys(_)
            | ClientError::WrongPassphrase
            | ClientError::Activation(_) => Some(Outcome::No),
            ClientError::Invitation(_) | ClientError::Insecure(_) => Some(Outcome::Usage),
            _ => None,
        };
        if self.json || outcome.is_some() {
            Screen::plain(self.json).show(&output::Output::error(error));
        }
        outcome.ok_or_else(|| Error::internal(error))
    }
}

fn unlock(passphrase: &str) -> Unlock {
    Unlock::Passphrase(passphrase.to_owned())
}

/// What the terminal asks.
#[derive(Clone, Copy)]
pub(super) enum Question {
    /// For a secret that exists.
    Known(&'static str),
    /// For one that is being chosen: twice, because nothing opens what a slip has closed.
    New(&'static str),
}

impl Question {
    fn ask(self, variable: &str) -> Result<Zeroizing<String>> {
        let ask = |text: &str| {
            rpassword::prompt_password(text)
                .map(Zeroizing::new)
                .map_err(|_| Error::internal(format!("no terminal to ask on: set {variable} or give a file")))
        };
        let (Self::Known(text) | Self::New(text)) = self;
        let answer = ask(text)?;
        if matches!(self, Self::New(_)) && ask("The same again: ")? != answer {
            return Err(Error::internal("the two are not the same: nothing was done"));
        }
        Ok(answer)
    }
}

/// A secret from a file, the environment or the terminal; never from the command line.
pub(super) fn secret(file: Option<&Path>, variable: &str, question: Question) -> Result<Zeroizing<String>> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Error::internal(format!("cannot read {}: {error}", file.display())))?;
        return Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    match std::env::var(variable) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(_) => question.ask(variable),
    }
}
