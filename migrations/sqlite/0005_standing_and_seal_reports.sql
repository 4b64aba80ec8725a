-- Sequences of the whole database, not of one clinic: given out while the row is locked, so that their order
-- is the order of commits.
CREATE TABLE sequences (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO sequences (name, value) VALUES ('standing', 0);

-- Devices whose tokens have ended, in the order of the commits: what the servers of this database read once a
-- second to close sockets. Rows are dropped once no token of that time is good any more.
CREATE TABLE standing_changes (
    seq INTEGER PRIMARY KEY,
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX standing_changes_by_age ON standing_changes (changed_at);

-- What a participant found wrong with a record seal: one report a person and seal.
CREATE TABLE seal_reports (
    seal_id BLOB NOT NULL REFERENCES record_seals (seal_id),
    reporter_id BLOB NOT NULL REFERENCES users (user_id),
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    problem TEXT NOT NULL,
    reported_at INTEGER NOT NULL,
    PRIMARY KEY (seal_id, reporter_id)
) STRICT;
