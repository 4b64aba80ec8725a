//! One function per parser, for fuzzers and for the ordinary tests, which replay the corpora in
//! `corpus/<target>/` and random bytes. Each takes any bytes and must not panic; what parses must be written
//! back as the same bytes, because a statement with two encodings could be signed as one and read as another.

use std::io::Read as _;

use sigilo_wire::{ConversationId, DeviceNumber, TenantId, UserId, seal::NewSeal};

use crate::{
    content::{Content, ContentError},
    decision::Decision,
    ed25519::Ed25519Public,
    file::{FileHead, FileLayout, FileSealer, RangeOpener, io::OpenReader, plain_len, sealed_len},
    history_key::HistoryKeyEnvelope,
    identity::{IdentityPublicKey, KyberPublicKey, PreKeyPublic},
    link::LinkPackage,
    manifest::Manifest,
    message::Envelope,
    padding::{pad, unpad},
    receipt::Receipt,
    record_seal::{CT_LENGTH, RecordSeal},
    release::ReleaseStatement,
    root::RootStatement,
    scan::ScanKey,
    secret::{ArchiveKey, FileKey},
    verdict::Verdict,
    wire::Origin,
    xwing::{XWingPublic, XWingSecret},
};

/// A parser under test.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 17] = [
    ("root_statement", root_statement),
    ("manifest", manifest),
    ("history_key", history_key),
    ("link_package", link_package),
    ("receipt", receipt),
    ("decision", decision),
    ("envelope", envelope),
    ("padding", padding),
    ("content", content),
    ("public_keys", public_keys),
    ("xwing_public", xwing_public),
    ("record_seal", record_seal),
    ("file", file),
    ("file_layout", file_layout),
    ("scan_key", scan_key),
    ("verdict", verdict),
    ("release", release),
];

/// [`RootStatement::decode`].
pub fn root_statement(data: &[u8]) {
    if let Ok(statement) = RootStatement::decode(data) {
        assert_eq!(statement.encode(), data);
    }
}

/// [`Manifest::decode`].
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::decode(data) {
        assert_eq!(manifest.encode(), data);
    }
}

/// [`HistoryKeyEnvelope::decode`].
pub fn history_key(data: &[u8]) {
    if let Ok(envelope) = HistoryKeyEnvelope::decode(data) {
        assert_eq!(envelope.encode().as_slice(), data);
    }
}

/// [`LinkPackage::decode`].
pub fn link_package(data: &[u8]) {
    if let Ok(package) = LinkPackage::decode(data) {
        assert_eq!(package.encode().as_slice(), data);
    }
}

/// [`Receipt::decode`].
pub fn receipt(data: &[u8]) {
    if let Ok(receipt) = Receipt::decode(data) {
        assert_eq!(receipt.encode(), data);
    }
}

/// [`Decision::decode`].
pub fn decision(data: &[u8]) {
    if let Ok(decision) = Decision::decode(data) {
        assert_eq!(decision.encode(), data);
    }
}

/// [`Envelope::decode`].
pub fn envelope(data: &[u8]) {
    if let Ok(envelope) = Envelope::decode(data) {
        assert_eq!(envelope.encode().as_slice(), data);
    }
}

/// [`unpad`].
pub fn padding(data: &[u8]) {
    if let Ok(content) = unpad(data) {
        assert_eq!(pad(content).as_slice(), data);
    }
}

/// [`Content::parse`], for every kind; what is read and written again says the same.
pub fn content(data: &[u8]) {
    const KINDS: [&str; 9] =
        ["text", "file", "edit", "delete", "reaction", "profile", "location", "appointment", "prescription"];
    assert!(matches!(Content::parse("unknown", data), Err(ContentError::UnknownKind)));
    for kind in KINDS {
        if let Ok(content) = Content::parse(kind, data) {
            assert_eq!(content.kind(), kind);
            assert!(Content::parse(kind, &content.to_json()).is_ok_and(|again| again == content));
        }
    }
}

/// Every key of the key server.
pub fn public_keys(data: &[u8]) {
    if let Ok(key) = IdentityPublicKey::parse(data) {
        assert_eq!(key.to_bytes(), data);
        assert!(!key.verify(b"", &[0; 64]));
        assert!(PreKeyPublic::parse(data).is_ok());
    }
    if let Ok(key) = Ed25519Public::parse(data) {
        assert_eq!(key.to_bytes(), data);
        assert!(!key.verify(b"", &[0; 64]));
    }
    if let Ok(key) = KyberPublicKey::parse(data) {
        assert_eq!(key.as_bytes(), data);
    }
}

