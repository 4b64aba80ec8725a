//! What a receiver says of other people's seals: good, bad and why, or not to be judged yet.

use sigilo_seal::{KeyPurpose, Origin, RecordSeal, XWingPublic, XWingSecret};
use sigilo_wire::{
    Base64Array, DeviceNumber,
    seal::{KeyIdBytes, Seal, SealProblem},
};

use super::{check::Keys, *};
use crate::event::TimelineNote;
use crate::{
    profile::{
        Record as _,
        records::{ClinicKey, ContactHistoryKey, SealReport, UncheckedSeal},
    },
    receive::Way,
    testing::{Party, World, rng},
};

const DEVICE: DeviceNumber = DeviceNumber::FIRST;

/// A seal of Ana's for these recipients, the officers first.
async fn made(world: &World, by: &Party, recipients: impl FnOnce(&mut Vec<Recipient>)) -> Seal {
    made_for(world, by, |_| {}, recipients).await
}

async fn made_for(
    world: &World,
    by: &Party,
    members: impl FnOnce(&mut Vec<Member>),
    recipients: impl FnOnce(&mut Vec<Recipient>),
) -> Seal {
    let record = by.engine.conversation(world.conversation).await.unwrap();
    let mut view = by.engine.member_view(&record).await.unwrap();
    view.recipients.insert(0, Recipient::records(&world.clinic.records_statement()).unwrap());
    members(&mut view.members);
    recipients(&mut view.recipients);
    let own = by.engine.make_seal(world.conversation, view.members, &view.recipients, &by.identity).await;
    let seal = own.unwrap().seal;
    Seal {
        conversation_id: world.conversation,
        sender_id: by.user,
        device_id: DEVICE,
        received_at: seal.created_at,
        seal,
    }
}

/// The seal with a change its maker signed.
fn resigned(world: &World, seal: &Seal, change: impl FnOnce(&mut Seal)) -> Seal {
    let mut changed = seal.clone();
    change(&mut changed);
    let origin = Origin::of_seal(world.clinic.tenant, &changed);
    let mut record = RecordSeal::of_new(&origin, &changed.seal).unwrap();
    record.signature = world.ana.identity.sign(&record.signing_input(), &mut rng(1));
    changed.seal = record.to_new();
    changed
}

async fn taken(world: &World, seal: &Seal) -> SeenSeal {
    world.maria.engine.take_seal(seal, (world.ana.user, DEVICE), Keys::Known, Way::Live).await.unwrap()
}

async fn reports(world: &World) -> Vec<SealProblem> {
    let reports: Vec<SealReport> = world.maria.engine.profile.all(b"").await.unwrap();
    reports.iter().map(|report| report.problem).collect()
}

#[tokio::test]
async fn a_seal_for_the_members_and_the_officers_is_good() {
    let world = World::new().await;
    let seal = made(&world, &world.ana, |_| {}).await;
    assert_eq!(taken(&world, &seal).await.verdict, SealVerdict::Good);
    assert!(reports(&world).await.is_empty());
}

#[tokio::test]
async fn a_seal_without_a_good_copy_for_the_officers_is_bad() {
    let world = World::new().await;
    let without = made(&world, &world.ana, |list| {
        list.remove(0);
    })
    .await;
    assert!(matches!(taken(&world, &without).await.verdict, SealVerdict::Bad(_)));
    // A key the root may have named since: judged when the clinic's keys can be fetched, not before.
    let stranger: XWingPublic = XWingSecret::from_seed([66; 32]).public();
    let for_stranger = made(&world, &world.ana, |list| list[0] = Recipient::history(stranger)).await;
    let later =
        world.maria.engine.take_seal(&for_stranger, (world.ana.user, DEVICE), Keys::Fetched, Way::Live).await;
    assert!(later.is_err_and(|error| error.is_for_later()));
    // The officers' copy is named as theirs, but made for a key they do not have.
    let stolen = resigned(&world, &for_stranger, |seal| {
        seal.seal.copies[0].key_id = KeyIdBytes::from(world.clinic.records_statement().key_id());
    });
    assert!(matches!(taken(&world, &stolen).await.verdict, SealVerdict::Bad(_)));
}

