#!/usr/bin/env python3
"""Signs, by pymavlink, what a vehicle without a key says, and judges what its client says.

Usage: signing_relay.py PORT PASSPHRASE

A vehicle sends to the port that is printed as `ready VEHICLE_PORT`; its frames go on to
127.0.0.1:PORT, signed with the SHA-256 of the passphrase. What comes back is handed to the vehicle,
unsigned, where pymavlink believes its signature. Ends with its standard input, and prints
`believed N refused M`.
"""

import hashlib
import os
import select
import socket
import sys
import time

os.environ["MAVLINK20"] = "1"
from pymavlink.dialects.v20 import common as mavlink2  # noqa: E402

LINK_ID = 9


class Out:
    """Where pymavlink writes frames to."""

    def __init__(self, socket, to):
        self.socket, self.to = socket, to

    def write(self, frame):
        if self.to is not None:
            try:
                self.socket.sendto(frame, self.to)
            except ConnectionRefusedError:
                pass


def bind():
    fresh = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    fresh.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    fresh.bind(("127.0.0.1", 0))
    return fresh


def main():
    port, passphrase = int(sys.argv[1]), sys.argv[2]
    vehicle_side, client_side = bind(), bind()
    to_client = mavlink2.MAVLink(Out(client_side, ("127.0.0.1", port)))
    to_vehicle = mavlink2.MAVLink(Out(vehicle_side, None))
    # Reads what the vehicle says, which is not signed.
    listener = mavlink2.MAVLink(None)
    listener.robust_parsing = to_client.robust_parsing = True
    signing = to_client.signing
    signing.secret_key = hashlib.sha256(passphrase.encode()).digest()
    signing.sign_outgoing, signing.link_id = True, LINK_ID
    signing.timestamp = now()
    believed = refused = 0
    print("ready", vehicle_side.getsockname()[1], flush=True)
    while True:
        for readable in select.select([vehicle_side, client_side, sys.stdin], [], [])[0]:
            if readable is sys.stdin:
                print("believed", believed, "refused", refused, flush=True)
                return
            data, sender = readable.recvfrom(65_536)
            if readable is vehicle_side:
                to_vehicle.file.to = sender
                for message in listener.parse_buffer(data) or []:
                    pass_on(message, to_client)
                continue
            for message in to_client.parse_buffer(data) or []:
                if message.get_type() == "BAD_DATA" or not message.get_signed():
                    refused += 1
                else:
                    believed += 1
                    pass_on(message, to_vehicle)


def pass_on(message, line):
    if message.get_type() != "BAD_DATA":
        line.srcSystem, line.srcComponent = message.get_srcSystem(), message.get_srcComponent()
        line.send(message)


def now():
    """10 µs since 2015."""
    return int((time.time() - 1420070400) * 100_000)


if __name__ == "__main__":
    main()
