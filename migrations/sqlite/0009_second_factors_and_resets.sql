-- The second factor of an account: TOTP (RFC 6238). A secret is pending until a code of it was shown; until then
-- the one before stays in force. last_step is the newest time step whose code was accepted: none is accepted twice.
CREATE TABLE second_factors (
    user_id BLOB PRIMARY KEY REFERENCES users (user_id),
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    secret_enc BLOB,
    enrolled_at INTEGER,
    last_step INTEGER NOT NULL DEFAULT 0,
    pending_enc BLOB,
    pending_since INTEGER
) STRICT;

-- Codes for a person whose authenticator is gone, each good once.
CREATE TABLE recovery_codes (
    user_id BLOB NOT NULL REFERENCES users (user_id),
    code_hash BLOB NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (user_id, code_hash)
) STRICT;

-- How often codes and passwords of an account were tried since the last right one, so that few are. since is
-- the time of the first.
CREATE TABLE proof_attempts (
    user_id BLOB PRIMARY KEY REFERENCES users (user_id),
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    attempts INTEGER NOT NULL,
    since INTEGER NOT NULL
) STRICT;

-- When the person last proved on this device who they are: at the login or since.
ALTER TABLE devices ADD COLUMN verified_at INTEGER;

-- Single-use codes with which the clinic lets a person choose a new password.
CREATE TABLE password_resets (
    reset_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    code_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE INDEX password_resets_by_user ON password_resets (user_id);
