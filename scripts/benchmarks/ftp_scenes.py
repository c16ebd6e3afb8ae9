"""What is done to an FTP server through each client, one run each, cold. Knows no table.

Every measurement has a mount of its own, so that nothing is in any of its caches, and every byte is
compared with what was served, or stored, once the clock has stopped.
"""

import contextlib
import dataclasses
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from .ftp_clients import CURL, READERS, WRITERS, curl
from .ftp_server import KIB, LARGE, MANY, MIB, SMALL, UPLOADS, Sizes, Tree, distance, serve
from .processes import Failed, die_with_parent, run
from .scenes import DIFFERENT, EQUAL

RANDOM_READS, RANDOM_BYTES = 200, 4 * KIB
PIECE = MIB
# A measurement takes no longer, in seconds; a busy machine is slow.
LIMIT_S = 90
LOOK_EVERY_S = 0.005
AWAY_MS = 10


@dataclasses.dataclass
class Outcome:
    """How long it took, and whether the bytes are the right ones."""

    seconds: float
    equal: bool
    closed: float | None = None  # of what is stored: when its writer ended


@dataclasses.dataclass
class FtpRow:
    """What one client did."""

    name: str
    ours: bool
    outcome: Outcome | None = None  # None: it did not get there
    note: str = EQUAL


@dataclasses.dataclass
class FtpTable:
    """One measurement; rows that are compared with one another."""

    title: str
    amount: float  # of the unit
    unit: str  # the rate is in units a second
    rows: list


def sequential(point, tree):
    truth = tree.large.read_bytes()
    began = time.monotonic()
    with open(point / LARGE, "rb", buffering=0) as file:
        got, seconds = drained(file, len(truth), began)
    return Outcome(seconds, got == truth)


def drained(file, length, began):
    """All of a file, in memory that was there before, so that only reading is timed."""
    got = bytearray(length)
    view, at = memoryview(got), 0
    while count := file.readinto(view[at : at + PIECE]):
        at += count
    return bytes(got[:at]), time.monotonic() - began


def random_reads(point, tree):
    chance = random.Random(2)
    places = [chance.randrange(tree.sizes.large - RANDOM_BYTES) for _ in range(RANDOM_READS)]
    began = time.monotonic()
    with open(point / LARGE, "rb", buffering=0) as file:
        got = [os.pread(file.fileno(), RANDOM_BYTES, place) for place in places]
    seconds = time.monotonic() - began
    with open(tree.large, "rb") as file:
        truth = [os.pread(file.fileno(), RANDOM_BYTES, place) for place in places]
    return Outcome(seconds, got == truth)


def listing(point, tree):
    began = time.monotonic()
    output = run(["ls", "-lR", point / MANY], LIMIT_S)
    seconds = time.monotonic() - began
    truth = run(["ls", "-lR", tree.served / MANY], LIMIT_S)
    return Outcome(seconds, kinds_sizes_names(output) == kinds_sizes_names(truth))


def kinds_sizes_names(output):
    """Of an `ls -lR`: each folder's last name, and of each entry what must be the same everywhere."""
    found, folder = [], None
    for line in output.splitlines():
        words = line.split(None, 8)
        if line.endswith(":"):
            folder = pathlib.Path(line[:-1]).name
        elif len(words) == 9:
            is_file = words[0][0] == "-"
            found.append((folder, words[0][0], words[4] if is_file else None, words[8]))
    return found


def one_cat(point, tree):
    return cat(["cat", *(point / SMALL / name for name in tree.small)], tree)


def many_cats(point, tree):
    script = 'for file do cat "$file" || exit; done'
    return cat(["sh", "-c", script, "sh", *(point / SMALL / name for name in tree.small)], tree)


def cat(command, tree):
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        run(command, LIMIT_S, output)
        seconds = time.monotonic() - began
        output.seek(0)
        return Outcome(seconds, output.read() == small_files(tree))


def small_files(tree):
    return b"".join((tree.local / SMALL / name).read_bytes() for name in tree.small)


def store_large(point, tree):
    return store(point, tree, [tree.stored])


def store_small(point, tree):
    return store(point, tree, [tree.local / SMALL / name for name in tree.small])


