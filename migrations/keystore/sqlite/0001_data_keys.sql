-- Keys of one clinic, wrapped by the key-encryption key of the configuration. The newest wraps.
CREATE TABLE tenant_keys (
    tenant_id BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, epoch)
) STRICT;

-- One key a (subject, retention class), wrapped by the tenant key of its epoch. Subject: a conversation,
-- or the clinic itself. Destroying the key makes every row under it unreadable, in backups too.
CREATE TABLE data_keys (
    data_key_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    subject_id BLOB NOT NULL,
    retention_class TEXT NOT NULL,
    generation INTEGER NOT NULL,
    tenant_epoch INTEGER NOT NULL,
    wrapped BLOB,
    created_at INTEGER NOT NULL,
    destroyed_at INTEGER,
    UNIQUE (subject_id, retention_class, generation)
) STRICT;
