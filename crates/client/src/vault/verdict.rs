//! What the newest verdict on a file comes to. The newest this device has seen is kept, and an older one never counts
//! again: a server that shows one, to have a recalled file opened, is noticed.

use sigilo_seal::{
    FileCommitment, Release, ReleaseNeed, ScanResult, SignedReleaseStatement, SignedVerdict, VaultFile,
    Verdict, verdict::VerdictError,
};
use sigilo_wire::{
    Base64, Base64Array, FileId,
    event::EventType,
    vault::{FileChanged, FileStatus, ScanStatus, ScannerStatement, SignedRelease, StoredFile},
};

use super::{
    Brought,
    forms::{FileDetails, Released},
    records::{FileNews, OwnFile},
};
use crate::{Error, Result, engine::Engine, event::ClientEvent};

/// A verdict that counts, and whether the server showed an older one.
pub(super) struct Newest {
    pub(super) verdict: Verdict,
    pub(super) older_shown: bool,
}

impl Engine {
    /// What the server says of a file, if it is about the file the message brought.
    ///
    /// # Errors
    /// [`Error::FileRefused`].
    pub(super) async fn stored(&self, brought: &Brought) -> Result<StoredFile> {
        let file = self.api.file(brought.file_id).await?;
        let same = file.file_id == brought.file_id
            && file.sha256.0 == brought.sha256
            && file.uploader_id == brought.sender;
        if same { Ok(file) } else { Err(refused("the server describes another file under its name")) }
    }

    /// The newest verdict on a file: the server's if it verifies, unless this device has seen a newer one.
    ///
    /// # Errors
    /// [`Error::FileRefused`] when what the server shows does not verify.
    pub(super) async fn newest(&self, file: &StoredFile) -> Result<Option<Newest>> {
        let known = self.known_verdict(file).await?;
        let Some(shown) = &file.verdict else {
            let older_shown = known.is_some();
            return Ok(known.map(|verdict| Newest { verdict, older_shown }));
        };
        let verdict = self.verify_verdict(shown, file).await?;
        if let Some(known) = known.filter(|known| known.overrules(&verdict)) {
            return Ok(Some(Newest { verdict: known, older_shown: true }));
        }
        let news: Option<FileNews> = self.profile.get(file.file_id.as_bytes()).await?;
        let recalled_at = news.and_then(|news| news.recalled_at);
        if verdict.result == ScanResult::Clean && recalled_at.is_some_and(|at| verdict.scanned_at <= at) {
            return Ok(Some(Newest { verdict, older_shown: true }));
        }
        self.keep_verdict(file, &verdict, shown).await?;
        Ok(Some(Newest { verdict, older_shown: false }))
    }

    async fn known_verdict(&self, file: &StoredFile) -> Result<Option<Verdict>> {
        let news: Option<FileNews> = self.profile.get(file.file_id.as_bytes()).await?;
        let Some(statement) = news.and_then(|news| news.verdict) else { return Ok(None) };
        // It was verified before it was kept.
        Verdict::decode(&statement.statement).map(Some).map_err(|error| Error::Profile(error.to_string()))
    }

    async fn keep_verdict(
        &self,
        file: &StoredFile,
        verdict: &Verdict,
        shown: &ScannerStatement,
    ) -> Result<()> {
        let news: Option<FileNews> = self.profile.get(file.file_id.as_bytes()).await?;
        if news.as_ref().and_then(|news| news.verdict.as_ref()) == Some(shown) {
            return Ok(());
        }
        let before = news.as_ref().and_then(|news| news.verdict.as_ref());
        let before = before.and_then(|before| Verdict::decode(&before.statement).ok());
        let was_clean = before.is_some_and(|before| before.result == ScanResult::Clean);
        let recalled_at = news.and_then(|news| news.recalled_at).or(was_clean.then(|| self.env.now()));
        self.profile
            .put(&FileNews {
                file_id: file.file_id,
                scan: scan_status(&verdict.result),
                verdict: Some(shown.clone()),
                recalled_at: recalled_at.filter(|_| verdict.result != ScanResult::Clean),
            })
            .await
    }

