-- Anomalies nobody has looked at yet.
CREATE INDEX anomalies_to_review ON anomalies (tenant_id, anomaly_id) WHERE reviewed_at IS NULL;

-- Uploads on their way into the vault. What has come lies in the spool, and its length says how far it is.
-- request: what the device said of the file, as JSON. file_id: what it will be called.
-- finishing_until: a server hands it to the object store until then; its row stays at least as long, so that what it leaves
-- there is found.
CREATE TABLE uploads (
    user_id UUID NOT NULL REFERENCES users (user_id),
    upload_id UUID NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    device_id UUID NOT NULL REFERENCES devices (device_id),
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    file_id UUID NOT NULL UNIQUE,
    length BIGINT NOT NULL,
    request TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    finishing_until BIGINT,
    PRIMARY KEY (user_id, upload_id)
);
CREATE INDEX uploads_expiring ON uploads (expires_at);
CREATE INDEX uploads_by_clinic ON uploads (tenant_id);

-- The table of files of the first layout; nothing was ever written to it.
DROP TABLE files;

-- Files of the vault: encrypted blobs. object: the name in the object store; null when it is destroyed. data_key_id: the
-- data key of this one object. scan: pending, clean, infected, refused or unavailable. verdict_*: the newest verdict,
-- signed; ever_clean: an earlier one was clean. consent: what the patient said; null when they said nothing.
CREATE TABLE files (
    file_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    uploader_id UUID NOT NULL REFERENCES users (user_id),
    device_id UUID NOT NULL REFERENCES devices (device_id),
    upload_id UUID NOT NULL,
    mime_type TEXT NOT NULL,
    length BIGINT NOT NULL,
    blob_sha256 BYTEA NOT NULL,
    commitment BYTEA NOT NULL,
    document_type TEXT NOT NULL,
    related_appointment UUID,
    thumbnail_of UUID REFERENCES files (file_id),
    requires_consent BOOLEAN NOT NULL,
    watermark BOOLEAN NOT NULL,
    can_forward BOOLEAN NOT NULL,
    can_print BOOLEAN NOT NULL,
    max_downloads BIGINT,
    expires_at BIGINT,
    object TEXT,
    data_key_id UUID NOT NULL,
    scan TEXT NOT NULL,
    rescan_key_needed BOOLEAN NOT NULL,
    ever_clean BOOLEAN NOT NULL,
    verdict_at BIGINT,
    verdict_statement BYTEA,
    verdict_signature BYTEA,
    consent BOOLEAN,
    consent_by UUID REFERENCES users (user_id),
    consent_at BIGINT,
    downloads BIGINT NOT NULL,
    uploaded_at BIGINT NOT NULL,
    destroyed_at BIGINT,
    UNIQUE (uploader_id, upload_id)
);
CREATE INDEX files_by_conversation ON files (conversation_id, file_id);
CREATE INDEX files_expiring ON files (expires_at) WHERE expires_at IS NOT NULL AND destroyed_at IS NULL;
CREATE INDEX files_destroying ON files (file_id) WHERE destroyed_at IS NOT NULL AND object IS NOT NULL;
CREATE INDEX files_quarantined ON files (tenant_id, file_id) WHERE scan = 'infected' AND destroyed_at IS NULL;
CREATE INDEX files_without_key ON files (tenant_id, file_id) WHERE rescan_key_needed AND destroyed_at IS NULL;
-- One small picture a file.
CREATE UNIQUE INDEX files_thumbnails ON files (thumbnail_of) WHERE thumbnail_of IS NOT NULL;

-- How often each person downloaded a file.
CREATE TABLE file_downloads (
    file_id UUID NOT NULL REFERENCES files (file_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    times BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (file_id, user_id)
);

-- How much each clinic keeps in the vault: encrypted files that are not destroyed.
CREATE TABLE file_usage (
    tenant_id UUID PRIMARY KEY,
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

-- Files whose key was handed over and that wait for the scan worker. tries and next_at: how often it failed, and when it is
-- tried again. leased_until: a worker has it until then. asked_by: the participant who asked for another scan; null for the first.
CREATE TABLE file_scans (
    file_id UUID PRIMARY KEY REFERENCES files (file_id),
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    key_id BYTEA NOT NULL,
    encapsulation BYTEA NOT NULL,
    ciphertext BYTEA NOT NULL,
    asked_by UUID REFERENCES users (user_id),
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    leased_until BIGINT
);
CREATE INDEX file_scans_due ON file_scans (next_at);

-- Moderators' words that a file's newest finding is false. Two of them release it.
CREATE TABLE file_releases (
    file_id UUID NOT NULL REFERENCES files (file_id),
    signer_id UUID NOT NULL REFERENCES users (user_id),
    verdict_hash BYTEA NOT NULL,
    statement BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    signed_at BIGINT NOT NULL,
    PRIMARY KEY (file_id, signer_id, verdict_hash)
);
CREATE INDEX file_releases_by_signer ON file_releases (signer_id, file_id);

-- The scan workers that were heard of. engine: what looks into files, with its version; null when it does not answer.
-- official: its database knows the maker's signatures.
CREATE TABLE scanners (
    scanner BYTEA PRIMARY KEY,
    engine TEXT,
    engine_database TEXT,
    official BOOLEAN NOT NULL,
    heard_at BIGINT NOT NULL
);

-- The keys files' keys are handed over to, signed by the clinic's scanner key. The private halves are in the memory of
-- the worker of this name: nobody else opens what was handed over to it.
CREATE TABLE scan_keys (
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    key_id BYTEA NOT NULL,
    scanner BYTEA NOT NULL,
    statement BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, key_id)
);
