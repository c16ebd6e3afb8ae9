#!/usr/bin/env python3
"""A vehicle with ArduPilot's file server: virtual places beside a tree in memory, on a FAT card.

Usage: card_vehicle.py PORT [--case-counts] [--simulated]

Sends to 127.0.0.1:PORT from a port of its own, as system 1, component 1. The card tells names apart
by case only with `--case-counts`; with `--simulated` the listing of `/` leaves all files out, as in
SITL, where `.` shows them. Lines on standard input: `arm`, `disarm`, `slow` (20 blocks a second) and
`fast`. Prints `ready`, each such line once it holds, and a line for each request that opens, lists or
changes something: its opcode's name and its path. Ends with its standard input.
"""

import os
import select
import socket
import struct
import sys
import time

os.environ["MAVLINK20"] = "1"
from pymavlink.dialects.v20 import common as mavlink2  # noqa: E402

NAMES = {3: "list", 4: "open", 6: "create", 8: "remove", 9: "mkdir", 10: "rmdir", 11: "openwo", 13: "rename", 14: "crc"}
FAIL, ERRNO, NO_SESSION, EOF, EXISTS, NOT_FOUND = (1,), 2, (5,), (6,), (8,), (10,)
EINVAL, EROFS, EISDIR = (ERRNO, 22), (ERRNO, 30), (ERRNO, 21)
DATA_MAX, PAYLOAD = 239, 251


