"""What agents share besides answers: state, tasks, events, signals. Rules and Redis names; no await, no Redis."""
