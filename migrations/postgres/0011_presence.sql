-- What people let others notice of them, and the last minute they were there. While it is hidden, that minute is not
-- stored.
ALTER TABLE users ADD COLUMN show_typing BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE users ADD COLUMN show_presence BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE users ADD COLUMN show_last_seen BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE users ADD COLUMN last_seen_at BIGINT;
