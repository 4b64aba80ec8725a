-- direct_pair is set for direct conversations only: SHA-256 of the two user ids in order, unique.
-- facts_version changes with everything a decision on a send depends on (members, their status,
-- relationships); the writer compares it at commit, so that no race gets a message past a rule.
CREATE TABLE conversations (
    conversation_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    direct_pair BLOB UNIQUE,
    created_by BLOB NOT NULL REFERENCES users (user_id),
    related_appointment_id BLOB REFERENCES appointments (appointment_id),
    related_patient_id BLOB REFERENCES users (user_id),
    consultation_type TEXT,
    priority TEXT NOT NULL,
    settings TEXT NOT NULL,
    last_seq INTEGER NOT NULL DEFAULT 0,
    facts_version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    closed_at INTEGER
) STRICT;
CREATE INDEX conversations_by_tenant ON conversations (tenant_id, updated_at);

CREATE TABLE participants (
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    can_leave INTEGER NOT NULL,
    archived INTEGER NOT NULL,
    notifications_enabled INTEGER NOT NULL,
    read_seq INTEGER NOT NULL DEFAULT 0,
    joined_at INTEGER NOT NULL,
    left_at INTEGER,
    PRIMARY KEY (conversation_id, user_id)
) STRICT;
CREATE INDEX participants_by_user ON participants (user_id, conversation_id);

-- recipients_digest: SHA-256 of the sorted ids of the keys the seal is made for. A seal is stale when it
-- differs from that of the current members and records key.
CREATE TABLE record_seals (
    seal_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    sender_id BLOB NOT NULL REFERENCES users (user_id),
    device_number INTEGER NOT NULL,
    recipients_digest BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    members TEXT NOT NULL,
    copies TEXT NOT NULL,
    signature BLOB NOT NULL
) STRICT;
CREATE INDEX record_seals_by_conversation ON record_seals (conversation_id, received_at, seal_id);

-- body and wrapped_key are under the data key (docs/PROTOCOL.md, Erasure). The hashes stay when it goes.
CREATE TABLE messages (
    message_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    conversation_seq INTEGER NOT NULL,
    client_message_id BLOB NOT NULL,
    sender_id BLOB NOT NULL REFERENCES users (user_id),
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    device_number INTEGER NOT NULL,
    kind TEXT NOT NULL,
    priority TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    device_seq INTEGER NOT NULL,
    prev_commitment BLOB,
    seen_commitment BLOB,
    target_commitment BLOB,
    reply_to_commitment BLOB,
    commitment BLOB NOT NULL,
    signature BLOB NOT NULL,
    seal_id BLOB NOT NULL REFERENCES record_seals (seal_id),
    urgent INTEGER NOT NULL,
    deliver TEXT NOT NULL,
    expires_in_s INTEGER NOT NULL,
    expires_at INTEGER,
    source TEXT,
    is_automated INTEGER NOT NULL,
    retention_class TEXT NOT NULL,
    data_key_id BLOB NOT NULL,
    body BLOB NOT NULL,
    wrapped_key BLOB NOT NULL,
    context_hash BLOB NOT NULL,
    wrapped_key_hash BLOB NOT NULL,
    attachments TEXT NOT NULL,
    audit_leaf BLOB NOT NULL,
    policies TEXT NOT NULL,
    policy_set BLOB NOT NULL,
    receipt_key_id BLOB NOT NULL,
    receipt_signature BLOB NOT NULL,
    UNIQUE (conversation_id, conversation_seq),
    UNIQUE (client_message_id, device_id)
) STRICT;
CREATE INDEX messages_by_commitment ON messages (commitment, conversation_id);

-- The last accepted message of each device in each conversation.
CREATE TABLE device_chains (
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    last_device_seq INTEGER NOT NULL,
    last_commitment BLOB NOT NULL,
    PRIMARY KEY (conversation_id, device_id)
) STRICT;

-- When a user's device first acknowledged a message.
CREATE TABLE deliveries (
    message_id BLOB NOT NULL REFERENCES messages (message_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    delivered_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, user_id)
) STRICT;

-- Files arrive with the vault; messages may already name their document type.
CREATE TABLE files (
    file_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    uploader_id BLOB NOT NULL REFERENCES users (user_id),
    document_type TEXT,
    blob_sha256 BLOB NOT NULL,
    size INTEGER NOT NULL,
    status TEXT NOT NULL,
    data_key_id BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX files_by_conversation ON files (conversation_id, created_at);
