//! `sigilo admin user bind-oidc` and `unbind-oidc`

use clap::Args;
use serde_json::json;
use sigilo_wire::UserId;

use super::Beside;
use crate::{
    Result,
    auth::oidc,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    people,
};

/// `sigilo admin user bind-oidc`
#[derive(Debug, Args)]
pub struct BindOidc {
    /// The provider's `sub` for the person.
    #[arg(long)]
    subject: String,
    #[command(flatten)]
    whose: Whose,
}

/// `sigilo admin user unbind-oidc`
#[derive(Debug, Args)]
pub struct UnbindOidc {
    #[command(flatten)]
    whose: Whose,
}

/// Whom, and at which provider.
#[derive(Debug, Args)]
pub struct Whose {
    /// The person's id, as `list` shows it.
    user: UserId,
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// The provider, by its name in the configuration.
    #[arg(long)]
    provider: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl BindOidc {
    pub(super) async fn run(self) -> Result<Outcome> {
        self.whose.bind(Some(&self.subject)).await
    }
}

impl UnbindOidc {
    pub(super) async fn run(self) -> Result<Outcome> {
        self.whose.bind(None).await
    }
}

impl Whose {
    /// Binds this subject, or none.
    async fn bind(&self, subject: Option<&str>) -> Result<Outcome> {
        let beside = Beside::open(&self.config).await?;
        let came_of_it = self.answer(&beside, subject).await;
        beside.close().await;
        finish(self.json, came_of_it)
    }

    async fn answer(&self, beside: &Beside, subject: Option<&str>) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_people(&beside.app, &ctx)?;
        let who = (self.user, self.provider.as_str());
        let text = if let Some(subject) = subject {
            oidc::bind(&beside.app, &ctx, grant, who, subject).await?;
            format!("Logs in as {subject} of {} from now on.", self.provider)
        } else {
            oidc::unbind(&beside.app, &ctx, grant, who).await?;
            "Bound no longer. What was opened with it stays until its tokens end.".to_owned()
        };
        let json = json!({"user_id": self.user, "provider": self.provider, "bound": subject.is_some()});
        Ok(Answer { json, text })
    }
}
