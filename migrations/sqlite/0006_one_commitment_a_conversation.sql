-- A commitment names one message of its conversation; beside the conversation's others it is found with little reading.
DROP INDEX messages_by_commitment;
CREATE UNIQUE INDEX messages_by_commitment ON messages (conversation_id, commitment);
