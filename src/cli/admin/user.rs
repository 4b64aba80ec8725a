//! `sigilo admin user`

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_wire::{Role, UserId};

use super::{Beside, identity, oidc};
use crate::{
    Error, Result,
    auth::{self, PasswordReset},
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
        qr,
    },
    mfa,
    people::{self, Invitee, RootCard, StatusChange, UserSummary},
};

/// How many people are read at once.
const PAGE: u16 = 100;

/// The people of a clinic.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Invites a person: prints the invitation as text and QR code. Single use, good for 72 hours.
    #[command(after_help = "Example: sigilo admin user invite --clinic ejemplo --role doctor \
        --name 'Dra. María Martínez' --email maria@clinic.example --root-card root-card.txt")]
    Invite(Invite),
    /// Lists the clinic's people.
    #[command(after_help = "Example: sigilo admin user list --clinic ejemplo --json")]
    List(List),
    /// Suspends an account: its tokens and sockets end within about a second, and nobody writes to or from it.
    /// Its devices, keys and conversations stay; the others keep reading what was written.
    #[command(after_help = "Example: sigilo admin user suspend --clinic ejemplo \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10")]
    Suspend(Change),
    /// Ends a suspension: the person logs in again, on the same devices.
    #[command(after_help = "Example: sigilo admin user resume --clinic ejemplo \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10")]
    Resume(Change),
    /// Lets a person choose a new password: prints a code for them. Single use, good for an hour. Their second
    /// factor, devices and keys stay; using the code logs every device out.
    #[command(after_help = "Example: sigilo admin user reset-password --clinic ejemplo \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10")]
    ResetPassword(Change),
    /// Takes away a second factor whose app and recovery codes are all lost, and logs every device out. The password
    /// alone logs in again. Make sure who asks.
    #[command(after_help = "Example: sigilo admin user reset-second-factor --clinic ejemplo \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10")]
    ResetSecondFactor(Change),
    /// Lets a person log in with a subject of the clinic's identity provider.
    #[command(
        after_help = "Example: sigilo admin user bind-oidc --clinic ejemplo --provider hospital --subject m-17 \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10"
    )]
    BindOidc(oidc::BindOidc),
    /// Takes a person's subject of the clinic's identity provider away.
    #[command(after_help = "Example: sigilo admin user unbind-oidc --clinic ejemplo --provider hospital \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10")]
    UnbindOidc(oidc::UnbindOidc),
    /// Gives a person whose devices are lost a new identity. It takes two people: one asks, another approves with the
    /// root card and hands the invitation over. Each logs in for it.
    #[command(
        after_help = "Example: sigilo admin user reset-identity --clinic ejemplo --as admin@clinic.example \
        0198f6a2-5c11-7e2a-9d3f-3b1c5a7e9f10\n\
        then:    sigilo admin user reset-identity --clinic ejemplo --as compliance@clinic.example \
        --approve 0198f6a2-61d4-7b13-8c52-9a1d2e3f4a5b --root-card root-card.txt"
    )]
    ResetIdentity(identity::ResetIdentity),
}

