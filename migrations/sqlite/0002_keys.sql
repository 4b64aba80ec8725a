-- Every identity key a user has had.
CREATE TABLE identity_keys (
    user_id BLOB NOT NULL REFERENCES users (user_id),
    identity_seq INTEGER NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    identity_key BLOB NOT NULL,
    signature_by_previous BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, identity_seq)
) STRICT;

CREATE TABLE manifests (
    user_id BLOB NOT NULL REFERENCES users (user_id),
    version INTEGER NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    identity_seq INTEGER NOT NULL,
    history_key_id BLOB NOT NULL,
    history_public_key BLOB NOT NULL,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, version)
) STRICT;

-- What a messaging device has published.
CREATE TABLE device_keys (
    device_id BLOB PRIMARY KEY REFERENCES devices (device_id),
    signed_pre_key_id INTEGER NOT NULL,
    signed_pre_key BLOB NOT NULL,
    signed_pre_key_signature BLOB NOT NULL,
    signed_pre_key_at INTEGER NOT NULL,
    last_resort_key_id INTEGER NOT NULL,
    last_resort_key BLOB NOT NULL,
    last_resort_signature BLOB NOT NULL,
    last_resort_at INTEGER NOT NULL,
    rotation_told_at INTEGER,
    low_told_at INTEGER
) STRICT;

-- Each row leaves exactly once: a fetch deletes it and returns it in one statement.
CREATE TABLE one_time_pre_keys (
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    kind TEXT NOT NULL,
    key_id INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB,
    PRIMARY KEY (device_id, kind, key_id)
) STRICT;
