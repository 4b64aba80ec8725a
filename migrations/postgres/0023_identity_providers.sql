-- Who logs in with which subject of a clinic's own identity provider. subject_index is a keyed hash.
CREATE TABLE oidc_bindings (
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    issuer TEXT NOT NULL,
    subject_index BYTEA NOT NULL,
    user_id UUID NOT NULL REFERENCES users (user_id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, issuer, subject_index),
    UNIQUE (user_id, issuer)
);

-- Logins on their way to a provider. Taken away by the callback, or when they have expired.
CREATE TABLE oidc_logins (
    state_hash BYTEA PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    provider TEXT NOT NULL,
    browser_hash BYTEA NOT NULL,
    nonce TEXT NOT NULL,
    verifier_enc BYTEA NOT NULL,
    challenge TEXT NOT NULL,
    return_to TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oidc_logins_by_expiry ON oidc_logins (expires_at);

-- Logins on their way back to the app, which trades the code for tokens.
CREATE TABLE oidc_codes (
    code_hash BYTEA PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    provider TEXT NOT NULL,
    user_id UUID NOT NULL REFERENCES users (user_id),
    issuer TEXT NOT NULL,
    subject_index BYTEA NOT NULL,
    challenge TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oidc_codes_by_expiry ON oidc_codes (expires_at);
