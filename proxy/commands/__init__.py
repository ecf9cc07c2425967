"""What the longer commands of `deja` do, be it with a running Deja or with models and files; `proxy.__main__` parses and calls."""