    /// A verdict under any scanner key the clinic's root vouched for that was in force at its time.
    async fn verify_verdict(&self, shown: &ScannerStatement, file: &StoredFile) -> Result<Verdict> {
        let signed = SignedVerdict { statement: shown.statement.to_vec(), signature: shown.signature.0 };
        let subject = VaultFile {
            tenant: self.account()?.tenant,
            file_id: file.file_id,
            blob_sha256: file.sha256.0,
            commitment: FileCommitment(file.commitment.0),
        };
        match self.verify_under_known(&signed, &subject).await? {
            Ok(verdict) => Ok(verdict),
            // A scanner key this device has not heard of yet.
            Err(VerdictError::Signature | VerdictError::Scanner(_)) => {
                self.refresh_clinic().await?;
                self.verify_under_known(&signed, &subject).await?.map_err(refused)
            }
            Err(error) => Err(refused(error)),
        }
    }

    async fn verify_under_known(
        &self,
        signed: &SignedVerdict,
        file: &VaultFile,
    ) -> Result<std::result::Result<Verdict, VerdictError>> {
        let mut last = Err(VerdictError::Signature);
        for scanner in self.scanner_keys().await? {
            match signed.verify(&scanner, file, self.env.now()) {
                Ok(verdict) => return Ok(Ok(verdict)),
                // Of another key; any other reason says more.
                Err(VerdictError::Signature) => {}
                Err(error) => last = Err(error),
            }
        }
        Ok(last)
    }

    /// The two who released a file from a finding, if two did whose words verify.
    ///
    /// # Errors
    /// Those of the profile and the connection.
    pub(super) async fn released_by(
        &self,
        verdict: &Verdict,
        file: &StoredFile,
    ) -> Result<Option<[Released; 2]>> {
        let words: Vec<SignedReleaseStatement> = file.releases.iter().map(statement_of).collect();
        for (place, first) in words.iter().enumerate() {
            for second in words.iter().skip(place + 1) {
                let release = Release { first: first.clone(), second: second.clone() };
                if let Some(both) = self.verify_release(&release, verdict, file).await? {
                    return Ok(Some(both));
                }
            }
        }
        Ok(None)
    }

    async fn verify_release(
        &self,
        release: &Release,
        verdict: &Verdict,
        file: &StoredFile,
    ) -> Result<Option<[Released; 2]>> {
        let Ok([first, second]) = release.signers() else { return Ok(None) };
        let people = (self.contact(first).await, self.contact(second).await);
        let (first, second) = match people {
            (Ok(first), Ok(second)) => (first, second),
            (Err(error), _) | (_, Err(error)) if error.is_for_later() => return Err(error),
            // Whose keys do not verify has said nothing.
            _ => return Ok(None),
        };
        let need = ReleaseNeed { verdict, uploader: file.uploader_id };
        let Ok(said) = release.verify(&need, [&first.identity, &second.identity]) else { return Ok(None) };
        let mut people = [first, second].into_iter().zip(said).map(|(contact, said)| Released {
            user: contact.user,
            name: contact.name.clone(),
            verified: contact.verified,
            signed_at: said.signed_at,
        });
        Ok(people.next().zip(people.next()).map(|(first, second)| [first, second]))
    }

    /// Whether a file may be opened now, and who released it from what was found.
    ///
    /// # Errors
    /// [`Error::FileWaits`], [`Error::FileRefused`].
    pub(super) async fn may_open(&self, file: &StoredFile) -> Result<(Verdict, Vec<Released>)> {
        match file.status {
            FileStatus::Expired => return Err(refused("its time is over")),
            FileStatus::Destroyed => return Err(refused("it was destroyed")),
            FileStatus::Active | FileStatus::Quarantined => {}
        }
        let Some(Newest { verdict, older_shown }) = self.newest(file).await? else {
            return Err(Error::FileWaits(file.virus_scan));
        };
        let released = match &verdict.result {
            ScanResult::Clean if older_shown => {
                return Err(refused("it was recalled; the server shows a verdict of before, or none"));
            }
            ScanResult::Clean => Vec::new(),
            ScanResult::Refused(refusal) => {
                return Err(refused(format!("the scan refused it: {}", refusal.as_str())));
            }
            ScanResult::Infected(name) => match self.released_by(&verdict, file).await? {
                Some(both) => both.to_vec(),
                None if older_shown => {
                    let problem = format!("{name} was found in it; the server shows an older verdict");
                    return Err(refused(problem));
                }
                None => return Err(refused(format!("{name} was found in it"))),
            },
        };
        Ok((verdict, released))
    }

