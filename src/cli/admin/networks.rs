//! `sigilo admin clinic networks`

use clap::{Args, Subcommand};
use sigilo_wire::{Role, networks::AllowedNetworks};

use super::Beside;
use crate::{
    Ctx, Error, Result,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    people,
};

/// From which networks people may come.
#[derive(Debug, Subcommand)]
pub enum Networks {
    /// Shows the ranges of each role that has any.
    #[command(after_help = "Example: sigilo admin clinic networks show --clinic ejemplo")]
    Show(Show),
    /// Gives a role its ranges: whoever comes from elsewhere is refused, and their open sockets close.
    #[command(after_help = "Example: sigilo admin clinic networks set --clinic ejemplo --role admin \
        --allow 10.20.0.0/16 --allow 2001:db8::/32")]
    Set(Set),
    /// Lets a role, or everybody, in from anywhere again.
    #[command(after_help = "Example: sigilo admin clinic networks clear --clinic ejemplo --role admin")]
    Clear(Clear),
}

/// Which clinic.
#[derive(Debug, Args)]
pub struct Where {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// `sigilo admin clinic networks show`
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin clinic networks set`
#[derive(Debug, Args)]
pub struct Set {
    /// Whose: patient, doctor, admin, moderator, compliance or service.
    #[arg(long)]
    role: Role,
    /// A range in CIDR notation, or a single address. May be repeated.
    #[arg(long, value_name = "RANGE", required = true)]
    allow: Vec<String>,
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin clinic networks clear`
#[derive(Debug, Args)]
pub struct Clear {
    /// Whose; without it, everybody's.
    #[arg(long)]
    role: Option<Role>,
    #[command(flatten)]
    at: Where,
}

impl Networks {
    pub(super) async fn run(self) -> Result<Outcome> {
        let (Self::Show(Show { at }) | Self::Set(Set { at, .. }) | Self::Clear(Clear { at, .. })) = &self;
        let beside = Beside::open(&at.config).await?;
        let came_of_it = match beside.clinic(&at.clinic).await {
            Ok(ctx) => self.answer(&beside, &ctx).await,
            Err(error) => Err(error),
        };
        beside.close().await;
        finish(at.json, came_of_it)
    }

    async fn answer(&self, beside: &Beside, ctx: &Ctx) -> Result<Answer> {
        let app = &*beside.app;
        let grant = people::authorize_manage_networks(app, ctx)?;
        let mut networks = people::networks(app, ctx, grant.clone()).await?;
        match self {
            Self::Show(_) => return shown(&networks),
            Self::Set(Set { role, allow, .. }) => {
                networks.networks.insert(*role, allow.clone());
            }
            Self::Clear(Clear { role: Some(role), .. }) => {
                networks.networks.remove(role);
            }
            Self::Clear(Clear { role: None, .. }) => networks.networks.clear(),
        }
        shown(&people::set_networks(app, ctx, grant, &networks).await?)
    }
}

fn shown(networks: &AllowedNetworks) -> Result<Answer> {
    let line = |(role, ranges): (&Role, &Vec<String>)| format!("{role}: {}", ranges.join(", "));
    let mut lines: Vec<String> = networks.networks.iter().map(line).collect();
    lines.push("Every other role comes from anywhere.".to_owned());
    Ok(Answer { json: serde_json::to_value(networks).map_err(Error::internal)?, text: lines.join("\n") })
}
