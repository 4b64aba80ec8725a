//! `sigilo admin clinic`

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use serde_json::json;
use sigilo_wire::{TenantId, break_glass::BreakGlassSettings, hours::Weekly};

use super::Beside;
use crate::{
    Error, Result, break_glass,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    hours,
    people::{self, CertificationRequest, ClinicKeys, NewClinic, RootCard, SecondFactorRule},
    relationships, rng,
};

/// Clinics and their keys.
#[derive(Debug, Subcommand)]
pub enum Clinic {
    /// Makes a clinic and the server's keys for it; writes what the clinic's root has to certify.
    #[command(after_help = "Example: sigilo admin clinic create --name 'Clínica Ejemplo' --slug ejemplo \
        --time-zone America/Mexico_City --out request.json")]
    Create(Create),
    /// Installs what 'sigilo records init' made: verifies every statement first. Safe to repeat.
    #[command(
        after_help = "Example: sigilo admin clinic install-keys --clinic ejemplo --file safe/clinic-keys.json"
    )]
    InstallKeys(InstallKeys),
    /// Changes a clinic's settings.
    #[command(after_help = "Example: sigilo admin clinic set --clinic ejemplo --second-factor optional")]
    Set(Set),
    /// Shows, and changes, how much the clinic's people may do in a time. What is not set is as the server has it.
    #[command(
        after_help = "Example: sigilo admin clinic limits --clinic ejemplo --clinician-messages-per-minute 90"
    )]
    Limits(super::limits::Limits),
    /// Shows, and changes, what is out of the ordinary and what is done about it.
    #[command(
        after_help = "Example: sigilo admin clinic anomalies --clinic ejemplo --kind many_conversations --action slow"
    )]
    Anomalies(super::anomalies::Anomalies),
    /// When conversations with patients are open.
    #[command(subcommand, after_help = "Example: sigilo admin clinic hours show --clinic ejemplo")]
    Hours(super::hours::Hours),
    /// From which networks people may come.
    #[command(subcommand, after_help = "Example: sigilo admin clinic networks show --clinic ejemplo")]
    Networks(super::networks::Networks),
}

