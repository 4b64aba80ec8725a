-- A clinic. Times are microseconds since the Unix epoch everywhere.
CREATE TABLE tenants (
    tenant_id UUID PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    hours TEXT NOT NULL,
    emergency_number TEXT NOT NULL,
    settings TEXT NOT NULL,
    root_public_key BYTEA,
    keys_installed_at BIGINT,
    created_at BIGINT NOT NULL
);

-- Sequences a clinic: given out while the row is locked, so that their order is the order of commits.
CREATE TABLE tenant_sequences (
    tenant_id UUID PRIMARY KEY REFERENCES tenants (tenant_id),
    outbox_seq BIGINT NOT NULL,
    audit_seq BIGINT NOT NULL
);

-- The server's own signing keys, private halves under column encryption. The scanner's is not here: only
-- the scan worker holds it.
CREATE TABLE server_keys (
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    purpose TEXT NOT NULL,
    public_key BYTEA NOT NULL,
    private_key BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, purpose, public_key)
);

CREATE TABLE root_statements (
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    purpose TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    key_id BYTEA NOT NULL,
    public_key BYTEA NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    statement BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    installed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, purpose, epoch)
);

-- Keys that sign access tokens, private halves under column encryption.
CREATE TABLE token_keys (
    key_id UUID PRIMARY KEY,
    public_key BYTEA NOT NULL,
    private_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

-- A person. Imported ones have no account until an invitation attaches one. Columns ending in _enc are
-- under column encryption; email_index is a keyed hash for look-up by exact address.
CREATE TABLE users (
    user_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    full_name_enc BYTEA NOT NULL,
    email_enc BYTEA,
    email_index BYTEA,
    phone_enc BYTEA,
    speciality TEXT,
    locale TEXT,
    time_zone TEXT,
    password_hash TEXT,
    identity_key BYTEA,
    identity_seq BIGINT NOT NULL DEFAULT 0,
    manifest_version BIGINT NOT NULL DEFAULT 0,
    history_key_id BYTEA,
    next_device_number BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    activated_at BIGINT,
    UNIQUE (tenant_id, email_index)
);
CREATE INDEX users_by_tenant ON users (tenant_id, role, user_id);

-- What other systems call a person: a FHIR identifier.
CREATE TABLE external_identifiers (
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    system TEXT NOT NULL,
    value TEXT NOT NULL,
    user_id UUID NOT NULL REFERENCES users (user_id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, system, value)
);
CREATE INDEX external_identifiers_by_user ON external_identifiers (user_id);

CREATE TABLE invitations (
    invitation_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    code_hash BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE INDEX invitations_by_user ON invitations (user_id);

-- A messaging device has a number, keys and a place in the manifest; a session has none of these.
-- next_event_seq gives out the order of the device's durable events while the row is locked.
-- token_family is the family whose tokens are good: none while the device is logged out.
CREATE TABLE devices (
    device_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    kind TEXT NOT NULL,
    device_number BIGINT,
    name_enc BYTEA NOT NULL,
    source TEXT,
    push_token_enc BYTEA,
    registration_id BIGINT,
    in_manifest BOOLEAN NOT NULL DEFAULT FALSE,
    added_at BIGINT,
    next_event_seq BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    token_family UUID,
    revoked_at BIGINT,
    UNIQUE (user_id, device_number)
);
CREATE INDEX devices_by_user ON devices (user_id, kind);

CREATE TABLE refresh_tokens (
    token_hash BYTEA PRIMARY KEY,
    family_id UUID NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    device_id UUID NOT NULL REFERENCES devices (device_id),
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX refresh_tokens_by_device ON refresh_tokens (device_id);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);

CREATE TABLE ws_tickets (
    ticket_hash BYTEA PRIMARY KEY,
    device_id UUID NOT NULL REFERENCES devices (device_id),
    expires_at BIGINT NOT NULL
);
CREATE INDEX ws_tickets_by_expiry ON ws_tickets (expires_at);

-- Why a patient and a clinician may talk: evidence from appointments, care teams or a person's decision.
CREATE TABLE appointments (
    appointment_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    system TEXT NOT NULL,
    value TEXT NOT NULL,
    patient_id UUID NOT NULL REFERENCES users (user_id),
    clinician_id UUID NOT NULL REFERENCES users (user_id),
    status TEXT NOT NULL,
    starts_at BIGINT,
    ends_at BIGINT,
    imported_at BIGINT NOT NULL,
    UNIQUE (tenant_id, system, value, patient_id, clinician_id)
);
CREATE INDEX appointments_by_patient ON appointments (patient_id, clinician_id);

-- revocation: appointment (it was cancelled, and comes back with it) or decision (a person's; it does not).
CREATE TABLE relationships (
    relationship_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    kind TEXT NOT NULL,
    patient_id UUID NOT NULL REFERENCES users (user_id),
    clinician_id UUID NOT NULL REFERENCES users (user_id),
    appointment_id UUID REFERENCES appointments (appointment_id),
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    revocation TEXT
);
CREATE INDEX relationships_by_pair ON relationships (tenant_id, patient_id, clinician_id);
CREATE INDEX relationships_by_clinician ON relationships (tenant_id, clinician_id);
CREATE INDEX relationships_by_appointment ON relationships (appointment_id);
