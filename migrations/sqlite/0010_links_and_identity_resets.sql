-- Where a device without an account and the one that links it meet: one row a user, for ten minutes. public_key is
-- the new device's; enc and ct are what the old one sealed to it, device_id the device made for it, claim_hash what
-- that device must show for its tokens.
CREATE TABLE device_links (
    link_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    begun_by BLOB NOT NULL REFERENCES devices (device_id),
    public_key BLOB,
    device_id BLOB REFERENCES devices (device_id),
    manifest_version INTEGER,
    claim_hash BLOB,
    enc BLOB,
    ct BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX device_links_by_user ON device_links (user_id);
CREATE INDEX device_links_by_expiry ON device_links (expires_at);

-- A new identity for a person whose devices are lost: asked for by one person of the clinic and approved by another,
-- both with a fresh proof. The invitation is made with the approval; finished_at is when the new identity key came.
CREATE TABLE identity_resets (
    reset_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    requested_by BLOB NOT NULL REFERENCES users (user_id),
    requested_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    approved_by BLOB REFERENCES users (user_id),
    approved_at INTEGER,
    invitation_id BLOB REFERENCES invitations (invitation_id),
    activated_at INTEGER,
    finished_at INTEGER
) STRICT;
CREATE INDEX identity_resets_by_user ON identity_resets (user_id, requested_at);