#[tokio::test]
async fn a_seal_that_others_signed_or_that_was_changed_does_not_open() {
    let world = World::new().await;
    let seal = made(&world, &world.ana, |_| {}).await;
    let changes: [fn(&mut Seal); 4] = [
        |s| s.seal.signature.0[0] ^= 1,
        |s| s.seal.copies[1].ciphertext.0[0] ^= 1,
        |s| s.seal.members[0].history_key_id.0[0] ^= 1,
        |s| s.device_id = DeviceNumber::new(2).unwrap(),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = seal.clone();
        change(&mut changed);
        let seen = taken(&world, &changed).await;
        assert!(seen.archive_key.is_none(), "change {number}");
        assert!(matches!(seen.verdict, SealVerdict::Bad(_)), "change {number}");
    }
    let timeline = world.maria.engine.timeline(world.conversation).await.unwrap();
    assert!(!timeline.is_empty(), "a bad seal is shown");
}

#[tokio::test]
async fn each_flaw_is_queued_for_the_server_by_its_name() {
    let world = World::new().await;
    let maria = world.maria.user;
    // A key of the clinic's that is not the officers'.
    let moderation = world.clinic.statement(
        KeyPurpose::Moderation,
        1,
        XWingSecret::from_seed([67; 32]).public().as_bytes().to_vec(),
    );
    let statement = sigilo_wire::keys::SignedRootStatement::from(&moderation.sign(&world.clinic.root));
    let key = ClinicKey { key_id: moderation.key_id(), statement };
    world.maria.engine.profile.put(&key).await.unwrap();

    let good = made(&world, &world.ana, |_| {}).await;
    let own_copy = world.maria.contact.history_key.clone().unwrap().history_key_id();
    let is_own = |copy: &sigilo_wire::seal::SealCopy| copy.key_id == KeyIdBytes::from(own_copy);
    let stranger: XWingPublic = XWingSecret::from_seed([66; 32]).public();
    let flawed = [
        (SealProblem::MissingCopy, made(&world, &world.ana, |list| drop(list.remove(0))).await),
        (SealProblem::MissingCopy, made(&world, &world.ana, |l| l.retain(|r| r.key_id() != own_copy)).await),
        (
            SealProblem::BadCopy,
            resigned(
                &world,
                &made(&world, &world.ana, |list| list[0] = Recipient::history(stranger.clone())).await,
                |s| s.seal.copies[0].key_id = KeyIdBytes::from(world.clinic.records_statement().key_id()),
            ),
        ),
        (
            SealProblem::UnexpectedCopy,
            made(&world, &world.ana, |list| list.push(Recipient::records(&moderation).unwrap())).await,
        ),
        (
            SealProblem::WrongMembers,
            made_for(
                &world,
                &world.ana,
                |members| members.retain(|member| member.user == maria),
                |list| {
                    list.retain(|r| {
                        [own_copy, world.clinic.records_statement().key_id()].contains(&r.key_id())
                    })
                },
            )
            .await,
        ),
        (SealProblem::BadSignature, {
            let mut unsigned = good.clone();
            unsigned.seal.signature.0[0] ^= 1;
            unsigned
        }),
        (
            SealProblem::Unopenable,
            resigned(&world, &good, |s| {
                s.seal.copies.iter_mut().find(|copy| is_own(copy)).unwrap().ciphertext.0[0] ^= 1;
            }),
        ),
    ];
    for (number, (problem, seal)) in flawed.into_iter().enumerate() {
        let seen = taken(&world, &seal).await;
        assert!(matches!(seen.verdict, SealVerdict::Bad(_)), "flaw {number}: {:?}", seen.verdict);
        assert_eq!(reports(&world).await, [problem], "flaw {number}: {:?}", seen.verdict);
        let step = world.maria.engine.profile.step();
        for report in world.maria.engine.profile.all::<SealReport>(b"").await.unwrap() {
            assert_eq!((report.conversation, report.seal_id), (seal.conversation_id, seal.seal.seal_id));
            step.delete::<SealReport>(&report.key());
        }
        step.commit().await.unwrap();
    }
    // The message names another device's seal: nothing is wrong with the seal.
    let mut others = good;
    others.device_id = DeviceNumber::new(2).unwrap();
    assert!(matches!(taken(&world, &others).await.verdict, SealVerdict::Bad(_)));
    assert!(reports(&world).await.is_empty());
}

