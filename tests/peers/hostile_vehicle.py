#!/usr/bin/env python3
"""A vehicle that lies: every way a MAVLink FTP server can mislead a client, chosen by path.

Usage: hostile_vehicle.py PORT

Sends to 127.0.0.1:PORT from a port of its own, as system 1, component 1. `/files` holds a file for
each trick of reading, `/lists` a directory for each trick of listing, `/uploads` takes uploads and
loses them. Lines on standard input turn on what concerns the whole link: `armed`, `crowd`, `flap`,
`identities`, `noise`, `strangers`, and `calm` ends them. Prints `ready`, and the name of each trick
once it is under way. Ends with its standard input.
"""

import os
import random
import select
import socket
import struct
import sys
import time

os.environ["MAVLINK20"] = "1"
from pymavlink.dialects.v20 import common as mavlink2  # noqa: E402
from pymavlink.dialects.v10 import common as mavlink1  # noqa: E402

TERMINATE, RESET, LIST, OPEN, READ, CREATE, WRITE, REMOVE = 1, 2, 3, 4, 5, 6, 7, 8
OPEN_WRITE, RENAME, LIST_TIME, ACK, NAK = 11, 13, 16, 128, 129
FAIL, INVALID_SESSION, NO_SESSIONS, EOF, UNKNOWN, NOT_FOUND = 1, 4, 5, 6, 7, 10
OWN = (1, 1)
DATA_MAX = 239
PAYLOAD = 251


