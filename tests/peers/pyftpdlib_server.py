"""Serves DIRECTORY over FTP on 127.0.0.1 with pyftpdlib, writable, to one user; prints its port.

Ends when its standard input ends. Names are served as they are on the disk. With --tls the login and
the data must be protected; pyOpenSSL is needed for that.
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


def protected(options):
    """The handler that speaks TLS, from the first byte or after AUTH."""
    from OpenSSL import SSL
    from pyftpdlib.handlers import TLS_FTPHandler

    class Protected(TLS_FTPHandler):
        certfile = options.cert
        keyfile = options.key
        tls_control_required = True
        tls_data_required = True

        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            if options.tls == "implicit" and self.connected:
                self.secure_connection(self.ssl_context)

        def handle(self):
            # The greeting comes after the handshake.
            if options.tls == "explicit":
                super().handle()

        def handle_ssl_established(self):
            if options.tls == "implicit":
                super().handle()

        def ftp_PROT(self, line):
            if options.refuse_prot:
                self.respond("534 Data are not protected here.")
            else:
                super().ftp_PROT(line)

    if options.tls13:
        Protected.get_ssl_context().set_min_proto_version(SSL.TLS1_3_VERSION)
    return Protected


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
    arguments.add_argument("--tls", choices=["explicit", "implicit"])
    arguments.add_argument("--cert", help="the certificate and what signed it, PEM")
    arguments.add_argument("--key", help="its key, PEM")
    arguments.add_argument("--tls13", action="store_true", help="speak nothing older")
    arguments.add_argument("--refuse-prot", action="store_true", help="protect no data")
    options = arguments.parse_args()

    logging.basicConfig(level=logging.CRITICAL)
    authorizer = DummyAuthorizer()
    rights = "elr" if options.read_only else EVERYTHING
    authorizer.add_user(options.user, options.password, options.directory, perm=rights)

    class Handler(protected(options) if options.tls else FTPHandler):
        auth_failed_timeout = 0
        timeout = options.idle

    Handler.authorizer = authorizer
    if options.no_mlsd:
        known = Handler.proto_cmds.items()
        Handler.proto_cmds = {name: how for name, how in known if name not in ("MLSD", "MLST")}

    server = FTPServer(("127.0.0.1", options.port), Handler)
    threading.Thread(target=end_with_stdin, daemon=True).start()
    print(server.address[1], flush=True)
    server.serve_forever(handle_exit=False)


if __name__ == "__main__":
    main()