#[tokio::test]
async fn a_report_waits_on_disk_until_the_server_answers() {
    let world = World::new().await;
    let without = made(&world, &world.ana, |list| drop(list.remove(0))).await;
    taken(&world, &without).await;
    world.maria.engine.upkeep().await.unwrap();
    assert_eq!(reports(&world).await, [SealProblem::MissingCopy], "nobody answered");
}

#[tokio::test]
async fn a_seal_that_could_not_be_judged_is_judged_when_the_key_is_known() {
    for good in [true, false] {
        let mut world = World::new().await;
        let maria = world.maria.engine.profile.clone();
        let name = ContactHistoryKey {
            user: world.ana.user,
            key_id: world.ana.contact.history_key.clone().unwrap().history_key_id(),
            public_key: world.ana.contact.history_key.clone().unwrap(),
        };
        let step = maria.step();
        step.delete::<ContactHistoryKey>(&name.key());
        step.commit().await.unwrap();
        let seal = world.seal(&world.ana, &world.maria).await;
        if !good {
            // Ana's own copy is bad; whoever opens another one sees it, once Ana's key is known.
            let bad = resigned(&world, &seal, |s| {
                let own = KeyIdBytes::from(name.key_id);
                s.seal.copies.iter_mut().find(|copy| copy.key_id == own).unwrap().ciphertext.0[0] ^= 1;
            });
            taken(&world, &bad).await;
        }
        let event = world.write(true, "hola").await;
        world.maria.engine.receive(event).await.unwrap();
        let shown = world.maria.engine.history(world.conversation, None, 1).await.unwrap().remove(0);
        assert!(matches!(shown.seal, SealVerdict::Unchecked(_)), "{:?}", shown.seal);
        assert!(shown.is_verified(), "it opens all the same");
        world.maria.engine.upkeep().await.unwrap();
        let shown = world.maria.engine.history(world.conversation, None, 1).await.unwrap().remove(0);
        assert!(matches!(shown.seal, SealVerdict::Unchecked(_)), "nothing new is known");

        // Meanwhile the conversation has other members: the seal is judged by those of its time.
        let mut conversation = world.maria.engine.conversation(world.conversation).await.unwrap();
        conversation.shown_members.retain(|member| *member == world.maria.user);
        maria.put(&conversation).await.unwrap();
        maria.put(&name).await.unwrap();
        world.maria.engine.upkeep().await.unwrap();
        let shown = world.maria.engine.history(world.conversation, None, 1).await.unwrap().remove(0);
        assert_eq!(shown.seal == SealVerdict::Good, good, "{:?}", shown.seal);
        assert_eq!(matches!(shown.seal, SealVerdict::Bad(_)), !good, "{:?}", shown.seal);
        assert!(maria.all::<UncheckedSeal>(b"").await.unwrap().is_empty());
        let expected: &[SealProblem] = if good { &[] } else { &[SealProblem::BadCopy] };
        assert_eq!(reports(&world).await, expected);
        let seen = world.maria.engine.seen_seal(
            world.conversation,
            seal.seal.seal_id,
            world.ana.user,
            DEVICE,
            Way::Live,
        );
        assert_eq!(seen.await.unwrap().verdict, shown.seal);
    }
}

#[tokio::test]
async fn a_seal_of_an_identity_used_before_is_neither_good_nor_bad() {
    let world = World::new().await;
    let seal = made(&world, &world.ana, |_| {}).await;
    let maria = &world.maria.engine;
    let mut ana: crate::profile::records::Contact =
        maria.profile.get(world.ana.user.as_bytes()).await.unwrap().unwrap();
    ana.pending = Some(sigilo_seal::IdentitySecret::from_bytes([8; 32]).public());
    maria.profile.put(&ana).await.unwrap();
    let number = maria.safety_number(world.ana.user).await.unwrap();
    maria.confirm_identity(world.ana.user, &number).await.unwrap();
    let seen = taken(&world, &seal).await;
    assert!(matches!(seen.verdict, SealVerdict::Unchecked(_)), "{:?}", seen.verdict);
    assert!(seen.archive_key.is_some(), "what is under it opens");
    assert!(reports(&world).await.is_empty(), "nobody is accused");
}

