//! The plan's decisions, one rule a test.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sigilo_wire::{
    Base64, Base64Array, ClientMessageId, ConversationId, DeviceId, DeviceNumber, ErrorCode, FileId, SealId,
    Timestamp, UserId,
    message::{AttachmentRef, EnvelopeType, RecipientEnvelope},
    vault::{DocumentType, ScanStatus},
};

use super::*;
use crate::{
    conversations::{Member, Snapshot},
    relay::attachments::FileState,
};

const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const CONVERSATION: ConversationId = ConversationId::from_bytes([1; 16]);
const SEAL: SealId = SealId::from_bytes([2; 16]);
const ANA: UserId = UserId::from_bytes([3; 16]);
const RECORDS: [u8; 16] = [9; 16];
const MARIA: UserId = UserId::from_bytes([4; 16]);

fn number(n: u8) -> DeviceNumber {
    DeviceNumber::new(n).unwrap()
}

fn device(user: UserId, n: u8) -> Device {
    Device {
        id: DeviceId::from_bytes([user.as_bytes()[0] * 16 + n; 16]),
        number: number(n),
        registration_id: i64::from(n) + 100,
        keys_published_at: Some(NOW),
    }
}

fn member(user: UserId, devices: &[u8]) -> Member {
    Member {
        privacy: Default::default(),
        withheld: false,
        user,
        full_name: String::new(),
        identity_key: None,
        history_key_id: Some(vec![user.as_bytes()[0]; 16]),
        devices: devices.iter().map(|n| device(user, *n)).collect(),
    }
}

/// What the transaction read, and the people as the decision saw them.
struct World {
    state: State,
    members: Vec<Member>,
}

impl World {
    fn seal(&mut self) -> &mut SealState {
        Arc::make_mut(self.state.seals.get_mut(&SEAL).unwrap())
    }
}

/// Ana's devices 1 and 2, María's device 1; Ana's device 1 has a good seal.
fn world() -> World {
    let ids: BTreeSet<&[u8]> = [RECORDS.as_slice(), &[3; 16], &[4; 16]].into();
    let seal = SealState {
        conversation: CONVERSATION,
        sender: ANA,
        device: number(1),
        recipients_digest: recipients_digest(&ids).to_vec(),
        received_at: NOW,
    };
    let locked = Locked { tenant: tenant(), last_seq: 7, facts_version: 5 };
    let state = State {
        conversations: HashMap::from([(CONVERSATION, locked)]),
        seals: HashMap::from([(SEAL, Arc::new(seal))]),
        ..State::default()
    };
    World { state, members: vec![member(ANA, &[1, 2]), member(MARIA, &[1])] }
}

fn tenant() -> TenantId {
    TenantId::from_bytes([8; 16])
}

fn message(seq: u64, prev: Option<u8>, commitment: u8) -> SendMessage {
    let envelope = |user: UserId, n: u8| RecipientEnvelope {
        user_id: user,
        device_id: number(n),
        registration_id: u32::from(n) + 100,
        r#type: EnvelopeType::Message,
        content: Base64(vec![1]),
    };
    SendMessage {
        client_message_id: ClientMessageId::from_bytes([commitment; 16]),
        message_type: MessageKind::Text,
        priority: Default::default(),
        sent_at: NOW,
        device_seq: seq,
        prev_commitment: prev.map(|byte| Base64Array([byte; 32])),
        seen_commitment: None,
        body: Base64(vec![0; 176]),
        commitment: Base64Array([commitment; 32]),
        signature: Base64Array([commitment; 64]),
        seal_id: SEAL,
        wrapped_key: Base64Array([0; 48]),
        target_commitment: None,
        reply_to_commitment: None,
        attachments: vec![],
        urgent: false,
        deliver: Default::default(),
        expires_in_s: None,
        envelopes: vec![envelope(ANA, 2), envelope(MARIA, 1)],
    }
}

