//! The profile: encrypted, atomic, bound to its places, open to one process only.

use std::{collections::HashSet, rc::Rc};

use super::{
    Order, Profile, Step, Unlock, history_keys,
    records::{
        Cursor, KyberPreKey, OneTimePreKey, OwnIdentity, SecretBytes, SeenSeal, Session, SignedPreKey,
        StoredTokens, session_key,
    },
};
use crate::{
    Error,
    env::Env,
    testing::{KEY, NOW, World, environment, profile},
};
use sigilo_wire::{DeviceNumber, UserId};

fn session(user: u8, device: u8, record: &[u8]) -> Session {
    Session {
        user: UserId::from_bytes([user; 16]),
        device: DeviceNumber::new(device).unwrap(),
        record: SecretBytes(record.to_vec()),
    }
}

fn key(user: u8, device: u8) -> Vec<u8> {
    session_key(UserId::from_bytes([user; 16]), DeviceNumber::new(device).unwrap())
}

#[tokio::test]
async fn a_step_is_on_disk_only_after_its_commit() {
    let folder = tempfile::tempdir().unwrap();
    let profile = profile(&folder, "p", 1).await;
    let step: Step = profile.step();
    step.put(&session(1, 1, b"advanced")).unwrap();
    step.put(&Cursor { event_id: "7".into() }).unwrap();
    // The act sees its own writes.
    assert_eq!(step.get::<Session>(&key(1, 1)).await.unwrap().unwrap().record.0, b"advanced");
    // A crash here: the act is gone as a whole.
    drop(step);
    assert!(profile.get::<Session>(&key(1, 1)).await.unwrap().is_none());
    assert!(profile.get::<Cursor>(b"").await.unwrap().is_none());

    let step = profile.step();
    step.put(&session(1, 1, b"advanced")).unwrap();
    step.put(&Cursor { event_id: "7".into() }).unwrap();
    step.commit().await.unwrap();
    // A crash here: the file is opened again without having been closed.
    std::mem::forget(profile);
    let copy = folder.path().join("copy");
    for end in ["", "-wal"] {
        std::fs::copy(folder.path().join(format!("p{end}")), folder.path().join(format!("copy{end}")))
            .unwrap();
    }
    let env = Rc::new(Env::new(environment(2)));
    let reopened = Profile::open(&copy, &Unlock::Key(KEY), env).await.unwrap();
    assert_eq!(reopened.get::<Session>(&key(1, 1)).await.unwrap().unwrap().record.0, b"advanced");
    assert_eq!(reopened.get::<Cursor>(b"").await.unwrap().unwrap().event_id, "7");
}

#[tokio::test]
async fn deletes_and_lists_follow_the_owner_and_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let profile = profile(&folder, "p", 1).await;
    let step = profile.step();
    for (user, device) in [(1, 1), (1, 2), (2, 1)] {
        step.put(&session(user, device, &[user, device])).unwrap();
    }
    step.commit().await.unwrap();
    let step = profile.step();
    step.delete::<Session>(&key(1, 2));
    assert!(step.get::<Session>(&key(1, 2)).await.unwrap().is_none());
    step.commit().await.unwrap();
    let of_first: Vec<Session> = profile.list(&[1; 16], i64::MAX, 10, Order::OldestFirst).await.unwrap();
    assert_eq!(of_first.len(), 1);
    assert_eq!(of_first[0].record.0, [1, 1]);
}

#[tokio::test]
async fn nothing_of_a_value_or_a_key_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let profile = profile(&folder, "p", 1).await;
    let planted = b"PLANTED-SECRET-PLANTED-SECRET";
    let user = UserId::from_bytes(*b"PLANTED-USER-ID!");
    let step = profile.step();
    step.put(&Session { user, device: DeviceNumber::FIRST, record: SecretBytes(planted.to_vec()) }).unwrap();
    step.put(&StoredTokens {
        access: SecretBytes(planted.to_vec()),
        expires_at: NOW,
        refresh: SecretBytes(planted.to_vec()),
    })
    .unwrap();
    step.commit().await.unwrap();
    profile.close().await.unwrap();
    let base64 = sigilo_wire::Base64(planted.to_vec()).to_string();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "only its owner reads it");
        let bytes = std::fs::read(entry.path()).unwrap();
        files += 1;
        let text = user.to_string();
        let needles: [&[u8]; 4] =
            [planted.as_slice(), b"PLANTED-USER-ID!", base64.as_bytes(), text.as_bytes()];
        for needle in needles {
            assert!(!bytes.windows(needle.len()).any(|window| window == needle));
        }
    }
    assert!(files >= 1);
}