#[tokio::test]
async fn a_seal_from_before_this_device_knows_strangers_and_accuses_nobody() {
    let world = World::new().await;
    let (maria, eva) = (&world.maria.engine, sigilo_wire::UserId::from_bytes([44; 16]));
    let identity = sigilo_seal::IdentitySecret::from_bytes([45; 32]).public();
    let history = XWingSecret::from_seed([46; 32]).public();
    let seal = made_for(
        &world,
        &world.ana,
        |members| {
            members.push(Member {
                user: eva,
                identity_key: identity,
                history_key_id: history.history_key_id(),
            });
            members.sort_by_key(|member| member.user);
        },
        |recipients| recipients.push(Recipient::history(history.clone())),
    )
    .await;
    let known =
        ContactHistoryKey { user: eva, key_id: history.history_key_id(), public_key: history.clone() };
    let stranger = crate::profile::records::Contact::first_seen(eva, identity, crate::testing::NOW);
    let by = (world.ana.user, DEVICE);
    // Live, and in the time this device knows, it is for somebody who does not take part.
    for (way, since) in [(Way::Live, 60), (Way::History, 0)] {
        let mut conversation = maria.conversation(world.conversation).await.unwrap();
        let later = seal.seal.created_at + std::time::Duration::from_secs(since);
        conversation.known_since = Some(later);
        let step = maria.profile.step();
        step.put(&conversation).unwrap();
        step.put(&known).unwrap();
        step.put(&stranger).unwrap();
        step.commit().await.unwrap();
        let seen = maria.take_seal(&seal, by, Keys::Known, way).await.unwrap();
        assert!(matches!(seen.verdict, SealVerdict::Bad(_)), "{:?}", seen.verdict);
        assert!(maria.vouched(eva).await.unwrap().is_none(), "a bad seal speaks for nobody");
        let step = maria.profile.step();
        step.delete::<SealReport>(
            &[seal.conversation_id.as_bytes().as_slice(), seal.seal.seal_id.as_bytes()].concat(),
        );
        step.commit().await.unwrap();
    }
    let mut conversation = maria.conversation(world.conversation).await.unwrap();
    conversation.known_since = Some(seal.seal.created_at + std::time::Duration::from_secs(60));
    maria.profile.put(&conversation).await.unwrap();
    let seen = maria.take_seal(&seal, by, Keys::Known, Way::History).await.unwrap();
    assert!(matches!(seen.verdict, SealVerdict::Unchecked(_)), "{:?}", seen.verdict);
    assert!(reports(&world).await.is_empty());
    assert!(maria.profile.all::<UncheckedSeal>(b"").await.unwrap().is_empty(), "it will never be known");
    assert_eq!(maria.vouched(eva).await.unwrap().unwrap().identity, identity);
    // Whoever takes part now must be in it all the same.
    let without = made_for(
        &world,
        &world.ana,
        |members| members.retain(|member| member.user != world.ana.user),
        |recipients| {
            recipients
                .retain(|r| r.key_id() != world.ana.contact.history_key.clone().unwrap().history_key_id())
        },
    )
    .await;
    let seen = maria.take_seal(&without, by, Keys::Known, Way::History).await.unwrap();
    assert!(matches!(seen.verdict, SealVerdict::Bad(_)), "{:?}", seen.verdict);
}

#[tokio::test]
async fn a_seal_is_measured_by_those_who_were_seen_at_its_time() {
    use crate::profile::records::TimelineEntry;

    let world = World::new().await;
    let (maria, by) = (&world.maria.engine, (world.ana.user, DEVICE));
    let seal = made(&world, &world.ana, |_| {}).await;
    // Since the seal was made, its maker has left.
    let mut conversation = maria.conversation(world.conversation).await.unwrap();
    conversation.shown_members.retain(|member| *member == world.maria.user);
    maria.profile.put(&conversation).await.unwrap();
    let seen = maria.take_seal(&seal, by, Keys::Known, Way::Live).await.unwrap();
    assert!(matches!(seen.verdict, SealVerdict::Bad(_)), "nobody saw her leave: {:?}", seen.verdict);
    let left = |after: u64| TimelineEntry {
        conversation: world.conversation,
        at: seal.seal.created_at + std::time::Duration::from_secs(after),
        note: TimelineNote::Left(world.ana.user),
    };
    maria.profile.put(&left(60)).await.unwrap();
    let seen = maria.take_seal(&seal, by, Keys::Known, Way::Live).await.unwrap();
    assert_eq!(seen.verdict, SealVerdict::Good);
}

