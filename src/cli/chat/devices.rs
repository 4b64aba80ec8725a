//! The account's devices in the chat: listed, linked, removed.

use sigilo_client::{Client, Error as ClientError, LinkOptions, LinkText, ServerUrl};
use sigilo_wire::DeviceNumber;

use super::{Chat, output::Output, screen::Screen, session::Session, unlock};

impl Chat {
    /// Shows what the other device needs, and waits for it.
    pub(super) async fn link(&self, passphrase: &str) -> Result<Client, ClientError> {
        self.make_folder()?;
        let server: ServerUrl = self.server.as_deref().unwrap_or_default().parse()?;
        let mut options = LinkOptions::new(server);
        options.device_name.clone_from(&self.device_name);
        let linking = Client::begin_link(self.file(), unlock(passphrase), options);
        let (text, code) = (linking.text().to_string(), linking.code());
        Screen::plain(self.json).show(&Output::Link { text, code });
        linking.finish().await
    }
}

impl Session {
    pub(super) async fn show_devices(&self) -> Result<(), ClientError> {
        let results = self.client.devices().await?;
        self.screen.show(&Output::Devices { results });
        Ok(())
    }

    /// Shows the code of a device that wants to be linked; nothing is done yet.
    pub(super) fn read_link(&mut self, text: &str) -> Result<(), ClientError> {
        let link: LinkText = text.parse()?;
        self.screen.show(&Output::LinkCode { code: link.code() });
        self.linking = Some(link);
        Ok(())
    }

    /// The code was compared, and the passphrase typed: links the device.
    pub(super) async fn approve_link(&mut self, passphrase: &str) -> Result<(), ClientError> {
        let link = self.linking.clone().ok_or(ClientError::Link("/link TEXT first, and compare the code"))?;
        let device: DeviceNumber = self.client.approve_link(link, unlock(passphrase)).await?;
        self.linking = None;
        self.screen.show(&Output::Linked { device });
        Ok(())
    }
}
