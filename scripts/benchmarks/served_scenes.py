"""Our server, measured with clients of others and with many of our own. Knows no table.

Others fetch the same file from `serve` and from MAVSDK's FtpServer, by turns. Our own clients fetch a file each
from one server, alone and all at once; each is timed from its OpenFileRO on the wire to its end.
"""

import contextlib
import dataclasses
import filecmp
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from .clients import BURST, DOWNLOADS, PYMAVLINK
from .processes import PROGRAM, Failed, die_with_parent, end, start
from .scenes import DIFFERENT, EQUAL, LOOPBACK, MAVSDK, OURS, Sizes, carry
from .wire import OpenedFiles

MIB = 1 << 20
CROWD = 16
LIMIT_S = 300


@dataclasses.dataclass
class Amounts:
    """Bytes of the files."""

    foreign: int
    alone: int
    each: int  # of the many
    turns: int  # alone and all at once; the best counts


FULL = Amounts(foreign=10 * MIB, alone=64 * MIB, each=16 * MIB, turns=3)
QUICK = Amounts(foreign=MIB, alone=32 * MIB, each=4 * MIB, turns=2)


@dataclasses.dataclass
class Pair:
    """One foreign client at both servers."""

    name: str
    ours: object  # a Row of scenes
    theirs: object

    def ratio(self):
        rates = self.ours.rate(), self.theirs.rate()
        return rates[0] / rates[1] if all(rates) else None


@dataclasses.dataclass
class Together:
    """So many of our clients at once."""

    count: int
    bytes: int
    seconds: float  # from the first one's start to the last one's end
    rates: list  # bytes a second of each
    note: str = EQUAL

    def total(self):
        return self.count * self.bytes / self.seconds


def pairs(amounts):
    """What foreign clients get from either server."""
    sizes = Sizes({}, amounts.foreign, in_step=0, limit=LIMIT_S)
    for client in DOWNLOADS:
        if client.name in (BURST, PYMAVLINK):
            rows = []
            for server in (OURS, MAVSDK):
                say(f"{client.name} from {server}")
                rows.append(carry(server, LOOPBACK, client, sizes, upload=False))
            yield Pair(client.name, *rows)


def alone_and_together(amounts):
    """One client, and many; the best of several turns each, by turns."""
    turns = []
    for _ in range(amounts.turns):
        turns.append((clients(1, amounts.alone), clients(CROWD, amounts.each)))
    return [max(column, key=Together.total) for column in zip(*turns)]


def clients(count, size):
    """So many clients at once, each with a file of its own."""
    say(f"{count} of our own, {size >> 20} MiB each")
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as ended:
        served, local = (pathlib.Path(directory) / name for name in ("served", "local"))
        served.mkdir()
        local.mkdir()
        names = [f"file-{number:02}" for number in range(count)]
        for name in names:
            (served / name).write_bytes(os.urandom(size))
        command = [PROGRAM, "serve", "udp:127.0.0.1:0", served, "--component-id", "1"]
        _, line = start(ended, command, "serving")
        port = int(line.rsplit(":", 1)[1])
        opened = OpenedFiles(ended, port)
        ends = fetch_all(ended, port, local, names)
        starts = opened.times()
        if not all(name in starts for name in names):
            raise Failed("not all files were seen to be opened on loopback")
        equal = all(filecmp.cmp(served / name, local / name, shallow=False) for name in names)
        rates = [size / (ends[name] - starts[name]) for name in names]
        seconds = max(ends.values()) - min(starts[name] for name in names)
        return Together(count, size, seconds, rates, EQUAL if equal else DIFFERENT)


def fetch_all(ended, port, local, names):
    """When each client ended, which must be a success."""
    processes, ends = {}, {}
    for name in names:
        source = f"udpout:127.0.0.1:{port}#/{name}"
        processes[name] = subprocess.Popen(
            [PROGRAM, "get", "--target", "1:1", "-q", source, str(local / name)],
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        ended.callback(end, processes[name])

    def wait(name):
        processes[name].wait()
        ends[name] = time.time()

    threads = [threading.Thread(target=wait, args=[name], daemon=True) for name in names]
    deadline = time.monotonic() + LIMIT_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    if any(processes[name].poll() != 0 for name in names):
        raise Failed(f"one of {len(names)} clients failed, or took longer than {LIMIT_S} s")
    return dict(ends)


def say(what):
    print(f"serve: {what} …", file=sys.stderr, flush=True)
