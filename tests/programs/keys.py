#!/usr/bin/env python3
"""Types at a program that wants a terminal: keys.py PROGRAM ARGUMENT… < keys

Each line of the standard input is one group of keys, with Python's escapes. A group is sent when the
program has drawn nothing for a while. Exits as the program does; 124 when it does not end.
"""

import os
import pty
import select
import sys
import time

QUIET = 0.2  # seconds without output after which the program waits for keys
LIMIT = 45.0


def main():
    groups = [line.rstrip("\n").encode().decode("unicode_escape").encode("latin-1") for line in sys.stdin]
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", LINES="24", COLUMNS="80")
        os.execvp(sys.argv[1], sys.argv[1:])
    deadline = time.monotonic() + LIMIT
    for keys in groups:
        drain(terminal, QUIET, deadline)
        os.write(terminal, keys)
    seen = drain(terminal, LIMIT, deadline)
    if time.monotonic() >= deadline:
        os.kill(child, 9)
        sys.stderr.buffer.write(seen[-2000:])
        sys.exit(124)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def drain(terminal, quiet, deadline):
    """What the program draws, until it has drawn nothing for so long, or has ended."""
    seen = b""
    while time.monotonic() < deadline:
        wait = min(quiet, deadline - time.monotonic())
        if not select.select([terminal], [], [], max(wait, 0))[0]:
            return seen
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the far end is closed
            return seen
        if not piece:
            return seen
        seen += piece
    return seen


if __name__ == "__main__":
    main()
