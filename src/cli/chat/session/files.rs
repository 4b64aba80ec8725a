//! Files: sent and saved in the background, so that the chat goes on.

use std::path::{Path, PathBuf};

use sigilo_client::{Error as ClientError, NewAttachment, SavedFile, SendOptions, Sent, TransferProgress};
use sigilo_wire::{
    FileId,
    event::EventType,
    vault::{FileChanged, Handling, StoredFile},
};
use tokio::sync::mpsc;

use super::Session;
use crate::cli::chat::{
    files::{FileToSend, Files, WhichFile},
    output::{FileLine, Output, QuarantineLine, ReleaseLine},
};

/// How many files are listed.
const LISTED: u32 = 100;
/// Of how many parts a way is told.
const STEPS: u64 = 10;

/// What a transfer has to say.
pub(super) enum Transfer {
    /// How far it is.
    Progress(String, TransferProgress),
    /// A file was sent, as far as it came.
    Sent(String, Result<Sent, ClientError>),
    /// A file was saved.
    Saved(String, Result<SavedFile, ClientError>),
}

/// The transfers of a chat.
pub(super) struct Transfers(mpsc::UnboundedSender<Transfer>);

impl Transfers {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Transfer>) {
        let (sender, news) = mpsc::unbounded_channel();
        (Self(sender), news)
    }

    /// Tells how far a transfer is: at each tenth.
    fn teller(&self, name: &str) -> impl FnMut(&TransferProgress) + Send + 'static {
        let (sender, name) = (self.0.clone(), name.to_owned());
        let mut told = None;
        move |progress| {
            let step = progress.done * STEPS / progress.total.max(1);
            if told.replace(step) != Some(step) {
                drop(sender.send(Transfer::Progress(name.clone(), *progress)));
            }
        }
    }
}

impl Session {
    pub(super) async fn files(&mut self, files: Files) -> Result<(), ClientError> {
        match files {
            Files::Send(file) => self.send_file(file),
            Files::List => {
                let results = self.list_files().await?;
                self.screen.show(&Output::Files { results });
                Ok(())
            }
            Files::Save(which, path) => self.save_file(which, path).await,
            Files::About(which) => {
                let file_id = self.file(which).await?;
                self.show_file(file_id).await
            }
            Files::Consent(which, allowed) => {
                let file_id = self.file(which).await?;
                self.client.consent_to_file(file_id, allowed).await?;
                self.note(if allowed {
                    "other clinicians of this conversation may open it"
                } else {
                    "other clinicians of this conversation may not open it"
                });
                Ok(())
            }
            Files::Rescan(which) => {
                let file_id = self.file(which).await?;
                self.client.rescan_file(file_id).await?;
                self.note("it is scanned again");
                Ok(())
            }
            Files::Quarantine => {
                let files = self.client.quarantine().await?;
                let results = files.into_iter().map(|file| self.quarantined(file)).collect();
                self.screen.show(&Output::Quarantine { results });
                Ok(())
            }
            Files::Release(file_id) => {
                let file = self.client.release_file(file_id).await?;
                let signed = file.releases.len();
                self.note(&format!("you signed; {signed} of 2 have"));
                Ok(())
            }
            Files::Destroy(file_id) => {
                self.client.destroy_file(file_id).await?;
                self.note("it is destroyed");
                Ok(())
            }
        }
    }

    fn send_file(&self, file: FileToSend) -> Result<(), ClientError> {
        let conversation = self.opened()?;
        let mut new = NewAttachment::new(&file.path);
        new.text = file.text;
        new.document_type = file.document_type;
        new.handling = Handling { requires_patient_consent: file.consent, ..Handling::default() };
        let name = shown_name(Path::new(&file.path));
        let (client, sender, tell) =
            (self.client.clone(), self.transfers.0.clone(), self.transfers.teller(&name));
        tokio::spawn(async move {
            let sent = client.send_file(conversation, new, SendOptions::default(), tell).await;
            let _chat_over = sender.send(Transfer::Sent(name, sent));
        });
        Ok(())
    }

    async fn save_file(&self, which: WhichFile, path: String) -> Result<(), ClientError> {
        let file_id = self.file(which).await?;
        let mut target = PathBuf::from(path);
        if target.is_dir() {
            // The sender's name, without any folder in it.
            let files = self.client.files(self.opened()?, LISTED).await?;
            let named = files.iter().find(|file| file.file_id == file_id);
            let name = named.map_or_else(|| file_id.to_string(), |file| shown_name(Path::new(&file.name)));
            target.push(name);
        }
        let name = shown_name(&target);
        let (client, sender, tell) =
            (self.client.clone(), self.transfers.0.clone(), self.transfers.teller(&name));
        tokio::spawn(async move {
            let saved = client.save_file(file_id, target, tell).await;
            let _chat_over = sender.send(Transfer::Saved(name, saved));
        });
        Ok(())
    }

