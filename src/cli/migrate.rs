//! `sigilo migrate`

use clap::Args;

use super::{ConfigArgs, Outcome, output};
use crate::{
    Result,
    storage::{
        Db,
        gate::{self, Schema, Store},
    },
};

/// Brings the databases to this program's schema.
#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    config: ConfigArgs,
    /// Only says whether they have it; exit status 1 when not.
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<Outcome> {
        let config = self.config.load()?;
        if !self.check {
            config.prepare_data_dir()?;
        }
        let mut outcome = Outcome::Done;
        for (name, url, store) in [
            ("database", config.database_url()?, Store::Main),
            ("key store", config.keystore_url()?, Store::Keys),
        ] {
            let db = if self.check { Db::open_existing(&url).await? } else { Db::open(&url).await? };
            let before = gate::compare(&db, store).await?;
            if self.check {
                report(name, &before)?;
                if before != Schema::Current {
                    outcome = Outcome::No;
                }
            } else {
                gate::migrate(&db, store).await?;
                report(name, &gate::compare(&db, store).await?)?;
            }
            db.close().await;
        }
        Ok(outcome)
    }
}

fn report(name: &str, schema: &Schema) -> Result<()> {
    match schema {
        Schema::Current => output::say(format_args!("{name}: current")),
        other => output::say(format_args!("{name}: {}", gate::explain(other))),
    }
}