/// `sigilo admin user invite`
#[derive(Debug, Args)]
pub struct Invite {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// patient, doctor, admin, moderator, compliance or service.
    #[arg(long)]
    role: Role,
    /// The person's name; may be left out with --identifier.
    #[arg(long, required_unless_present = "identifier")]
    name: Option<String>,
    /// The e-mail address they log in with.
    #[arg(long)]
    email: String,
    /// An imported person to give the account to, as another system calls them.
    #[arg(long, value_name = "SYSTEM|VALUE", value_parser = identifier)]
    identifier: Option<(String, String)>,
    /// The root card of 'sigilo records init': the invitation's pin comes from it.
    #[arg(long, value_name = "FILE")]
    root_card: PathBuf,
    /// The server's address as the person's app reaches it [default: where the server listens].
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// `sigilo admin user list`
#[derive(Debug, Args)]
pub struct List {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// `sigilo admin user suspend`, `resume`, `reset-password` and `reset-second-factor`
#[derive(Debug, Args)]
pub struct Change {
    /// The person's id, as `list` shows it.
    user: UserId,
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A FHIR identifier, `system|value`.
fn identifier(text: &str) -> Result<(String, String), String> {
    match text.split_once('|') {
        Some((system, value)) if !value.is_empty() => Ok((system.to_owned(), value.to_owned())),
        _ => Err("write SYSTEM|VALUE, for example 'https://ehr.example/patients|4711'".to_owned()),
    }
}

impl User {
    pub(super) async fn run(self) -> Result<Outcome> {
        match self {
            Self::Invite(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.run(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
            Self::List(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.run(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
            Self::ResetIdentity(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.run(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
            Self::BindOidc(command) => command.run().await,
            Self::UnbindOidc(command) => command.run().await,
            Self::Suspend(command) => command.answer(true).await,
            Self::Resume(command) => command.answer(false).await,
            Self::ResetPassword(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.reset(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
            Self::ResetSecondFactor(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.reset_factor(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
        }
    }
}

impl Change {
    async fn answer(self, suspend: bool) -> Result<Outcome> {
        let beside = Beside::open(&self.config).await?;
        let came_of_it = self.run(&beside, suspend).await;
        beside.close().await;
        finish(self.json, came_of_it)
    }

    async fn run(&self, beside: &Beside, suspend: bool) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_people(&beside.app, &ctx)?;
        let change = if suspend {
            people::suspend_user(&beside.app, &ctx, grant, self.user).await?
        } else {
            people::resume_user(&beside.app, &ctx, grant, self.user).await?
        };
        let StatusChange { status, changed, devices, conversations, .. } = &change;
        let text = match (changed, suspend) {
            (false, _) => format!("Nothing to do: the account is {status}."),
            (true, true) => format!(
                "The account is {status}: {devices} devices are logged out; nobody writes to it or from it in {conversations} conversations."
            ),
            (true, false) => {
                format!(
                    "The account is {status} again in {conversations} conversations. Its devices log in anew."
                )
            }
        };
        Ok(Answer { json: serde_json::to_value(&change).map_err(Error::internal)?, text })
    }

    async fn reset_factor(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_people(&beside.app, &ctx)?;
        let reset = mfa::reset(&beside.app, &ctx, grant, self.user).await?;
        let text = if reset.changed {
            format!(
                "The second factor is gone and {} devices are logged out. The password alone logs in again.",
                reset.devices
            )
        } else {
            "Nothing to do: the account has no second factor.".to_owned()
        };
        Ok(Answer { json: serde_json::to_value(&reset).map_err(Error::internal)?, text })
    }

    async fn reset(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_people(&beside.app, &ctx)?;
        let reset = auth::issue_password_reset(&beside.app, &ctx, grant, self.user).await?;
        let PasswordReset { user_id, code, expires_at } = &reset;
        let text = format!(
            "{code}\n\nGood once, until {expires_at}. Make sure who it is you give it to, and give it to nobody else."
        );
        let json =
            json!({"user_id": user_id, "clinic_id": ctx.tenant, "code": code, "expires_at": expires_at});
        Ok(Answer { json, text })
    }
}

impl Invite {
    async fn run(&self, beside: &Beside) -> Result<Answer> {
        let card = read_card(&self.root_card)?;
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_people(&beside.app, &ctx)?;
        let invitee = Invitee {
            role: self.role,
            name: self.name.clone(),
            email: self.email.clone(),
            identifier: self.identifier.clone(),
        };
        let invitation =
            people::invite(&beside.app, &ctx, grant, &invitee, &card).await.map_err(|error| {
                // Only an identifier can be unknown here.
                if matches!(error, Error::NotFound) {
                    Error::field("identifier", "no imported person has this identifier")
                } else {
                    error
                }
            })?;
        let uri = invitation.uri(&server_address(self.server.as_ref(), beside));
        let mut text = qr::terminal(&uri)?;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{uri}\n\nGood once, until {}. Hand it to the person and to nobody else.",
            invitation.expires_at
        );
        Ok(Answer {
            json: json!({
                "invitation": uri, "code": invitation.code, "clinic_id": invitation.clinic_id,
                "user_id": invitation.user_id, "expires_at": invitation.expires_at,
            }),
            text,
        })
    }
}

/// A root card as 'sigilo records init' has written it.
pub(super) fn read_card(file: &std::path::Path) -> Result<RootCard> {
    let wrong =
        |error: &dyn std::fmt::Display| Error::field("root-card", format!("{}: {error}", file.display()));
    let card = std::fs::read_to_string(file).map_err(|error| wrong(&error))?;
    RootCard::parse(&card).map_err(|error| wrong(&error))
}

/// The server's address as apps reach it: the given one, or where it listens.
pub(super) fn server_address(given: Option<&String>, beside: &Beside) -> String {
    let config = &beside.app.config;
    given.cloned().unwrap_or_else(|| {
        let scheme = if config.tls.is_on() { "https" } else { "http" };
        format!("{scheme}://{}", config.server.listen)
    })
}

impl List {
    async fn run(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let mut users: Vec<UserSummary> = Vec::new();
        loop {
            let grant = people::authorize_manage_people(&beside.app, &ctx)?;
            let after = users.last().map(|user| user.user_id);
            let page = people::list_users(&beside.app, &ctx, grant, after, PAGE).await?;
            let last = page.len() < usize::from(PAGE);
            users.extend(page);
            if last {
                break;
            }
        }
        let mut text = format!("{:<36}  {:<10}  {:<9}  {:<28}  E-MAIL", "ID", "ROLE", "STATUS", "NAME");
        for user in &users {
            let UserSummary { user_id, role, status, full_name, email, .. } = user;
            let (role, email) = (role.as_str(), email.as_deref().unwrap_or("-"));
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{user_id}  {role:<10}  {status:<9}  {full_name:<28}  {email}");
        }
        Ok(Answer { json: json!({"results": users}), text })
    }
}
