//! What the JSON of a message costs the server, all of it: a send that is read, its answer, and the two events it makes
//! (the message for its recipient, the delivery for its sender) written. No other encoding saves more than this.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use sigilo_wire::message::SendMessage;

/// A send as long as those of `sigilo bench relay`: a body of one block, one envelope.
fn send() -> String {
    let bytes = |n: usize| sigilo_wire::Base64::from(vec![7u8; n]);
    let id = "0198c0de-0000-7000-8000-000000000001";
    let data = json!({
        "client_message_id": id, "message_type": "text", "priority": "normal",
        "sent_at": "2026-01-01T00:00:00.000000Z", "device_seq": 7,
        "prev_commitment": bytes(32), "seen_commitment": bytes(32), "body": bytes(160 + 16),
        "commitment": bytes(32), "signature": bytes(64), "seal_id": id, "wrapped_key": bytes(48),
        "envelopes": [{"user_id": id, "device_id": 1, "registration_id": 1, "type": 3, "content": bytes(200)}],
    });
    json!({"type": "send_message", "request_id": "1", "conversation_id": id, "data": data}).to_string()
}

/// Read as a socket does: first what it is, then what it says.
fn read(text: &str) -> serde_json::Result<SendMessage> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        r#type: &'a str,
    }
    #[derive(serde::Deserialize)]
    struct Frame {
        data: SendMessage,
    }
    let head: Head<'_> = serde_json::from_str(text)?;
    assert_eq!(head.r#type, "send_message");
    Ok(serde_json::from_str::<Frame>(text)?.data)
}

fn frames(criterion: &mut Criterion) {
    let text = send();
    let message = match read(&text) {
        Ok(message) => message,
        Err(error) => return eprintln!("no send: {error}"),
    };
    let receipt = json!({
        "audit_leaf": message.commitment, "policies": ["patient-to-clinician"], "policy_set": message.commitment,
        "key_id": "00", "signature": message.signature,
    });
    println!("{} bytes", text.len());
    criterion.bench_function("a send is read", |bench| bench.iter(|| read(black_box(&text))));
    criterion.bench_function("its answer and its two events are written", |bench| {
        bench.iter(|| {
            let accepted = json!({"type": "result", "data": {"receipt": receipt, "conversation_seq": 7}});
            let data: Value = serde_json::to_value(&message).unwrap_or_default();
            let news = json!({"type": "new_message", "data": {"message": data, "receipt": receipt}});
            let delivered =
                json!({"type": "message_delivered", "data": {"message_id": message.client_message_id}});
            black_box([accepted, news, delivered].map(|frame| frame.to_string()))
        });
    });
}

criterion_group!(benches, frames);
criterion_main!(benches);
