"""What the FTP clients meet: a directory tree from a seed, vsftpd that serves it, and a distance in
between. Knows no client and no measurement.
"""

import dataclasses
import os
import pathlib
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time

from .processes import DISTANCE, START_WAIT_S, Failed, die_with_parent, end, free_port, start

VSFTPD = "vsftpd"
# Who an anonymous user is to the server: one that every system has, with a home that is there.
SERVED_AS = "daemon"
KIB, MIB = 1 << 10, 1 << 20
LARGE, MANY, SMALL, UPLOADS = "large", "many", "small", "uploads"
# As a user would set up a server that can be written to. Nobody logs in, so that no password is needed.
SETTINGS = {
    "listen": "YES",
    "listen_ipv6": "NO",
    "listen_address": "127.0.0.1",
    "background": "NO",
    "anonymous_enable": "YES",
    "no_anon_password": "YES",
    "local_enable": "NO",
    "write_enable": "YES",
    "anon_upload_enable": "YES",
    "anon_mkdir_write_enable": "YES",
    "anon_other_write_enable": "YES",
    "anon_world_readable_only": "NO",
    "anon_umask": "022",
    "secure_chroot_dir": "/var/run/vsftpd/empty",
    "use_localtime": "NO",
    "ftp_username": SERVED_AS,
}


@dataclasses.dataclass
class Sizes:
    """Bytes and numbers of what is served and what is stored."""

    large: int = 256 * MIB
    directories: int = 20
    in_each: int = 100
    small: int = 300
    stored: int = 64 * MIB
    turns: int = 2  # without a distance, of which the better counts

    def listed(self):
        """Files in the folders of those that are only listed."""
        return self.directories * self.in_each


FULL = Sizes()
QUICK = Sizes(32 * MIB, directories=5, small=50, stored=8 * MIB, turns=1)


class Tree:
    """What is served, and what will be stored: the same bytes for the same seed."""

    def __init__(self, directory, sizes, seed=1):
        self.served, self.local = directory / "served", directory / "local"
        self.sizes = sizes
        chance = random.Random(seed)
        for made in (self.served, self.local, self.served / UPLOADS, self.served / SMALL):
            made.mkdir()
        self.large = self.served / LARGE
        write_random(self.large, sizes.large, chance)
        for number in range(sizes.directories):
            inner = self.served / MANY / f"directory {number:02}"
            inner.mkdir(parents=True)
            for name in range(sizes.in_each):
                (inner / f"file {name:03}").write_bytes(chance.randbytes(chance.randrange(100)))
        self.small = [f"file{number:03}" for number in range(sizes.small)]
        (self.local / SMALL).mkdir()
        for name in self.small:
            content = about_two_kib(chance)
            for place in (self.served, self.local):
                (place / SMALL / name).write_bytes(content)
        self.stored = self.local / "stored"
        write_random(self.stored, sizes.stored, chance)
        for place, names, files in os.walk(self.served):
            for name in (*names, *files):  # Not the root: vsftpd refuses one that can be written to.
                shutil.chown(os.path.join(place, name), SERVED_AS)
        directory.chmod(0o755)  # The server is another user.


def write_random(path, length, chance):
    with open(path, "wb") as file:
        for at in range(0, length, MIB):
            file.write(chance.randbytes(min(MIB, length - at)))


def about_two_kib(chance):
    return chance.randbytes(chance.randrange(2 * KIB - 200, 2 * KIB + 200))


def missing():
    """The packages that must be installed first."""
    has_user = any(user.pw_name == SERVED_AS for user in pwd.getpwall())
    return [] if vsftpd() and has_user else [VSFTPD]


def vsftpd():
    """Where it is: what scripts/test has unpacked, else the system's, which is not in every PATH."""
    ours = pathlib.Path(__file__).parents[2] / ".tools/bin"
    places = [os.environ.get("MAVFTP_TOOLS", str(ours)), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(VSFTPD, path=":".join(places))


def serve(ended, directory, log=None):
    """Starts vsftpd for a directory; the port."""
    port = free_port(socket.SOCK_STREAM)
    # Its own: the system's server, where there is one, is left alone.
    os.makedirs(SETTINGS["secure_chroot_dir"], exist_ok=True)
    settings = SETTINGS | {"listen_port": str(port), "anon_root": str(directory)}
    if log:
        settings |= {"xferlog_enable": "YES", "log_ftp_protocol": "YES", "vsftpd_log_file": str(log)}
    file = pathlib.Path(f"{directory}.conf")
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    process = subprocess.Popen(
        [vsftpd(), str(file)],
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
        start_new_session=True,
    )
    ended.callback(end_all, process)
    wait_for(port, process)
    return port


def end_all(process):
    """Ends the server with its sessions, which are processes of their own, in its group."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    end(process)


def wait_for(port, process):
    deadline = time.monotonic() + START_WAIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), START_WAIT_S).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed("vsftpd did not start") from None
            time.sleep(0.01)


def distance(ended, port, delay):
    """The port by which the server is `delay` milliseconds away, each way."""
    if not delay:
        return port
    _, ready = start(ended, [DISTANCE, port, delay], "ready")
    return int(ready.split()[1])
