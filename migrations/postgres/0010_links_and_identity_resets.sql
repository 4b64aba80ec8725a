-- Where a device without an account and the one that links it meet: one row a user, for ten minutes. public_key is
-- the new device's; enc and ct are what the old one sealed to it, device_id the device made for it, claim_hash what
-- that device must show for its tokens.
CREATE TABLE device_links (
    link_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    begun_by UUID NOT NULL REFERENCES devices (device_id),
    public_key BYTEA,
    device_id UUID REFERENCES devices (device_id),
    manifest_version BIGINT,
    claim_hash BYTEA,
    enc BYTEA,
    ct BYTEA,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX device_links_by_user ON device_links (user_id);
CREATE INDEX device_links_by_expiry ON device_links (expires_at);

-- A new identity for a person whose devices are lost: asked for by one person of the clinic and approved by another,
-- both with a fresh proof. The invitation is made with the approval; finished_at is when the new identity key came.
CREATE TABLE identity_resets (
    reset_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    requested_by UUID NOT NULL REFERENCES users (user_id),
    requested_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    approved_by UUID REFERENCES users (user_id),
    approved_at BIGINT,
    invitation_id UUID REFERENCES invitations (invitation_id),
    activated_at BIGINT,
    finished_at BIGINT
);
CREATE INDEX identity_resets_by_user ON identity_resets (user_id, requested_at);
