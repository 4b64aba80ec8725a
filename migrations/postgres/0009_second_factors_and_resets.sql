-- The second factor of an account: TOTP (RFC 6238). A secret is pending until a code of it was shown; until then
-- the one before stays in force. last_step is the newest time step whose code was accepted: none is accepted twice.
CREATE TABLE second_factors (
    user_id UUID PRIMARY KEY REFERENCES users (user_id),
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    secret_enc BYTEA,
    enrolled_at BIGINT,
    last_step BIGINT NOT NULL DEFAULT 0,
    pending_enc BYTEA,
    pending_since BIGINT
);

-- Codes for a person whose authenticator is gone, each good once.
CREATE TABLE recovery_codes (
    user_id UUID NOT NULL REFERENCES users (user_id),
    code_hash BYTEA NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (user_id, code_hash)
);

-- How often codes and passwords of an account were tried since the last right one, so that few are. since is
-- the time of the first.
CREATE TABLE proof_attempts (
    user_id UUID PRIMARY KEY REFERENCES users (user_id),
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    attempts BIGINT NOT NULL,
    since BIGINT NOT NULL
);

-- When the person last proved on this device who they are: at the login or since.
ALTER TABLE devices ADD COLUMN verified_at BIGINT;

-- Single-use codes with which the clinic lets a person choose a new password.
CREATE TABLE password_resets (
    reset_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    code_hash BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX password_resets_by_user ON password_resets (user_id);
