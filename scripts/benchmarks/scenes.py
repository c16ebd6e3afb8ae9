"""A server, a link and clients: what is measured, one run each. Knows no table.

Every client gets a server and a relay of its own, so that none finds what another left there; the
relay's seed is the same for all. What was carried is compared byte by byte.
"""

import contextlib
import dataclasses
import filecmp
import os
import pathlib
import sys
import tempfile

from .clients import DOWNLOADS, UPLOADS, Job
from .processes import BARE, PEERS, PROGRAM, PYTHON, RELAY, Failed, free_port, run, start

DATA_BYTES, FRAME_BYTES = 239, 266
MAVSDK, OURS = "MAVSDK's FtpServer", "mavftp-mount serve"
EQUAL, DIFFERENT = "equal", "DIFFERENT"
# pymavlink and MAVSDK take 15 s at most to hear a heartbeat.
STARTUP_S = 15
BARE_FRAMES = 100_000
BARE_WINDOWS = (16, 64, 256)
BARE_LIMIT_S = 120


@dataclasses.dataclass
class Link:
    """What lies between the two."""

    name: str
    rate: float = 0  # bytes a second, each way; 0: nothing lies between
    delay: float = 0  # milliseconds, each way
    loss: float = 0  # share

    def bound(self):
        """The most bytes of a file that can come in a second; None where only the machine bounds."""
        return self.rate * DATA_BYTES / FRAME_BYTES * (1 - self.loss) or None

    def options(self):
        damage = {"rate": self.rate, "delay": self.delay, "loss": self.loss, "seed": 1}
        return [word for name, value in damage.items() for word in (f"--{name}", value)]


LOOPBACK = Link("loopback")
WIFI = Link("Wi-Fi (2 MB/s, 20 ms round trip, 1 % loss)", 2_000_000, 10, 0.01)
LTE = Link("LTE (500 kB/s, 80 ms round trip, 0.5 % loss)", 500_000, 40, 0.005)


@dataclasses.dataclass
class Sizes:
    """Bytes of the files, and the seconds that a transfer may take."""

    large: dict  # of our program, by link
    small: int  # of the others
    in_step: float  # seconds of round trips, for those that wait for each answer
    limit: float

    def of(self, client, link):
        """The file for a client, so that it does not take for ever."""
        if client.ours:
            return self.large[link.name]
        trips = self.in_step * 1000 / (2 * link.delay) if client.in_step and link.delay else None
        return min(self.small, int(trips * DATA_BYTES)) if trips else self.small


@dataclasses.dataclass
class Row:
    """What one client did."""

    name: str
    ours: bool
    bytes: int
    time: object = None  # None: it did not get there
    note: str = EQUAL

    def rate(self):
        """Bytes a second."""
        return self.bytes / self.time.seconds if self.time else None


@dataclasses.dataclass
class Table:
    """Rows that are compared with one another."""

    server: str
    link: Link
    upload: bool
    rows: list
    bare: dict = dataclasses.field(default_factory=dict)  # what bare sockets carried meanwhile


def measure(server, link, sizes, upload=False, clients=None):
    """A table with a row for each client."""
    clients = clients or (UPLOADS if upload else DOWNLOADS)
    way = "up" if upload else "down"
    rows, rates = [], {}
    # Before, between and after: the machine may be busier at one time than at another.
    beside_bare = server == OURS and link is LOOPBACK
    for client in clients:
        if beside_bare:
            rates = bare(rates)
        print(f"{link.name}, {server}, {way}: {client.name} …", file=sys.stderr, flush=True)
        rows.append(carry(server, link, client, sizes, upload))
    return Table(server, link, upload, rows, bare(rates) if beside_bare else {})


def carry(server, link, client, sizes, upload):
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as ended:
        size = sizes.of(client, link)
        served, local = (pathlib.Path(directory) / name for name in ("served", "local"))
        served.mkdir()
        local.mkdir()
        near, far = local / "file", served / "file"
        (near if upload else far).write_bytes(os.urandom(size))
        row = Row(client.name, client.ours, size)
        limit = sizes.limit + STARTUP_S
        try:
            port = free_port()
            serve(ended, server, relay(ended, link, port), served)
            row.time = client.carry(Job(ended, port, "file", near, limit))
            if not filecmp.cmp(near, far, shallow=False):
                row.note = DIFFERENT
        except Failed as error:
            row.note = str(error)
        return row


def relay(ended, link, port):
    """Where the server sends: to the client's port, or to a relay that sends there."""
    if not link.rate:
        return port
    _, ready = start(ended, [RELAY, 0, port, *link.options()], "ready")
    return int(ready.split()[1])


def serve(ended, server, port, directory):
    if server == MAVSDK:
        endpoint = f"udpout://127.0.0.1:{port}"
        command = [PYTHON, PEERS / "mavsdk_server.py", endpoint, directory]
        start(ended, command, "ready")
    else:
        # Component 1: MAVSDK's client looks for an autopilot.
        options = ["--writable", "--component-id", "1"]
        command = [PROGRAM, "serve", f"udpout:127.0.0.1:{port}", directory, *options]
        start(ended, command, "serving")


def bare(best):
    """Bytes of a file a second that two bare sockets carry at most, whatever the window, or what they
    did before: with a system call per frame, and with one for many."""
    rates = dict(best)
    for window in BARE_WINDOWS:
        for line in run([BARE, BARE_FRAMES, window], BARE_LIMIT_S).splitlines():
            name, seconds, count = line.split()
            rates[name] = max(rates.get(name, 0), int(count) * DATA_BYTES / float(seconds))
    return rates
