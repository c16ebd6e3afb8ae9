#!/usr/bin/env python3
"""MAVSDK's own FtpServer, serving a directory: the far side that nobody here wrote.

Usage: mavsdk_server.py ENDPOINT DIRECTORY [--type autopilot|companion] [--twin]

ENDPOINT is a MAVSDK connection URL: `udpout://127.0.0.1:PORT` where a mount listens on udp:PORT,
or `udpin://127.0.0.1:PORT` to wait for clients. Prints `ready` once the directory is served and
runs until SIGTERM or SIGINT; with a pipe as standard input, also until that ends, so that it does
not outlive a killed test.

Seen on the wire with MAVSDK 4.1.0 (pymavlink listening):
- One HEARTBEAT a second, the first about a second after `ready`, unasked with udpout. Nothing else.
- autopilot (default): system 1, component 1, type GENERIC (0), autopilot GENERIC (0), base_mode 0
  (disarmed), system_status 0. MAVSDK's client takes it for an autopilot.
- companion: system 1, component 195, type ONBOARD_CONTROLLER (18), autopilot INVALID (8).
  `server_component()` would make component 191 beside it, two heartbeats and two FTP servers, of which
  the one without a root answers every request with Fail: hence the lookup by id below. --twin makes
  both, as a careless program in the field does.
- FTP requests are answered when target_system is 1 or 0 and target_component its own or 0; another
  component: silence. Replies come from the component's ids to the asker's.
- AUTOPILOT_VERSION has capabilities 8192 (MAVLink 2 only: the FTP bit is NOT set), uid and uid2 zero.
- It aborts, process and all, when a path that is no directory is listed.
"""

import argparse
import os
import signal
import stat
import sys
import threading

from mavsdk import ComponentType, Configuration, ConnectionResult, LogLevel, Mavsdk
from mavsdk import log_subscribe, log_unsubscribe
from mavsdk.plugins.ftp_server import FtpServer

TYPES = {"autopilot": ComponentType.AUTOPILOT, "companion": ComponentType.COMPANION_COMPUTER}


def main():
    options = parse_arguments()
    # Blocked before MAVSDK starts its threads, so that sigwait below is the one place they arrive.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)

    log_subscribe(lambda level, *_: level < LogLevel.WARN)  # True: not worth printing
    configuration = Configuration.create_with_component_type(TYPES[options.type])
    mavsdk = Mavsdk(configuration)
    result = mavsdk.add_any_connection(options.endpoint)
    if result != ConnectionResult.SUCCESS:
        sys.exit(f"mavsdk_server: {options.endpoint}: {result.name}")
    twin = FtpServer(mavsdk.server_component()) if options.twin else None  # kept alive, without a root
    server = FtpServer(mavsdk.server_component_by_id(configuration.component_id))
    server.set_root_dir(options.directory)
    print("ready", flush=True)

    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):
        threading.Thread(target=end_with_input, daemon=True).start()
    signal.sigwait(ends)
    del twin
    mavsdk.destroy()
    log_unsubscribe()


def end_with_input():
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Serve DIRECTORY with MAVSDK's FtpServer.")
    parser.add_argument("endpoint", help="MAVSDK connection URL, such as udpout://127.0.0.1:14550")
    parser.add_argument("directory")
    parser.add_argument("--twin", action="store_true", help="also a component that refuses everything")
    parser.add_argument("--type", choices=TYPES, default="autopilot", help="what it says it is")
    return parser.parse_args()


if __name__ == "__main__":
    main()
