"""What agents remember beyond a session: records, what is searched for, when two say the same, what is forgotten. No await, no Redis."""