def noise(length, seed):
    """Bytes that tests/manners.rs makes as well."""
    return bytes((7 * n + n // 251 + seed) % 251 for n in range(length))


class Refusal(Exception):
    pass


class Vehicle:
    def __init__(self, port, options):
        self.there = ("127.0.0.1", port)
        self.folds, self.simulated = "--case-counts" not in options, "--simulated" in options
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.framer = mavlink2.MAVLink(None, 1, 1)
        self.reader = mavlink2.MAVLink(None)
        self.reader.robust_parsing = True
        self.tree = {"/": None, "/log": None, "/log/small": noise(60_000, 1), "/log/large": noise(300_000, 2),
                     "/readme": b"precious\n"}
        self.sessions, self.openings, self.pause, self.mode = {}, 0, 0.0, 0
        self.last = None

    # -- the files -----------------------------------------------------------------------------

    def meant(self, path):
        path = "/" + path.strip("/")
        if self.folds:
            return next((there for there in self.tree if there.lower() == path.lower()), path)
        return path

    def virtual(self, path):
        """Content, and the size that is told, of a virtual file."""
        self.openings += 1
        made = {
            "@SYS/uarts.txt": (noise(735, 3), 100_000),
            "@SYS/counter.txt": (b"opening %d\n" % self.openings * 60, 100_000),
            "@SYS/empty.txt": (b"", 100_000),
            "@SYS/block.bin": (noise(478, 4), 100_000),
            "@ROMFS/locations.txt": (noise(5000, 5), 5000),
            "@PARAM/param.pck": (noise(14_871, 6), 16_176),
            "@MISSION/mission.dat": (noise(48, 7), 1 << 20),
            "@MAV_LOG/1.BIN": (noise(10_000, 8), 10_000),
        }
        if path not in made:
            raise Refusal(NOT_FOUND)
        return made[path]

    def open(self, session, path):
        if path.startswith("@"):
            content, told = self.virtual(path)
        else:
            path = self.meant(path)
            if path not in self.tree:
                raise Refusal(NOT_FOUND)
            content = self.tree[path]
            if content is None:
                raise Refusal(EISDIR)
            told = len(content)
        self.sessions[session] = [path, content, None]
        return struct.pack("<I", told)

    def write_open(self, session, path, empties):
        if path.startswith("@"):
            raise Refusal(EROFS)
        path = self.meant(path)
        self.check_parent(path)
        if empties or path not in self.tree:
            self.tree[path] = b""
        self.sessions[session] = [path, None, None]
        return struct.pack("<I", len(self.tree[path]))

    def check_parent(self, path):
        if self.tree.get(self.meant(path.rsplit("/", 1)[0] or "/"), 0) is not None:
            raise Refusal(NOT_FOUND)

    def read(self, request):
        opened = self.sessions.get(request.session)
        if opened is None or opened[1] is None:
            raise Refusal(NOT_FOUND)
        path, content, size = opened
        if path.startswith("@PARAM") and size not in (None, request.size):
            raise Refusal(EINVAL)
        opened[2] = request.size
        data = content[request.offset:request.offset + request.size]
        if not data:
            raise Refusal(EOF)
        return data

    def write(self, request):
        path = self.sessions.get(request.session, [None])[0]
        if path not in self.tree:
            raise Refusal(NOT_FOUND)
        old = self.tree[path].ljust(request.offset, b"\0")
        self.tree[path] = old[:request.offset] + request.data + old[request.offset + len(request.data):]
        return b""

    def list(self, request, path):
        if path.startswith("@"):
            if path.startswith(("@PARAM", "@MISSION")):
                raise Refusal(NOT_FOUND)
            files = {"@SYS": ["uarts.txt", "counter.txt", "empty.txt", "block.bin"], "@ROMFS": ["locations.txt"],
                     "@MAV_LOG": ["1.BIN"]}.get(path)
            if files is None:
                raise Refusal(NOT_FOUND)
            entries = [b"F%s\t%d\0" % (name.encode(), self.virtual(f"{path}/{name}")[1]) for name in files]
        else:
            root = path in ("/", ".")
            place = "/" if root else self.meant(path)
            if self.tree.get(place, 0) is not None:
                raise Refusal(NOT_FOUND)
            entries = []
            for there, content in self.tree.items():
                if there == "/" or (there.rsplit("/", 1)[0] or "/") != place:
                    continue
                name = there.rsplit("/", 1)[1].encode()
                if content is None:
                    entries.append(b"D" + name + b"\0\0")
                elif not (self.simulated and path == "/"):
                    entries.append(b"F%s\t%d\0\0" % (name, len(content)))
            entries += [b"D@ROMFS\0\0", b"D@SYS\0\0"] if path == "/" else []
        page = b""
        for entry in entries[request.offset:]:
            if len(page) + len(entry) > DATA_MAX:
                break
            page += entry
        if not page:
            raise Refusal(EOF)
        return page

    def change(self, opcode, path, to):
        if path.startswith("@"):
            raise Refusal(EROFS)
        path = self.meant(path)
        if opcode == 9:
            self.check_parent(path)
            if path in self.tree:
                raise Refusal(EXISTS)
            self.tree[path] = None
            return
        if path not in self.tree:
            raise Refusal(NOT_FOUND)
        below = [there for there in self.tree if there.startswith(path + "/")]
        if opcode in (8, 10):
            if below:
                raise Refusal(EISDIR)
            del self.tree[path]
            return
        if self.meant(to) in self.tree and self.meant(to) != path:
            raise Refusal(EXISTS)
        for there in below + [path]:
            self.tree["/" + to.strip("/") + there[len(path):]] = self.tree.pop(there)

    # -- requests ------------------------------------------------------------------------------

    def perform(self, request):
        path, _, to = request.data.decode("latin-1").partition("\0")
        to = to.rstrip("\0")
        if request.opcode in NAMES:
            print(NAMES[request.opcode], path, to, flush=True)
        match request.opcode:
            case 1 | 2:
                self.sessions.pop(request.session, None)
                return b""
            case 3: return self.list(request, path)
            case 4: return self.open(request.session, path)
            case 5: return self.read(request)
            case 6 | 11: return self.write_open(request.session, path, request.opcode == 6)
            case 7: return self.write(request)
            case 8 | 9 | 10 | 13:
                self.change(request.opcode, path, to)
                return b""
        raise Refusal(FAIL)

    def handle(self, request):
        if request.opcode == 15:
            return self.burst(request)
        # The last answer is given again to a repeated request.
        if self.last is None or self.last[0] != (request.sequence, request.session):
            try:
                self.last = ((request.sequence, request.session), request.answer(128, self.perform(request)))
            except Refusal as refusal:
                self.last = ((request.sequence, request.session), request.answer(129, bytes(refusal.args[0])))
        time.sleep(self.pause if request.opcode in (5, 7) else 0)
        self.reply(request, self.last[1])

    def burst(self, request):
        number, offset = request.sequence, request.offset
        while True:
            try:
                data = self.read(Request.at(request, offset))
            except Refusal as refusal:
                return self.reply(request, request.answer(129, bytes(refusal.args[0]), number + 1, offset, 1))
            number += 1
            time.sleep(self.pause)
            self.reply(request, request.answer(128, data, number, offset, int(len(data) < request.size)))
            offset += len(data)

    def reply(self, request, payload):
        message = mavlink2.MAVLink_file_transfer_protocol_message(0, *request.sender, payload)
        self.send(message)

    def send(self, message):
        data = message.pack(self.framer)
        self.framer.seq = (self.framer.seq + 1) % 256
        try:
            self.socket.sendto(data, self.there)
        except OSError:
            pass  # Nobody listens yet.

    def obey(self, line):
        match line:
            case "arm" | "disarm":
                self.mode = 128 if line == "arm" else 0
                self.beat()
            case "slow": self.pause = 0.05
            case "fast": self.pause = 0.0
        print(line, flush=True)

    def beat(self):
        self.send(mavlink2.MAVLink_heartbeat_message(2, 3, self.mode, 0, 3, 3))

    def take(self):
        try:
            data = self.socket.recv(65536)
        except OSError:
            return
        for message in self.reader.parse_buffer(data) or []:
            if message.get_type() == "FILE_TRANSFER_PROTOCOL":
                self.handle(Request(bytes(message.payload), (message.get_srcSystem(), message.get_srcComponent())))

    def run(self):
        due, told = 0, b""
        print("ready", flush=True)
        while True:
            if time.monotonic() >= due:
                due = time.monotonic() + 0.5
                self.beat()
            readable, _, _ = select.select([self.socket, sys.stdin], [], [], 0.1)
            if sys.stdin in readable:
                piece = os.read(sys.stdin.fileno(), 4096)
                if not piece:
                    return
                *lines, told = (told + piece).split(b"\n")
                for line in lines:
                    self.obey(line.decode())
            if self.socket in readable:
                self.take()


class Request:
    def __init__(self, payload, sender):
        self.sequence, self.session, self.opcode, self.size = struct.unpack_from("<HBBB", payload)
        self.offset = struct.unpack_from("<I", payload, 8)[0]
        self.data = payload[12:12 + self.size] if self.opcode not in (5, 15) else b""
        self.sender = sender

    @staticmethod
    def at(other, offset):
        request = Request.__new__(Request)
        request.__dict__.update(other.__dict__, offset=offset)
        return request

    def answer(self, opcode, data, number=None, offset=None, complete=0):
        number = self.sequence + 1 if number is None else number
        offset = self.offset if offset is None else offset
        head = struct.pack("<HBBBBBBI", number % 65536, self.session, opcode, len(data), self.opcode, complete, 0, offset)
        return (head + data).ljust(PAYLOAD, b"\0")


if __name__ == "__main__":
    Vehicle(int(sys.argv[1]), sys.argv[2:]).run()
