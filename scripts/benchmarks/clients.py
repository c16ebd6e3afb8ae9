"""The clients: how each fetches or stores one file. Knows no link and no table.

Each is called with a Job and returns its Time. Peers time themselves, from the call to its last
callback; our one-shot commands are timed from their first FTP frame to their end, for before that
they only wait for a heartbeat, which comes once a second; a copy through the mount from cp's start to
its end.
"""

import dataclasses
import os
import pathlib
import tempfile
import time

from .processes import PEERS, PROGRAM, PYTHON, START_WAIT_S, Failed, run, start
from .wire import FirstFtpFrame


@dataclasses.dataclass
class Job:
    """One file, to be carried once."""

    ended: object  # the ExitStack that ends what is started
    port: int  # where the vehicle's frames come
    far: str  # the file's name there
    near: pathlib.Path  # the local file
    limit: float  # seconds


@dataclasses.dataclass
class Time:
    """How long it took."""

    seconds: float
    whole: float | None = None  # with the wait for the heartbeat, where that was measured


def our_get(job):
    return ours(job, ["get", f"udp:127.0.0.1:{job.port}#/{job.far}", job.near])


def our_put(job):
    return ours(job, ["put", job.near, f"udp:127.0.0.1:{job.port}#/{job.far}"])


def ours(job, arguments):
    mark = FirstFtpFrame(job.ended, job.port)
    began = time.monotonic()
    run([PROGRAM, *arguments], job.limit)
    seconds, whole = mark.seconds_until_now(), time.monotonic() - began
    if seconds is None:
        raise Failed("its FTP frames were not seen on loopback")
    return Time(seconds, whole)


def our_copy_out(job):
    point = mounted(job)
    return copy(f"{point}/{job.far}", job.near, job.limit)


def our_copy_in(job):
    point = mounted(job)
    return copy(job.near, f"{point}/{job.far}", job.limit)


def copy(source, target, limit):
    began = time.monotonic()
    run(["cp", source, target], limit)
    return Time(time.monotonic() - began)


def mounted(job):
    """The mount point of a mount that ends with the job."""
    point = job.ended.enter_context(tempfile.TemporaryDirectory())
    mount, _ = start(job.ended, [PROGRAM, "-f", f"udp:127.0.0.1:{job.port}", point])
    job.ended.callback(unmount, point)
    deadline = time.monotonic() + START_WAIT_S
    while not os.path.ismount(point):
        if mount.poll() is not None or time.monotonic() > deadline:
            raise Failed("the mount did not come up")
        time.sleep(0.01)
    return point


def unmount(point):
    if os.path.ismount(point):
        run(["umount", "--lazy", point], START_WAIT_S)


def mavsdk_get(mode):
    def fetch(job):
        # It takes a directory, and the far name is the local one.
        return mavsdk(job, ["get", f"/{job.far}", job.near.parent, mode])

    return fetch


def mavsdk_put(job):
    return mavsdk(job, ["put", job.near, "/"])


def mavsdk(job, arguments):
    client = [PYTHON, PEERS / "mavsdk_client.py", f"udpin://127.0.0.1:{job.port}"]
    return printed_time(run([*client, *arguments], job.limit))


def pymavlink_get(job):
    client = [PYTHON, PEERS / "pymavlink_client.py", f"udpin:127.0.0.1:{job.port}"]
    return printed_time(run([*client, "get", f"/{job.far}", job.near], job.limit))


def printed_time(output):
    """The peers print SECONDS BYTES last, MAVSDK's own log lines before that."""
    return Time(float(output.splitlines()[-1].split()[0]))


@dataclasses.dataclass
class Client:
    """Who carries a file, and how."""

    name: str
    carry: object
    ours: bool = False
    in_step: bool = False  # waits for each answer before it asks again


PLAIN, BURST = "MAVSDK, plain", "MAVSDK, burst"
PYMAVLINK = "pymavlink, 239-byte bursts"
OUR_PUT, MAVSDK_PUT = "mavftp-mount put", "MAVSDK"

DOWNLOADS = [
    Client("mavftp-mount get", our_get, ours=True),
    Client("mavftp-mount, cp from the mount", our_copy_out, ours=True),
    Client(PLAIN, mavsdk_get("--plain"), in_step=True),
    Client(BURST, mavsdk_get("--burst")),
    Client(PYMAVLINK, pymavlink_get),
]
# Without pymavlink: as we run it, it did not store a megabyte in a minute, not even over loopback.
UPLOADS = [
    Client(OUR_PUT, our_put, ours=True),
    Client("mavftp-mount, cp into the mount", our_copy_in, ours=True),
    Client(MAVSDK_PUT, mavsdk_put, in_step=True),
]
