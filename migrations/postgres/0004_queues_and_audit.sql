-- Durable events of a device, in order, until it acknowledges them. A new_message event holds the
-- envelope and refers to the message; others carry their data as JSON.
CREATE TABLE device_events (
    device_id UUID NOT NULL REFERENCES devices (device_id),
    event_seq BIGINT NOT NULL,
    type TEXT NOT NULL,
    conversation_id UUID,
    sender_id UUID,
    message_id UUID,
    envelope_type BIGINT,
    envelope BYTEA,
    data TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (device_id, event_seq)
);

-- Facts others react to (push, webhooks, analytics, other nodes), written with the act itself.
CREATE TABLE outbox (
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    seq BIGINT NOT NULL,
    topic TEXT NOT NULL,
    data TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);

-- One entry an act, written with the act itself. canonical: the entry's bytes; salt (under a data key):
-- the key of the leaf's HMAC, so that an entry can be forgotten while every proof stays valid.
CREATE TABLE audit_entries (
    entry_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    seq BIGINT NOT NULL,
    patient_id UUID,
    actor_id UUID,
    act TEXT NOT NULL,
    outcome TEXT NOT NULL,
    at BIGINT NOT NULL,
    data_key_id UUID NOT NULL,
    salt BYTEA NOT NULL,
    canonical BYTEA NOT NULL,
    leaf BYTEA NOT NULL,
    log_index BIGINT,
    UNIQUE (tenant_id, seq)
);
CREATE INDEX audit_entries_by_patient ON audit_entries (tenant_id, patient_id, at);

-- The first answer to a request with an idempotency key, for 24 hours.
CREATE TABLE idempotency_keys (
    user_id UUID NOT NULL REFERENCES users (user_id),
    idempotency_key TEXT NOT NULL,
    request_hash BYTEA NOT NULL,
    status BIGINT NOT NULL,
    answer_enc BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, idempotency_key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
