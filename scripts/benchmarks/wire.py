"""When a client's first FTP frame goes over loopback. Knows no client.

A filter in the kernel lets that one frame through, so that watching costs the measured programs next
to nothing, and every client is timed by the same mark.
"""

import ctypes
import socket
import struct
import threading
import time

ETH_P_IP = 0x0800
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
# Offsets in an IPv4 packet without options, as all of loopback's are.
PROTOCOL, SOURCE_PORT, TARGET_PORT, PAYLOAD = 9, 20, 22, 28
UDP = 17
MAVLINK_2 = 0xFD
MESSAGE_ID = PAYLOAD + 7
FILE_TRANSFER_PROTOCOL = 110
# Behind MAVLink's header and the addresses.
OPCODE, PATH = PAYLOAD + 10 + 3 + 3, PAYLOAD + 10 + 3 + 12
OPEN_FILE_RO = 4
# Classic BPF: load a byte or half a word, jump if equal, return.
LOAD_BYTE, LOAD_HALF, JUMP_EQUAL, RETURN = 0x30, 0x28, 0x15, 0x06
WAIT_S = 60


class Watched:
    """A socket on loopback that sees only the FTP frames that pass all tests, each with its time."""

    def __init__(self, ended, *tests):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        ended.callback(self.end)
        self.filter(tests)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind(("lo", ETH_P_IP))
        self.socket.settimeout(WAIT_S)
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def next(self, size):
        """The next frame's first bytes, and the kernel's stamp: this thread may come late."""
        frame, notes, _, _ = self.socket.recvmsg(size, 64)
        seconds, nanoseconds = struct.unpack("qq", notes[0][2])
        return frame, seconds + nanoseconds / 1e9

    def end(self):
        self.socket.close()

    def filter(self, more):
        tests = [
            (LOAD_BYTE, PROTOCOL, UDP),
            (LOAD_BYTE, PAYLOAD, MAVLINK_2),
            (LOAD_BYTE, MESSAGE_ID, FILE_TRANSFER_PROTOCOL),
            *more,
        ]
        lines = []
        for at, (load, offset, value) in enumerate(tests):
            to_the_end = 2 * (len(tests) - at) - 1
            lines += [(load, 0, 0, offset), (JUMP_EQUAL, 0, to_the_end, value)]
        lines += [(RETURN, 0, 0, 0xFFFF), (RETURN, 0, 0, 0)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
        head = struct.pack("HP", len(lines), ctypes.addressof(program))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)


class FirstFtpFrame(Watched):
    """Watches from its making on for the first FTP frame sent from a UDP port."""

    def __init__(self, ended, port):
        self.time = None
        super().__init__(ended, (LOAD_HALF, SOURCE_PORT, port))

    def watch(self):
        try:
            _, self.time = self.next(64)
        except OSError:
            pass  # It never came, or nobody waits for it any more.
        self.socket.close()

    def seconds_until_now(self):
        """From that frame; None when there was none."""
        return None if self.time is None else time.time() - self.time


class OpenedFiles(Watched):
    """Watches from its making on for files that a server at a UDP port is asked to open for reading."""

    def __init__(self, ended, port):
        self.first = {}
        super().__init__(ended, (LOAD_HALF, TARGET_PORT, port), (LOAD_BYTE, OPCODE, OPEN_FILE_RO))

    def watch(self):
        try:
            while True:
                frame, at = self.next(PATH + 239)
                size = frame[OPCODE + 1]
                name = frame[PATH : PATH + size].decode().strip("\0").strip("/")
                self.first.setdefault(name, at)
        except OSError:
            pass  # Nobody waits any more.

    def times(self):
        """When each was asked for first."""
        return dict(self.first)
