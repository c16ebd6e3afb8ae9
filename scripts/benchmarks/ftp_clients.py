"""The FTP clients: how each is mounted, or fetches a file. Knows no measurement and no table."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import tempfile
import time

from .processes import PROGRAM, START_WAIT_S, Failed, run, start

OURS, OURS_LATER = "mavftp-mount", "mavftp-mount, --write-back async"
OURS_MANY = "mavftp-mount, --write-back async --connections 4"
RCLONE, RCLONE_AT_ONCE = "rclone mount", "rclone mount, --vfs-write-back 0s"
CURL = "curl"


@dataclasses.dataclass
class Client:
    """A program that mounts, and what it is called with."""

    name: str
    command: object  # from (port, mount point, empty folder of its own)
    ours: bool = False

    @contextlib.contextmanager
    def mounted(self, port):
        """A mount point with nothing in any cache; the mount ends with the context."""
        with contextlib.ExitStack() as ended:
            # Removed last: a mount that does not end keeps its point.
            folder = pathlib.Path(ended.enter_context(tempfile.TemporaryDirectory()))
            point = folder / "point"
            point.mkdir()
            ended.callback(take_away, point)
            mount, _ = start(ended, self.command(port, point, folder))
            deadline = time.monotonic() + START_WAIT_S
            while not os.path.ismount(point):
                if mount.poll() is not None or time.monotonic() > deadline:
                    raise Failed(f"{self.name}: the mount did not come up")
                time.sleep(0.01)
            yield point


def take_away(point):
    """A mount that its program left behind; also where it was killed, and only errors answer there."""
    mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    if str(point) in (line.split()[1] for line in mounts):
        run(["umount", "--lazy", point], START_WAIT_S)


def missing():
    """The packages that must be installed first."""
    return [name for name in ("rclone", "curl") if shutil.which(name) is None]


def ours(*options):
    def command(port, point, folder):
        state = f"XDG_STATE_HOME={folder / 'state'}"
        return ["env", state, PROGRAM, "-f", f"ftp://127.0.0.1:{port}/", point, *options]

    return command


def rclone(*options):
    def command(port, point, folder):
        # It wants a password, although nobody asks for one: `rclone obscure x`.
        remote = f":ftp,host=127.0.0.1,port={port},user=anonymous,pass=UdxMq_sTomBXBo-tfJ5KcyI:"
        own = ["--config", folder / "none.conf", "--cache-dir", folder / "cache"]
        own += ["--log-file", folder / "log"]  # It has a line for each file that is stored.
        return ["rclone", "mount", remote, point, "--vfs-cache-mode", "full", *own, *options]

    return command


def curl(port, name):
    """The command that prints a file."""
    return ["curl", "--silent", "--show-error", "--fail", f"ftp://127.0.0.1:{port}/{name}"]


READERS = [Client(OURS, ours(), ours=True), Client(RCLONE, rclone())]
# As rclone always does, `--write-back async` lets a program go on before its files are sent.
WRITERS = [
    READERS[0],
    Client(OURS_LATER, ours("--write-back", "async"), ours=True),
    # rclone sends four files at a time; one of these connections is left to who reads.
    Client(OURS_MANY, ours("--write-back", "async", "--connections", "4"), ours=True),
    READERS[1],
    Client(RCLONE_AT_ONCE, rclone("--vfs-write-back", "0s")),
]
