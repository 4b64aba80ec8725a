//! What a message says: the JSON inside the padded, encrypted body.
//!
//! `{"v":1, "checkpoint"?: "...", "forwarded"?: true, ...}`; the message's kind in the context decides the other fields. Unknown
//! fields are ignored on reading, so that an older device shows what it understands of a newer one's message.
//! `checkpoint` is the sender's newest key-transparency checkpoint: clients that talk to each other notice a
//! server that shows them different keys.

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error as _},
};
use sigilo_wire::{AppointmentId, Base64Array, FileId, Timestamp, UserId, message::AttachmentRef};
use zeroize::Zeroizing;

use crate::secret::{FileKey, opaque_debug};

/// The version written into new content.
pub const VERSION: u32 = 1;

/// What a message says, and the sender's checkpoint.
#[derive(Clone, PartialEq)]
pub struct Content {
    /// The newest key-transparency checkpoint the sender knows, as a signed note.
    pub checkpoint: Option<String>,
    /// Whether it was said elsewhere before: the sender passes it on.
    pub forwarded: bool,
    /// What the message says.
    pub body: ContentBody,
}

/// Content by the message's kind.
#[derive(Clone, PartialEq)]
pub enum ContentBody {
    /// Kind `text`.
    Text(Text),
    /// Kinds `file`, `image`, `audio`, `video`.
    File(Files),
    /// Kind `edit`: the new text of the target.
    Edit(Edit),
    /// Kind `delete`: the target is to be hidden.
    Delete,
    /// Kind `reaction`.
    Reaction(Reaction),
    /// Kind `profile`: what the conversation is called.
    Profile(Profile),
    /// Kind `location`.
    Location(Location),
    /// Kind `appointment`.
    Appointment(Appointment),
    /// Kind `prescription`.
    Prescription(Prescription),
}

/// Words.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// What is said.
    pub text: String,
    /// Who is addressed by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// Medical terms the client marked for its own search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub medical_terms: Vec<String>,
}

/// Files of the vault, with the keys that open them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// What is said about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The files.
    pub files: Vec<FileRef>,
}

/// One file of the vault.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// The file.
    pub file_id: FileId,
    /// `FK`, which opens it.
    #[serde(with = "file_key")]
    pub key: FileKey,
    /// Its name.
    pub name: String,
    /// Its media type.
    pub mime: String,
    /// Its length in bytes, unencrypted.
    pub size: u64,
    /// SHA-256 of its ciphertext.
    pub sha256: Base64Array<32>,
    /// A small picture of it, a file of the vault too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Thumbnail>,
}

/// A small picture of a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thumbnail {
    /// The file.
    pub file_id: FileId,
    /// `FK`, which opens it.
    #[serde(with = "file_key")]
    pub key: FileKey,
    /// Its media type.
    pub mime: String,
    /// Its length in bytes, unencrypted.
    pub size: u64,
    /// SHA-256 of its ciphertext.
    pub sha256: Base64Array<32>,
}

/// A new text for an earlier message. The earlier one stays in the record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// What is said now.
    pub text: String,
}

/// A reaction to an earlier message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaction {
    /// The reaction.
    pub emoji: String,
    /// Take it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove: bool,
}

/// What a conversation is called.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its title.
    #[serde(default)]
    pub title: String,
    /// What it is about.
    #[serde(default)]
    pub description: String,
    /// Labels.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<FileRef>,
}

/// A place.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Location {
    /// Degrees north, WGS 84: -90 to 90.
    #[serde(deserialize_with = "degrees::<_, 90>")]
    pub latitude: f64,
    /// Degrees east, WGS 84: -180 to 180.
    #[serde(deserialize_with = "degrees::<_, 180>")]
    pub longitude: f64,
    /// How exact the position is, in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f64>,
    /// What the place is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A word about an appointment; the appointment itself is the clinic's.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appointment {
    /// The clinic's appointment, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appointment_id: Option<AppointmentId>,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A prescription, as words; the legal document travels as a file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prescription {
    /// What is prescribed.
    pub medications: Vec<Medication>,
    /// What else is to be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The legal document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<FileRef>,
}

