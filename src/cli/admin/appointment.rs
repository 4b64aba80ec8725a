//! `sigilo admin appointment`

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand};

use super::Beside;
use crate::{
    Error, Result,
    cli::{
        ConfigArgs, Outcome,
        output::{Answer, finish},
    },
    relationships::{self, ImportReport, MAX_FILE},
};

/// The appointments of a clinic.
#[derive(Debug, Subcommand)]
pub enum Appointment {
    /// Imports people and appointments: who may talk to whom follows from them.
    ///
    /// A FHIR R4 Bundle with Patient, Practitioner and Appointment resources, or a CSV table with the columns
    /// appointment_id, status, patient_id, patient_name, clinician_id, clinician_name and optionally start, end,
    /// clinician_speciality, appointment_system, patient_system, clinician_system. Reasons for visits are never
    /// read. Importing a file again changes nothing; what cannot be taken is listed with its reason.
    #[command(
        after_help = "Example: sigilo admin appointment import --clinic ejemplo appointments.fhir.json"
    )]
    Import(Import),
}

/// `sigilo admin appointment import`
#[derive(Debug, Args)]
pub struct Import {
    /// The file.
    file: PathBuf,
    /// The clinic, by id or slug.
    #[arg(long)]
    clinic: String,
    /// One JSON document on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Appointment {
    pub(super) async fn run(self) -> Result<Outcome> {
        let Self::Import(command) = self;
        let beside = Beside::open(&command.config).await?;
        let came_of_it = command.run(&beside).await;
        beside.close().await;
        finish(command.json, came_of_it)
    }
}

impl Import {
    async fn run(&self, beside: &Beside) -> Result<Answer> {
        let wrong = |e: std::io::Error| Error::field("file", format!("{}: {e}", self.file.display()));
        if std::fs::metadata(&self.file).map_err(wrong)?.len() > MAX_FILE as u64 {
            return Err(Error::TooLarge { limit: MAX_FILE as u64 });
        }
        let records = relationships::read(&std::fs::read(&self.file).map_err(wrong)?)?;
        let ctx = beside.clinic(&self.clinic).await?;
        let grant = relationships::authorize_manage_relationships(&beside.app, &ctx)?;
        let report = relationships::import(&beside.app, &ctx, grant, records).await?;
        let json = serde_json::to_value(&report).map_err(Error::internal)?;
        Ok(Answer { json, text: describe(&report) })
    }
}

/// The report for people.
fn describe(report: &ImportReport) -> String {
    let mut text = format!(
        "people          {} new, {} changed, {} as before\n\
         appointments    {} new, {} changed, {} as before\n\
         relationships   {} made, {} ended",
        report.persons_created,
        report.persons_updated,
        report.persons_unchanged,
        report.appointments_created,
        report.appointments_updated,
        report.appointments_unchanged,
        report.relationships_made,
        report.relationships_revoked,
    );
    // Writing to a String cannot fail.
    for (what, count) in &report.passed_over {
        let _ = write!(text, "\npassed over     {what} ({count})");
    }
    for refused in &report.refused {
        let _ = write!(text, "\nrefused         {} {}: {}", refused.resource, refused.row, refused.problem);
    }
    text
}
