-- Keys of one clinic, wrapped by the key-encryption key of the configuration. The newest wraps.
CREATE TABLE tenant_keys (
    tenant_id UUID NOT NULL,
    epoch BIGINT NOT NULL,
    wrapped BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, epoch)
);

-- One key a (subject, retention class), wrapped by the tenant key of its epoch. Subject: a conversation,
-- or the clinic itself. Destroying the key makes every row under it unreadable, in backups too.
CREATE TABLE data_keys (
    data_key_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    subject_id UUID NOT NULL,
    retention_class TEXT NOT NULL,
    generation BIGINT NOT NULL,
    tenant_epoch BIGINT NOT NULL,
    wrapped BYTEA,
    created_at BIGINT NOT NULL,
    destroyed_at BIGINT,
    UNIQUE (subject_id, retention_class, generation)
);
