//! `sigilo admin care-team`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_wire::{
    CareTeamId, Timestamp, UserId,
    care::{CarePeriod, CareTeam as Shown, CareTeamMember, CareTeamSummary, NewCareTeam},
};

use super::Beside;
use crate::{
    Ctx, Error, Result,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    paging::Paging,
    relationships::{self, Side},
};

/// Teams of clinicians, and the patients assigned to them: each of the clinicians treats each of the patients.
#[derive(Debug, Subcommand)]
pub enum CareTeam {
    /// Lists the clinic's care teams, those that have ended among them.
    #[command(after_help = "Example: sigilo admin care-team list --clinic ejemplo --json")]
    List(List),
    /// Shows a care team with its people.
    #[command(after_help = "Example: sigilo admin care-team show --clinic ejemplo --team ID")]
    Show(Team),
    /// Makes a care team.
    #[command(after_help = "Example: sigilo admin care-team create --clinic ejemplo --name 'Home care'")]
    Create(Create),
    /// Puts a clinician or a patient into a care team, or changes from when to when they are in it.
    #[command(after_help = "Example: sigilo admin care-team add --clinic ejemplo --team ID --clinician ID \
        --until 2026-09-01T00:00:00-06:00")]
    Add(Add),
    /// Takes a clinician or a patient out of a care team: what it made of them ends at once.
    #[command(after_help = "Example: sigilo admin care-team remove --clinic ejemplo --team ID --patient ID")]
    Remove(Remove),
    /// Ends a care team and what it made.
    #[command(after_help = "Example: sigilo admin care-team end --clinic ejemplo --team ID")]
    End(Team),
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

/// `sigilo admin care-team list`
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin care-team show` and `end`
#[derive(Debug, Args)]
pub struct Team {
    /// The team, by id.
    #[arg(long, value_name = "ID")]
    team: CareTeamId,
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin care-team create`
#[derive(Debug, Args)]
pub struct Create {
    /// What the clinic calls it: at most 200 characters, without identifiers and diagnoses.
    #[arg(long)]
    name: String,
    #[command(flatten)]
    at: Where,
}

/// Whom.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Member {
    /// A clinician, by id.
    #[arg(long, value_name = "ID")]
    clinician: Option<UserId>,
    /// A patient, by id.
    #[arg(long, value_name = "ID")]
    patient: Option<UserId>,
}

/// `sigilo admin care-team add`
#[derive(Debug, Args)]
pub struct Add {
    /// The team, by id.
    #[arg(long, value_name = "ID")]
    team: CareTeamId,
    #[command(flatten)]
    member: Member,
    /// The first instant, RFC 3339 with any offset; without it, now.
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// The instant before which it ends; without it, until they are taken out.
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    #[command(flatten)]
    at: Where,
}

/// `sigilo admin care-team remove`
#[derive(Debug, Args)]
pub struct Remove {
    /// The team, by id.
    #[arg(long, value_name = "ID")]
    team: CareTeamId,
    #[command(flatten)]
    member: Member,
    #[command(flatten)]
    at: Where,
}

/// How many are read at a time.
const PAGE: usize = 100;

impl CareTeam {
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
            | Self::Show(Team { at, .. })
            | Self::Create(Create { at, .. })
            | Self::Add(Add { at, .. })
            | Self::Remove(Remove { at, .. })
            | Self::End(Team { at, .. }) => at,
        }
    }

    async fn answer(&self, beside: &Beside, ctx: &Ctx) -> Result<Answer> {
        let app = &*beside.app;
        let grant = relationships::authorize_manage_relationships(app, ctx)?;
        match self {
            Self::List(_) => list(beside, ctx).await,
            Self::Show(Team { team, .. }) => shown(&relationships::care_team(app, ctx, grant, *team).await?),
            Self::Create(Create { name, .. }) => {
                let wanted = NewCareTeam { name: name.clone() };
                shown(&relationships::create_care_team(app, ctx, grant, &wanted).await?)
            }
            Self::Add(Add { team, member, from, until, .. }) => {
                let period = CarePeriod { starts_at: *from, ends_at: *until };
                let who = member.side()?;
                let put = relationships::put_care_team_member(app, ctx, grant, *team, who, &period).await?;
                let text = format!("In the care team: {}", line(&put));
                Ok(Answer { json: serde_json::to_value(put).map_err(Error::internal)?, text })
            }
            Self::Remove(Remove { team, member, .. }) => {
                let (side, user) = member.side()?;
                relationships::remove_care_team_member(app, ctx, grant, *team, (side, user)).await?;
                let text = "They are in it no longer, and what it made of them has ended.".to_owned();
                Ok(Answer { json: json!({"care_team_id": team, "user_id": user}), text })
            }
            Self::End(Team { team, .. }) => {
                relationships::end_care_team(app, ctx, grant, *team).await?;
                let text = "The care team has ended, and what it made.".to_owned();
                Ok(Answer { json: json!({"care_team_id": team}), text })
            }
        }
    }
}

impl Member {
    fn side(&self) -> Result<(Side, UserId)> {
        let clinician = self.clinician.map(|user| (Side::Clinician, user));
        let who = clinician.or_else(|| self.patient.map(|user| (Side::Patient, user)));
        who.ok_or_else(|| Error::field("clinician", "or --patient is needed"))
    }
}

async fn list(beside: &Beside, ctx: &Ctx) -> Result<Answer> {
    let app = &*beside.app;
    let (mut found, mut paging) = (Vec::new(), Paging::of(PAGE));
    loop {
        let grant = relationships::authorize_manage_relationships(app, ctx)?;
        let page = relationships::list_care_teams(app, ctx, grant, &paging).await?;
        found.extend(page.results);
        paging.cursor = page.next_cursor;
        if paging.cursor.is_none() {
            break;
        }
    }
    let mut text = format!("{:<36}  {:<28}  {:>10}  {:>8}  ENDED", "ID", "NAME", "CLINICIANS", "PATIENTS");
    for CareTeamSummary { care_team_id, name, ended_at, clinicians, patients, .. } in &found {
        let ended = ended_at.map_or_else(|| "-".to_owned(), |at| at.to_string());
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{care_team_id}  {name:<28}  {clinicians:>10}  {patients:>8}  {ended}");
    }
    Ok(Answer { json: json!({"results": found}), text })
}

fn shown(team: &Shown) -> Result<Answer> {
    let ended = team.ended_at.map_or_else(String::new, |at| format!(", ended {at}"));
    let mut text = format!("{} ({}){ended}", team.name, team.care_team_id);
    for (heading, members) in [("Clinicians", &team.clinicians), ("Patients", &team.patients)] {
        let _ = write!(text, "\n{heading}:");
        for member in members {
            let _ = write!(text, "\n  {}", line(member));
        }
    }
    Ok(Answer { json: serde_json::to_value(team).map_err(Error::internal)?, text })
}

fn line(member: &CareTeamMember) -> String {
    let CareTeamMember { user_id, name, starts_at, ends_at } = member;
    let until = ends_at.map_or_else(|| "until taken out".to_owned(), |until| format!("until {until}"));
    format!("{name} ({user_id}) from {starts_at} {until}")
}
