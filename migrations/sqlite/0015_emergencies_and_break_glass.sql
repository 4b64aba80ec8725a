-- Who is on call: half-open, in instants; without an end, until the shift is taken away.
CREATE TABLE on_call_shifts (
    shift_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    tier INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX on_call_shifts_by_tenant ON on_call_shifts (tenant_id, starts_at);

-- An emergency's steps; its people are participants, those of tiers above `tier` with the status 'withheld'.
-- due_at: when the next tier is called unless somebody acknowledges.
CREATE TABLE emergencies (
    conversation_id BLOB PRIMARY KEY REFERENCES conversations (conversation_id),
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    patient_id BLOB NOT NULL REFERENCES users (user_id),
    category TEXT NOT NULL,
    urgency TEXT NOT NULL,
    state TEXT NOT NULL,
    tier INTEGER NOT NULL,
    tiers INTEGER NOT NULL,
    escalate_after_s INTEGER NOT NULL,
    due_at INTEGER,
    flagged INTEGER NOT NULL,
    opened_at INTEGER NOT NULL,
    acknowledged_by BLOB REFERENCES users (user_id),
    acknowledged_at INTEGER,
    closed_by BLOB REFERENCES users (user_id),
    closed_at INTEGER,
    outcome TEXT
) STRICT;
CREATE INDEX emergencies_by_patient ON emergencies (patient_id, opened_at);
CREATE INDEX emergencies_by_tenant ON emergencies (tenant_id, opened_at);
CREATE INDEX emergencies_due ON emergencies (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE emergency_people (
    conversation_id BLOB NOT NULL REFERENCES emergencies (conversation_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    tier INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id)
) STRICT;

-- Envelopes for the devices of tiers that were not called yet: they become events of these devices when the tier is.
CREATE TABLE withheld_envelopes (
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    message_id BLOB NOT NULL,
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    envelope_type INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    PRIMARY KEY (device_id, message_id)
) STRICT;
CREATE INDEX withheld_envelopes_by_conversation ON withheld_envelopes (conversation_id);

-- Uses of break-glass; each waits until compliance has closed it. The relationship it makes ends by itself.
CREATE TABLE break_glass (
    break_glass_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    clinician_id BLOB NOT NULL REFERENCES users (user_id),
    patient_id BLOB NOT NULL REFERENCES users (user_id),
    relationship_id BLOB NOT NULL REFERENCES relationships (relationship_id),
    reason TEXT NOT NULL,
    text_enc BLOB NOT NULL,
    opened_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    reviewed_by BLOB REFERENCES users (user_id),
    reviewed_at INTEGER,
    finding TEXT
) STRICT;
CREATE INDEX break_glass_by_tenant ON break_glass (tenant_id, opened_at);