/// [`XWingPublic::parse`].
pub fn xwing_public(data: &[u8]) {
    if let Ok(key) = XWingPublic::parse(data) {
        assert_eq!(key.as_bytes(), data);
    }
}

/// [`RecordSeal::of_new`] on the JSON of `POST conversations/{id}/seals/`, and everything that is done with a
/// seal before its signature is known to be good.
pub fn record_seal(data: &[u8]) {
    let origin = Origin {
        tenant: TenantId::from_bytes([1; 16]),
        conversation: ConversationId::from_bytes([2; 16]),
        sender: UserId::from_bytes([3; 16]),
        device: DeviceNumber::FIRST,
    };
    let Ok(new) = serde_json::from_slice::<NewSeal>(data) else { return };
    let Ok(seal) = RecordSeal::of_new(&origin, &new) else { return };
    assert_eq!(seal.to_new(), new);
    if let Some(member) = seal.members.first() {
        let verified = seal.verify_signature(&member.identity_key);
        assert!(verified.is_err() || seal.copies.iter().all(|copy| copy.ct.len() == CT_LENGTH));
    }
    let secret = XWingSecret::from_seed([4; 32]);
    for key_id in seal.key_ids() {
        assert!(seal.open_copy(key_id, &secret).is_err());
    }
    assert_eq!(seal.recheck(&ArchiveKey::from_bytes([5; 32]), &[]).is_ok(), seal.copies.is_empty());
}

/// The key of the blobs in the corpus of [`file`](fn@file).
const FILE_KEY: [u8; 32] = [5; 32];

/// A blob, opened from its beginning and segment by segment, which must agree; what opens is sealed to the same bytes.
pub fn file(data: &[u8]) {
    let key = FileKey::from_bytes(FILE_KEY);
    let Ok(head) = FileHead::parse(data) else { return };
    let Ok(mut reader) = OpenReader::new(data, &key, u64::MAX) else { return };
    let mut plain = Vec::new();
    let whole = reader.read_to_end(&mut plain).is_ok();
    assert_eq!(reader.finish().is_ok(), whole);
    let Ok(range) = RangeOpener::new(&key, &head, data.len() as u64) else {
        assert!(!whole);
        return;
    };
    let mut sealer = FileSealer::with_salt(&key, head.salt, u64::MAX);
    let (mut every, mut again) = (true, head.to_bytes().to_vec());
    for number in 0..range.layout().segments() {
        let place = range.layout().segment(number);
        let bytes = place.and_then(|place| {
            let start = usize::try_from(place.sealed_offset).ok()?;
            data.get(start..start + place.sealed_length)
        });
        match (place, bytes.map(|bytes| range.segment(number, bytes))) {
            (Some(place), Some(Ok(opened))) => {
                again.extend(sealer.segment(&opened, place.last).unwrap_or_default());
            }
            _ => every = false,
        }
    }
    assert_eq!(every, whole);
    assert!(!whole || again == data);
}

/// [`FileLayout`] for two numbers: lengths are exact both ways, and what covers a range is in the blob.
pub fn file_layout(data: &[u8]) {
    let mut numbers = data.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes));
    let (length, at) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if let Ok(plain) = plain_len(length) {
        assert_eq!(sealed_len(plain), Ok(length));
    }
    let Ok(layout) = FileLayout::of_plain(length) else { return };
    assert_eq!(FileLayout::of_sealed(layout.sealed_len()), Ok(layout));
    assert_eq!(layout.segment(at).is_some(), at < layout.segments());
    let covering = layout.covering(at..length);
    assert_eq!(covering.is_some(), at < length);
    assert!(covering.is_none_or(|covering| covering.sealed.end == layout.sealed_len()));
}

/// [`ScanKey::decode`].
pub fn scan_key(data: &[u8]) {
    if let Ok(key) = ScanKey::decode(data) {
        assert_eq!(key.encode(), data);
    }
}

/// [`Verdict::decode`].
pub fn verdict(data: &[u8]) {
    if let Ok(verdict) = Verdict::decode(data) {
        assert_eq!(verdict.encode(), data);
        assert!(!verdict.overrules(&verdict));
    }
}

/// [`ReleaseStatement::decode`].
pub fn release(data: &[u8]) {
    if let Ok(statement) = ReleaseStatement::decode(data) {
        assert_eq!(statement.encode(), data);
    }
}

#[cfg(test)]
mod tests;
