-- One-time prekeys that were given out: a device that publishes one again, because the answer to its first publication was
-- lost, does not have it given out twice. key_hash: SHA-256 of the public key. Kept 30 days. No foreign key: on PostgreSQL its
-- check would share the device's row with every other fetch, and each of them changes that row in the end.
CREATE TABLE given_pre_keys (
    device_id BLOB NOT NULL,
    key_hash BLOB NOT NULL,
    given_at INTEGER NOT NULL,
    PRIMARY KEY (device_id, key_hash)
) STRICT;
CREATE INDEX given_pre_keys_by_time ON given_pre_keys (device_id, given_at);
