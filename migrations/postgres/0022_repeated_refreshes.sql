-- replaces: the token whose refresh this one answered. While it is unused, its predecessor may be shown again: the
-- answer was lost on its way.
ALTER TABLE refresh_tokens ADD COLUMN replaces BYTEA;
CREATE INDEX refresh_tokens_by_predecessor ON refresh_tokens (replaces);
