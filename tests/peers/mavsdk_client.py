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
import sys
import threading
import time

from mavsdk import Configuration, ConnectionResult, ComponentType, Mavsdk
from mavsdk.plugins.ftp import Ftp, FtpResult

HEARTBEAT_WAIT_S = 15.0
TRANSFER_WAIT_S = 3600.0


def main():
    options = parse_arguments()
    with Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION)) as mavsdk:
        result = mavsdk.add_any_connection(options.endpoint)
        if result != ConnectionResult.SUCCESS:
            sys.exit(f"mavsdk_client: {options.endpoint}: {result.name}")
        system = mavsdk.first_autopilot(HEARTBEAT_WAIT_S)
        if system is None:
            sys.exit(f"mavsdk_client: no autopilot heard on {options.endpoint}")
        OPERATIONS[options.operation](Ftp(system), options)


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
    finished = threading.Event()
    results = []

    def done(result, _progress, _user_data):
        if result != FtpResult.NEXT:
            results.append(result)
            finished.set()

    began = time.monotonic()
    start(done)
    if not finished.wait(TRANSFER_WAIT_S):
        sys.exit(f"mavsdk_client: not done after {TRANSFER_WAIT_S:.0f} s")
    seconds = time.monotonic() - began
    if results[0] != FtpResult.SUCCESS:
        sys.exit(f"mavsdk_client: {results[0].name}")
    return seconds


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
