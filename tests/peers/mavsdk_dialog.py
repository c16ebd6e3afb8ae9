#!/usr/bin/env python3
"""MAVSDK's FTP client, told what to do line by line: many operations over one connection.

Usage: mavsdk_dialog.py ENDPOINT [--component ID]

ENDPOINT is a MAVSDK connection URL: `udpout://127.0.0.1:PORT` for a server that listens on PORT.
Without --component it waits for an autopilot, as MAVSDK's examples do; with it, for any system that
has this component, which is then the target (Ftp.set_target_compid).

Prints `ready COMPONENTS`, then answers each line of its standard input, a JSON list, with one line of
JSON, and ends with its input:

    ["ls", REMOTE]                    [RESULT, [[TYPE, NAME, SIZE, MTIME], ...]]
    ["get", REMOTE, DIRECTORY, BURST] [RESULT, [[TRANSFERRED, TOTAL], ...]]  (the last 100 told)
    ["put", LOCAL, DIRECTORY]         [RESULT, [[TRANSFERRED, TOTAL], ...]]
    ["same", LOCAL, REMOTE]           [RESULT, true or false]
    ["target", COMPONENT]             [RESULT, null]
    ["mv", OLD, NEW] ["rm", REMOTE] ["mkdir", REMOTE] ["rmdir", REMOTE]   [RESULT, null]

RESULT is the name of an FtpResult, such as SUCCESS or FILE_DOES_NOT_EXIST.
"""

import argparse
import collections
import json
import queue
import sys
import time

from mavsdk import ComponentType, Configuration, ConnectionResult, LogLevel, Mavsdk
from mavsdk import log_subscribe, log_unsubscribe
from mavsdk.plugins.ftp import Ftp, FtpError, FtpResult

HEARTBEAT_WAIT_S = 15.0
# MAVSDK may drop a callback when Python is slow: so the last one is not waited for without end.
TRANSFER_S = 60.0
PROGRESS_KEPT = 100


def main():
    options = parse_arguments()
    log_subscribe(lambda level, *_: level < LogLevel.WARN)  # True: not worth printing
    with Mavsdk(Configuration.create_with_component_type(ComponentType.GROUND_STATION)) as mavsdk:
        result = mavsdk.add_any_connection(options.endpoint)
        if result != ConnectionResult.SUCCESS:
            sys.exit(f"mavsdk_dialog: {options.endpoint}: {result.name}")
        system = find(mavsdk, options.component)
        if system is None:
            sys.exit(f"mavsdk_dialog: nobody of that kind heard on {options.endpoint}")
        ftp = Ftp(system)
        if options.component is not None:
            ftp.set_target_compid(options.component)
        print("ready", *system.component_ids(), flush=True)
        for line in sys.stdin:
            name, *arguments = json.loads(line)
            print(json.dumps(perform(ftp, name, arguments)), flush=True)
    log_unsubscribe()


def find(mavsdk, component):
    if component is None:
        return mavsdk.first_autopilot(HEARTBEAT_WAIT_S)
    deadline = time.monotonic() + HEARTBEAT_WAIT_S
    while time.monotonic() < deadline:
        for system in mavsdk.get_systems():
            if component in system.component_ids():
                return system
        time.sleep(0.02)
    return None


def perform(ftp, name, arguments):
    try:
        return ["SUCCESS", OPERATIONS[name](ftp, *arguments)]
    except FtpError as error:
        return [error.result.name, None]


def ls(ftp, remote):
    entries = ftp.list_directory(remote).entries
    return [[e.entry_type.name, e.name, e.size_bytes, e.modification_time_s] for e in entries]


def get(ftp, remote, directory, burst):
    return last(lambda done: ftp.download_async(remote, directory, burst, done))


def put(ftp, local, directory):
    return last(lambda done: ftp.upload_async(local, directory, done))


def last(start):
    """What was told of a transfer's progress, once its last callback has come."""
    told, end = collections.deque(maxlen=PROGRESS_KEPT), queue.SimpleQueue()

    # Short, for who takes too long is not called any more; it also stays away from the main thread.
    def done(result, data, _user_data):
        if result == FtpResult.NEXT:
            told.append((data.bytes_transferred, data.total_bytes))
        else:
            end.put(result)

    start(done)
    try:
        result = end.get(timeout=TRANSFER_S)
    except queue.Empty:
        sys.exit(f"mavsdk_dialog: no end of a transfer within {TRANSFER_S:.0f} s; so far {told}")
    if result != FtpResult.SUCCESS:
        raise FtpError(result, "transfer")
    return list(told)


def nothing(call):
    """An operation of which only the result counts."""

    def operation(ftp, *arguments):
        call(ftp, *arguments)

    return operation


OPERATIONS = {
    "ls": ls,
    "get": get,
    "put": put,
    "same": Ftp.are_files_identical,
    "target": nothing(Ftp.set_target_compid),
    "mv": nothing(Ftp.rename),
    "rm": nothing(Ftp.remove_file),
    "mkdir": nothing(Ftp.create_directory),
    "rmdir": nothing(Ftp.remove_directory),
}


def parse_arguments():
    parser = argparse.ArgumentParser(description="FTP operations by MAVSDK's client.")
    parser.add_argument("endpoint", help="MAVSDK connection URL, such as udpout://127.0.0.1:14550")
    parser.add_argument("--component", type=int, help="its component id, if it is no autopilot")
    return parser.parse_args()


if __name__ == "__main__":
    main()
