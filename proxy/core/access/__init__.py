"""Who may do what: keys, scopes, limits and sharing, as pure rules."""
