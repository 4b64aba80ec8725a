-- Durable events of a device, in order, until it acknowledges them. A new_message event holds the
-- envelope and refers to the message; others carry their data as JSON.
CREATE TABLE device_events (
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    event_seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    conversation_id BLOB,
    sender_id BLOB,
    message_id BLOB,
    envelope_type INTEGER,
    envelope BLOB,
    data TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (device_id, event_seq)
) STRICT;

-- Facts others react to (push, webhooks, analytics, other nodes), written with the act itself.
CREATE TABLE outbox (
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    seq INTEGER NOT NULL,
    topic TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, seq)
) STRICT;

-- One entry an act, written with the act itself. canonical: the entry's bytes; salt (under a data key):
-- the key of the leaf's HMAC, so that an entry can be forgotten while every proof stays valid.
CREATE TABLE audit_entries (
    entry_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    seq INTEGER NOT NULL,
    patient_id BLOB,
    actor_id BLOB,
    act TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at INTEGER NOT NULL,
    data_key_id BLOB NOT NULL,
    salt BLOB NOT NULL,
    canonical BLOB NOT NULL,
    leaf BLOB NOT NULL,
    log_index INTEGER,
    UNIQUE (tenant_id, seq)
) STRICT;
CREATE INDEX audit_entries_by_patient ON audit_entries (tenant_id, patient_id, at);

-- The first answer to a request with an idempotency key, for 24 hours.
CREATE TABLE idempotency_keys (
    user_id BLOB NOT NULL REFERENCES users (user_id),
    idempotency_key TEXT NOT NULL,
    request_hash BLOB NOT NULL,
    status INTEGER NOT NULL,
    answer_enc BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
) STRICT;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