/// One prescribed medication.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Medication {
    /// The medication.
    pub name: String,
    /// How much, how often, how long, in the prescriber's words.
    pub dosage: String,
}

// What patients write is as secret as the keys: nothing of it may reach a log through a forgotten `{:?}`.
opaque_debug!(
    Content,
    ContentBody,
    Text,
    Files,
    FileRef,
    Thumbnail,
    Edit,
    Reaction,
    Profile,
    Location,
    Appointment,
    Prescription,
    Medication,
);

/// Why authentic content cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// Not a JSON object with the fields of its kind.
    #[error("the content does not have the fields of its kind")]
    Malformed,
    /// Written by a later version of the protocol.
    #[error("the content was written by a later version")]
    Version(u32),
    /// A kind this version does not know.
    #[error("a kind of message that this version does not know")]
    UnknownKind,
}

#[derive(Serialize, Deserialize)]
struct Head<T> {
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    forwarded: bool,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize, Deserialize)]
struct Nothing {}

impl Content {
    /// Content without a checkpoint.
    #[must_use]
    pub const fn new(body: ContentBody) -> Self {
        Self { checkpoint: None, forwarded: false, body }
    }

    /// Plain words.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(ContentBody::Text(Text { text: text.into(), ..Text::default() }))
    }

    /// The kind a message with this content has; for files, one of `file`, `image`, `audio`, `video` fits.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match &self.body {
            ContentBody::Text(_) => "text",
            ContentBody::File(_) => "file",
            ContentBody::Edit(_) => "edit",
            ContentBody::Delete => "delete",
            ContentBody::Reaction(_) => "reaction",
            ContentBody::Profile(_) => "profile",
            ContentBody::Location(_) => "location",
            ContentBody::Appointment(_) => "appointment",
            ContentBody::Prescription(_) => "prescription",
        }
    }

    /// The files it names.
    #[must_use]
    pub fn files(&self) -> &[FileRef] {
        match &self.body {
            ContentBody::File(body) => &body.files,
            ContentBody::Profile(body) => body.avatar.as_slice(),
            ContentBody::Prescription(body) => body.document.as_slice(),
            ContentBody::Text(_)
            | ContentBody::Edit(_)
            | ContentBody::Delete
            | ContentBody::Reaction(_)
            | ContentBody::Location(_)
            | ContentBody::Appointment(_) => &[],
        }
    }

    /// What stands in the context A of them: each file, and after it its small picture.
    #[must_use]
    pub fn attachments(&self) -> Vec<AttachmentRef> {
        let named = |file: &FileRef| {
            let thumbnail = file.thumbnail.as_ref();
            let small = thumbnail.map(|t| AttachmentRef { file_id: t.file_id, sha256: t.sha256 });
            std::iter::once(AttachmentRef { file_id: file.file_id, sha256: file.sha256 }).chain(small)
        };
        self.files().iter().flat_map(named).collect()
    }

    /// The JSON to encrypt.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        match &self.body {
            ContentBody::Text(body) => self.write(body),
            ContentBody::File(body) => self.write(body),
            ContentBody::Edit(body) => self.write(body),
            ContentBody::Delete => self.write(&Nothing {}),
            ContentBody::Reaction(body) => self.write(body),
            ContentBody::Profile(body) => self.write(body),
            ContentBody::Location(body) => self.write(body),
            ContentBody::Appointment(body) => self.write(body),
            ContentBody::Prescription(body) => self.write(body),
        }
    }

    /// Reads the JSON of a message of this kind.
    ///
    /// # Errors
    /// [`ContentError`].
    pub fn parse(kind: &str, json: &[u8]) -> Result<Self, ContentError> {
        match kind {
            "text" => read(json, ContentBody::Text),
            "file" | "image" | "audio" | "video" => read(json, ContentBody::File),
            "edit" => read(json, ContentBody::Edit),
            "delete" => read(json, |_: Nothing| ContentBody::Delete),
            "reaction" => read(json, ContentBody::Reaction),
            "profile" => read(json, ContentBody::Profile),
            "location" => read(json, ContentBody::Location),
            "appointment" => read(json, ContentBody::Appointment),
            "prescription" => read(json, ContentBody::Prescription),
            _ => Err(ContentError::UnknownKind),
        }
    }

    #[expect(clippy::expect_used, reason = "strings, numbers, lists and fixed field names are always JSON")]
    fn write<T: Serialize>(&self, body: &T) -> Zeroizing<Vec<u8>> {
        let head = Head { v: VERSION, checkpoint: self.checkpoint.clone(), forwarded: self.forwarded, body };
        Zeroizing::new(serde_json::to_vec(&head).expect("content is JSON"))
    }
}

