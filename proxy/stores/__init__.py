"""Redis: one structure per file; the only importers of redis and redisvl. Writes what it is given."""
