-- Whoever joins after the start takes part from the message after this one.
ALTER TABLE participants ADD COLUMN joined_seq BIGINT NOT NULL DEFAULT 0;