    /// Shows what a transfer has to say.
    pub(super) async fn tell_transfer(&mut self, news: Transfer) {
        match news {
            Transfer::Progress(name, TransferProgress { done, total }) => {
                self.screen.show(&Output::Transfer { name, done, total });
            }
            Transfer::Sent(_, Ok(sent)) => {
                if let Err(error) = self.show_sent(sent) {
                    self.screen.show(&Output::error(&error));
                }
            }
            Transfer::Saved(_, Ok(saved)) => {
                let SavedFile { path, size, released, .. } = saved;
                let released = released.map(|(finding, by)| ReleaseLine { finding, by: self.releasers(&by) });
                let path = path.display().to_string();
                self.screen.show(&Output::Saved { path, size, released });
            }
            Transfer::Sent(name, Err(error)) | Transfer::Saved(name, Err(error)) => {
                if let Ok(verdict) = self.client.check_refusal(&error).await {
                    self.doubt(&verdict);
                }
                self.note(&format!("{name}:"));
                self.screen.show(&Output::error(&error));
            }
        }
    }

    /// Says what has become of a file.
    pub(super) async fn file_changed(&self, event: EventType, changed: &FileChanged) {
        let named = self.client.file_name(changed.file_id).await.ok().flatten();
        let name = named.unwrap_or_else(|| format!("file {}", changed.file_id));
        let output = if event == EventType::FileRecalled {
            let text = format!(
                "{name} is RECALLED: something was found in it. Do not open it, delete what you saved of it."
            );
            Output::Recalled { file_id: changed.file_id, text }
        } else {
            Output::FileChanged { file_id: changed.file_id, name, event, scan: changed.virus_scan }
        };
        self.screen.show(&output);
    }

    async fn list_files(&self) -> Result<Vec<FileLine>, ClientError> {
        let files = self.client.files(self.opened()?, LISTED).await?;
        Ok(files.into_iter().enumerate().map(|(place, file)| FileLine::of(place + 1, file)).collect())
    }

    async fn file(&self, which: WhichFile) -> Result<FileId, ClientError> {
        match which {
            WhichFile::Id(id) => Ok(id),
            WhichFile::Number(number) => {
                let files = self.list_files().await?;
                let file = files.get(number.wrapping_sub(1)).ok_or(ClientError::Unknown("this file"))?;
                Ok(file.file_id)
            }
        }
    }

    async fn show_file(&self, file_id: FileId) -> Result<(), ClientError> {
        let details = self.client.file(file_id).await?;
        let finding = match &details.found {
            Some(sigilo_seal::ScanResult::Infected(name)) => Some(name.clone()),
            _ => None,
        };
        let by = self.releasers(&details.released);
        self.screen.show(&Output::File {
            file_id,
            scan: details.file.virus_scan,
            status: details.file.status,
            finding,
            scanned_by: details
                .scanned
                .as_ref()
                .map(|(engine, database, _)| format!("{engine} {database}").trim().to_owned()),
            scanned_at: details.scanned.as_ref().map(|(_, _, at)| *at),
            released_by: by,
            older_verdict: details.older_verdict,
            downloads: details.file.downloads,
            patient_consents: details.file.patient_consents,
            handling: details.file.handling.clone(),
            problem: details.problem,
        });
        Ok(())
    }

    fn releasers(&self, by: &[sigilo_client::Released]) -> Vec<String> {
        let shown = |who: &sigilo_client::Released| {
            let name = who.name.clone().unwrap_or_else(|| self.name(who.user));
            if who.verified { name } else { format!("{name} (unverified)") }
        };
        by.iter().map(shown).collect()
    }

    fn quarantined(&self, file: StoredFile) -> QuarantineLine {
        QuarantineLine {
            file_id: file.file_id,
            uploader_id: file.uploader_id,
            uploader: self.name(file.uploader_id),
            mime_type: file.mime_type,
            length: file.length,
            scan: file.virus_scan,
            signatures: file.releases.len(),
            uploaded_at: file.uploaded_at,
        }
    }
}

/// The last part of a path.
fn shown_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
