//! The account: its password, and the end of its devices and sessions.

use sigilo_client::Error as ClientError;
use sigilo_wire::{
    anomaly::{AnomalyAction, AnomalyRaised},
    event::NewPlace,
};
use zeroize::Zeroizing;

use super::Session;
use crate::cli::chat::command::WhichDevice;

impl Session {
    /// The current password; the new one is asked for on a line of its own, because either may have spaces.
    pub(super) fn take_password(&mut self, current: String) {
        self.password = Some(Zeroizing::new(current));
        self.note("now /new-password NEW; anything may be in it, spaces too");
    }

    pub(super) async fn change_password(&mut self, new: String) -> Result<(), ClientError> {
        let current = self.password.take().ok_or(ClientError::Content("/password CURRENT first"))?;
        self.client.change_password(current.as_str(), new).await?;
        self.note("the password is changed; your other devices have to log in again");
        Ok(())
    }

    pub(super) async fn remove_device(&mut self, which: WhichDevice) -> Result<(), ClientError> {
        match which {
            WhichDevice::Number(number) => self.client.remove_device(number).await?,
            WhichDevice::Session(place) => {
                let devices = self.client.devices().await?;
                let mut sessions = devices.iter().filter(|device| device.device_id.is_none());
                let session = place.checked_sub(1).and_then(|place| sessions.nth(place));
                let session = session.ok_or(ClientError::Unknown("this session"))?;
                self.client.end_session(session.id).await?;
            }
        }
        self.show_devices().await
    }

    /// Word of a log-in from elsewhere, with what the list of devices calls the one that did it.
    pub(super) async fn new_place(&self, place: NewPlace) -> String {
        let devices = self.client.devices().await.unwrap_or_default();
        let name = devices.into_iter().find(|device| device.id == place.device).map(|device| device.name);
        let name = name.filter(|name| !name.is_empty()).map(|name| format!(" '{name}'")).unwrap_or_default();
        let (kind, at) = (place.kind, place.at);
        format!(
            "Your account was logged in to from a new place: a {kind} device{name}, {at}. Was it not you? /devices, and tell the clinic."
        )
    }

    /// Word of what somebody's devices did.
    pub(super) fn anomaly(&self, raised: &AnomalyRaised) -> String {
        let (what, who) = (raised.kind.as_str().replace('_', " "), self.name(raised.user_id));
        let done = match raised.action {
            AnomalyAction::Off | AnomalyAction::Flag => "nothing was done about it yet",
            AnomalyAction::Slow => "their limits are a tenth for an hour",
            AnomalyAction::Suspend => "the account is suspended",
        };
        format!(
            "Out of the ordinary ({what}), by {who}: {done}. It waits for a review ({}).",
            raised.anomaly_id
        )
    }
}
