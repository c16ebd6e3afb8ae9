#!/usr/bin/env python3
"""MAVSDK's FTP client, one operation per run: what our speed is compared with.

Usage: mavsdk_client.py ENDPOINT get REMOTE LOCAL_DIRECTORY (--burst|--plain)
       mavsdk_client.py ENDPOINT put LOCAL REMOTE_DIRECTORY
       mavsdk_client.py ENDPOINT ls REMOTE_DIRECTORY

ENDPOINT is a MAVSDK connection URL: `udpin://127.0.0.1:PORT` for a server that sends to PORT.
get and put print one line, `SECONDS BYTES`: from the call until its last callback, without the
wait for the first heartbeat. ls prints `TYPE SIZE MTIME NAME` per entry.
"""

import argparse
import os
import queue
import sys
import time

from mavsdk import ComponentType, Configuration, ConnectionResult, LogLevel, Mavsdk
from mavsdk import log_subscribe, log_unsubscribe
from mavsdk.plugins.ftp import Ftp, FtpResult

HEARTBEAT_WAIT_S = 15.0
# MAVSDK may drop a callback when Python is slow: so the last one is not waited for without end.
STALL_S = 30.0


def main():
    options = parse_arguments()
    log_subscribe(lambda level, *_: level < LogLevel.WARN)  # True: not worth printing
    with Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION)) as mavsdk:
        result = mavsdk.add_any_connection(options.endpoint)
        if result != ConnectionResult.SUCCESS:
            sys.exit(f"mavsdk_client: {options.endpoint}: {result.name}")
        system = mavsdk.first_autopilot(HEARTBEAT_WAIT_S)
        if system is None:
            sys.exit(f"mavsdk_client: no autopilot heard on {options.endpoint}")
        OPERATIONS[options.operation](Ftp(system), options)
    log_unsubscribe()


def get(ftp, options):
    seconds = timed(
        lambda done: ftp.download_async(options.remote, options.local, options.burst, done)
    )
    received = os.path.join(options.local, os.path.basename(options.remote))
    print(f"{seconds:.3f} {os.path.getsize(received)}")


def put(ftp, options):
    seconds = timed(lambda done: ftp.upload_async(options.local, options.remote, done))
    print(f"{seconds:.3f} {os.path.getsize(options.local)}")


def ls(ftp, options):
    for entry in ftp.list_directory(options.remote).entries:
        print(entry.entry_type.name, entry.size_bytes, entry.modification_time_s, entry.name)


def timed(start):
    """Seconds from `start` until the transfer's last callback; exits when that is a failure."""
    results = queue.SimpleQueue()
    began = time.monotonic()
    start(lambda result, _progress, _user_data: results.put((result, time.monotonic())))
    while True:
        try:
            result, at = results.get(timeout=STALL_S)
        except queue.Empty:
            sys.exit(f"mavsdk_client: no progress for {STALL_S:.0f} s")
        if result == FtpResult.SUCCESS:
            return at - began
        if result != FtpResult.NEXT:
            sys.exit(f"mavsdk_client: {result.name}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="One FTP operation by MAVSDK's client.")
    parser.add_argument("endpoint", help="MAVSDK connection URL, such as udpin://127.0.0.1:14550")
    operations = parser.add_subparsers(dest="operation", required=True)
    download = operations.add_parser("get")
    download.add_argument("remote")
    download.add_argument("local", help="an existing directory")
    mode = download.add_mutually_exclusive_group(required=True)
    mode.add_argument("--burst", dest="burst", action="store_true", help="BurstReadFile")
    mode.add_argument("--plain", dest="burst", action="store_false", help="ReadFile")
    upload = operations.add_parser("put")
    upload.add_argument("local")
    upload.add_argument("remote", help="a directory of the server")
    listing = operations.add_parser("ls")
    listing.add_argument("remote", nargs="?", default="/")
    return parser.parse_args()


OPERATIONS = {"get": get, "put": put, "ls": ls}

if __name__ == "__main__":
    main()
