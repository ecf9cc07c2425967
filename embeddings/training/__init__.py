"""How our own weights were made, runnable again."""
