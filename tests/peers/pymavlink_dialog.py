#!/usr/bin/env python3
"""pymavlink's FTP client, told what to do line by line: many operations over one connection.

Usage: pymavlink_dialog.py CONNECTION [--component ID] [--wait] [--repeat]

CONNECTION is a pymavlink one: `udpout:127.0.0.1:PORT` for a server that listens on PORT. --component
names the component to talk to; otherwise it is the one whose heartbeat comes first.

Prints `ready SYSTEM COMPONENT`, then answers each line of its standard input, a JSON list, with one
line of JSON, and ends with its input:

    ["ls", REMOTE]          [ERROR, [[NAME, IS_DIRECTORY, SIZE], ...]]
    ["get", REMOTE, LOCAL]  [ERROR, null]
    ["put", LOCAL, REMOTE]  [ERROR, null]
    ["crc", REMOTE]         [ERROR, the checksum]
    ["mv", OLD, NEW] ["rm", REMOTE] ["mkdir", REMOTE] ["rmdir", REMOTE]   [ERROR, null]

ERROR is the name of an FtpError, such as Success or FileNotFound.

Two things its user may have to do for pymavlink:
--wait    It asks for the next message without waiting, and so takes each request for unanswered at once: it
          keeps a processor busy, sends the data of an upload before the answer to CreateFile, and reports the
          upload of an empty file as failed. With this it waits for a tenth of a second, as it means to.
--repeat  It asks again only for what it reads and writes in an open file, and calls a listing done that broke
          off. With this, an operation that lost a request or an answer is given to it once more.
"""

import argparse
import functools
import json
import os
import struct
import sys
import time

os.environ.setdefault("MAVLINK20", "1")  # FTP needs MAVLink 2; read when pymavlink is imported

from pymavlink import mavftp, mavutil  # noqa: E402

HEARTBEAT_WAIT_S = 15.0
TRANSFER_WAIT_S = 60.0
OWN_SYSTEM, OWN_COMPONENT = 250, 190
BLOCK_BYTES = 239
# It ends an operation when it has sent nothing for so long: mostly the answer has come long ago, but a burst may
# be under way.
IDLE_S, TRANSFER_IDLE_S = 0.6, 2.0
ATTEMPTS = 20
# How it ends when something was lost: as if the server had said Fail, with a result of its own, or because
# it wrote to a file although nobody had answered that it was open.
UNANSWERED = (
    mavftp.FtpError.Fail,
    mavftp.FtpError.RemoteReplyTimeout,
    mavftp.FtpError.InvalidSession,
)


class Client(mavftp.MAVFTP):
    """pymavlink's client; it logs a checksum and does not return it, so it is read from the answer."""

    checksum = None

    def _MAVFTP__handle_crc_reply(self, op, message):
        if op.opcode == mavftp.OP_Ack and op.size == 4:
            (self.checksum,) = struct.unpack("<I", op.payload)
        return super()._MAVFTP__handle_crc_reply(op, message)


def main():
    options = parse_arguments()
    link = mavutil.mavlink_connection(
        options.connection, source_system=OWN_SYSTEM, source_component=OWN_COMPONENT
    )
    system, component = find(link, options.component)
    if options.wait:
        link.recv_match = functools.partial(link.recv_match, blocking=True)
    client = Client(link, system, component, settings())
    print("ready", system, component, flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(perform(client, options.repeat, name, arguments)), flush=True)


def find(link, component):
    """Says that it is there until a heartbeat comes."""
    deadline = time.monotonic() + HEARTBEAT_WAIT_S
    while time.monotonic() < deadline:
        link.mav.heartbeat_send(
            mavutil.mavlink.MAV_TYPE_GCS, mavutil.mavlink.MAV_AUTOPILOT_INVALID, 0, 0, 0
        )
        heartbeat = link.recv_match(type="HEARTBEAT", blocking=True, timeout=0.5)
        if heartbeat and component in (None, heartbeat.get_srcComponent()):
            return heartbeat.get_srcSystem(), heartbeat.get_srcComponent()
    sys.exit("pymavlink_dialog: no heartbeat")


def settings():
    """pymavlink's own, but for full blocks, and shorter times."""
    return mavftp.MAVFTPSettings(
        [
            ("debug", int, 0),
            ("pkt_loss_tx", int, 0),
            ("pkt_loss_rx", int, 0),
            ("max_backlog", int, 5),
            ("burst_read_size", int, BLOCK_BYTES),
            ("write_size", int, BLOCK_BYTES),
            ("write_qsize", int, 5),
            ("idle_detection_time", float, IDLE_S),
            ("read_retry_time", float, 0.5),
            ("retry_time", float, 0.3),
        ]
    )


def perform(client, repeat, name, arguments):
    for _ in range(ATTEMPTS if repeat else 1):
        client.checksum = None
        client.ftp_settings.idle_detection_time = TRANSFER_IDLE_S if name in TRANSFERS else IDLE_S
        error = OPERATIONS[name](client, arguments).error_code
        # Only the end of a listing completes it.
        broken_off = name == "ls" and client.completed_reply is None
        if error not in UNANSWERED and not (error == mavftp.FtpError.Success and broken_off):
            break
    return [mavftp.FtpError(error).name, result(client, name, error)]


def result(client, name, error):
    if name == "ls" and error == mavftp.FtpError.Success:
        return [[entry.name, entry.is_dir, entry.size_b] for entry in client.list_result]
    return client.checksum if name == "crc" else None


def transfer(name):
    def operation(client, arguments):
        started = getattr(client, f"cmd_{name}")(arguments)
        if started.error_code != mavftp.FtpError.Success:
            return started
        return client.process_ftp_reply(name, timeout=TRANSFER_WAIT_S)

    return operation


TRANSFERS = ("get", "put")
OPERATIONS = {
    "ls": mavftp.MAVFTP.cmd_list,
    "get": transfer("get"),
    "put": transfer("put"),
    "crc": mavftp.MAVFTP.cmd_crc,
    "mv": mavftp.MAVFTP.cmd_rename,
    "rm": mavftp.MAVFTP.cmd_rm,
    "mkdir": mavftp.MAVFTP.cmd_mkdir,
    "rmdir": mavftp.MAVFTP.cmd_rmdir,
}


def parse_arguments():
    parser = argparse.ArgumentParser(description="FTP operations by pymavlink's client.")
    parser.add_argument("connection", help="pymavlink connection, such as udpout:127.0.0.1:14550")
    parser.add_argument("--component", type=int, help="the component to talk to")
    parser.add_argument("--wait", action="store_true", help="for messages, instead of polling")
    parser.add_argument("--repeat", action="store_true", help="what was not answered")
    return parser.parse_args()


if __name__ == "__main__":
    main()
