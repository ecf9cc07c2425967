"""What the commands of `deja` do that speak to a running Deja; `proxy.__main__` parses and calls."""
