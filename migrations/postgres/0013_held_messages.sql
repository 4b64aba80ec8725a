-- Messages that wait for the chat hours to open, each device's in a conversation in the order of device_seq. request: the
-- whole send under the conversation's data key. look_at: when a server looks whether it opens; release_at: when it
-- should. A row goes in the transaction that stores its message, gives it back or takes it back.
CREATE TABLE held_messages (
    message_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (tenant_id),
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    sender_id UUID NOT NULL REFERENCES users (user_id),
    device_id UUID NOT NULL REFERENCES devices (device_id),
    device_number BIGINT NOT NULL,
    client_message_id UUID NOT NULL,
    device_seq BIGINT NOT NULL,
    commitment BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    data_key_id UUID NOT NULL,
    request BYTEA NOT NULL,
    held_at BIGINT NOT NULL,
    release_at BIGINT NOT NULL,
    look_at BIGINT NOT NULL,
    UNIQUE (client_message_id, device_id),
    UNIQUE (conversation_id, device_id, device_seq),
    UNIQUE (conversation_id, commitment)
);
CREATE INDEX held_messages_by_look ON held_messages (look_at);
CREATE INDEX held_messages_by_tenant ON held_messages (tenant_id);