#[tokio::test]
async fn another_passphrase_does_not_open_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p");
    let env = || Rc::new(Env::new(environment(1)));
    let right = Unlock::from("correct horse battery staple");
    let profile = Rc::new(Profile::create_or_open(&path, &right, env()).await.unwrap());
    profile.put(&Cursor { event_id: "7".into() }).await.unwrap();
    profile.close().await.unwrap();
    let wrong = Profile::open(&path, &Unlock::from("wrong horse"), env()).await;
    assert!(matches!(wrong, Err(Error::WrongPassphrase)));
    let wrong = Profile::open(&path, &Unlock::Key(KEY), env()).await;
    assert!(matches!(wrong, Err(Error::WrongPassphrase)));
    let reopened = Profile::open(&path, &right, env()).await.unwrap();
    assert_eq!(reopened.get::<Cursor>(b"").await.unwrap().unwrap().event_id, "7");
    let missing = Profile::open(&folder.path().join("q"), &right, env()).await;
    assert!(matches!(missing, Err(Error::NotActivated)));
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = profile(&folder, "p", 1).await;
    first.put(&Cursor { event_id: "7".into() }).await.unwrap();
    let env = Rc::new(Env::new(environment(2)));
    let second = Profile::open(&folder.path().join("p"), &Unlock::Key(KEY), env).await;
    assert!(matches!(second, Err(Error::ProfileInUse)), "{second:?}");
}

#[tokio::test]
async fn a_row_moved_to_another_place_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let profile = profile(&folder, "p", 1).await;
    profile.put(&session(1, 1, b"one")).await.unwrap();
    profile.put(&session(2, 1, b"two")).await.unwrap();
    profile.store.swap_values_for_test().await;
    let moved = profile.get::<Session>(&key(1, 1)).await;
    assert!(matches!(moved, Err(Error::Profile(_))), "{moved:?}");
}

#[tokio::test]
async fn debug_output_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let profile = profile(&folder, "p", 1).await;
    assert_eq!(format!("{profile:?}"), "Profile");
    assert_eq!(format!("{:?}", profile.step()), "Step");
    assert_eq!(format!("{:?}", Unlock::from("secret")), "Unlock");
    assert_eq!(format!("{:?}", SecretBytes(vec![1, 2, 3])), "SecretBytes");
}

/// Every run of 16 bytes of what lies in a folder.
fn runs(folder: &std::path::Path) -> HashSet<[u8; 16]> {
    let mut runs = HashSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        runs.extend(bytes.windows(16).map(|run| <[u8; 16]>::try_from(run).unwrap()));
    }
    runs
}

fn is_there(runs: &HashSet<[u8; 16]>, secret: &[u8]) -> bool {
    secret.chunks_exact(16).any(|run| runs.contains(run))
}

#[tokio::test]
async fn no_key_is_in_the_files_of_a_profile() {
    let mut world = World::new().await;
    for number in 0..3 {
        let event = world.write(number % 2 == 0, "hola").await;
        let to = if number % 2 == 0 { &world.maria } else { &world.ana };
        to.engine.receive(event).await.unwrap();
    }
    let profile = &world.ana.engine.profile;
    let own: OwnIdentity = profile.get(b"").await.unwrap().unwrap();
    let mut secrets =
        vec![own.secret.0.clone(), world.ana.identity.public().to_bytes().to_vec(), KEY.to_vec()];
    secrets.extend(history_keys::all(profile).await.unwrap().iter().map(|key| key.secret.seed().to_vec()));
    secrets.extend(profile.all::<SignedPreKey>(b"").await.unwrap().iter().map(|key| key.record.0.clone()));
    secrets.extend(profile.all::<KyberPreKey>(b"").await.unwrap().iter().map(|key| key.record.0.clone()));
    secrets.extend(profile.all::<OneTimePreKey>(b"").await.unwrap().iter().map(|key| key.record.0.clone()));
    let sessions = profile.all::<Session>(world.maria.user.as_bytes()).await.unwrap();
    secrets.extend(sessions.iter().map(|session| session.record.0.clone()));
    let seals = profile.all::<SeenSeal>(b"").await.unwrap();
    secrets.extend(seals.iter().filter_map(|seal| Some(seal.archive_key.as_ref()?.0.clone())));
    assert!(secrets.len() > 12, "{}", secrets.len());

    let folder = world.ana.path.parent().unwrap();
    let (runs_before, header) = (runs(folder), profile.store.header().await.unwrap().unwrap());
    assert!(is_there(&runs_before, &header.salt), "the hunt sees the file");
    for (number, secret) in secrets.iter().enumerate() {
        assert!(!is_there(&runs_before, secret), "secret {number}");
    }
    std::fs::write(folder.join("marker"), secrets.concat()).unwrap();
    let with_marker = runs(folder);
    assert!(
        secrets.iter().all(|secret| is_there(&with_marker, secret)),
        "the hunt finds them where they are"
    );
}

#[tokio::test]
async fn after_a_full_disk_a_profile_takes_steps_again() {
    let folder = tempfile::tempdir().unwrap();
    let profile = profile(&folder, "p", 1).await;
    profile.put(&Cursor { event_id: "7".into() }).await.unwrap();
    profile.store.fill_the_disk_for_test().await;
    let step = profile.step();
    step.put(&Cursor { event_id: "8".into() }).unwrap();
    step.put(&session(1, 1, &[0; 100_000])).unwrap();
    assert!(matches!(step.commit().await, Err(Error::Profile(_))));
    assert_eq!(profile.get::<Cursor>(b"").await.unwrap().unwrap().event_id, "7", "all of it or nothing");
    profile.put(&session(1, 1, &[0; 100_000])).await.unwrap();
}
