-- The networks an account has logged in from, as keyed hashes: at most 20 an account.
CREATE TABLE known_places (
    user_id BLOB NOT NULL REFERENCES users (user_id),
    place BLOB NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, place)
) STRICT;

-- What somebody's devices did that is out of the ordinary, until somebody of the clinic has looked at it.
-- kind: many_conversations, repeated_denials, prekey_draining, new_place or password_guessing. hits: how often so far.
-- device_id: the device of the last one; null where nobody had logged in. action: flag, slow or suspend, what was done last.
-- slowed_until: until when the person's limits are lower. outcome, note_enc: what whoever reviewed it found.
CREATE TABLE anomalies (
    anomaly_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    kind TEXT NOT NULL,
    device_id BLOB,
    hits INTEGER NOT NULL,
    action TEXT NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    slowed_until INTEGER,
    reviewed_by BLOB REFERENCES users (user_id),
    reviewed_at INTEGER,
    outcome TEXT,
    note_enc BLOB
) STRICT;
CREATE UNIQUE INDEX anomalies_open ON anomalies (user_id, kind) WHERE reviewed_at IS NULL;
CREATE INDEX anomalies_by_tenant ON anomalies (tenant_id, anomaly_id);
CREATE INDEX anomalies_slowing ON anomalies (tenant_id, slowed_until) WHERE slowed_until IS NOT NULL;
