//! `sigilo admin clinic hours`

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_wire::{
    UserId,
    hours::{ChatHours, DayException, DayWindow, SetDay, SetHours, Weekly},
};

use super::Beside;
use crate::{
    Ctx, Error, Result,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    hours,
};

/// When conversations with patients are open.
#[derive(Debug, Subcommand)]
pub enum Hours {
    /// Shows the hours, and the dates to come that have their own.
    #[command(after_help = "Example: sigilo admin clinic hours show --clinic ejemplo")]
    Show(Show),
    /// Changes the hours. What is not named stays; with --user, the clinician is there only then.
    #[command(
        after_help = "Example: sigilo admin clinic hours set --clinic ejemplo --every-day 08:00-22:00 \
        --day sat=09:00-13:00 --day sun=closed"
    )]
    Set(Set),
    /// Gives a date hours of its own: closed, unless --windows says otherwise.
    #[command(
        after_help = "Example: sigilo admin clinic hours holiday --clinic ejemplo --date 2026-12-25 --reason Navidad"
    )]
    Holiday(Holiday),
    /// Gives a date the hours of its day of the week again.
    #[command(
        after_help = "Example: sigilo admin clinic hours no-holiday --clinic ejemplo --date 2026-12-25"
    )]
    NoHoliday(NoHoliday),
    /// Takes a clinician's own hours away: they are there whenever the clinic is.
    #[command(after_help = "Example: sigilo admin clinic hours clear --clinic ejemplo --user ID")]
    Clear(Clear),
}

/// Whose hours.
#[derive(Debug, Args)]
pub struct Whose {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// A clinician, by id; without it, the clinic itself.
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// `sigilo admin clinic hours show`
#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    whose: Whose,
}

/// `sigilo admin clinic hours set`
#[derive(Debug, Args)]
pub struct Set {
    /// The IANA time zone in which the hours are read.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// The windows of every day: 08:00-22:00, several with commas between, or closed.
    #[arg(long, value_name = "WINDOWS", value_parser = hours::every_day)]
    every_day: Option<Weekly>,
    /// The windows of one day: sat=09:00-13:00 or sun=closed. May be repeated.
    #[arg(long, value_name = "DAY=WINDOWS", value_parser = day)]
    day: Vec<(String, Windows)>,
    #[command(flatten)]
    whose: Whose,
}

/// `sigilo admin clinic hours holiday`
#[derive(Debug, Args)]
pub struct Holiday {
    /// The date, YYYY-MM-DD.
    #[arg(long)]
    date: String,
    /// Its windows: 09:00-13:00, several with commas between, or closed.
    #[arg(long, default_value = "closed", value_parser = windows)]
    windows: Windows,
    /// Why, for people to read. Say nothing of persons.
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    whose: Whose,
}

/// `sigilo admin clinic hours no-holiday`
#[derive(Debug, Args)]
pub struct NoHoliday {
    /// The date, YYYY-MM-DD.
    #[arg(long)]
    date: String,
    #[command(flatten)]
    whose: Whose,
}

/// `sigilo admin clinic hours clear`
#[derive(Debug, Args)]
pub struct Clear {
    #[command(flatten)]
    whose: Whose,
}

/// The windows of a day as one argument.
#[derive(Clone, Debug)]
struct Windows(Vec<DayWindow>);

fn windows(text: &str) -> Result<Windows, String> {
    hours::windows_of(text).map(Windows)
}

fn day(text: &str) -> Result<(String, Windows), String> {
    let (day, windows) = text
        .split_once('=')
        .ok_or_else(|| format!("'{text}' is not DAY=WINDOWS: write for example sat=09:00-13:00"))?;
    Ok((day.to_owned(), self::windows(windows)?))
}

impl Hours {
    pub(super) async fn run(self) -> Result<Outcome> {
        let whose = self.whose();
        let beside = Beside::open(&whose.config).await?;
        let came_of_it = match beside.clinic(&whose.clinic).await {
            Ok(ctx) => self.answer(&beside, &ctx).await,
            Err(error) => Err(error),
        };
        beside.close().await;
        finish(whose.json, came_of_it)
    }

    const fn whose(&self) -> &Whose {
        match self {
            Self::Show(Show { whose })
            | Self::Set(Set { whose, .. })
            | Self::Holiday(Holiday { whose, .. })
            | Self::NoHoliday(NoHoliday { whose, .. })
            | Self::Clear(Clear { whose }) => whose,
        }
    }

    async fn answer(&self, beside: &Beside, ctx: &Ctx) -> Result<Answer> {
        let (app, user) = (&*beside.app, self.whose().user);
        let grant = || hours::authorize_manage_hours(app, ctx);
        match self {
            Self::Show(_) => shown(&hours::get(app, ctx, grant().await?, user).await?),
            Self::Set(command) => {
                let before = hours::get(app, ctx, grant().await?, user).await?;
                shown(&hours::set(app, ctx, grant().await?, user, &command.change(before)).await?)
            }
            Self::Holiday(Holiday { date, windows, reason, .. }) => {
                let day = SetDay { windows: windows.0.clone(), reason: reason.clone() };
                let set = hours::set_day(app, ctx, grant().await?, user, (date, &day)).await?;
                let text = format!("From now on {}", line(&set));
                Ok(Answer { json: serde_json::to_value(set).map_err(Error::internal)?, text })
            }
            Self::NoHoliday(NoHoliday { date, .. }) => {
                hours::remove_day(app, ctx, grant().await?, user, date).await?;
                let text = format!("{date} has the hours of its day of the week again.");
                Ok(Answer { json: json!({"date": date}), text })
            }
            Self::Clear(_) => {
                let user = user.ok_or_else(|| Error::field("user", "name the clinician"))?;
                hours::clear(app, ctx, grant().await?, user).await?;
                let text = "From now on they are there whenever the clinic is.".to_owned();
                Ok(Answer { json: json!({"user_id": user}), text })
            }
        }
    }
}

impl Set {
    /// What is to be, given what is.
    fn change(&self, before: ChatHours) -> SetHours {
        let mut weekly = self.every_day.clone().or(before.weekly);
        for (day, windows) in &self.day {
            weekly.get_or_insert_default().insert(day.clone(), windows.0.clone());
        }
        SetHours { time_zone: self.time_zone.clone().or(Some(before.time_zone)), weekly }
    }
}

fn shown(hours: &ChatHours) -> Result<Answer> {
    let mut text = format!("In {}:\n", hours.time_zone);
    for day in ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] {
        let windows = match &hours.weekly {
            Some(weekly) => written(weekly.get(day).map_or(&[], Vec::as_slice)),
            None => "whenever the clinic is open".to_owned(),
        };
        text.push_str(&format!("  {day}  {windows}\n"));
    }
    for exception in &hours.exceptions {
        text.push_str(&format!("  {}\n", line(exception)));
    }
    Ok(Answer { json: serde_json::to_value(hours).map_err(Error::internal)?, text })
}

fn line(day: &DayException) -> String {
    let reason = day.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("{}: {}{reason}", day.date, written(&day.windows))
}

fn written(windows: &[DayWindow]) -> String {
    let windows: Vec<String> = windows.iter().map(|[opens, closes]| format!("{opens}-{closes}")).collect();
    if windows.is_empty() { "closed".to_owned() } else { windows.join(", ") }
}
