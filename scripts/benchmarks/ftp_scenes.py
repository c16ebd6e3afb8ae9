"""What is done to an FTP server through each client, cold. Knows no table.

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
from .ftp_server import KIB, LARGE, MANY, MIB, SMALL, UPLOADS, Tree, distance, serve
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
class Row:
    """What one client did."""

    name: str
    ours: bool
    outcome: Outcome | None = None  # None: it did not get there
    note: str = EQUAL

    def failed(self):
        """Wrong bytes are nobody's good; that another did not get there is for the table."""
        return self.note == DIFFERENT or (self.ours and self.note != EQUAL)

    def keep_better(self, outcome):
        """Of several turns; one that was wrong stays wrong."""
        if not outcome.equal:
            self.note = DIFFERENT
        if self.outcome is None or outcome.seconds < self.outcome.seconds:
            self.outcome = outcome


@dataclasses.dataclass
class Measurement:
    """Rows that are compared with one another."""

    title: str
    amount: float  # of the unit
    unit: str  # the rate is in units a second
    rows: list


@dataclasses.dataclass
class Scene:
    """What was measured at one distance."""

    round_trip: float  # milliseconds
    measurements: list


def sequential(point, tree):
    memory = touched(tree.sizes.large)
    began = time.monotonic()
    with open(point / LARGE, "rb", buffering=0) as file:
        count = drain(file, memory)
    seconds = time.monotonic() - began
    return Outcome(seconds, is_large(memory, count, tree))


def touched(length):
    """Memory that is there already, and with a byte to spare, so that too long a file shows."""
    return bytearray(b"\1") * (length + 1)


def drain(file, memory):
    view, at = memoryview(memory), 0
    while count := file.readinto(view[at : at + PIECE]):
        at += count
    return at


def is_large(memory, count, tree):
    return memory[:count] == tree.large.read_bytes()


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


ONE_CAT = Task("read {small} small files, one `cat`", lambda s: s.small, "files", one_cat)
MANY_CATS = Task("read {small} small files, a `cat` each", lambda s: s.small, "files", many_cats)
STORE_SMALL = Task("store {small} small files", lambda s: s.small, "files", store_small, WRITERS)
NEAR = [
    Task("read {large} MiB", lambda s: s.large / MIB, "MiB", sequential, with_curl=True),
    Task("{reads} random reads of 4 KiB in them", lambda _: RANDOM_READS, "reads", random_reads),
    Task("`ls -lR` of {listed} files", lambda s: s.listed(), "files", listing),
    ONE_CAT,
    MANY_CATS,
    Task("store {stored} MiB", lambda s: s.stored / MIB, "MiB", store_large, WRITERS),
    STORE_SMALL,
]
FAR = [ONE_CAT, MANY_CATS, STORE_SMALL]


def scenes(sizes, select=lambda client: True):
    """What was measured, each distance when it is asked for."""
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as ended:
        tree = Tree(pathlib.Path(directory), sizes)
        port = serve(ended, tree.served)
        for delay, tasks, turns in ((0, NEAR, sizes.turns), (AWAY_MS, FAR, 1)):
            reached = distance(ended, port, delay)
            done = [measure(task, tree, reached, turns, select) for task in tasks]
            yield Scene(2 * delay, done)


def measure(task, tree, port, turns, select):
    """All clients in turns: the machine may be busier at one time than at another."""
    sizes = tree.sizes
    title = task.title.format(
        small=sizes.small,
        reads=RANDOM_READS,
        listed=sizes.listed(),
        large=sizes.large // MIB,
        stored=sizes.stored // MIB,
    )
    runs = {}
    for client in filter(select, task.clients):
        runs[client.name] = (Row(client.name, client.ours), through(client, task, tree, port))
    if task.with_curl:
        runs[CURL] = (Row(CURL, False), lambda: by_curl(tree, port))
    for turn in range(turns):
        for name, (row, perform) in runs.items():
            print(f"FTP: {title}: {name}, turn {turn + 1} …", file=sys.stderr, flush=True)
            attempt(row, perform)
    return Measurement(title, task.amount(sizes), task.unit, [row for row, _ in runs.values()])


def attempt(row, perform):
    try:
        row.keep_better(perform())
    except (Failed, OSError) as error:
        row.note = str(error)


def through(client, task, tree, port):
    def perform():
        with client.mounted(port) as point:
            return task.perform(point, tree)

    return perform


def by_curl(tree, port):
    memory = touched(tree.sizes.large)
    began = time.monotonic()
    command = curl(port, LARGE)
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, preexec_fn=die_with_parent) as process:
        count = drain(process.stdout, memory)
        seconds = time.monotonic() - began
    return Outcome(seconds, is_large(memory, count, tree))