fn run(world: &mut World, messages: Vec<SendMessage>) -> Vec<Verdict> {
    let members = world.members.clone();
    let snapshot = Arc::new(Snapshot::for_tests(CONVERSATION, tenant(), 5, ANA, members, RECORDS));
    let submission =
        |message| Submission::for_tests(tenant(), device(ANA, 1).id, ANA, message, Arc::clone(&snapshot));
    let submissions: Vec<Submission> = messages.into_iter().map(submission).collect();
    plan(&mut world.state, &submissions.iter().collect::<Vec<_>>(), NOW)
}

/// The code and details of a refusal of `message`.
fn refusal(mut world: World, message: SendMessage) -> (ErrorCode, serde_json::Value) {
    match run(&mut world, vec![message]).remove(0) {
        Verdict::Refuse(error) => (error.code(), error.details()),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn messages_of_one_batch_continue_each_other() {
    let mut world = world();
    let verdicts = run(&mut world, vec![message(1, None, 1), message(2, Some(1), 2), message(3, Some(2), 3)]);
    let numbers: Vec<i64> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Accept { conversation_seq, .. } => *conversation_seq,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, [8, 9, 10]);
    match &verdicts[0] {
        Verdict::Accept { recipients, .. } => {
            assert_eq!(recipients, &[device(ANA, 2).id, device(MARIA, 1).id])
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gap_in_the_chain_is_answered_with_what_is_there() {
    for wrong in [message(2, None, 1), message(2, Some(9), 1), message(1, Some(9), 1)] {
        let (code, details) = refusal(world(), wrong);
        assert_eq!((code, &details["device_seq"]), (ErrorCode::ChainGap, &serde_json::json!(0)));
    }
    let mut world = world();
    let chain = Chain { device_seq: 4, commitment: Some([7; 32]) };
    world.state.chains.insert(CONVERSATION, HashMap::from([(device(ANA, 1).id, chain)]));
    let (code, details) = refusal(world, message(5, Some(6), 1));
    assert_eq!(code, ErrorCode::ChainGap);
    assert_eq!(details["device_seq"], 4);
    assert_eq!(details["commitment"], serde_json::json!(Base64Array([7u8; 32])));
}

#[test]
fn a_refused_message_moves_nothing() {
    let mut world = world();
    let mut second = message(1, None, 1);
    second.envelopes.clear();
    let verdicts = run(&mut world, vec![second, message(1, None, 2)]);
    assert!(matches!(verdicts[0], Verdict::Refuse(_)));
    assert!(matches!(verdicts[1], Verdict::Accept { conversation_seq: 8, .. }));
}

#[test]
fn the_same_message_twice_is_one_and_another_under_its_name_is_refused() {
    let mut world = world();
    let mut other = message(2, Some(1), 2);
    other.client_message_id = ClientMessageId::from_bytes([1; 16]);
    let verdicts = run(&mut world, vec![message(1, None, 1), message(1, None, 1), other]);
    assert!(matches!(verdicts[1], Verdict::RepeatOf(0)));
    match &verdicts[2] {
        Verdict::Refuse(error) => assert_eq!(error.code(), ErrorCode::IdempotencyConflict),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_wrong_set_of_devices_is_named() {
    let mut wrong = message(1, None, 1);
    wrong.envelopes[0].registration_id = 1;
    wrong.envelopes[1].device_id = number(9);
    let (code, details) = refusal(world(), wrong);
    assert_eq!(code, ErrorCode::DeviceMismatch);
    assert_eq!(details["stale"], serde_json::json!([{"user_id": ANA, "device_id": 2}]));
    assert_eq!(details["extra"], serde_json::json!([{"user_id": MARIA, "device_id": 9}]));
    assert_eq!(details["missing"], serde_json::json!([{"user_id": MARIA, "device_id": 1}]));
}

#[test]
fn a_device_with_stale_keys_neither_gets_nor_sends() {
    let old = NOW - KEY_LIFETIME - std::time::Duration::from_secs(1);
    let mut without_maria = world();
    without_maria.members[1].devices[0].keys_published_at = Some(old);
    let (code, details) = refusal(without_maria, message(1, None, 1));
    assert_eq!(code, ErrorCode::DeviceMismatch);
    assert_eq!(details["extra"], serde_json::json!([{"user_id": MARIA, "device_id": 1}]));

    let mut sender = world();
    sender.members[0].devices[0].keys_published_at = Some(old);
    assert_eq!(refusal(sender, message(1, None, 1)).0, ErrorCode::DeviceKeysExpired);
}

#[test]
fn a_seal_must_be_the_devices_own_for_the_current_keys_and_young() {
    type Change = fn(&mut World);
    let changes: [(Change, ErrorCode); 5] = [
        (|w| w.state.seals.clear(), ErrorCode::SealUnknown),
        (|w| w.seal().device = number(2), ErrorCode::SealUnknown),
        (|w| w.seal().sender = MARIA, ErrorCode::SealUnknown),
        (
            |w| w.seal().received_at = NOW - SEAL_LIFETIME - std::time::Duration::from_secs(1),
            ErrorCode::SealStale,
        ),
        (|w| w.members[1].history_key_id = Some(vec![77; 16]), ErrorCode::SealStale),
    ];
    for (change, expected) in changes {
        let mut world = world();
        change(&mut world);
        assert_eq!(refusal(world, message(1, None, 1)).0, expected);
    }
}

const RESULT: FileId = FileId::from_bytes([6; 16]);

/// A world in which Ana has uploaded a file that waits for its scan.
fn world_with_file(change: impl FnOnce(&mut FileState)) -> World {
    let mut world = world();
    let mut file = FileState {
        conversation: CONVERSATION,
        uploader: ANA,
        sha256: vec![7; 32],
        document_type: DocumentType::LabResult,
        scan: ScanStatus::Pending,
        expires_at: None,
        destroyed: false,
    };
    change(&mut file);
    world.state.files.insert(RESULT, file);
    world
}

fn with_file(file_id: FileId, sha256: u8) -> SendMessage {
    let attachments = vec![AttachmentRef { file_id, sha256: Base64Array([sha256; 32]) }];
    SendMessage { message_type: MessageKind::File, attachments, ..message(1, None, 1) }
}

#[test]
fn a_message_names_its_senders_own_good_files_of_its_conversation() {
    for scan in [ScanStatus::Pending, ScanStatus::Clean, ScanStatus::Unavailable] {
        let mut world = world_with_file(|file| file.scan = scan);
        let verdict = run(&mut world, vec![with_file(RESULT, 7)]).remove(0);
        assert!(matches!(verdict, Verdict::Accept { .. }), "{scan}: {verdict:?}");
    }
    let mut world = world_with_file(|file| file.expires_at = Some(NOW + std::time::Duration::from_micros(1)));
    assert!(matches!(run(&mut world, vec![with_file(RESULT, 7)])[..], [Verdict::Accept { .. }]));

    type Change = fn(&mut FileState);
    let changes: [(Change, &str); 7] = [
        (|file| file.uploader = MARIA, "is not a file you uploaded to this conversation"),
        (
            |file| file.conversation = ConversationId::from_bytes([9; 16]),
            "is not a file you uploaded to this conversation",
        ),
        (|file| file.sha256 = vec![8; 32], "has another hash"),
        (|file| file.destroyed = true, "was destroyed"),
        (|file| file.expires_at = Some(NOW), "has expired"),
        (|file| file.scan = ScanStatus::Infected, "was found infected"),
        (|file| file.scan = ScanStatus::Refused, "was refused by the scan"),
    ];
    for (change, problem) in changes {
        let (code, details) = refusal(world_with_file(change), with_file(RESULT, 7));
        assert_eq!(code, ErrorCode::InvalidMessage);
        let expected = serde_json::json!({"field": "attachments", "problem": problem, "file_id": RESULT});
        assert_eq!(details, expected);
    }
    let unknown = FileId::from_bytes([9; 16]);
    let (_, details) = refusal(world_with_file(|_| {}), with_file(unknown, 7));
    assert_eq!(details["problem"], "is not a file you uploaded to this conversation");
}

#[test]
fn a_decision_on_facts_that_changed_is_made_again() {
    let mut changed = world();
    changed.state.conversations.get_mut(&CONVERSATION).unwrap().facts_version = 6;
    let verdict = run(&mut changed, vec![message(1, None, 1)]).remove(0);
    assert!(
        matches!(&verdict, Verdict::Refuse(error) if super::super::submit::is_facts_changed(error)),
        "{verdict:?}"
    );
    let mut elsewhere = world();
    elsewhere.state.conversations.get_mut(&CONVERSATION).unwrap().tenant = TenantId::from_bytes([99; 16]);
    assert_eq!(refusal(elsewhere, message(1, None, 1)).0, ErrorCode::NotFound);
}

#[test]
fn what_ended_by_the_clock_before_the_commit_is_decided_on_again() {
    let decide = |until: Timestamp| {
        let mut world = world();
        let members = world.members.clone();
        let snapshot = Snapshot::for_tests(CONVERSATION, tenant(), 5, ANA, members, RECORDS);
        let submission = Submission::for_tests(
            tenant(),
            device(ANA, 1).id,
            ANA,
            message(1, None, 1),
            Arc::new(snapshot.ending_for_tests(until)),
        );
        plan(&mut world.state, &[&submission], NOW).remove(0)
    };
    // The closing itself is outside.
    let refused = decide(NOW);
    assert!(
        matches!(&refused, Verdict::Refuse(error) if super::super::submit::is_facts_changed(error)),
        "{refused:?}"
    );
    let accepted = decide(Timestamp::from_micros(NOW.micros() + 1));
    assert!(matches!(accepted, Verdict::Accept { .. }), "{accepted:?}");
}

#[test]
fn only_the_author_edits_and_only_what_is_there() {
    let mut edit = message(1, None, 1);
    edit.message_type = MessageKind::Edit;
    edit.target_commitment = Some(Base64Array([50; 32]));
    assert_eq!(refusal(world(), edit.clone()).0, ErrorCode::InvalidMessage);
    let mut foreign = world();
    foreign.state.targets.insert([50; 32], vec![Target { conversation: CONVERSATION, sender: MARIA }]);
    assert_eq!(refusal(foreign, edit.clone()).0, ErrorCode::InvalidMessage);
    let mut own = world();
    own.state.targets.insert([50; 32], vec![Target { conversation: CONVERSATION, sender: ANA }]);
    assert!(matches!(run(&mut own, vec![edit]).remove(0), Verdict::Accept { .. }));
}

#[test]
fn a_message_may_be_about_one_of_the_same_batch() {
    let mut edit = message(2, Some(1), 2);
    edit.message_type = MessageKind::Edit;
    edit.target_commitment = Some(Base64Array([1; 32]));
    let verdicts = run(&mut world(), vec![message(1, None, 1), edit]);
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accept { .. })), "{verdicts:?}");
}

#[test]
fn nobody_takes_the_commitment_of_another_message() {
    let mut taken = world();
    taken.state.targets.insert([1; 32], vec![Target { conversation: CONVERSATION, sender: MARIA }]);
    let (code, details) = refusal(taken, message(1, None, 1));
    assert_eq!((code, &details["field"]), (ErrorCode::InvalidMessage, &serde_json::json!("commitment")));
    let mut elsewhere = world();
    let there = ConversationId::from_bytes([77; 16]);
    elsewhere.state.targets.insert([1; 32], vec![Target { conversation: there, sender: MARIA }]);
    assert!(matches!(run(&mut elsewhere, vec![message(1, None, 1)]).remove(0), Verdict::Accept { .. }));
    let mut twice = message(2, Some(1), 1);
    twice.client_message_id = ClientMessageId::from_bytes([9; 16]);
    let verdicts = run(&mut world(), vec![message(1, None, 1), twice]);
    assert!(matches!(verdicts[1], Verdict::Refuse(_)));
}
