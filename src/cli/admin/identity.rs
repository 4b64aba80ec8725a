//! `sigilo admin user reset-identity`: what two people of the clinic do one after the other, each logged in.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use serde_json::json;
use sigilo_wire::{
    Base64Array, ErrorCode, IdentityResetId, UserId,
    account::{Login, RefreshToken, Tokens},
    people::ApproveReset,
};

use super::{
    Beside,
    user::{read_card, server_address},
};
use crate::{
    Actor, Ctx, Error, Result, auth,
    cli::{
        ConfigArgs,
        chat::{Question, secret},
        output::Answer,
        qr,
    },
    people::identity_resets,
};

/// `sigilo admin user reset-identity`
#[derive(Debug, Args)]
pub struct ResetIdentity {
    /// The person's id, as `list` shows it: asks for a new identity of theirs.
    #[arg(required_unless_present_any = ["approve", "cancel"], conflicts_with_all = ["approve", "cancel"])]
    user: Option<UserId>,
    /// Approves what another person has asked for, by the id that was printed then.
    #[arg(long, value_name = "RESET", requires = "root_card")]
    approve: Option<IdentityResetId>,
    /// Stops one whose invitation is not used yet, by its id.
    #[arg(long, value_name = "RESET", conflicts_with = "approve")]
    cancel: Option<IdentityResetId>,
    /// The e-mail address of the admin or compliance officer who does this [password: SIGILO_PASSWORD, or asked].
    #[arg(long, value_name = "EMAIL")]
    r#as: String,
    /// The root card of 'sigilo records init': the invitation's pin comes from it.
    #[arg(long, value_name = "FILE")]
    root_card: Option<PathBuf>,
    /// The server's address as the person's app reaches it [default: where the server listens].
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// One JSON document on stdout.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

impl ResetIdentity {
    pub(super) async fn run(&self, beside: &Beside) -> Result<Answer> {
        let (ctx, tokens) = self.log_in(beside).await?;
        let came_of_it = match (self.approve, self.cancel) {
            (Some(reset), _) => self.approve(beside, &ctx, reset).await,
            (None, Some(reset)) => cancel(beside, &ctx, reset).await,
            (None, None) => self.ask(beside, &ctx).await,
        };
        let refresh_token = RefreshToken { refresh_token: tokens.refresh_token };
        auth::logout(&beside.app, &ctx, &refresh_token).await?;
        came_of_it
    }

    async fn ask(&self, beside: &Beside, ctx: &Ctx) -> Result<Answer> {
        let user = self.user.ok_or_else(|| Error::field("user", "whose identity?"))?;
        let grant = identity_resets::authorize(&beside.app, ctx, user).await?;
        let asked = identity_resets::ask(&beside.app, ctx, grant).await?;
        let text = format!(
            "{}\n\nAnother admin or compliance officer approves it by this id, with --approve and the root card, until {}. The person's devices were told.",
            asked.reset_id, asked.expires_at
        );
        Ok(Answer { json: serde_json::to_value(&asked).map_err(Error::internal)?, text })
    }

    async fn approve(&self, beside: &Beside, ctx: &Ctx, reset: IdentityResetId) -> Result<Answer> {
        let card = read_card(self.root_card.as_deref().unwrap_or_else(|| std::path::Path::new("")))?;
        if card.clinic != ctx.tenant {
            return Err(Error::field("root-card", "it is another clinic's"));
        }
        let user = identity_resets::subject(&beside.app, ctx, reset).await?;
        let grant = identity_resets::authorize(&beside.app, ctx, user).await?;
        let request = ApproveReset { root: Base64Array(card.root.0) };
        let invitation = identity_resets::approve(&beside.app, ctx, grant, reset, &request).await?;
        let uri = invitation.uri(&server_address(self.server.as_ref(), beside));
        let mut text = qr::terminal(&uri)?;
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{uri}\n\nGood once, until {}. Make sure who it is you give it to, and give it to nobody else: it ends all of the person's devices.",
            invitation.expires_at
        );
        let json = json!({
            "invitation": uri, "code": invitation.code, "clinic_id": invitation.clinic_id,
            "user_id": invitation.user_id, "expires_at": invitation.expires_at,
        });
        Ok(Answer { json, text })
    }

    /// A session of the person who does this, ended again afterwards.
    async fn log_in(&self, beside: &Beside) -> Result<(Ctx, Tokens)> {
        let anonymous = Ctx { actor: Actor::Anonymous, ..beside.clinic(&self.clinic).await? };
        let password = secret(None, "SIGILO_PASSWORD", Question::Known("Password of the account: "))?;
        let mut login = Login {
            clinic: self.clinic.clone(),
            email: self.r#as.clone(),
            password: password.as_str().to_owned(),
            totp: None,
            device: None,
        };
        let tokens = match auth::login(&beside.app, &anonymous, &login).await {
            Err(Error::Unauthenticated(ErrorCode::MfaRequired)) => {
                let question = Question::Known("Code of the authenticator app, or a recovery code: ");
                login.totp = Some(secret(None, "SIGILO_TOTP", question)?.as_str().to_owned());
                auth::login(&beside.app, &anonymous, &login).await?
            }
            tokens => tokens?,
        };
        let token = tokens.access_token.as_str();
        let ctx = auth::authenticate(&beside.app, token, anonymous.request, None).await?;
        Ok((ctx, tokens))
    }
}

async fn cancel(beside: &Beside, ctx: &Ctx, reset: IdentityResetId) -> Result<Answer> {
    let user = identity_resets::open_subject(&beside.app, ctx, reset).await?;
    let grant = identity_resets::authorize(&beside.app, ctx, user).await?;
    identity_resets::cancel(&beside.app, ctx, grant).await?;
    Ok(Answer {
        json: json!({"reset_id": reset, "user_id": user, "cancelled": true}),
        text: "Stopped; an invitation that was made for it is void. The person's devices were told."
            .to_owned(),
    })
}
