-- Who wants no messages from whom. A block that is taken back is deleted: the audit log remembers it.
CREATE TABLE blocks (
    blocker_id BLOB NOT NULL REFERENCES users (user_id),
    blocked_id BLOB NOT NULL REFERENCES users (user_id),
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    reason_enc BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (blocker_id, blocked_id)
) STRICT;
CREATE INDEX blocks_by_blocked ON blocks (blocked_id);
CREATE INDEX blocks_by_tenant ON blocks (tenant_id, blocker_id, blocked_id);
