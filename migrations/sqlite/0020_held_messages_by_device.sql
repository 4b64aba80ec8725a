-- How much a device has waiting, in all its conversations.
CREATE INDEX held_messages_by_device ON held_messages (device_id);
