-- What people let others notice of them, and the last minute they were there. While it is hidden, that minute is not
-- stored.
ALTER TABLE users ADD COLUMN show_typing INTEGER NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN show_presence INTEGER NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN show_last_seen INTEGER NOT NULL DEFAULT 1;
ALTER TABLE users ADD COLUMN last_seen_at INTEGER;
