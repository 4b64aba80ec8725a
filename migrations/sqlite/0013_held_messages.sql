-- Messages that wait for the chat hours to open, each device's in a conversation in the order of device_seq. request: the
-- whole send under the conversation's data key. look_at: when a server looks whether it opens; release_at: when it
-- should. A row goes in the transaction that stores its message, gives it back or takes it back.
CREATE TABLE held_messages (
    message_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL REFERENCES tenants (tenant_id),
    conversation_id BLOB NOT NULL REFERENCES conversations (conversation_id),
    sender_id BLOB NOT NULL REFERENCES users (user_id),
    device_id BLOB NOT NULL REFERENCES devices (device_id),
    device_number INTEGER NOT NULL,
    client_message_id BLOB NOT NULL,
    device_seq INTEGER NOT NULL,
    commitment BLOB NOT NULL,
    signature BLOB NOT NULL,
    data_key_id BLOB NOT NULL,
    request BLOB NOT NULL,
    held_at INTEGER NOT NULL,
    release_at INTEGER NOT NULL,
    look_at INTEGER NOT NULL,
    UNIQUE (client_message_id, device_id),
    UNIQUE (conversation_id, device_id, device_seq),
    UNIQUE (conversation_id, commitment)
) STRICT;
CREATE INDEX held_messages_by_look ON held_messages (look_at);
CREATE INDEX held_messages_by_tenant ON held_messages (tenant_id);
