-- Anomalies nobody has looked at yet.
CREATE INDEX anomalies_to_review ON anomalies (tenant_id, anomaly_id) WHERE reviewed_at IS NULL;

-- Uploads on their way into the vault. What has come lies in the spool, and its length says how far it is.
-- request: what the device said of the file, as JSON. file_id: what it will be called.
-- finishing_until: a server hands it to the object store until then; its row stays at least as long, so that what it leaves
-- there is found.
CREATE TABLE uploads (
    user_id BLOB NOT NULL REFERENCES users (user_id),
    upload_id BLOB NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    file_id BLOB NOT NULL UNIQUE,
    length INTEGER NOT NULL,
    request TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    finishing_until INTEGER,
    PRIMARY KEY (user_id, upload_id)
) STRICT;
CREATE INDEX uploads_expiring ON uploads (expires_at);
CREATE INDEX uploads_by_clinic ON uploads (tenant_id);

-- The table of files of the first layout; nothing was ever written to it.
DROP TABLE files;

-- Files of the vault: encrypted blobs. object: the name in the object store; null when it is destroyed. data_key_id: the
-- data key of this one object. scan: pending, clean, infected, refused or unavailable. verdict_*: the newest verdict,
-- signed; ever_clean: an earlier one was clean. consent: what the patient said; null when they said nothing.
CREATE TABLE files (
    file_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    uploader_id BLOB NOT NULL REFERENCES users (user_id),
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    upload_id BLOB NOT NULL,
    mime_type TEXT NOT NULL,
    length INTEGER NOT NULL,
    blob_sha256 BLOB NOT NULL,
    commitment BLOB NOT NULL,
    document_type TEXT NOT NULL,
    related_appointment BLOB,
    thumbnail_of BLOB REFERENCES files (file_id),
    requires_consent INTEGER NOT NULL,
    watermark INTEGER NOT NULL,
    can_forward INTEGER NOT NULL,
    can_print INTEGER NOT NULL,
    max_downloads INTEGER,
    expires_at INTEGER,
    object TEXT,
    data_key_id BLOB NOT NULL,
    scan TEXT NOT NULL,
    rescan_key_needed INTEGER NOT NULL,
    ever_clean INTEGER NOT NULL,
    verdict_at INTEGER,
    verdict_statement BLOB,
    verdict_signature BLOB,
    consent INTEGER,
    consent_by BLOB REFERENCES users (user_id),
    consent_at INTEGER,
    downloads INTEGER NOT NULL,
    uploaded_at INTEGER NOT NULL,
    destroyed_at INTEGER,
    UNIQUE (uploader_id, upload_id)
) STRICT;
CREATE INDEX files_by_conversation ON files (conversation_id, file_id);
CREATE INDEX files_expiring ON files (expires_at) WHERE expires_at IS NOT NULL AND destroyed_at IS NULL;
CREATE INDEX files_destroying ON files (file_id) WHERE destroyed_at IS NOT NULL AND object IS NOT NULL;
CREATE INDEX files_quarantined ON files (tenant_id, file_id) WHERE scan = 'infected' AND destroyed_at IS NULL;
CREATE INDEX files_without_key ON files (tenant_id, file_id) WHERE rescan_key_needed AND destroyed_at IS NULL;
-- One small picture a file.
CREATE UNIQUE INDEX files_thumbnails ON files (thumbnail_of) WHERE thumbnail_of IS NOT NULL;

-- How often each person downloaded a file.
CREATE TABLE file_downloads (
    file_id BLOB NOT NULL REFERENCES files (file_id),
    user_id BLOB NOT NULL REFERENCES users (user_id),
    times INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (file_id, user_id)
) STRICT;

-- How much each clinic keeps in the vault: encrypted files that are not destroyed.
CREATE TABLE file_usage (
    tenant_id BLOB PRIMARY KEY,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

-- Files whose key was handed over and that wait for the scan worker. tries and next_at: how often it failed, and when it is
-- tried again. leased_until: a worker has it until then. asked_by: the participant who asked for another scan; null for the first.
CREATE TABLE file_scans (
    file_id BLOB PRIMARY KEY REFERENCES files (file_id),
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    key_id BLOB NOT NULL,
    encapsulation BLOB NOT NULL,
    ciphertext BLOB NOT NULL,
    asked_by BLOB REFERENCES users (user_id),
    tries INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    leased_until INTEGER
) STRICT;
CREATE INDEX file_scans_due ON file_scans (next_at);

-- Moderators' words that a file's newest finding is false. Two of them release it.
CREATE TABLE file_releases (
    file_id BLOB NOT NULL REFERENCES files (file_id),
    signer_id BLOB NOT NULL REFERENCES users (user_id),
    verdict_hash BLOB NOT NULL,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    signed_at INTEGER NOT NULL,
    PRIMARY KEY (file_id, signer_id, verdict_hash)
) STRICT;
CREATE INDEX file_releases_by_signer ON file_releases (signer_id, file_id);

-- The scan workers that were heard of. engine: what looks into files, with its version; null when it does not answer.
-- official: its database knows the maker's signatures.
CREATE TABLE scanners (
    scanner BLOB PRIMARY KEY,
    engine TEXT,
    engine_database TEXT,
    official INTEGER NOT NULL,
    heard_at INTEGER NOT NULL
) STRICT;

-- The keys files' keys are handed over to, signed by the clinic's scanner key. The private halves are in the memory of
-- the worker of this name: nobody else opens what was handed over to it.
CREATE TABLE scan_keys (
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    key_id BLOB NOT NULL,
    scanner BLOB NOT NULL,
    statement BLOB NOT NULL,
    signature BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, key_id)
) STRICT;
