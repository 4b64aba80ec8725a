//! Files made ready before anything is measured: noise that is a picture to whoever looks at its beginning, sealed,
//! its key handed over, and written out as requests.

use std::{io::Read as _, ops::Range};

use axum::body::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sigilo_seal::{FileKey, ScanKey, ScanSubject, file::io::SealReader};
use sigilo_wire::{
    Base64, Base64Array, ConversationId, TenantId, Timestamp, UploadId,
    vault::{DocumentType, Handling, NewFile, SealedScanKey},
};

use crate::{Error, Result, cli::bench::provision::Provisioned};

/// What a JPEG begins with.
const JPEG: [u8; 20] = *b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00";
/// The shortest file, in bytes: what a JPEG begins with, its number, and some noise.
pub(super) const SHORTEST: u64 = 256;

/// Files of one length. No two are alike: clamd remembers what it found clean, and does not look into it again.
pub(super) struct Noise {
    rng: ChaCha20Rng,
    base: Vec<u8>,
    made: u64,
}

impl Noise {
    /// Files of `length` bytes, [`SHORTEST`] or more.
    pub(super) fn new(seed: u64, length: usize) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut base = vec![0; length];
        rng.fill_bytes(&mut base);
        for (byte, jpeg) in base.iter_mut().zip(JPEG) {
            *byte = jpeg;
        }
        Self { rng, base, made: 0 }
    }

    /// A file that was not there before.
    pub(super) fn file(&mut self) -> Vec<u8> {
        self.made += 1;
        let mut file = self.base.clone();
        for (byte, number) in file.iter_mut().skip(JPEG.len()).zip(self.made.to_le_bytes()) {
            *byte = number;
        }
        file
    }

    /// As [`Noise::file`], sealed.
    ///
    /// # Errors
    /// When it is not sealed.
    pub(super) fn sealed(&mut self) -> Result<Sealed> {
        let file = self.file();
        let key = FileKey::generate(&mut self.rng);
        let mut sealing = SealReader::new(file.as_slice(), &key, u64::MAX, &mut self.rng);
        // As long as its segments' tags and its head make it, or a little less.
        let mut blob = Vec::with_capacity(file.len() + file.len() / 1024 + 1024);
        sealing.read_to_end(&mut blob).map_err(Error::internal)?;
        let summary = sealing.finish().map_err(Error::internal)?;
        let (sha256, commitment) = (summary.blob_sha256, summary.commitment);
        Ok(Sealed { key, blob: blob.into(), sha256, commitment })
    }

    /// Announces a sealed file as a new upload.
    ///
    /// # Errors
    /// When its key cannot be handed over.
    pub(super) fn announce(&mut self, sealed: &Sealed, to: &Target, now: Timestamp) -> Result<Form> {
        let mut name = [0; 10];
        self.rng.fill_bytes(&mut name);
        let upload_id = UploadId::new(now, name);
        let subject = ScanSubject {
            tenant: to.tenant,
            upload_id,
            blob_sha256: sealed.sha256,
            commitment: sealed.commitment,
        };
        let handed = subject.hand_over(&sealed.key, &to.scan_key, &mut self.rng).map_err(Error::internal)?;
        let ciphertext = <[u8; 48]>::try_from(handed.sealed.ct.as_slice()).map_err(Error::internal)?;
        let new = NewFile {
            upload_id,
            conversation_id: to.conversation,
            mime_type: "image/jpeg".to_owned(),
            length: sealed.blob.len() as u64,
            sha256: sealed.sha256.into(),
            document_type: DocumentType::Image,
            related_appointment: None,
            thumbnail_of: None,
            handling: Handling::default(),
            scan_key: Some(SealedScanKey {
                key_id: Base64Array(handed.key_id.0),
                encapsulation: Base64(handed.sealed.enc),
                ciphertext: Base64Array(ciphertext),
            }),
        };
        let new = serde_json::to_string(&new).map_err(Error::internal)?;
        let boundary = format!("sigilo-{upload_id}");
        let before = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"upload\"\r\nContent-Type: application/json\r\n\r\n\
             {new}\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"blob\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let after = format!("\r\n--{boundary}--\r\n");
        Ok(Form { content_type: format!("multipart/form-data; boundary={boundary}"), before, after })
    }

    /// A new file, sealed and ready to be posted.
    ///
    /// # Errors
    /// As [`Noise::sealed`] and [`Noise::announce`].
    pub(super) fn ready(&mut self, to: &Target, now: Timestamp) -> Result<Ready> {
        let sealed = self.sealed()?;
        let Form { content_type, before, after } = self.announce(&sealed, to, now)?;
        let blob = before.len()..before.len() + sealed.blob.len();
        let body = [before.as_bytes(), &sealed.blob, after.as_bytes()].concat().into();
        Ok(Ready { content_type, body, blob, key: sealed.key })
    }

    /// For each of `lanes` conversations its share of `count` files, ready to be posted.
    ///
    /// # Errors
    /// As [`Noise::ready`].
    pub(super) fn load(
        &mut self,
        made: &Provisioned,
        scan_key: &ScanKey,
        count: usize,
        now: Timestamp,
    ) -> Result<Vec<Vec<Ready>>> {
        let lanes = made.pairs.len();
        let load = made.pairs.iter().enumerate().map(|(lane, pair)| {
            let (tenant, conversation) = (made.tenant, pair.conversation);
            let to = Target { tenant, conversation, scan_key: scan_key.clone() };
            (lane..count).step_by(lanes).map(|_| self.ready(&to, now)).collect()
        });
        load.collect()
    }
}

/// Where a file goes, and who looks into it.
pub(super) struct Target {
    /// The clinic.
    pub(super) tenant: TenantId,
    /// The conversation it is shared in.
    pub(super) conversation: ConversationId,
    /// What its key is handed over to.
    pub(super) scan_key: ScanKey,
}

/// A file, encrypted.
pub(super) struct Sealed {
    /// What opens it.
    pub(super) key: FileKey,
    /// As it is uploaded.
    pub(super) blob: Bytes,
    sha256: [u8; 32],
    commitment: sigilo_seal::FileCommitment,
}

/// The request of an upload, without the blob.
pub(super) struct Form {
    /// `Content-Type`.
    pub(super) content_type: String,
    /// The body before the blob.
    pub(super) before: String,
    /// The body behind it.
    pub(super) after: String,
}

/// An upload that is ready to be posted.
pub(super) struct Ready {
    /// `Content-Type`.
    pub(super) content_type: String,
    /// The whole body.
    pub(super) body: Bytes,
    /// What opens the blob.
    pub(super) key: FileKey,
    blob: Range<usize>,
}

impl Ready {
    /// The blob alone; the bytes are the body's own.
    pub(super) fn blob(&self) -> Bytes {
        self.body.slice(self.blob.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanner::sniff::{Look, Sniffer};

    #[test]
    fn no_two_files_are_alike_and_each_is_a_picture() {
        let mut noise = Noise::new(1, 100_000);
        let (one, other) = (noise.file(), noise.file());
        assert_ne!(one, other);
        for file in [one, other] {
            let mut sniffer = Sniffer::default();
            file.chunks(65_536).for_each(|piece| sniffer.take(piece));
            assert_eq!((file.len(), sniffer.look("image/jpeg")), (100_000, Look::Agrees));
        }
    }
}
