//! `sigilo bench`: the load tool. It measures the program itself, as a child process, through its public API.

mod ceiling;
mod connections;
mod echo;
mod ground;
mod load;
mod machine;
mod pace;
mod policy;
mod process;
mod progress;
mod provision;
mod relay;
mod report;
mod sign;
mod socket;
mod stats;
pub(crate) mod store;
mod vault;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::Outcome;
use crate::Result;

/// Measures the server under load.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sends and delivers messages between pairs of devices, beside what storage and sockets can do at best.
    #[command(after_help = "Example: sigilo bench relay --engine sqlite --pairs 32 --seconds 10 --json")]
    Relay(relay::Relay),
    /// Holds thousands of silent sockets open: the memory each takes, and the delivery times beside them.
    #[command(after_help = "Example: sigilo bench connections --connections 20000")]
    Connections(connections::Connections),
    /// Asks the rules about thousands of conversations that are kept in memory, and says what of a send that is.
    #[command(after_help = "Example: sigilo bench policy --relationships 10000 --json")]
    Policy(policy::Policy),
    /// Uploads files, has them scanned and downloads them, beside what clamd, the processor and the disk can do at best.
    #[command(after_help = "Example: sigilo bench vault --engine sqlite --files 24 --json")]
    Vault(vault::Vault),
    /// The echoing server of the socket ceiling.
    #[command(hide = true)]
    Echo(echo::Echo),
}

impl Bench {
    pub(super) async fn run(self) -> Result<Outcome> {
        match self.what {
            What::Relay(relay) => relay.run().await,
            What::Connections(connections) => connections.run().await,
            What::Policy(policy) => policy.run().await,
            What::Vault(vault) => vault.run().await,
            What::Echo(echo) => echo.run().await,
        }
    }
}

/// How messages are sent. They are always received over WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Transport {
    /// `send_message` frames, several unanswered.
    Ws,
    /// POST requests, one after the other on each device.
    Http,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ws => "WebSocket",
            Self::Http => "HTTP",
        })
    }
}