def content(length):
    """Bytes that tell their place; tests/hostile.rs makes the same."""
    return bytes((7 * n + n // 251) % 251 + 1 for n in range(length))


# Listed size, size in the Open reply (None: no size there), bytes there are.
FILES = {
    name: (7000, 7000, 7000)
    for name in (
        "good larger-than-asked wrong-offset wrong-session wrong-sequence size-255 duplicated old "
        "garbage-req-opcode nak-without-code nak-200 zeros eof-within fail mute never-terminated "
        "loses-sessions stray foreign-ids signed version-1 truncated damaged behind-noise all-at-once"
    ).split()
}
FILES |= {
    "open-without-size": (7000, None, 7000),
    "open-fails": (7000, None, 0),
    "open-mute": (7000, None, 0),
    "open-huge": (10, 1 << 30, 100),
    "open-4g": (10, 0xFFFFFFFF, 100),
    "open-larger": (10, 7000, 7000),
    "listed-2-63": (1 << 63, 100, 100),
    "listed-2-64": ((1 << 64) - 1, 100, 100),
    "listed-4g": (0xFFFFFFFF, 100, 100),
    "listed-without-size": ("", 100, 100),
    "one-byte": (300, 300, 300),
}

# Sent as they stand, each with a NUL behind; a `None` ends the page.
NAMES = [
    b"F..\t5", b"F.\t5", b"F/\t5", b"F../escape\t5", b"F/etc/passwd\t5", b"Da/b\t0\t0", b"D..", b"D.", b"D",
    b"F\t5", b"F\t5\t6", None,
    b"Fgood\t5", b"Fgood\t6", b"Dgood", b"Ftab\there\t5", b"F\x1b[2Jclear\t5", b"Fnew\nline\t5", None,
    b"Fno-size", b"Fhuge\t99999999999999999999999", b"Fnegative\t-5", b"Fplus\t+5", b"Fsize-x\tx", None,
    b"F" + b"l" * 220 + b"\t5", None, b"D" + b"m" * 238, None, b"F\xff\xfe\t5", b"\x01\x02\x03", b"Xodd\t5",
    b"Ffar-future\t5\t9223372036854775807", b"Fpast\t5\t18446744073709551615", b"Slink", b"Fcut\0\0\0Flast\t7", None,
]

LISTS = {
    "names", "endless", "same", "empty-pages", "skipped", "unterminated", "fails", "nak-200", "zeros",
    "mute", "no-sessions", "invalid-session", "eof-at-once", "huge-page",
}


class Request:
    def __init__(self, payload, sender):
        self.sequence, self.session, self.opcode, self.size = struct.unpack_from("<HBBB", payload)
        self.offset = struct.unpack_from("<I", payload, 8)[0]
        self.data = payload[12:12 + self.size] if self.size <= DATA_MAX else b""
        self.sender = sender

    def path(self):
        return self.data.rstrip(b"\0").decode("latin-1").strip("/")

    def answer(self, opcode=ACK, data=b"", **changed):
        fields = dict(sequence=self.sequence + 1, session=self.session, size=len(data),
                      req_opcode=self.opcode, offset=self.offset) | changed
        head = struct.pack("<HBBBBBBI", fields["sequence"] % 65536, fields["session"], opcode,
                           fields["size"], fields["req_opcode"], 0, 0, fields["offset"])
        return (head + data).ljust(PAYLOAD, b"\0")[:PAYLOAD]

    def nak(self, code, *rest):
        return self.answer(NAK, bytes([code, *rest]))


class Vehicle:
    def __init__(self, port):
        self.there = ("127.0.0.1", port)
        self.main, self.other, self.third = (self.bind() for _ in range(3))
        self.framer = mavlink2.MAVLink(None, *OWN)
        self.old_framer = mavlink1.MAVLink(None, *OWN)
        self.reader = mavlink2.MAVLink(None)
        self.reader.robust_parsing = True
        self.sessions, self.next_session, self.old = {}, 10, []
        self.reads, self.random = 0, random.Random(1)
        self.link_tricks = set()

    def bind(self):
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        there.bind(("127.0.0.1", 0))
        there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        there.setblocking(False)
        return there

    # -- sending -------------------------------------------------------------------------------

    def send(self, data, by=None):
        try:
            (by or self.main).sendto(data, self.there)
        except OSError:
            pass  # Nobody listens yet, or no room: lost, as datagrams are.

    def frame(self, message, ids=OWN):
        self.framer.srcSystem, self.framer.srcComponent = ids
        data = message.pack(self.framer)
        self.framer.seq = (self.framer.seq + 1) % 256
        return data

    def ftp(self, payload, target):
        return mavlink2.MAVLink_file_transfer_protocol_message(0, *target, payload)

    def reply(self, request, payload):
        self.send(self.frame(self.ftp(payload, request.sender)))

    def beat(self, by=None, ids=OWN, mode=0):
        beat = mavlink2.MAVLink_heartbeat_message(2, 12, mode, 0, 3, 3)
        self.send(self.frame(beat, ids), by)

    def identity(self, number):
        zeros = [0] * 8
        version = mavlink2.MAVLink_autopilot_version_message(32, 1, 1, 1, 1, zeros, zeros, zeros, 1, 1, number)
        self.send(self.frame(version))

    # -- the link's tricks ---------------------------------------------------------------------

    def crowd(self):
        """Every id there is but ours, heartbeat by heartbeat, a few hundred at a time."""
        for _ in range(300):
            number = self.random.randrange(1, 255 * 255)
            self.beat(self.third, (number // 255 + 1, number % 255 + 1))

    def armed(self):
        """No lie: an autopilot about to fly, as its heartbeats say."""

    def flap(self):
        """Our own ids, live at two more addresses, armed."""
        for by in (self.other, self.third):
            self.beat(by, mode=128)

    def identities(self):
        for _ in range(100):
            self.identity(self.random.getrandbits(60))

    def noise(self):
        self.send(self.random.randbytes(65000), self.other)
        self.send(bytes([0xFD, 0, 0, 0, 0, 1, 1, 110, 0, 0]) * 6500, self.third)
        self.send(bytes([0xFE, 255, 0, 1, 1, 110]) * 10900, self.third)

    def strangers(self):
        """FTP answers from elsewhere, of every number, as if they were the vehicle's."""
        for _ in range(300):
            head = struct.pack("<HBBBBBBI", self.random.getrandbits(16), self.random.choice(range(10, 40)),
                               ACK, DATA_MAX, self.random.choice([LIST, LIST_TIME, OPEN, READ]), 0, 0,
                               DATA_MAX * self.random.randrange(30))
            self.send(self.frame(self.ftp(head + b"Fstranger\t5\0".ljust(DATA_MAX, b"X"), (245, 191))), self.other)

    # -- listings ------------------------------------------------------------------------------

    def entries(self, request, directory):
        if directory == "":
            return [b"Dfiles", b"Dlists", b"Duploads"]
        if directory == "files":
            return [b"F%s\t%s%s" % (name.encode(), str(facts[0]).encode(), b"\t0" * (request.opcode == LIST_TIME))
                    for name, facts in FILES.items()]
        if directory == "lists":
            return [b"D" + name.encode() for name in sorted(LISTS)]
        return [] if directory == "uploads" else None

    def list(self, request):
        directory = request.path()
        trick = directory.removeprefix("lists/")
        if directory != trick and trick in LISTS:
            return self.trick_list(request, trick)
        entries = self.entries(request, directory)
        if entries is None:
            return self.reply(request, request.nak(NOT_FOUND))
        page = b""
        for entry in entries[request.offset:]:
            if len(page) + len(entry) + 1 > DATA_MAX:
                break
            page += entry + b"\0"
        self.reply(request, request.answer(data=page) if page else request.nak(EOF))

    def trick_list(self, request, trick):
        page = lambda data: self.reply(request, request.answer(data=data[:DATA_MAX]))
        numbers = range(request.offset, request.offset + 25)
        match trick:
            case "names":
                data = names_from(request.offset)
                return page(data) if data else self.reply(request, request.nak(EOF))
            case "endless": return page(b"".join(b"F%06d\t1\0" % n for n in numbers))
            case "same": return page(b"Fsame\t1\0")
            case "empty-pages": return page(b"")
            case "skipped": return page(b"S\0" * 100)
            case "unterminated":
                return page(b"Fwhole\t5\0F" + b"u" * 229 + b"\t1") if request.offset == 0 else self.reply(request, request.nak(EOF))
            case "fails": return self.reply(request, request.nak(FAIL))
            case "nak-200": return self.reply(request, request.nak(200))
            case "zeros": return self.send(self.frame(self.ftp(bytes(PAYLOAD), request.sender)))
            case "mute": return None
            case "no-sessions": return self.reply(request, request.nak(NO_SESSIONS))
            case "invalid-session": return self.reply(request, request.nak(INVALID_SESSION))
            case "eof-at-once": return self.reply(request, request.nak(EOF))
            case "huge-page":
                return self.reply(request, request.answer(data=b"Fgarbage\t1\0" * 21, size=255))

    # -- files ---------------------------------------------------------------------------------

    def open(self, request):
        name = request.path().removeprefix("files/")
        if name.startswith("uploads/"):
            # What was written there is gone but for a byte.
            self.sessions[self.next_session] = name
            return self.opened(request, struct.pack("<I", 1))
        if name not in FILES:
            return self.reply(request, request.nak(NOT_FOUND))
        if name == "open-mute":
            return
        if name == "open-fails":
            return self.reply(request, request.nak(FAIL))
        size = FILES[name][1]
        self.opened(request, b"" if size is None else struct.pack("<I", size))
        self.sessions[self.next_session] = name

    def opened(self, request, data):
        self.next_session = self.next_session % 200 + 10
        self.reply(request, request.answer(data=data, session=self.next_session))

    def read(self, request):
        name = self.sessions.get(request.session)
        if name not in FILES:
            return self.reply(request, request.nak(INVALID_SESSION))
        data = content(FILES[name][2])[request.offset:request.offset + request.size]
        right = request.answer(data=data) if data else request.nak(EOF)
        self.reads += 1
        wrong = b"W" * len(data)
        answers = self.trick_read(request, name, data, right, wrong)
        for answer in answers:
            self.reply(request, answer)

    def trick_read(self, request, name, data, right, wrong):
        """The answers to a ReadFile, the usual way; what else is sent, is sent here."""
        ours = lambda payload: self.frame(self.ftp(payload, request.sender))
        late = request.offset >= 3000
        match name:
            case "larger-than-asked":
                return [request.answer(data=content(7000)[request.offset:][:DATA_MAX].ljust(DATA_MAX, b"W"))]
            case "wrong-offset": return [request.answer(data=wrong, offset=request.offset + 239)]
            case "wrong-session": return [request.answer(data=wrong, session=request.session + 1)]
            case "wrong-sequence": return [request.answer(data=wrong, sequence=request.sequence + n) for n in (-1, 0, 700)]
            case "size-255": return [request.answer(data=wrong, size=255), request.answer(data=wrong, size=240)]
            case "duplicated": return [right] * 3
            case "old":
                self.old = (self.old + [right])[-30:]
                return self.old
            case "garbage-req-opcode": return [request.answer(data=wrong, req_opcode=77)]
            case "nak-without-code": return [request.answer(NAK)]
            case "nak-200": return [request.nak(200)]
            case "zeros": return [bytes(PAYLOAD)]
            case "eof-within": return [request.nak(EOF) if late else right]
            case "fail": return [request.nak(FAIL)]
            case "mute": return []
            case "loses-sessions" if self.reads % 9 == 0:
                self.sessions.pop(request.session)
                return [request.nak(INVALID_SESSION)]
            case "one-byte": return [request.answer(data=data[:1])]
            case "stray":
                self.send(ours(request.answer(data=wrong)), self.other)
                time.sleep(0.0005)
            case "foreign-ids":
                for ids in ((1, 2), (2, 1), (0, 0), (245, 191)):
                    self.send(self.frame(self.ftp(request.answer(data=wrong), request.sender), ids))
                self.send(self.frame(self.ftp(request.answer(data=wrong), (7, 7))))
            case "signed":
                self.framer.signing.secret_key, self.framer.signing.sign_outgoing = bytes(32), True
                self.framer.signing.link_id, self.framer.signing.timestamp = 0, 1
                self.send(ours(right))
                self.framer.signing.sign_outgoing = False
                return []
            case "version-1":
                message = mavlink1.MAVLink_file_transfer_protocol_message(0, *request.sender, list(right))
                self.send(message.pack(self.old_framer))
                return []
            case "truncated":
                self.send(ours(right)[:-3])
                return []
            case "damaged":
                bytes_ = bytearray(ours(request.answer(data=wrong)))
                bytes_[-1] ^= 1
                self.send(bytes_)
                return []
            case "behind-noise": self.noise()
            case "all-at-once":
                return [right] + [request.answer(data=wrong, sequence=n, offset=request.offset)
                                  for n in range(request.sequence - 40, request.sequence)]
        return [right]

    # -- running -------------------------------------------------------------------------------

    def handle(self, request):
        match request.opcode:
            case 3 | 16: self.list(request)
            case 4: self.open(request)
            case 5: self.read(request)
            case 6 | 11:
                self.opened(request, struct.pack("<I", 0))
                self.sessions[self.next_session] = "upload"
            case 1:
                if self.sessions.pop(request.session, None) != "never-terminated":
                    self.reply(request, request.answer())
            case 2 | 7 | 8: self.reply(request, request.answer())
            case 13:
                print("renamed", flush=True)
                self.reply(request, request.answer())
            case _: self.reply(request, request.nak(UNKNOWN))

    def take(self):
        while True:
            try:
                data = self.main.recv(65536)
            except OSError:
                return
            for message in self.reader.parse_buffer(data) or []:
                if message.get_type() == "FILE_TRANSFER_PROTOCOL":
                    sender = (message.get_srcSystem(), message.get_srcComponent())
                    self.handle(Request(bytes(message.payload), sender))

    def obey(self, line):
        if line == "calm":
            self.link_tricks.clear()
        else:
            self.link_tricks.add(getattr(self, line))
        print(line, flush=True)

    def run(self):
        beat_due, told = 0, b""
        print("ready", flush=True)
        while True:
            if time.monotonic() >= beat_due:
                beat_due = time.monotonic() + 0.5
                self.beat(mode=128 if self.armed in self.link_tricks else 0)
            wait = 0.01 if self.link_tricks else 0.2
            readable, _, _ = select.select([self.main, sys.stdin], [], [], wait)
            if sys.stdin in readable:
                piece = os.read(sys.stdin.fileno(), 4096)
                if not piece:
                    return
                told += piece
                *lines, told = told.split(b"\n")
                for line in lines:
                    self.obey(line.decode())
            for trick in self.link_tricks:
                trick()
            self.take()


def names_from(offset):
    """The page of NAMES that begins at this entry, counted as a client counts."""
    page = counted = 0
    pages = [[]]
    for name in NAMES:
        if name is None:
            pages.append([])
        else:
            pages[-1].append(name)
    for page in pages:
        count = sum(1 for text in b"\0".join(page).split(b"\0") if text)
        if counted == offset and page:
            return b"".join(name + b"\0" for name in page)
        counted += count
    return b""


if __name__ == "__main__":
    Vehicle(int(sys.argv[1])).run()
