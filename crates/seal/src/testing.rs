//! Deterministic randomness and sample values for the unit tests.

use aes_gcm::aes::{
    Aes256,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sigilo_wire::{
    ClientMessageId, ConversationId, DeviceNumber, FileId, SealId, TenantId, Timestamp, UserId,
};

use crate::{
    Attachment, Commitment, Context, Ed25519Secret, FileCommitment, KeyPurpose, RootStatement, VaultFile,
};

/// A stream of its own for every test, the same on every run.
pub fn test_rng(stream: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([stream; 32])
}

/// A context in which no field is empty.
pub fn sample_context() -> Context {
    Context {
        tenant: TenantId::from_bytes([1; 16]),
        conversation: ConversationId::from_bytes([2; 16]),
        client_message_id: ClientMessageId::from_bytes([3; 16]),
        sender: UserId::from_bytes([4; 16]),
        device: DeviceNumber::new(5).unwrap(),
        sent_at: Timestamp::from_micros(1_767_225_600_000_006),
        kind: "text".into(),
        seal_id: SealId::from_bytes([7; 16]),
        device_seq: 8,
        prev_commitment: Some(Commitment([9; 32])),
        seen_commitment: Some(Commitment([10; 32])),
        target_commitment: Some(Commitment([11; 32])),
        reply_to_commitment: Some(Commitment([12; 32])),
        priority: "normal".into(),
        urgent: false,
        when_open: false,
        expires_in_s: 13,
        attachments: vec![Attachment { file_id: FileId::from_bytes([14; 16]), blob_sha256: [15; 32] }],
    }
}

/// One block and a tag that AES-GCM accepts under both keys, each with its nonce: the block solves
/// `GHASH_1(block) + mask_1 = GHASH_2(block) + mask_2`, which is linear in GF(2^128).
pub fn two_key_ciphertext(keys: [(&[u8; 32], &[u8; 12]); 2], aad: &[u8]) -> Vec<u8> {
    let encrypt = |key: &[u8; 32], block: u128| {
        let mut block = block.to_be_bytes().into();
        Aes256::new(key.into()).encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    };
    let lengths = ((aad.len() as u128 * 8) << 64) | 128;
    let tag = |(key, nonce): (&[u8; 32], &[u8; 12]), block: u128| {
        let h = encrypt(key, 0);
        let blocks = aad.chunks(16).map(|chunk| {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            u128::from_be_bytes(block)
        });
        let hash = blocks.chain([block, lengths]).fold(0, |sum, next| gf_multiply(sum ^ next, h));
        let first = nonce.iter().fold(0, |number, byte| (number << 8) | u128::from(*byte)) << 32 | 1;
        hash ^ encrypt(key, first)
    };
    let squared = |(key, _)| gf_multiply(encrypt(key, 0), encrypt(key, 0));
    let [first, second] = keys;
    let block = gf_multiply(tag(first, 0) ^ tag(second, 0), gf_invert(squared(first) ^ squared(second)));
    assert_eq!(tag(first, block), tag(second, block));
    [block.to_be_bytes(), tag(first, block).to_be_bytes()].concat()
}

/// Multiplication in GF(2^128) as GCM writes it (NIST SP 800-38D, algorithm 1).
fn gf_multiply(x: u128, y: u128) -> u128 {
    let (mut product, mut shifted) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            product ^= shifted;
        }
        shifted = (shifted >> 1) ^ if shifted & 1 == 1 { 0xe1 << 120 } else { 0 };
    }
    product
}

/// x^(2^128 - 2) = x^-1.
fn gf_invert(x: u128) -> u128 {
    let (mut power, mut inverse) = (x, 1 << 127);
    for _ in 1..128 {
        power = gf_multiply(power, power);
        inverse = gf_multiply(inverse, power);
    }
    inverse
}

/// What a clinic's root says of this scanner key.
pub fn scanner_statement(
    tenant: TenantId,
    scanner: &Ed25519Secret,
    not_before: Timestamp,
    not_after: Timestamp,
) -> RootStatement {
    let public_key = scanner.public().to_bytes().to_vec();
    RootStatement { tenant, purpose: KeyPurpose::Scanner, epoch: 1, not_before, not_after, public_key }
}

/// A file of the vault.
pub fn vault_file() -> VaultFile {
    VaultFile {
        tenant: TenantId::from_bytes([1; 16]),
        file_id: FileId::from_bytes([14; 16]),
        blob_sha256: [15; 32],
        commitment: FileCommitment([16; 32]),
    }
}