def store(point, tree, sources):
    """Copies files into a folder that is new, until the server has every byte of them."""
    sizes = {source.name: source.stat().st_size for source in sources}
    far = pathlib.Path(tempfile.mkdtemp(dir=tree.served / UPLOADS))
    far.chmod(0o777)
    into = point / UPLOADS / far.name
    began = time.monotonic()
    run(["cp", "--", *sources, into], LIMIT_S)
    closed = time.monotonic() - began
    while sizes_in(far) != sizes:
        if time.monotonic() - began > LIMIT_S:
            raise Failed(f"not on the server after {LIMIT_S} s")
        time.sleep(LOOK_EVERY_S)
    seconds = time.monotonic() - began
    equal = all((far / source.name).read_bytes() == source.read_bytes() for source in sources)
    return Outcome(seconds, equal, closed)


def sizes_in(directory):
    sizes = {}
    for entry in os.scandir(directory):
        # A temporary file may be renamed in between.
        with contextlib.suppress(FileNotFoundError):
            sizes[entry.name] = entry.stat().st_size
    return sizes


@dataclasses.dataclass
class Task:
    """What is measured."""

    title: str
    amount: object  # from Sizes: how much of the unit
    unit: str
    perform: object  # from (mount point, Tree)
    clients: list = dataclasses.field(default_factory=lambda: READERS)
    with_curl: bool = False


ONE_CAT = Task("Reading {small} small files, one `cat` of all", lambda s: s.small, "files", one_cat)
MANY_CATS = Task("Reading {small} small files, a `cat` each", lambda s: s.small, "files", many_cats)
STORE_SMALL = Task("Storing {small} small files", lambda s: s.small, "files", store_small, WRITERS)
NEAR = [
    Task("Reading one file of {large_mib} MiB", lambda s: s.large / MIB, "MiB", sequential, with_curl=True),
    Task("{reads} random reads of 4 KiB in it", lambda _: RANDOM_READS, "reads", random_reads),
    Task("`ls -lR` of {listed} files", lambda s: s.directories * s.in_each, "files", listing),
    ONE_CAT,
    MANY_CATS,
    Task("Storing one file of {stored_mib} MiB", lambda s: s.stored / MIB, "MiB", store_large, WRITERS),
    STORE_SMALL,
]
FAR = [ONE_CAT, MANY_CATS, STORE_SMALL]


def measurements(sizes=Sizes(), select=lambda client: True):
    """The tables, each when it is asked for."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as ended:
        tree = Tree(pathlib.Path(directory), sizes)
        port = serve(ended, tree.served)
        for delay, tasks in ((0, NEAR), (AWAY_MS, FAR)):
            reached = distance(ended, port, delay) if tasks else None
            for task in tasks:
                yield measure(task, tree, reached, delay, select)


def measure(task, tree, port, delay, select):
    sizes = tree.sizes
    title = task.title.format(
        small=sizes.small,
        reads=RANDOM_READS,
        listed=sizes.directories * sizes.in_each,
        large_mib=sizes.large // MIB,
        stored_mib=sizes.stored // MIB,
    )
    title += f", {2 * delay} ms away" if delay else ", loopback"
    rows = []
    for client in filter(select, task.clients):
        print(f"FTP: {title}: {client.name} …", file=sys.stderr, flush=True)
        rows.append(attempt(FtpRow(client.name, client.ours), lambda: through(client, task, tree, port)))
    if task.with_curl:
        rows.append(attempt(FtpRow(CURL, False), lambda: by_curl(tree, port)))
    return FtpTable(title, task.amount(sizes), task.unit, rows)


def attempt(row, perform):
    try:
        row.outcome = perform()
        row.note = EQUAL if row.outcome.equal else DIFFERENT
    except (Failed, OSError) as error:
        row.note = str(error)
    return row


def through(client, task, tree, port):
    with client.mounted(port) as point:
        return task.perform(point, tree)


def by_curl(tree, port):
    truth = tree.large.read_bytes()
    began = time.monotonic()
    command = curl(port, LARGE)
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, preexec_fn=die_with_parent) as process:
        got, seconds = drained(process.stdout, len(truth), began)
    return Outcome(seconds, got == truth)
