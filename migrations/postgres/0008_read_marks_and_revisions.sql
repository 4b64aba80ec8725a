-- How far a participant had read, and since when: a row each time participants.read_seq moved. A message was read
-- at the first step that reaches it.
CREATE TABLE read_marks (
    conversation_id UUID NOT NULL REFERENCES conversations (conversation_id),
    user_id UUID NOT NULL REFERENCES users (user_id),
    up_to BIGINT NOT NULL,
    read_at BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id, up_to)
);

-- Edits, deletions and reactions are found beside what they are about.
CREATE INDEX messages_by_target ON messages (conversation_id, target_commitment) WHERE target_commitment IS NOT NULL;
