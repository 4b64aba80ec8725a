-- A clinic. Times are microseconds since the Unix epoch everywhere.
CREATE TABLE tenants (
    tenant_id BLOB PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    hours TEXT NOT NULL,
    emergency_number TEXT NOT NULL,
    settings TEXT NOT NULL,
    root_public_key BLOB,
    keys_installed_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;

-- Sequences a clinic: given out while the row is locked, so that their order is the order of commits.
CREATE TABLE tenant_sequences (
    tenant_id BLOB PRIMARY KEY REFERENCES tenants (tenant_id),
    outbox_seq INTEGER NOT NULL,
    audit_seq INTEGER NOT NULL
) STRICT;

-- The server's own signing keys, private halves under column encryption. The scanner's is not here: only
-- the scan worker holds it.
CREATE TABLE server_keys (
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    purpose TEXT NOT NULL,
    public_key BLOB NOT NULL,
    private_key BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, purpose, public_key)
) STRICT;

CREATE TABLE root_statements (
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    purpose TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    key_id BLOB NOT NULL,
    public_key BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    installed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, purpose, epoch)
) STRICT;

-- Keys that sign access tokens, private halves under column encryption.
CREATE TABLE token_keys (
    key_id BLOB PRIMARY KEY,
    public_key BLOB NOT NULL,
    private_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;

-- A person. Imported ones have no account until an invitation attaches one. Columns ending in _enc are
-- under column encryption; email_index is a keyed hash for look-up by exact address.
CREATE TABLE users (
    user_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    full_name_enc BLOB NOT NULL,
    email_enc BLOB,
    email_index BLOB,
    phone_enc BLOB,
    speciality TEXT,
    locale TEXT,
    time_zone TEXT,
    password_hash TEXT,
    identity_key BLOB,
    identity_seq INTEGER NOT NULL DEFAULT 0,
    manifest_version INTEGER NOT NULL DEFAULT 0,
    history_key_id BLOB,
    next_device_number INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    activated_at INTEGER,
    UNIQUE (tenant_id, email_index)
) STRICT;
CREATE INDEX users_by_tenant ON users (tenant_id, role, user_id);

-- What other systems call a person: a FHIR identifier.
CREATE TABLE external_identifiers (
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    system TEXT NOT NULL,
    value TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (user_id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, system, value)
) STRICT;
CREATE INDEX external_identifiers_by_user ON external_identifiers (user_id);

CREATE TABLE invitations (
    invitation_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    code_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE INDEX invitations_by_user ON invitations (user_id);

-- A messaging device has a number, keys and a place in the manifest; a session has none of these.
-- next_event_seq gives out the order of the device's durable events while the row is locked.
-- token_family is the family whose tokens are good: none while the device is logged out.
CREATE TABLE devices (
    device_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    kind TEXT NOT NULL,
    device_number INTEGER,
    name_enc BLOB NOT NULL,
    source TEXT,
    push_token_enc BLOB,
    registration_id INTEGER,
    in_manifest INTEGER NOT NULL DEFAULT 0,
    added_at INTEGER,
    next_event_seq INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    token_family BLOB,
    revoked_at INTEGER,
    UNIQUE (user_id, device_number)
) STRICT;
CREATE INDEX devices_by_user ON devices (user_id, kind);

CREATE TABLE refresh_tokens (
    token_hash BLOB PRIMARY KEY,
    family_id BLOB NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX refresh_tokens_by_device ON refresh_tokens (device_id);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family_id);

CREATE TABLE ws_tickets (
    ticket_hash BLOB PRIMARY KEY,
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX ws_tickets_by_expiry ON ws_tickets (expires_at);

-- Why a patient and a clinician may talk: evidence from appointments, care teams or a person's decision.
CREATE TABLE appointments (
    appointment_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    system TEXT NOT NULL,
    value TEXT NOT NULL,
    patient_id BLOB NOT NULL REFERENCES users (user_id),
    clinician_id BLOB NOT NULL REFERENCES users (user_id),
    status TEXT NOT NULL,
    starts_at INTEGER,
    ends_at INTEGER,
    imported_at INTEGER NOT NULL,
    UNIQUE (tenant_id, system, value, patient_id, clinician_id)
) STRICT;
CREATE INDEX appointments_by_patient ON appointments (patient_id, clinician_id);

-- revocation: appointment (it was cancelled, and comes back with it) or decision (a person's; it does not).
CREATE TABLE relationships (
    relationship_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    kind TEXT NOT NULL,
    patient_id BLOB NOT NULL REFERENCES users (user_id),
    clinician_id BLOB NOT NULL REFERENCES users (user_id),
    appointment_id BLOB REFERENCES appointments (appointment_id),
    source TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    revocation TEXT
) STRICT;
CREATE INDEX relationships_by_pair ON relationships (tenant_id, patient_id, clinician_id);
CREATE INDEX relationships_by_clinician ON relationships (tenant_id, clinician_id);
CREATE INDEX relationships_by_appointment ON relationships (appointment_id);
