"""Become the program named on the command line, and die with the process that asked for it.

Run as a script, never imported by Deja: `python -I -S launch.py PARENT_PID PROGRAM ARG...`. A script instead of
`preexec_fn`, because Python code between fork and exec can deadlock in a process that has threads. The kernel
sends the signal when the *thread* that started this child ends, so that thread must live as long as Deja does.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>; survives exec of a program that is not set-uid


def main(arguments: list[str]) -> None:
    """Ask for SIGTERM at the parent's death where the system can do that, then exec."""
    parent_pid, program = int(arguments[0]), arguments[1]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:  # it died before we asked: nobody would send the signal any more
            sys.exit(1)
    os.umask(0o077)
    os.execv(program, arguments[1:])  # noqa: S606  the program is the one EmbeddedRedis chose


if __name__ == "__main__":
    main(sys.argv[1:])
