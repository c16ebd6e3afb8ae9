"""Processes that end with what they were started for. Knows nothing of what they do.

Everything is started within an ExitStack and ended by it, also on an error or a signal; should this
process be killed itself, the kernel ends what it started.
"""

import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import sys

PACKAGE = pathlib.Path(__file__).resolve().parent.parent.parent
PEERS = PACKAGE / "tests" / "peers"
PYTHON = os.environ.get("MAVFTP_PYTHON", str(PACKAGE / ".venv" / "bin" / "python"))
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PACKAGE / "target")) / "release"
PROGRAM = str(TARGET / "mavftp-mount")
RELAY = str(TARGET / "examples" / "relay")
BARE = str(TARGET / "examples" / "bare")
DISTANCE = str(TARGET / "examples" / "distance")

START_WAIT_S = 30
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Failed(Exception):
    """A program did not do what it should; the message says which, and how."""


def start(ended, command, ready=None):
    """Starts a process that ends with `ended`; with `ready`, waits for a line that begins so."""
    output = subprocess.PIPE if ready else subprocess.DEVNULL
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=output,
        text=True,
        preexec_fn=die_with_parent,
    )
    ended.callback(end, process)
    if ready:
        for line in process.stdout:
            if line.startswith(ready):
                return process, line.strip()
        raise Failed(f"{command[0]} did not start")
    return process, ""


def end(process):
    process.terminate()
    try:
        process.wait(START_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


def run(command, limit, output=subprocess.PIPE):
    """The output of a program that must succeed within `limit` seconds."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(
            command,
            stdout=output,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=limit,
            check=False,
            preexec_fn=die_with_parent,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"took longer than {limit:.0f} s") from None
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr, end="")
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Failed(f"failed ({done.returncode}): {last}")
    return done.stdout


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
