//! `sigilo admin clinic limits`

use std::num::NonZeroU32;

use clap::Args;
use serde_json::json;

use super::Beside;
use crate::{
    Error, Result,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    people::{self, RateLimits},
};

/// `sigilo admin clinic limits`
#[derive(Debug, Args)]
pub struct Limits {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// Messages of a device.
    #[arg(long, value_name = "NUMBER")]
    messages_per_minute: Option<NonZeroU32>,
    /// Messages of a clinician's device.
    #[arg(long, value_name = "NUMBER")]
    clinician_messages_per_minute: Option<NonZeroU32>,
    /// Other requests of a device.
    #[arg(long, value_name = "NUMBER")]
    requests_per_minute: Option<NonZeroU32>,
    /// Files of a person.
    #[arg(long, value_name = "NUMBER")]
    files_per_hour: Option<NonZeroU32>,
    /// Requests of a device for key bundles.
    #[arg(long, value_name = "NUMBER")]
    prekey_fetches_per_minute: Option<NonZeroU32>,
    /// Bundles of one device for one person at once; then one in ten minutes.
    #[arg(long, value_name = "NUMBER")]
    prekey_fetches_per_device: Option<NonZeroU32>,
    /// Forgets what was set before.
    #[arg(long)]
    reset: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Limits {
    pub(super) async fn run(self) -> Result<Outcome> {
        let beside = Beside::open(&self.config).await?;
        let came_of_it = self.change(&beside).await;
        beside.close().await;
        finish(self.json, came_of_it)
    }

    async fn change(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_clinic(&beside.app, &ctx)?;
        let before = people::rate_limits(&beside.app, &ctx, &grant).await?;
        let after = self.applied(if self.reset { RateLimits::default() } else { before });
        if after != before {
            people::set_rate_limits(&beside.app, &ctx, grant, after).await?;
        }
        let json = json!({"clinic_id": ctx.tenant, "changed": after != before, "rate_limits": after});
        let set = serde_json::to_string_pretty(&after).map_err(Error::internal)?;
        let text = if after == RateLimits::default() {
            "Nothing is set: the server's numbers hold.".to_owned()
        } else {
            format!("Set, within seconds on servers that run:\n{set}")
        };
        Ok(Answer { json, text })
    }

    /// These numbers where they were given.
    fn applied(&self, before: RateLimits) -> RateLimits {
        RateLimits {
            messages_per_minute: self.messages_per_minute.or(before.messages_per_minute),
            clinician_messages_per_minute: self
                .clinician_messages_per_minute
                .or(before.clinician_messages_per_minute),
            requests_per_minute: self.requests_per_minute.or(before.requests_per_minute),
            files_per_hour: self.files_per_hour.or(before.files_per_hour),
            prekey_fetches_per_minute: self.prekey_fetches_per_minute.or(before.prekey_fetches_per_minute),
            prekey_fetches_per_device: self.prekey_fetches_per_device.or(before.prekey_fetches_per_device),
        }
    }
}