/// `sigilo admin clinic create`
#[derive(Debug, Args)]
pub struct Create {
    /// The clinic's name.
    #[arg(long)]
    name: String,
    /// A short name for log-ins: lower-case letters, digits, hyphens.
    #[arg(long)]
    slug: String,
    /// An IANA time zone.
    #[arg(long, value_name = "ZONE")]
    time_zone: String,
    /// When conversations with patients are open, every day, in the clinic's time zone.
    #[arg(long, value_name = "FROM-TO", default_value = "08:00-22:00", value_parser = hours::every_day)]
    hours: Weekly,
    /// The local emergency number. 112 works from mobile phones in most countries.
    #[arg(long, value_name = "NUMBER", default_value = "112")]
    emergency_number: String,
    /// Whether doctors, admins, moderators and compliance officers must enrol an authenticator app before anything
    /// else: required or optional.
    #[arg(long, value_name = "RULE", default_value = "required")]
    second_factor: SecondFactorRule,
    /// Where to write the certification request; must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// `sigilo admin clinic install-keys`
#[derive(Debug, Args)]
pub struct InstallKeys {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// clinic-keys.json of 'sigilo records init'.
    #[arg(long)]
    file: PathBuf,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// `sigilo admin clinic set`
#[derive(Debug, Args)]
pub struct Set {
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// Whether doctors, admins, moderators and compliance officers must enrol an authenticator app before anything
    /// else: required or optional.
    #[arg(long, value_name = "RULE", required_unless_present = "break_glass")]
    second_factor: Option<SecondFactorRule>,
    /// How long a use of break-glass lasts: 600 to 86400.
    #[arg(long, value_name = "SECONDS")]
    break_glass: Option<u32>,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Set {
    async fn run(&self, beside: &Beside) -> Result<Answer> {
        let ctx = beside.clinic(&self.clinic).await?;
        let app = &beside.app;
        let mut json = json!({"clinic_id": ctx.tenant});
        let mut lines = Vec::new();
        if let Some(break_glass_s) = self.break_glass {
            let grant = relationships::authorize_manage_relationships(app, &ctx)?;
            let change = BreakGlassSettings { break_glass_s };
            break_glass::change_settings(app, &ctx, grant, change).await?;
            lines.push(format!("From now on a use of break-glass lasts {break_glass_s} seconds."));
            json["break_glass_s"] = json!(break_glass_s);
        }
        if let Some(rule) = self.second_factor {
            let grant = people::authorize_manage_clinic(app, &ctx)?;
            people::set_second_factor(app, &ctx, grant, rule).await?;
            let text = match rule {
                SecondFactorRule::Required => {
                    "From now on these roles enrol a second factor before anything else."
                }
                SecondFactorRule::Optional => "From now on nobody has to enrol a second factor.",
            };
            lines.push(text.to_owned());
            json["second_factor"] = json!(rule);
        }
        Ok(Answer { json, text: lines.join("\n") })
    }
}

impl Clinic {
    pub(super) async fn run(self) -> Result<Outcome> {
        match self {
            Self::Hours(command) => command.run().await,
            Self::Limits(command) => command.run().await,
            Self::Anomalies(command) => command.run().await,
            Self::Networks(command) => command.run().await,
            Self::Create(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.run(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
            Self::Set(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.run(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
            Self::InstallKeys(command) => {
                let beside = Beside::open(&command.config).await?;
                let came_of_it = command.run(&beside).await;
                beside.close().await;
                finish(command.json, came_of_it)
            }
        }
    }
}

impl Create {
    async fn run(&self, beside: &Beside) -> Result<Answer> {
        // First the file: a clinic whose request cannot be written is of no use.
        let mut out =
            OpenOptions::new().write(true).create_new(true).open(&self.out).map_err(|error| {
                Error::field("out", format!("cannot write {}: {error}", self.out.display()))
            })?;
        let request = match self.create(beside).await {
            Ok(request) => request,
            Err(error) => {
                // Ours and empty; if it stays, the next attempt says so.
                let _ = fs::remove_file(&self.out);
                return Err(error);
            }
        };
        let content = serde_json::to_string_pretty(&request).map_err(Error::internal)?;
        out.write_all(content.as_bytes())
            .and_then(|()| out.sync_all())
            .map_err(|error| Error::internal(format!("cannot write {}: {error}", self.out.display())))?;
        let out = self.out.display();
        Ok(Answer {
            json: json!({"clinic_id": request.clinic_id, "slug": request.slug, "request": self.out}),
            text: format!(
                "Clinic {} ({}) was made.\n\nNext, on an offline machine:  sigilo records init --request {out} --out DIR\n\
                 then here:  sigilo admin clinic install-keys --clinic {} --file DIR/clinic-keys.json",
                request.clinic_id, request.slug, request.slug
            ),
        })
    }

    async fn create(&self, beside: &Beside) -> Result<CertificationRequest> {
        let app = &*beside.app;
        let ctx = beside.ctx(TenantId::new(app.clock.now(), rng::bytes(&*app.entropy)));
        let grant = people::authorize_manage_clinic(app, &ctx)?;
        let new = NewClinic {
            name: self.name.clone(),
            slug: self.slug.clone(),
            time_zone: self.time_zone.clone(),
            hours: self.hours.clone(),
            emergency_number: self.emergency_number.clone(),
            second_factor: self.second_factor,
        };
        people::create_clinic(app, &ctx, grant, &new).await
    }
}

impl InstallKeys {
    async fn run(&self, beside: &Beside) -> Result<Answer> {
        let keys: ClinicKeys = read_json(&self.file)?;
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = people::authorize_manage_clinic(&beside.app, &ctx)?;
        let installed = people::install_keys(&beside.app, &ctx, grant, &keys).await?;
        let card = RootCard { clinic: ctx.tenant, root: installed.root };
        let what = if installed.changed { "Installed" } else { "Nothing to do: these keys are installed" };
        Ok(Answer {
            json: json!({
                "clinic_id": ctx.tenant, "changed": installed.changed, "root_card": card.uri(),
                "root_groups": card.groups(),
            }),
            text: format!("{what}. Compare the root with the root card:\n\n    {}", card.groups()),
        })
    }
}

/// Reads a JSON file of a few kilobytes.
fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let wrong = |error: &dyn std::fmt::Display| Error::field("file", format!("{}: {error}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    serde_json::from_str(&text).map_err(|error| wrong(&error))
}
