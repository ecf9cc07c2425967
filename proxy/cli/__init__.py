"""Groups of commands below `deja`, such as `deja keys`; each module one group, which `proxy.__main__` mounts."""
