-- How much a device has waiting, in all its conversations.
CREATE INDEX held_messages_by_device ON held_messages (device_id);

-- When those who are concerned were told that a use has ended.
ALTER TABLE break_glass ADD COLUMN ended_at BIGINT;
CREATE INDEX break_glass_ending ON break_glass (expires_at) WHERE ended_at IS NULL;
