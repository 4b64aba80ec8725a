//! `sigilo admin`: what the clinic's operator does beside the database.
//!
//! Every command opens the database itself, as the actor `operator`, and is audited like any other act. Beside
//! a running server this is safe on both engines: each act is one transaction, and the server asks the
//! database anew within a second.

mod anomalies;
mod appointment;
mod care_team;
mod clinic;
mod hours;
mod identity;
mod limits;
mod networks;
mod oidc;
mod on_call;
mod quarantine;
mod relationship;
mod user;

use std::sync::Arc;

use clap::Subcommand;
use sigilo_wire::TenantId;

use super::{ConfigArgs, Outcome};
use crate::{
    App, Ctx, Error, Result,
    clock::SystemClock,
    people,
    rng::SystemEntropy,
    shutdown::{self, Phase, ShutdownHandle},
};

/// Clinics, their people and what they are allowed.
#[derive(Debug, Subcommand)]
pub enum Admin {
    /// Clinics and their keys.
    #[command(
        subcommand,
        after_help = "Example: sigilo admin clinic install-keys --clinic ejemplo --file safe/clinic-keys.json"
    )]
    Clinic(clinic::Clinic),
    /// The people of a clinic.
    #[command(subcommand, after_help = "Example: sigilo admin user list --clinic ejemplo")]
    User(user::User),
    /// The appointments of a clinic.
    #[command(
        subcommand,
        after_help = "Example: sigilo admin appointment import --clinic ejemplo appointments.fhir.json"
    )]
    Appointment(appointment::Appointment),
    /// Who treats whom.
    #[command(subcommand, after_help = "Example: sigilo admin relationship list --clinic ejemplo")]
    Relationship(relationship::Relationship),
    /// Teams of clinicians, and the patients assigned to them.
    #[command(subcommand, after_help = "Example: sigilo admin care-team list --clinic ejemplo")]
    CareTeam(care_team::CareTeam),
    /// Who is called in an emergency.
    #[command(subcommand, after_help = "Example: sigilo admin on-call list --clinic ejemplo")]
    OnCall(on_call::OnCall),
    /// Files that were found infected.
    #[command(subcommand, after_help = "Example: sigilo admin quarantine list --clinic ejemplo")]
    Quarantine(quarantine::Quarantine),
}

impl Admin {
    pub(super) async fn run(self) -> Result<Outcome> {
        match self {
            Self::Clinic(command) => command.run().await,
            Self::User(command) => command.run().await,
            Self::Appointment(command) => command.run().await,
            Self::Relationship(command) => command.run().await,
            Self::CareTeam(command) => command.run().await,
            Self::OnCall(command) => command.run().await,
            Self::Quarantine(command) => command.run().await,
        }
    }
}

/// The stores, opened beside the server.
pub(super) struct Beside {
    pub(super) app: Arc<App>,
    phase: ShutdownHandle,
}

impl Beside {
    /// Opens the stores of a configuration.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub(super) async fn open(config: &ConfigArgs) -> Result<Self> {
        let (phase, shutdown) = shutdown::channel();
        let app = App::open(config.load()?, Arc::new(SystemClock), Arc::new(SystemEntropy), shutdown).await?;
        Ok(Self { app, phase })
    }

    /// The operator's context in the clinic of an id or slug.
    ///
    /// # Errors
    /// `invalid_field` when there is no such clinic.
    pub(super) async fn clinic(&self, clinic: &str) -> Result<Ctx> {
        match people::clinic_id(&self.app, clinic).await {
            Ok(tenant) => Ok(self.ctx(tenant)),
            Err(Error::NotFound) => Err(Error::field("clinic", format!("there is no clinic '{clinic}'"))),
            Err(error) => Err(error),
        }
    }

    /// The operator's context in a clinic.
    pub(super) fn ctx(&self, tenant: TenantId) -> Ctx {
        Ctx::operator(&self.app, tenant)
    }

    /// Closes the stores.
    pub(super) async fn close(self) {
        self.phase.send_replace(Phase::Stopped);
        self.app.close().await;
    }
}
