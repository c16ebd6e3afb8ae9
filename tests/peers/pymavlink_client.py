#!/usr/bin/env python3
"""pymavlink's FTP client, one transfer per run: what our speed is compared with.

Usage: pymavlink_client.py CONNECTION get REMOTE LOCAL [--block BYTES]
       pymavlink_client.py CONNECTION put LOCAL REMOTE [--block BYTES]

CONNECTION is a pymavlink one: `udpin:127.0.0.1:PORT` for a server that sends to PORT.
--block is the data in one packet: 239 (the most, our default) or 80 (pymavlink's own default).
Prints one line, `SECONDS BYTES`: the transfer without the wait for the first heartbeat.
"""

import argparse
import os
import sys
import time

os.environ.setdefault("MAVLINK20", "1")  # FTP needs MAVLink 2; read when pymavlink is imported

from pymavlink import mavftp, mavutil  # noqa: E402

HEARTBEAT_WAIT_S = 15.0
TRANSFER_WAIT_S = 3600.0
OWN_SYSTEM, OWN_COMPONENT = 250, 190


def main():
    options = parse_arguments()
    link = mavutil.mavlink_connection(
        options.connection, source_system=OWN_SYSTEM, source_component=OWN_COMPONENT
    )
    heartbeat = link.wait_heartbeat(timeout=HEARTBEAT_WAIT_S)
    if heartbeat is None:
        sys.exit(f"pymavlink_client: no heartbeat on {options.connection}")
    client = mavftp.MAVFTP(
        link, heartbeat.get_srcSystem(), heartbeat.get_srcComponent(), settings(options.block)
    )

    transfer = client.cmd_get if options.operation == "get" else client.cmd_put
    began = time.monotonic()
    started = transfer([options.source, options.destination])
    expect_success(started)
    expect_success(client.process_ftp_reply(options.operation, timeout=TRANSFER_WAIT_S))
    seconds = time.monotonic() - began

    local = options.destination if options.operation == "get" else options.source
    print(f"{seconds:.3f} {os.path.getsize(local)}")


def settings(block):
    """pymavlink's own defaults, but for the block size."""
    return mavftp.MAVFTPSettings(
        [
            ("debug", int, 0),
            ("pkt_loss_tx", int, 0),
            ("pkt_loss_rx", int, 0),
            ("max_backlog", int, 5),
            ("burst_read_size", int, block),
            ("write_size", int, block),
            ("write_qsize", int, 5),
            ("idle_detection_time", float, 3.7),
            ("read_retry_time", float, 1.0),
            ("retry_time", float, 0.5),
        ]
    )


def expect_success(outcome):
    if outcome.error_code != mavftp.FtpError.Success:
        sys.exit(f"pymavlink_client: {outcome.operation_name}: error {outcome.error_code}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="One FTP transfer by pymavlink's client.")
    parser.add_argument("connection", help="pymavlink connection, such as udpin:127.0.0.1:14550")
    parser.add_argument("operation", choices=["get", "put"])
    parser.add_argument("source")
    parser.add_argument("destination")
    parser.add_argument("--block", type=int, default=239, help="data bytes in one packet")
    return parser.parse_args()


if __name__ == "__main__":
    main()