fn read<T: DeserializeOwned>(
    json: &[u8],
    body: impl FnOnce(T) -> ContentBody,
) -> Result<Content, ContentError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let Version { v } = serde_json::from_slice(json).map_err(|_| ContentError::Malformed)?;
    if v != VERSION {
        return Err(ContentError::Version(v));
    }
    let head: Head<T> = serde_json::from_slice(json).map_err(|_| ContentError::Malformed)?;
    Ok(Content { checkpoint: head.checkpoint, forwarded: head.forwarded, body: body(head.body) })
}

/// A number of degrees, at most this many to either side.
fn degrees<'de, D: Deserializer<'de>, const MOST: u32>(deserializer: D) -> Result<f64, D::Error> {
    let degrees = f64::deserialize(deserializer)?;
    if degrees.abs() <= f64::from(MOST) { Ok(degrees) } else { Err(D::Error::custom("no place on Earth")) }
}

mod file_key {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};
    use sigilo_wire::Base64Array;

    use crate::secret::FileKey;

    pub fn serialize<S: Serializer>(key: &FileKey, serializer: S) -> Result<S::Ok, S::Error> {
        Base64Array(*key.as_bytes()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<FileKey, D::Error> {
        Base64Array::deserialize(deserializer).map(|bytes| FileKey::from_bytes(bytes.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(content: &Content) -> String {
        String::from_utf8(content.to_json().to_vec()).unwrap()
    }

    fn key() -> FileKey {
        FileKey::from_bytes([1; 32])
    }

    fn file() -> FileRef {
        let thumbnail = Thumbnail {
            file_id: FileId::from_bytes([2; 16]),
            key: key(),
            mime: "image/jpeg".into(),
            size: 5,
            sha256: Base64Array([3; 32]),
        };
        FileRef {
            file_id: FileId::from_bytes([4; 16]),
            key: key(),
            name: "lab.pdf".into(),
            mime: "application/pdf".into(),
            size: 6,
            sha256: Base64Array([7; 32]),
            thumbnail: Some(thumbnail),
        }
    }

    #[test]
    fn every_file_of_the_content_and_its_small_picture_stand_in_the_context() {
        let named = |content: &Content| -> Vec<(FileId, [u8; 32])> {
            content.attachments().into_iter().map(|a| (a.file_id, a.sha256.0)).collect()
        };
        let (own, small) = (FileId::from_bytes([4; 16]), FileId::from_bytes([2; 16]));
        let one = [(own, [7; 32]), (small, [3; 32])];
        let with_files: Vec<_> = one_of_each().iter().map(named).filter(|files| !files.is_empty()).collect();
        assert_eq!(with_files, [one, one, one], "file, profile, prescription");
        let plain = FileRef { thumbnail: None, ..file() };
        let two = ContentBody::File(Files { text: None, files: vec![plain, file()] });
        assert_eq!(named(&Content::new(two)), [one[0], one[0], one[1]]);
    }

    fn one_of_each() -> Vec<Content> {
        let at = Timestamp::from_micros(8);
        [
            ContentBody::Text(Text {
                text: "¿Cómo está?".into(),
                mentions: vec![UserId::from_bytes([9; 16])],
                medical_terms: vec!["fever".into()],
            }),
            ContentBody::File(Files { text: Some("results".into()), files: vec![file()] }),
            ContentBody::Edit(Edit { text: "corrected".into() }),
            ContentBody::Delete,
            ContentBody::Reaction(Reaction { emoji: "👍".into(), remove: true }),
            ContentBody::Profile(Profile {
                title: "Control".into(),
                description: "d".into(),
                tags: vec!["t".into()],
                avatar: Some(file()),
            }),
            ContentBody::Location(Location {
                latitude: 19.432_6,
                longitude: -99.133_2,
                accuracy_m: Some(12.5),
                label: Some("clinic".into()),
            }),
            ContentBody::Appointment(Appointment {
                appointment_id: Some(AppointmentId::from_bytes([10; 16])),
                starts_at: at,
                ends_at: Some(at),
                text: Some("control".into()),
            }),
            ContentBody::Prescription(Prescription {
                medications: vec![Medication {
                    name: "paracetamol".into(),
                    dosage: "500 mg every 8 h".into(),
                }],
                text: None,
                document: Some(file()),
            }),
        ]
        .into_iter()
        .map(|body| Content { checkpoint: Some("checkpoint".into()), forwarded: false, body })
        .collect()
    }

    #[test]
    fn every_kind_is_read_back() {
        for content in one_of_each() {
            assert!(
                Content::parse(content.kind(), &content.to_json()).unwrap() == content,
                "{}",
                content.kind()
            );
            assert!(json(&content).starts_with(r#"{"v":1,"checkpoint":"checkpoint""#));
        }
        for kind in ["file", "image", "audio", "video"] {
            Content::parse(kind, &one_of_each()[1].to_json()).unwrap();
        }
    }

    #[test]
    fn the_shapes_are_those_of_the_protocol() {
        assert_eq!(json(&Content::text("hola")), r#"{"v":1,"text":"hola"}"#);
        let passed_on = Content { forwarded: true, ..Content::text("hola") };
        assert_eq!(json(&passed_on), r#"{"v":1,"forwarded":true,"text":"hola"}"#);
        assert!(Content::parse("text", &passed_on.to_json()).unwrap() == passed_on);
        assert_eq!(json(&Content::new(ContentBody::Delete)), r#"{"v":1}"#);
        let reaction = ContentBody::Reaction(Reaction { emoji: "+".into(), remove: false });
        assert_eq!(json(&Content::new(reaction)), r#"{"v":1,"emoji":"+"}"#);
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let content = Content::parse("text", br#"{"later":[1],"text":"hola","v":1}"#).unwrap();
        assert!(content == Content::text("hola"));
    }

    #[test]
    fn what_cannot_be_shown_is_refused() {
        let refusal = |kind, json: &str| Content::parse(kind, json.as_bytes()).unwrap_err();
        assert_eq!(refusal("text", r#"{"v":2,"text":"hola"}"#), ContentError::Version(2));
        assert_eq!(refusal("text", r#"{"text":"hola"}"#), ContentError::Malformed);
        assert_eq!(refusal("text", r#"{"v":1,"text":7}"#), ContentError::Malformed);
        assert_eq!(refusal("text", r#"{"v":1,"text":"hola"} {}"#), ContentError::Malformed);
        assert_eq!(refusal("file", r#"{"v":1,"text":"hola"}"#), ContentError::Malformed);
        assert_eq!(refusal("system", r#"{"v":1}"#), ContentError::UnknownKind);
        assert_eq!(refusal("text", "\u{0}"), ContentError::Malformed);
        for place in [r#""latitude":90.1,"longitude":0"#, r#""latitude":0,"longitude":-180.5"#] {
            assert_eq!(refusal("location", &format!(r#"{{"v":1,{place}}}"#)), ContentError::Malformed);
        }
    }

    #[test]
    fn debug_output_of_content_shows_nothing() {
        for content in one_of_each() {
            assert_eq!(format!("{content:?} {:?}", content.body), "Content ContentBody");
        }
        assert_eq!(format!("{:?}", file()), "FileRef");
    }
}
