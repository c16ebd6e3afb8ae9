"""Serves DIRECTORY over FTP on 127.0.0.1 with pyftpdlib, writable, to one user; prints its port.

Ends when its standard input ends. Names are served as they are on the disk.
"""

import argparse
import logging
import os
import sys
import threading

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

EVERYTHING = "elradfmwMT"


def end_with_stdin():
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("directory")
    arguments.add_argument("--port", type=int, default=0, help="0: any free one")
    arguments.add_argument("--user", default="pilot")
    arguments.add_argument("--password", default="secret")
    arguments.add_argument("--no-mlsd", action="store_true", help="be a server of before RFC 3659")
    arguments.add_argument("--idle", type=int, default=300, help="seconds until an idle client is dropped")
    arguments.add_argument("--read-only", action="store_true")
    options = arguments.parse_args()

    logging.basicConfig(level=logging.CRITICAL)
    authorizer = DummyAuthorizer()
    rights = "elr" if options.read_only else EVERYTHING
    authorizer.add_user(options.user, options.password, options.directory, perm=rights)

    class Handler(FTPHandler):
        auth_failed_timeout = 0
        timeout = options.idle

    Handler.authorizer = authorizer
    if options.no_mlsd:
        known = FTPHandler.proto_cmds.items()
        Handler.proto_cmds = {name: how for name, how in known if name not in ("MLSD", "MLST")}

    server = FTPServer(("127.0.0.1", options.port), Handler)
    threading.Thread(target=end_with_stdin, daemon=True).start()
    print(server.address[1], flush=True)
    server.serve_forever(handle_exit=False)


if __name__ == "__main__":
    main()
