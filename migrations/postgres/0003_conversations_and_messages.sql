-- direct_pair is set for direct conversations only: SHA-256 of the two user ids in order, unique.
-- facts_version changes with everything a decision on a send depends on (members, their status,
-- relationships); the writer compares it at commit, so that no race gets a message past a rule.
CREATE TABLE conversations (
    conversation_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    direct_pair BYTEA UNIQUE,
    created_by UUID NOT NULL REFERENCES users (user_id),
    related_appointment_id UUID REFERENCES appointments (appointment_id),
    related_patient_id UUID REFERENCES users (user_id),
    consultation_type TEXT,
    priority TEXT NOT NULL,
    settings TEXT NOT NULL,
    last_seq BIGINT NOT NULL DEFAULT 0,
    facts_version BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    closed_at BIGINT
);
CREATE INDEX conversations_by_tenant ON conversations (tenant_id, updated_at);

CREATE TABLE participants (
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    can_leave BOOLEAN NOT NULL,
    archived BOOLEAN NOT NULL,
    notifications_enabled BOOLEAN NOT NULL,
    read_seq BIGINT NOT NULL DEFAULT 0,
    joined_at BIGINT NOT NULL,
    left_at BIGINT,
    PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX participants_by_user ON participants (user_id, conversation_id);

-- recipients_digest: SHA-256 of the sorted ids of the keys the seal is made for. A seal is stale when it
-- differs from that of the current members and records key.
CREATE TABLE record_seals (
    seal_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    sender_id UUID NOT NULL REFERENCES users (user_id),
    device_number BIGINT NOT NULL,
    recipients_digest BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    members TEXT NOT NULL,
    copies TEXT NOT NULL,
    signature BYTEA NOT NULL
);
CREATE INDEX record_seals_by_conversation ON record_seals (conversation_id, received_at, seal_id);

-- body and wrapped_key are under the data key (docs/PROTOCOL.md, Erasure). The hashes stay when it goes.
CREATE TABLE messages (
    message_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    conversation_seq BIGINT NOT NULL,
    client_message_id UUID NOT NULL,
    sender_id UUID NOT NULL REFERENCES users (user_id),
    device_id UUID NOT NULL REFERENCES devices (device_id),
    device_number BIGINT NOT NULL,
    kind TEXT NOT NULL,
    priority TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    device_seq BIGINT NOT NULL,
    prev_commitment BYTEA,
    seen_commitment BYTEA,
    target_commitment BYTEA,
    reply_to_commitment BYTEA,
    commitment BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    seal_id UUID NOT NULL REFERENCES record_seals (seal_id),
    urgent BOOLEAN NOT NULL,
    deliver TEXT NOT NULL,
    expires_in_s BIGINT NOT NULL,
    expires_at BIGINT,
    source TEXT,
    is_automated BOOLEAN NOT NULL,
    retention_class TEXT NOT NULL,
    data_key_id UUID NOT NULL,
    body BYTEA NOT NULL,
    wrapped_key BYTEA NOT NULL,
    context_hash BYTEA NOT NULL,
    wrapped_key_hash BYTEA NOT NULL,
    attachments TEXT NOT NULL,
    audit_leaf BYTEA NOT NULL,
    policies TEXT NOT NULL,
    policy_set BYTEA NOT NULL,
    receipt_key_id BYTEA NOT NULL,
    receipt_signature BYTEA NOT NULL,
    UNIQUE (conversation_id, conversation_seq),
    UNIQUE (client_message_id, device_id)
);
CREATE INDEX messages_by_commitment ON messages (commitment, conversation_id);

-- The last accepted message of each device in each conversation.
CREATE TABLE device_chains (
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    device_id UUID NOT NULL REFERENCES devices (device_id),
    last_device_seq BIGINT NOT NULL,
    last_commitment BYTEA NOT NULL,
    PRIMARY KEY (conversation_id, device_id)
);

-- When a user's device first acknowledged a message.
CREATE TABLE deliveries (
    message_id UUID NOT NULL REFERENCES messages (message_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    delivered_at BIGINT NOT NULL,
    PRIMARY KEY (message_id, user_id)
);

-- Files arrive with the vault; messages may already name their document type.
CREATE TABLE files (
    file_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    uploader_id UUID NOT NULL REFERENCES users (user_id),
    document_type TEXT,
    blob_sha256 BYTEA NOT NULL,
    size BIGINT NOT NULL,
    status TEXT NOT NULL,
    data_key_id UUID NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX files_by_conversation ON files (conversation_id, created_at);
