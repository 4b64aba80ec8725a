//! What blobs are, and which keys open them.

use sigilo::scanner::Outcome;
use sigilo_seal::KeyId;
use sigilo_seal::{
    FileKey, Refusal, ScanResult,
    file::{HEAD_LENGTH, SEALED_SEGMENT_LENGTH},
};

use super::{
    clamd::socket,
    content::{pdf, test_virus},
    vault::{PDF, Vault, refused},
};

const SEGMENT: usize = SEALED_SEGMENT_LENGTH;

#[tokio::test]
async fn segments_that_were_cut_off_moved_or_exchanged_are_refused() {
    let vault = Vault::with_clamd(&socket()).await;
    let sealed = vault.seal(&pdf(&vault.noise(SEGMENT * 4)));
    let other = vault.seal(&pdf(&vault.noise(SEGMENT * 4)));
    let at = |number: usize| HEAD_LENGTH + number * SEGMENT..HEAD_LENGTH + (number + 1) * SEGMENT;
    let blob = &sealed.blob;

    let mut reordered = blob.clone();
    reordered[at(1)].copy_from_slice(&blob[at(2)]);
    reordered[at(2)].copy_from_slice(&blob[at(1)]);
    let mut exchanged = blob.clone();
    exchanged[at(2)].copy_from_slice(&other.blob[at(2)]);
    let mut changed = blob.clone();
    *changed.last_mut().unwrap() ^= 1;
    let repeated = [&blob[..at(2).end], &blob[at(2)], &blob[at(3).start..]].concat();
    for (what, blob) in [
        ("cut at a segment", blob[..at(2).end].to_vec()),
        ("cut within a segment", blob[..at(2).end - 1_000].to_vec()),
        ("only its head", blob[..HEAD_LENGTH].to_vec()),
        ("its head and a few bytes", blob[..HEAD_LENGTH + 5].to_vec()),
        ("without a segment", [&blob[..at(1).start], &blob[at(2).start..]].concat()),
        ("reordered", reordered),
        ("exchanged", exchanged),
        ("repeated", repeated),
        ("followed by something", [blob.as_slice(), b"more"].concat()),
        ("changed at its end", changed),
    ] {
        let file = vault.add_blob(&blob, &sealed.key, PDF);
        assert_eq!(vault.verdict(file).await.result, refused(Refusal::Unreadable), "{what}");
    }
    let whole = vault.add_blob(blob, &sealed.key, PDF);
    assert_eq!(vault.verdict(whole).await.result, ScanResult::Clean);
}

#[tokio::test]
async fn bytes_that_are_not_the_named_ones_get_no_verdict() {
    let vault = Vault::with_clamd(&socket()).await;
    let sealed = vault.seal(&pdf(&vault.noise(200_000)));
    let virus = vault.seal(&pdf(&test_virus()));
    // The store gives other bytes than those that were uploaded: damaged, cut off, or another file's.
    let mut damaged = sealed.blob.clone();
    damaged[100_000] ^= 1;
    for given in [damaged, sealed.blob[..150_000].to_vec(), virus.blob] {
        let job = vault.job(&sealed.blob, &sealed.key, PDF);
        let file = vault.add_job(job, given);
        assert_eq!(vault.outcome(file).await, Outcome::Unavailable);
    }
    // It is whole, and opens, but is not what was named.
    let mut job = vault.job(&sealed.blob, &sealed.key, PDF);
    job.file.commitment.0[0] ^= 1;
    let file = vault.add_job(job, sealed.blob.clone());
    assert_eq!(vault.outcome(file).await, Outcome::KeyLost, "handed over for another commitment");
}

#[tokio::test]
async fn a_key_that_is_not_the_blobs_gives_no_verdict() {
    let vault = Vault::with_clamd(&socket()).await;
    let sealed = vault.seal(&pdf(&vault.noise(1_000)));
    let wrong = FileKey::from_bytes([9; 32]);
    let file = vault.add_blob(&sealed.blob, &wrong, PDF);
    assert_eq!(vault.outcome(file).await, Outcome::WrongKey);

    // A key that was handed over for another upload, another blob, or to another scan key.
    let job = vault.job(&sealed.blob, &sealed.key, PDF);
    let mut moved = job;
    moved.handed = vault.job(&sealed.blob, &sealed.key, PDF).handed;
    assert_eq!(vault.outcome(vault.add_job(moved, sealed.blob.clone())).await, Outcome::KeyLost);
    let mut gone = vault.job(&sealed.blob, &sealed.key, PDF);
    gone.handed.key_id = KeyId([0; 16]);
    assert_eq!(vault.outcome(vault.add_job(gone, sealed.blob.clone())).await, Outcome::KeyLost);
    let right = vault.add_blob(&sealed.blob, &sealed.key, PDF);
    assert_eq!(vault.verdict(right).await.result, ScanResult::Clean);
}

#[tokio::test]
async fn a_worker_that_begins_anew_does_not_have_the_keys_of_the_one_before() {
    let before = Vault::with_clamd(&socket()).await;
    let sealed = before.seal(&pdf(&before.noise(1_000)));
    let job = before.job(&sealed.blob, &sealed.key, PDF);
    let after = Vault::with_clamd(&socket()).await;
    assert_eq!(after.outcome(after.add_job(job, sealed.blob.clone())).await, Outcome::KeyLost);
    assert_eq!(
        after.verdict(after.add_blob(&sealed.blob, &sealed.key, PDF)).await.result,
        ScanResult::Clean,
        "handed over anew"
    );
}