#[tokio::test]
async fn a_seal_for_somebody_who_left_before_they_were_ever_shown_accuses_nobody() {
    let world = World::new().await;
    let (maria, eva) = (&world.maria.engine, sigilo_wire::UserId::from_bytes([44; 16]));
    let identity = sigilo_seal::IdentitySecret::from_bytes([45; 32]).public();
    let history = XWingSecret::from_seed([46; 32]).public();
    let key_id = history.history_key_id();
    let seal = made_for(
        &world,
        &world.ana,
        |members| {
            members.push(Member { user: eva, identity_key: identity, history_key_id: key_id });
            members.sort_by_key(|member| member.user);
        },
        |recipients| recipients.push(Recipient::history(history.clone())),
    )
    .await;
    let step = maria.profile.step();
    step.put(&ContactHistoryKey { user: eva, key_id, public_key: history }).unwrap();
    step.put(&crate::profile::records::Contact::first_seen(eva, identity, crate::testing::NOW)).unwrap();
    step.commit().await.unwrap();
    assert!(matches!(taken(&world, &seal).await.verdict, SealVerdict::Bad(_)), "nobody saw her come or go");
    // The conversation was fetched after she had left; the news of it comes behind the message.
    let left = sigilo_wire::event::ParticipantChanged {
        conversation_id: world.conversation,
        joined: Vec::new(),
        left: vec![eva],
    };
    maria.take_change(&left).await.unwrap();
    assert_eq!(taken(&world, &seal).await.verdict, SealVerdict::Good);
    // Whoever excuses a seal is shown, once: she was there, by the server's word.
    taken(&world, &seal).await;
    let lines = maria.timeline(world.conversation).await.unwrap();
    let of_eva: Vec<_> = lines.iter().filter(|line| line.note == TimelineNote::Left(eva)).collect();
    assert_eq!(of_eva.len(), 1, "{lines:?}");
    assert!(lines.iter().all(|line| !matches!(line.note, TimelineNote::Joined(_))));
}

#[tokio::test]
async fn an_invented_identity_of_somebody_known_all_along_is_reported() {
    // The maker's, which signed the seal, or a member's.
    for invented in ["maker", "member"] {
        let world = World::new().await;
        let maria = &world.maria.engine;
        let other = sigilo_seal::IdentitySecret::from_bytes([8; 32]);
        let me = world.maria.user;
        let seal = match invented {
            "maker" => {
                let mut seal = made(&world, &world.ana, |_| {}).await;
                let member = seal.seal.members.iter_mut().find(|m| m.user_id == world.ana.user).unwrap();
                member.identity_key = Base64Array(other.public().to_bytes());
                let origin = Origin::of_seal(world.clinic.tenant, &seal);
                let mut record = RecordSeal::of_new(&origin, &seal.seal).unwrap();
                record.signature = other.sign(&record.signing_input(), &mut rng(1));
                seal.seal = record.to_new();
                seal
            }
            _ => {
                let key = other.public();
                made_for(
                    &world,
                    &world.ana,
                    |members| members.iter_mut().filter(|m| m.user == me).for_each(|m| m.identity_key = key),
                    |_| {},
                )
                .await
            }
        };
        // Known only since about the time the seal was made: there may have been another before.
        let seen = taken(&world, &seal).await;
        assert!(matches!(seen.verdict, SealVerdict::Unchecked(_)), "{invented}: {:?}", seen.verdict);
        assert_eq!(seen.archive_key.is_none(), invented == "maker", "{invented}");
        assert!(reports(&world).await.is_empty(), "{invented}");
        // Known for a week, and the same all the while.
        let week = std::time::Duration::from_secs(7 * 24 * 3600);
        for user in [world.ana.user, me] {
            let mut known: crate::profile::records::Contact =
                maria.profile.get(user.as_bytes()).await.unwrap().unwrap();
            known.first_seen = crate::testing::NOW - week;
            maria.profile.put(&known).await.unwrap();
        }
        let seen = taken(&world, &seal).await;
        assert!(matches!(seen.verdict, SealVerdict::Bad(_)), "{invented}: {:?}", seen.verdict);
        let expected =
            if invented == "maker" { SealProblem::BadSignature } else { SealProblem::WrongMembers };
        assert_eq!(reports(&world).await, [expected], "{invented}");
    }
}
