-- Every identity key a user has had.
CREATE TABLE identity_keys (
    user_id UUID NOT NULL REFERENCES users (user_id),
    identity_seq BIGINT NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    identity_key BYTEA NOT NULL,
    signature_by_previous BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, identity_seq)
);

CREATE TABLE manifests (
    user_id UUID NOT NULL REFERENCES users (user_id),
    version BIGINT NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    identity_seq BIGINT NOT NULL,
    history_key_id BYTEA NOT NULL,
    history_public_key BYTEA NOT NULL,
    statement BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, version)
);

-- What a messaging device has published.
CREATE TABLE device_keys (
    device_id UUID PRIMARY KEY REFERENCES devices (device_id),
    signed_pre_key_id BIGINT NOT NULL,
    signed_pre_key BYTEA NOT NULL,
    signed_pre_key_signature BYTEA NOT NULL,
    signed_pre_key_at BIGINT NOT NULL,
    last_resort_key_id BIGINT NOT NULL,
    last_resort_key BYTEA NOT NULL,
    last_resort_signature BYTEA NOT NULL,
    last_resort_at BIGINT NOT NULL,
    rotation_told_at BIGINT,
    low_told_at BIGINT
);

-- Each row leaves exactly once: a fetch deletes it and returns it in one statement.
CREATE TABLE one_time_pre_keys (
    device_id UUID NOT NULL REFERENCES devices (device_id),
    kind TEXT NOT NULL,
    key_id BIGINT NOT NULL,
    public_key BYTEA NOT NULL,
    signature BYTEA,
    PRIMARY KEY (device_id, kind, key_id)
);
