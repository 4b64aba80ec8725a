//! Refusals that the clinic's server has signed, and others.

use sigilo_seal::{Decision as Statement, Ed25519Secret};
use sigilo_wire::{Base64Array, ErrorBody, ErrorCode, RequestId, UserId, policy::Decision};

use crate::{
    DecisionVerdict, Error,
    refusal::signed,
    testing::{NOW, World, rng},
};

const ASKED: [u8; 32] = [7; 32];

/// A refusal of Ana's request, under this key.
fn refusal(world: &World, key: &Ed25519Secret) -> Decision {
    let mut decision = Decision {
        actor_id: world.ana.user,
        device_id: world.ana.engine.account().unwrap().device_id,
        action: "send_message".into(),
        request_sha256: Base64Array(ASKED),
        outcome: "denied".into(),
        policies: vec!["chat-hours".into()],
        policy_set: Base64Array([6; 32]),
        decided_at: NOW,
        audit_leaf: Base64Array([5; 32]),
        key_id: world.clinic.receipt_statement().key_id().into(),
        signature: Base64Array([0; 64]),
    };
    decision.signature = Base64Array(Statement::of_answer(world.clinic.tenant, &decision).sign(key));
    decision
}

async fn verdict(world: &World, decision: &Decision) -> DecisionVerdict {
    world.ana.engine.decision_verdict(decision, &["chat-hours".into()], ASKED).await
}

#[tokio::test]
async fn a_refusal_counts_when_the_clinic_signed_it_for_this_request() {
    let world = World::new().await;
    let good = refusal(&world, &world.clinic.receipt);
    assert_eq!(verdict(&world, &good).await, DecisionVerdict::Verified);
    let changes: [fn(&mut Decision); 9] = [
        |d| d.actor_id = UserId::from_bytes([9; 16]),
        |d| d.device_id = sigilo_wire::DeviceId::from_bytes([9; 16]),
        |d| d.action = "start_conversation".into(),
        |d| d.request_sha256 = Base64Array([8; 32]),
        |d| d.outcome = "allowed".into(),
        |d| d.policies = vec!["blocks".into()],
        |d| d.policy_set = Base64Array([0; 32]),
        |d| d.audit_leaf = Base64Array([0; 32]),
        |d| d.signature.0[0] ^= 1,
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        let verdict = verdict(&world, &changed).await;
        assert!(matches!(verdict, DecisionVerdict::Invalid(_)), "change {number}: {verdict:?}");
    }
    let other = refusal(&world, &Ed25519Secret::generate(&mut rng(77)));
    assert!(matches!(verdict(&world, &other).await, DecisionVerdict::Invalid(_)), "another key");
    // Signed by the clinic, and about another request of hers, or by other rules than the answer says.
    let other = world.ana.engine.decision_verdict(&good, &["chat-hours".into()], [8; 32]).await;
    assert!(matches!(other, DecisionVerdict::Invalid(_)), "another request");
    let other = world.ana.engine.decision_verdict(&good, &["blocks".into()], ASKED).await;
    assert!(matches!(other, DecisionVerdict::Invalid(_)), "other rules");
}

#[tokio::test]
async fn an_answer_without_a_signature_says_so() {
    let world = World::new().await;
    let mut body = ErrorBody {
        error: ErrorCode::OutsideChatHours,
        message: "closed".into(),
        details: serde_json::Value::Null,
        policies: vec!["chat-hours".into()],
        decision: None,
        request_id: RequestId::from_bytes([0; 16]),
    };
    let error = |body: &ErrorBody| Error::Server {
        status: 400,
        body: Box::new(body.clone()),
        retry_after: None,
        request_sha256: ASKED,
    };
    assert!(signed(&error(&body)).is_none());
    assert!(signed(&Error::LoggedOut).is_none());
    body.decision = Some(Box::new(refusal(&world, &world.clinic.receipt)));
    let (_, policies, asked) = signed(&error(&body)).unwrap();
    assert_eq!((policies, asked), (vec!["chat-hours".to_owned()], ASKED));
}
