"""Deja: an OpenAI-compatible proxy that answers from Redis when a prompt means what an earlier one meant."""