    /// What the server says of a file, with what its newest verdict comes to.
    pub(crate) async fn file_details(&self, id: FileId) -> Result<FileDetails> {
        let file = match self.brought(id).await {
            Ok(brought) => self.stored(&brought).await?,
            Err(Error::Unknown(_)) => self.quarantined(id).await?,
            Err(error) => return Err(error),
        };
        let newest = self.newest(&file).await?;
        let opened = self.may_open(&file).await;
        let (released, problem) = match opened {
            Ok((_, released)) => (released, None),
            Err(error) if error.is_for_later() => return Err(error),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let older_verdict = newest.as_ref().is_some_and(|newest| newest.older_shown);
        let verdict = newest.map(|newest| newest.verdict);
        let scanned = verdict.as_ref().map(|v| (v.engine.clone(), v.database.clone(), v.scanned_at));
        let found = verdict.map(|verdict| verdict.result);
        Ok(FileDetails { file, found, scanned, released, older_verdict, problem })
    }

    /// A file in quarantine: moderators see those whose messages they have not.
    async fn quarantined(&self, id: FileId) -> Result<StoredFile> {
        let files = self.api.quarantine().await?;
        files.into_iter().find(|file| file.file_id == id).ok_or(Error::Unknown("this file"))
    }

    /// Signs that the finding in a file is false.
    pub(crate) async fn release_file(&self, id: FileId) -> Result<StoredFile> {
        let file = self.quarantined(id).await?;
        let Some(Newest { verdict, .. }) = self.newest(&file).await? else {
            return Err(Error::FileWaits(file.virus_scan));
        };
        if !matches!(verdict.result, ScanResult::Infected(_)) {
            return Err(refused("only a finding can be released"));
        }
        let statement = sigilo_seal::ReleaseStatement::new(&verdict, self.account()?.user, self.env.now());
        let signed = statement.sign(&self.identity().await?, &mut self.env.rng());
        let signed =
            SignedRelease { statement: Base64(signed.statement), signature: Base64Array(signed.signature) };
        self.api.release(id, &signed).await
    }

    /// News of a file: looks for its newest verdict, so that an older one never counts again, and forgets what was fetched
    /// of a file that is not to be opened any more.
    pub(crate) async fn file_changed(&self, event: EventType, changed: FileChanged) -> Result<()> {
        if event == EventType::RescanKeyNeeded {
            self.key_needed(changed.file_id).await?;
        }
        let known: Option<FileNews> = self.profile.get(changed.file_id.as_bytes()).await?;
        let recalled = event == EventType::FileRecalled;
        let heard = recalled.then(|| self.env.now());
        let news = FileNews {
            file_id: changed.file_id,
            scan: changed.virus_scan,
            recalled_at: known.as_ref().and_then(|news| news.recalled_at).or(heard),
            verdict: known.and_then(|news| news.verdict),
        };
        let step = self.profile.step();
        step.put(&news)?;
        if !matches!(changed.virus_scan, ScanStatus::Pending | ScanStatus::Unavailable) {
            // Its key is handed over before the first verdict only.
            step.delete::<OwnFile>(changed.file_id.as_bytes());
        }
        step.commit().await?;
        if recalled {
            self.profile.blobs().remove(changed.file_id)?;
            // Its verdict is kept, so that an older one is known for what it is.
            if let Ok(file) = self.api.file(changed.file_id).await
                && let Err(error) = self.newest(&file).await
            {
                tracing::debug!(%error, "a recall without its verdict");
            }
        }
        self.tell(ClientEvent::FileChanged { event, changed });
        Ok(())
    }
}

fn statement_of(signed: &SignedRelease) -> SignedReleaseStatement {
    SignedReleaseStatement { statement: signed.statement.to_vec(), signature: signed.signature.0 }
}

const fn scan_status(result: &ScanResult) -> ScanStatus {
    match result {
        ScanResult::Clean => ScanStatus::Clean,
        ScanResult::Refused(_) => ScanStatus::Refused,
        ScanResult::Infected(_) => ScanStatus::Infected,
    }
}

pub(super) fn refused(problem: impl std::fmt::Display) -> Error {
    Error::FileRefused(problem.to_string())
}
