//! Record seals: who opens them, and what a dishonest sender or server may try.

use super::*;
use crate::{
    root::KeyPurpose,
    testing::{sample_context, test_rng},
};

struct Clinic {
    seal: RecordSeal,
    archive: ArchiveKey,
    identity: IdentitySecret,
    officers: XWingSecret,
    histories: Vec<XWingSecret>,
    recipients: Vec<Recipient>,
}

fn header() -> SealHeader {
    let context = sample_context();
    SealHeader {
        tenant: context.tenant,
        conversation: context.conversation,
        seal_id: context.seal_id,
        sender: context.sender,
        device: context.device,
    }
}

const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

impl Clinic {
    fn new(stream: u8) -> Self {
        let mut rng = test_rng(stream);
        let identity = IdentitySecret::generate(&mut rng);
        let officers = XWingSecret::generate(&mut rng);
        let statement = RootStatement {
            tenant: header().tenant,
            purpose: KeyPurpose::Records,
            epoch: 1,
            not_before: Timestamp::from_micros(0),
            not_after: NOW,
            public_key: officers.public().as_bytes().to_vec(),
        };
        let histories: Vec<_> = (0..2).map(|_| XWingSecret::generate(&mut rng)).collect();
        let mut recipients = vec![Recipient::records(&statement).unwrap()];
        recipients.extend(histories.iter().map(|history| Recipient::history(history.public())));
        let members = [header().sender, UserId::from_bytes([1; 16])]
            .into_iter()
            .zip(&histories)
            .map(|(user, history)| Member {
                user,
                identity_key: IdentitySecret::generate(&mut rng).public(),
                history_key_id: history.public().history_key_id(),
            })
            .collect();
        let archive = ArchiveKey::generate(&mut rng);
        let seal =
            RecordSeal::create(&archive, header(), NOW, members, &recipients, &identity, &mut rng).unwrap();
        Self { seal, archive, identity, officers, histories, recipients }
    }

    fn sign_again(&mut self) {
        self.seal.signature = self.identity.sign(&self.seal.signing_input(), &mut test_rng(99));
    }

    fn refusal(&self) -> SealError {
        self.seal.verify_signature(&self.identity.public()).unwrap_err()
    }
}

#[test]
fn officers_and_participants_open_a_seal_and_see_that_it_is_good() {
    let clinic = Clinic::new(70);
    clinic.seal.verify_signature(&clinic.identity.public()).unwrap();
    let officers = clinic.seal.open_copy(clinic.recipients[0].key_id(), &clinic.officers).unwrap();
    assert_eq!(officers, clinic.archive);
    for history in &clinic.histories {
        let archive = clinic.seal.open_history_copy(history).unwrap();
        assert_eq!(archive, clinic.archive);
        clinic.seal.recheck(&archive, &clinic.recipients).unwrap();
    }
    assert!(clinic.seal.members.is_sorted_by_key(|member| member.user));
    let stranger = XWingSecret::generate(&mut test_rng(71));
    let id = stranger.public().history_key_id();
    assert_eq!(clinic.seal.open_history_copy(&stranger), Err(SealError::NoCopy(id)));
}

#[test]
fn one_bad_copy_is_found_by_everyone_who_opens_another() {
    let good = Clinic::new(72);
    let officers = good.recipients[0].key_id();
    let wrong = RecheckError { bad: vec![officers], ..RecheckError::default() };

    // The officers get another key.
    let mut clinic = Clinic::new(72);
    let other = ArchiveKey::from_bytes([0; 32]);
    clinic.seal.copies[0] = seal_copy(&other, &header().aad(), &clinic.recipients[0]).unwrap();
    clinic.sign_again();
    clinic.seal.verify_signature(&clinic.identity.public()).unwrap();
    let archive = clinic.seal.open_history_copy(&clinic.histories[0]).unwrap();
    assert_eq!(clinic.seal.recheck(&archive, &clinic.recipients), Err(wrong.clone()));

    // Every byte of the officers' copy counts.
    for byte in (0..ENC_LENGTH + CT_LENGTH).step_by(13) {
        let mut clinic = Clinic::new(72);
        let copy = &mut clinic.seal.copies[0];
        match byte.checked_sub(ENC_LENGTH) {
            None => copy.enc[byte] ^= 1,
            Some(at) => copy.ct[at] ^= 1,
        }
        assert_eq!(clinic.seal.recheck(&archive, &clinic.recipients), Err(wrong.clone()), "byte {byte}");
        assert_eq!(clinic.refusal(), SealError::Signature, "byte {byte}");
        let opened = clinic.seal.open_copy(officers, &clinic.officers);
        assert_eq!(opened, Err(SealError::DoesNotOpen(officers)), "byte {byte}");
    }

    // A copy that opens, but was not derived from the key, cannot be told from a bad one, so it is one.
    let mut clinic = Clinic::new(72);
    let fresh = clinic
        .officers
        .public()
        .seal_fresh(&mut test_rng(73), INFO, &header().aad(), clinic.archive.as_bytes())
        .unwrap();
    clinic.seal.copies[0] = SealedCopy { key_id: officers, enc: fresh.enc, ct: fresh.ct };
    assert_eq!(clinic.seal.open_copy(officers, &clinic.officers).unwrap(), clinic.archive);
    assert_eq!(clinic.seal.recheck(&clinic.archive, &clinic.recipients), Err(wrong));
}

