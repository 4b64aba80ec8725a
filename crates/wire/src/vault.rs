//! The vault: files that are encrypted on the device that sends them, scanned, and opened by whoever reads the
//! message that carries their key (docs/PROTOCOL.md, Files).

use serde::{Deserialize, Serialize};

use crate::{
    AppointmentId, Base64, Base64Array, ConversationId, FileId, Timestamp, UploadId, UserId, message::words,
};

words! {
    /// What the scan says of a file. Only what is `clean` is given out, and what is `infected` and released by two people.
    ScanStatus {
        /// It waits for its scan.
        Pending = "pending",
        /// The newest verdict found nothing.
        Clean = "clean",
        /// The newest verdict found something: the file is in quarantine.
        Infected = "infected",
        /// It is of a type that is not taken, cannot be looked into, or does not open.
        Refused = "refused",
        /// The scanner is away; the file waits, and is scanned when it is back.
        Unavailable = "unavailable",
    }
}

words! {
    /// Where a file is in its life.
    FileStatus {
        /// It is there.
        Active = "active",
        /// The newest verdict is not clean, and nobody released it.
        Quarantined = "quarantined",
        /// Its time is over.
        Expired = "expired",
        /// Its key was destroyed: nobody can read it any more, in backups neither.
        Destroyed = "destroyed",
    }
}

words! {
    /// What a medical document is, visible to the server.
    DocumentType {
        /// Results of a laboratory.
        LabResult = "lab_result",
        /// A prescription.
        Prescription = "prescription",
        /// A picture.
        Image = "image",
        /// A voice message.
        Audio = "audio",
        /// A film.
        Video = "video",
        /// Any other document.
        Document = "document",
        /// The recording of a call.
        CallRecording = "call_recording",
    }
}

/// What the uploader says of a file: the JSON part `upload` of POST /api/chat/upload-file/, and the metadata of
/// POST /api/chat/uploads/.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    /// The device's name for the upload, and the key of its idempotency: the same upload is taken once.
    pub upload_id: UploadId,
    /// Where it is to be read.
    pub conversation_id: ConversationId,
    /// What it is said to be: the scan compares.
    pub mime_type: String,
    /// The length of the encrypted blob in bytes.
    pub length: u64,
    /// SHA-256 of the encrypted blob.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub sha256: Base64Array<32>,
    /// What kind of document it is.
    pub document_type: DocumentType,
    /// The appointment it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related_appointment: Option<AppointmentId>,
    /// The file of which this one is a small picture: it is shown and destroyed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail_of: Option<FileId>,
    /// What clients are told about its use.
    #[serde(default)]
    pub handling: Handling,
    /// The file's key for the scan; without it the file waits for POST /api/chat/files/{id}/scan-key/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_key: Option<SealedScanKey>,
}

/// How a file may be used. Clients are told; `max_downloads`, `expires_at` and `requires_patient_consent` the server
/// holds to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Handling {
    /// Clinicians other than the uploader open it only after the patient of the conversation agreed.
    pub requires_patient_consent: bool,
    /// Clients show it under the reader's name.
    pub watermark_required: bool,
    /// Clients let it be forwarded.
    pub can_forward: bool,
    /// Clients let it be printed.
    pub can_print: bool,
    /// How often each person may download it; absent: as often as they like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_downloads: Option<u32>,
    /// When it is no longer given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Default for Handling {
    fn default() -> Self {
        Self {
            requires_patient_consent: false,
            watermark_required: false,
            can_forward: true,
            can_print: true,
            max_downloads: None,
            expires_at: None,
        }
    }
}

/// A file's key, sealed to a scan key: POST /api/chat/files/{id}/scan-key/ and /api/chat/files/{id}/rescan/.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SealedScanKey {
    /// Which scan key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub key_id: Base64Array<16>,
    /// The encapsulation, 1,120 bytes.
    pub encapsulation: Base64,
    /// The ciphertext, 48 bytes.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub ciphertext: Base64Array<48>,
}

/// GET /api/chat/vault/scan-key/ and every other statement of the clinic's scanner key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScannerStatement {
    /// The statement's bytes.
    pub statement: Base64,
    /// Ed25519, by the clinic's scanner key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: Base64Array<64>,
}

/// One moderator's word that a finding is false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignedRelease {
    /// The statement's bytes.
    pub statement: Base64,
    /// XEdDSA, by the signer's identity key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub signature: Base64Array<64>,
}

/// A file of the vault, as participants see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredFile {
    /// The file.
    pub file_id: FileId,
    /// Its upload: what a file's key is sealed to the scan with.
    pub upload_id: UploadId,
    /// Where it is read.
    pub conversation_id: ConversationId,
    /// Who uploaded it.
    pub uploader_id: UserId,
    /// What it is said to be.
    pub mime_type: String,
    /// The length of the encrypted blob in bytes.
    pub length: u64,
    /// SHA-256 of the encrypted blob.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub sha256: Base64Array<32>,
    /// What commits the blob to one key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = Byte))]
    pub commitment: Base64Array<32>,
    /// What kind of document it is.
    pub document_type: DocumentType,
    /// The appointment it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related_appointment: Option<AppointmentId>,
    /// The file of which this one is a small picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail_of: Option<FileId>,
    /// What clients are told about its use.
    pub handling: Handling,
    /// Where it is in its life.
    pub status: FileStatus,
    /// What the scan says.
    pub virus_scan: ScanStatus,
    /// The scanner cannot open the file without its key: the uploader hands it over anew.
    #[serde(default)]
    pub rescan_key_needed: bool,
    /// The newest verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ScannerStatement>,
    /// Who calls the newest finding false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<SignedRelease>,
    /// Whether the patient agreed; absent: not asked, or not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient_consents: Option<bool>,
    /// How often it was downloaded, by everybody.
    pub downloads: u64,
    /// Where its content is for the next 5 minutes, for this device; absent while it is not given out to the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_url: Option<String>,
    /// When it came.
    pub uploaded_at: Timestamp,
}

/// GET /api/moderation/quarantine/
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuarantineList {
    /// Files whose newest verdict is that they are infected, in the order they were uploaded.
    pub results: Vec<StoredFile>,
    /// Whether there are more.
    pub has_more: bool,
    /// For the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// POST /api/chat/files/{id}/consent/: the patient's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Whether other clinicians of the conversation may open it.
    pub allowed: bool,
}

/// What the events `file_shared`, `file_scanned`, `file_recalled` and `rescan_key_needed` say. The conversation stands
/// beside it in the frame; `file_shared` comes without a file's name or content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FileChanged {
    /// The file.
    pub file_id: FileId,
    /// What the scan says.
    pub virus_scan: ScanStatus,
}
