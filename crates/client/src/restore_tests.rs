//! When a reading of the history is due.

use sigilo_wire::event::{EventType, ServerFrame};

use crate::testing::World;

#[tokio::test]
async fn a_cut_queue_is_remembered_until_the_history_is_read() {
    let world = World::new().await;
    let engine = &world.maria.engine;
    assert!(!engine.is_restore_due().await.unwrap());
    let frame: ServerFrame = serde_json::from_value(serde_json::json!({
        "type": EventType::QueueTruncated, "data": {}, "timestamp": "2026-11-24T00:00:00.000000Z",
        "conversation_id": null, "sender_id": null, "event_id": "7",
    }))
    .unwrap();
    engine.process(&frame).await.unwrap();
    assert!(engine.is_restore_due().await.unwrap());
    // Nobody answers: it stays due.
    assert!(engine.begin_restore().await.is_err());
    assert!(engine.is_restore_due().await.unwrap());
}