#[test]
fn missing_and_unexpected_copies_are_found() {
    let mut clinic = Clinic::new(74);
    let officers = clinic.recipients[0].clone();
    clinic.seal.copies.remove(0);
    let missing = RecheckError { missing: vec![officers.key_id()], ..RecheckError::default() };
    assert_eq!(clinic.seal.recheck(&clinic.archive, &clinic.recipients), Err(missing));

    let clinic = Clinic::new(74);
    let left = clinic.recipients[2].key_id();
    let unexpected = RecheckError { unexpected: vec![left], ..RecheckError::default() };
    assert_eq!(clinic.seal.recheck(&clinic.archive, &clinic.recipients[..2]), Err(unexpected));
}

#[test]
fn a_key_under_anothers_name_is_a_bad_copy() {
    let mut clinic = Clinic::new(75);
    let (first, second) = (clinic.seal.copies[1].key_id, clinic.seal.copies[2].key_id);
    clinic.seal.copies[1].key_id = second;
    clinic.seal.copies[2].key_id = first;
    let bad = RecheckError { bad: vec![first, second], ..RecheckError::default() };
    assert_eq!(clinic.seal.recheck(&clinic.archive, &clinic.recipients), Err(bad));
    assert_eq!(clinic.seal.open_history_copy(&clinic.histories[0]), Err(SealError::DoesNotOpen(first)));
}

#[test]
fn a_seal_cannot_be_repointed() {
    let changes: [fn(&mut SealHeader); 5] = [
        |h| h.tenant = TenantId::from_bytes([0xff; 16]),
        |h| h.conversation = ConversationId::from_bytes([0xff; 16]),
        |h| h.seal_id = SealId::from_bytes([0xff; 16]),
        |h| h.sender = UserId::from_bytes([0xff; 16]),
        |h| h.device = DeviceNumber::FIRST,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut clinic = Clinic::new(76);
        change(&mut clinic.seal.header);
        assert_eq!(clinic.refusal(), SealError::Signature, "change {number}");
        // Signed again by whoever repointed it, the copies still belong to the old place.
        clinic.sign_again();
        let id = clinic.histories[0].public().history_key_id();
        let opened = clinic.seal.open_history_copy(&clinic.histories[0]);
        assert_eq!(opened, Err(SealError::DoesNotOpen(id)), "change {number}");
        let all = clinic.seal.recheck(&clinic.archive, &clinic.recipients).unwrap_err();
        assert_eq!(all.bad.len(), 3, "change {number}");
        assert!(!clinic.seal.header.covers(&sample_context()), "change {number}");
    }
    assert!(header().covers(&sample_context()));
}

#[test]
fn every_signed_field_is_signed() {
    let changes: [fn(&mut RecordSeal); 8] = [
        |s| s.created_at = Timestamp::from_micros(0),
        |s| s.members[0].identity_key = s.members[1].identity_key,
        |s| s.members[0].history_key_id = KeyId([0; 16]),
        |s| s.members[1].user = UserId::from_bytes([0xff; 16]),
        |s| s.members.truncate(1),
        |s| s.copies.truncate(2),
        |s| s.copies.swap(0, 1),
        |s| s.signature[0] ^= 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut clinic = Clinic::new(77);
        change(&mut clinic.seal);
        assert_eq!(clinic.refusal(), SealError::Signature, "change {number}");
    }
    let clinic = Clinic::new(77);
    let stranger = IdentitySecret::generate(&mut test_rng(78)).public();
    assert_eq!(clinic.seal.verify_signature(&stranger), Err(SealError::Signature));
}

#[test]
fn seals_that_are_not_well_formed_are_refused_even_when_signed() {
    let refusal = |change: fn(&mut RecordSeal)| {
        let mut clinic = Clinic::new(79);
        change(&mut clinic.seal);
        clinic.sign_again();
        clinic.refusal()
    };
    assert_eq!(refusal(|s| s.members.swap(0, 1)), SealError::Members);
    assert_eq!(refusal(|s| s.members[1] = s.members[0]), SealError::Members);
    assert_eq!(refusal(|s| s.copies[1] = s.copies[0].clone()), SealError::Copies);
    assert_eq!(refusal(|s| s.copies[0].ct.truncate(47)), SealError::Copies);
    assert_eq!(refusal(|s| s.copies[0].enc.push(0)), SealError::Copies);
    let clinic = Clinic::new(79);
    let twice = [clinic.recipients[1].clone(), clinic.recipients[1].clone()];
    let made = RecordSeal::create(
        &clinic.archive,
        header(),
        NOW,
        vec![],
        &twice,
        &clinic.identity,
        &mut test_rng(80),
    );
    assert_eq!(made, Err(SealError::Copies));
}

#[test]
fn members_are_compared_with_the_readers_own_view() {
    let clinic = Clinic::new(81);
    let mut view = clinic.seal.members.clone();
    view.reverse();
    assert_eq!(clinic.seal.members_that_differ(&view), []);
    view[0].history_key_id = KeyId([0; 16]);
    assert_eq!(clinic.seal.members_that_differ(&view), [view[0].user]);
    let gone = view.remove(0);
    assert_eq!(clinic.seal.members_that_differ(&view), [gone.user]);
    view.push(Member { user: UserId::from_bytes([0xff; 16]), ..gone });
    assert_eq!(clinic.seal.members_that_differ(&view), [gone.user, UserId::from_bytes([0xff; 16])]);
}
