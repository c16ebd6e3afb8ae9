#!/usr/bin/env python3
"""pymavlink's FTP client on a signed link, one operation per run.

Usage: signed_client.py CONNECTION PASSPHRASE list DIRECTORY
       signed_client.py CONNECTION PASSPHRASE get REMOTE LOCAL
       signed_client.py CONNECTION PASSPHRASE put LOCAL REMOTE

CONNECTION is a pymavlink one: `udpin:127.0.0.1:PORT` for a server that sends to PORT. The key is the
SHA-256 of the passphrase, as ground stations make it. Unsigned frames are not believed. Prints a line
for each name listed, and `done SIGNED REFUSED` at the end: how many frames were believed and how many
not.
"""

import hashlib
import os
import sys

os.environ["MAVLINK20"] = "1"
from pymavlink import mavftp, mavutil  # noqa: E402

HEARTBEAT_WAIT_S = 15.0
TRANSFER_WAIT_S = 60.0
OWN_SYSTEM, OWN_COMPONENT, LINK_ID = 250, 190, 3


def main():
    connection, passphrase, operation, *arguments = sys.argv[1:]
    link = mavutil.mavlink_connection(
        connection, source_system=OWN_SYSTEM, source_component=OWN_COMPONENT
    )
    link.setup_signing(hashlib.sha256(passphrase.encode()).digest(), link_id=LINK_ID)
    heartbeat = link.wait_heartbeat(timeout=HEARTBEAT_WAIT_S)
    if heartbeat is None:
        sys.exit("signed_client: no heartbeat that is signed with this key")
    client = mavftp.MAVFTP(link, heartbeat.get_srcSystem(), heartbeat.get_srcComponent())
    if operation == "list":
        expect_success(client.cmd_list(arguments))
        for entry in client.list_result:
            print(entry.name)
    else:
        start = {"get": client.cmd_get, "put": client.cmd_put}[operation]
        expect_success(start(arguments))
        expect_success(client.process_ftp_reply(operation, timeout=TRANSFER_WAIT_S))
    signing = link.mav.signing
    print("done", signing.goodsig_count, signing.badsig_count + link.mav.total_receive_errors)


def expect_success(outcome):
    if outcome.error_code != mavftp.FtpError.Success:
        sys.exit(f"signed_client: {outcome.operation_name}: error {outcome.error_code}")


if __name__ == "__main__":
    main()
