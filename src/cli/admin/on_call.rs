//! `sigilo admin on-call`

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_wire::{
    ShiftId, Timestamp, UserId,
    emergency::{NewShift, Roster, SetEscalation},
};

use super::Beside;
use crate::{
    Ctx, Error, Result,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    emergency,
};

/// Who is called in an emergency.
#[derive(Debug, Subcommand)]
pub enum OnCall {
    /// Shows the shifts that have not ended, and who would be called now.
    #[command(after_help = "Example: sigilo admin on-call list --clinic ejemplo")]
    List(List),
    /// Puts a clinician on call.
    #[command(after_help = "Example: sigilo admin on-call add --clinic ejemplo --user ID --tier 1 \
        --from 2026-12-24T22:00:00-06:00 --until 2026-12-25T08:00:00-06:00")]
    Add(Add),
    /// Takes a shift away.
    #[command(after_help = "Example: sigilo admin on-call remove --clinic ejemplo --shift ID")]
    Remove(Remove),
    /// Changes how long each tier has to acknowledge.
    #[command(after_help = "Example: sigilo admin on-call escalate-after --clinic ejemplo --seconds 300")]
    EscalateAfter(EscalateAfter),
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

/// `sigilo admin on-call list`
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin on-call add`
#[derive(Debug, Args)]
pub struct Add {
    /// The clinician, by id.
    #[arg(long, value_name = "ID")]
    user: UserId,
    /// Whom to call first: 1 to 5.
    #[arg(long)]
    tier: u32,
    /// The first instant, RFC 3339 with any offset; without it, now.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The instant before which it ends; without it, until it is taken away.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin on-call remove`
#[derive(Debug, Args)]
pub struct Remove {
    /// The shift, by id.
    #[arg(long, value_name = "ID")]
    shift: ShiftId,
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin on-call escalate-after`
#[derive(Debug, Args)]
pub struct EscalateAfter {
    /// 60 to 3600.
    #[arg(long)]
    seconds: u32,
    #[command(flatten)]
    at: Where,
}

impl OnCall {
    pub(super) async fn run(self) -> Result<Outcome> {
        let at = self.at();
        let beside = Beside::open(&at.config).await?;
        let came_of_it = match beside.clinic(&at.clinic).await {
            Ok(ctx) => self.answer(&beside, &ctx).await,
            Err(error) => Err(error),
        };
        beside.close().await;
        finish(at.json, came_of_it)
    }

    const fn at(&self) -> &Where {
        match self {
            Self::List(List { at })
            | Self::Add(Add { at, .. })
            | Self::Remove(Remove { at, .. })
            | Self::EscalateAfter(EscalateAfter { at, .. }) => at,
        }
    }

    async fn answer(&self, beside: &Beside, ctx: &Ctx) -> Result<Answer> {
        let app = &*beside.app;
        let grant = emergency::authorize_manage(app, ctx).await?;
        match self {
            Self::List(_) => shown(&emergency::roster(app, ctx, grant).await?),
            Self::Add(Add { user, tier, from, until, .. }) => {
                let new = NewShift { user_id: *user, tier: *tier, from: *from, until: *until };
                let shift = emergency::add_shift(app, ctx, grant, &new).await?;
                let text = format!("On call: {}", line(&shift));
                Ok(Answer { json: serde_json::to_value(shift).map_err(Error::internal)?, text })
            }
            Self::Remove(Remove { shift, .. }) => {
                emergency::remove_shift(app, ctx, grant, *shift).await?;
                let text = "The shift is gone. Emergencies that are open stay as they are.".to_owned();
                Ok(Answer { json: json!({"shift_id": shift}), text })
            }
            Self::EscalateAfter(EscalateAfter { seconds, .. }) => {
                let change = SetEscalation { escalate_after_s: *seconds };
                emergency::set_escalation(app, ctx, grant, &change).await?;
                let text = format!("In emergencies from now on each tier has {seconds} seconds.");
                Ok(Answer { json: json!({"escalate_after_s": seconds}), text })
            }
        }
    }
}

fn shown(roster: &Roster) -> Result<Answer> {
    let mut text = format!("Each tier has {} seconds to acknowledge.\n", roster.escalate_after_s);
    for shift in &roster.shifts {
        text.push_str(&format!("  {}\n", line(shift)));
    }
    if roster.on_call_now.is_empty() {
        text.push_str("Nobody would be called now.\n");
    }
    for member in &roster.on_call_now {
        text.push_str(&format!("Called now, tier {}: {}\n", member.tier, member.user_id));
    }
    for user in &roster.unreachable_now {
        text.push_str(&format!("Cannot be called (no active account, or no keys): {user}\n"));
    }
    Ok(Answer { json: serde_json::to_value(roster).map_err(Error::internal)?, text })
}

fn line(shift: &sigilo_wire::emergency::Shift) -> String {
    let until = shift.until.map_or_else(|| "until taken away".to_owned(), |until| format!("until {until}"));
    let sigilo_wire::emergency::Shift { shift_id, user_id, tier, from, .. } = shift;
    format!("{user_id} tier {tier} from {from} {until} ({shift_id})")
}
