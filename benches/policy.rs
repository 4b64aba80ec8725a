//! What one decision costs: a patient writes to their doctor, and may, or may not any more.

use criterion::{Criterion, criterion_group, criterion_main};
use sigilo::{
    Actor, Caller, Ctx,
    policy::{
        Person, Policy, SendMessage,
        facts::{InConversation, People},
    },
};
use sigilo_wire::{
    ConversationId, DeviceId, DeviceNumber, RequestId, Role, TenantId, Timestamp, UserId,
    account::DeviceKind,
    conversation::{ConversationStatus, ConversationType},
};

const CLINIC: TenantId = TenantId::from_bytes([1; 16]);
const PATIENT: UserId = UserId::from_bytes([2; 16]);

fn context() -> Ctx {
    let caller = Caller {
        user_id: PATIENT,
        role: Role::Patient,
        active: true,
        device_id: DeviceId::from_bytes([3; 16]),
        kind: DeviceKind::Messaging,
        device_number: Some(DeviceNumber::FIRST),
    };
    Ctx {
        tenant: CLINIC,
        actor: Actor::User(caller),
        request: RequestId::from_bytes([4; 16]),
        now: Timestamp::from_micros(1_767_225_600_000_000),
        address: None,
    }
}

fn facts(related: bool) -> InConversation {
    InConversation {
        caller: Person { id: PATIENT, tenant: CLINIC, role: Role::Patient, active: true },
        id: ConversationId::from_bytes([5; 16]),
        tenant: CLINIC,
        kind: ConversationType::Direct,
        status: ConversationStatus::Active,
        facts_version: 1,
        member: true,
        moderator: false,
        can_leave: false,
        people: People { count: 2, patients: 1, admins: 0, related, reachable: true, blocked: false },
        open: true,
    }
}

fn decisions(c: &mut Criterion) {
    let policy = match Policy::load(None) {
        Ok(policy) => policy,
        Err(error) => return eprintln!("{error}"),
    };
    let ctx = context();
    for (name, related) in [("send_allowed", true), ("send_denied", false)] {
        let facts = facts(related);
        c.bench_function(name, |b| {
            b.iter(|| assert_eq!(policy.decide::<SendMessage>(&ctx, &facts).is_ok(), related));
        });
    }
}

criterion_group!(benches, decisions);
criterion_main!(benches);
