//! `sigilo admin clinic anomalies`

use clap::Args;
use serde_json::json;
use sigilo_wire::anomaly::{AnomalyAction, AnomalyKind, AnomalySettings};

use super::Beside;
use crate::{
    Result, anomalies,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    people,
};

/// `sigilo admin clinic anomalies`
#[derive(Debug, Args)]
pub struct Anomalies {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// Of which kind the rule is changed: many_conversations, repeated_denials, prekey_draining,
    /// bulk_downloads, new_place or
    /// password_guessing.
    #[arg(long)]
    kind: Option<AnomalyKind>,
    /// What is done: off, flag, slow or suspend; off or flag of the last two kinds.
    #[arg(long, requires = "kind")]
    action: Option<AnomalyAction>,
    /// How often it is out of the ordinary.
    #[arg(long, value_name = "NUMBER", requires = "kind")]
    count: Option<u32>,
    /// Within how many seconds.
    #[arg(long, value_name = "SECONDS", requires = "kind")]
    within: Option<u32>,
    /// Forgets what was set before.
    #[arg(long)]
    reset: bool,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Anomalies {
    pub(super) async fn run(self) -> Result<Outcome> {
        let beside = Beside::open(&self.config).await?;
        let came_of_it = self.change(&beside).await;
        beside.close().await;
        finish(self.json, came_of_it)
    }

    async fn change(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_people(&beside.app, &ctx)?;
        let before = anomalies::settings(&beside.app, &ctx, &grant).await?;
        let after = self.applied(&before);
        let changed = after != before;
        if changed {
            anomalies::change_settings(&beside.app, &ctx, grant, after.clone()).await?;
        }
        let json = json!({"clinic_id": ctx.tenant, "changed": changed, "rules": after.rules});
        let mut lines: Vec<String> = Vec::new();
        for (kind, rule) in &after.rules {
            let (action, count, within) = (rule.action, rule.count, rule.within_s);
            lines.push(format!("{kind}: {action}, from {count} within {within} s on"));
        }
        if changed {
            lines.push("Servers that run follow within seconds.".to_owned());
        }
        Ok(Answer { json, text: lines.join("\n") })
    }

    /// These numbers where they were given.
    fn applied(&self, before: &AnomalySettings) -> AnomalySettings {
        let mut after = before.clone();
        if self.reset {
            for (kind, rule) in &mut after.rules {
                *rule = anomalies::usual(*kind);
            }
        }
        if let Some(rule) = self.kind.and_then(|kind| after.rules.get_mut(&kind)) {
            rule.action = self.action.unwrap_or(rule.action);
            rule.count = self.count.unwrap_or(rule.count);
            rule.within_s = self.within.unwrap_or(rule.within_s);
        }
        after
    }
}
