#!/usr/bin/env python3
"""A UDP relay that damages the link between a server and a mount. Knows datagrams, not MAVLink.

Usage: relay.py SERVER_PORT MOUNT_PORT [options]

The server sends to SERVER_PORT (0: any free one), the mount listens on MOUNT_PORT, all on
127.0.0.1. Frames pass unchanged, ids and all. Each address that a server sends from gets a port of
its own towards the mount, so that a server that comes back from another port does so here, too.

Prints `ready PORT` once it relays, then takes commands on standard input, a line each, and answers
each with `ok LINE` when it has taken effect:

    silence SECONDS     nothing passes either way for so long; what is under way is lost
    loss 0.2            likewise duplicate, reorder, delay, jitter, rate, queue: as the options

Ends when its standard input ends; prints what it did, as `passed=… lost=… overflowed=…`.

The same seed draws the same chances, in the order in which datagrams arrive.
"""

import argparse
import heapq
import os
import random
import selectors
import socket
import sys
import time

HOST = "127.0.0.1"
DATAGRAM_BYTES_MAX = 65_535
SOCKET_BUFFER_BYTES = 4 << 20
# Taken from one socket before anything else gets its turn.
DATAGRAMS_AT_ONCE = 64
# A datagram held back, or the second copy of one, is late by the time of so many others.
HELD_BACK_MAX = 4
# The time of one datagram where no rate is set.
UNLIMITED_DATAGRAM_S = 0.001
# Without --queue, a link holds what it carries in a second, and at least this.
QUEUE_BYTES_MIN = 4096


class Damage:
    """What the link does to datagrams; the same both ways, changed by commands."""

    FIELDS = ("loss", "duplicate", "reorder", "delay", "jitter", "rate", "queue")

    def __init__(self, options):
        for field in self.FIELDS:
            setattr(self, field, getattr(options, field))
        self.silent_until = 0.0

    def queue_bytes(self):
        return self.queue or max(self.rate, QUEUE_BYTES_MIN)


class Way:
    """One direction: a line of some rate, a queue before it, a distance behind it."""

    def __init__(self, damage, seed):
        self.damage = damage
        self.chance = random.Random(seed)
        self.free_at = 0.0
        self.last_arrival = 0.0
        self.counts = {"passed": 0, "lost": 0, "overflowed": 0}

    def arrivals(self, now, size):
        """When copies of a datagram that enters now leave at the other end."""
        damage, chance = self.damage, self.chance
        # Always the same number of draws, so that a run can be compared with another.
        lost, twice, late, jitter = (chance.random() for _ in range(4))
        held, apart = (chance.randint(1, HELD_BACK_MAX) for _ in range(2))
        if now < damage.silent_until or lost < damage.loss:
            self.counts["lost"] += 1
            return []
        on_line = size / damage.rate if damage.rate else 0.0
        datagram = on_line or UNLIMITED_DATAGRAM_S
        self.free_at = max(self.free_at, now)
        if damage.rate and (self.free_at - now) * damage.rate + size > damage.queue_bytes():
            self.counts["overflowed"] += 1
            return []
        self.free_at += on_line
        arrival = self.free_at + (damage.delay + jitter * damage.jitter) / 1000
        arrival = self.last_arrival = max(arrival, self.last_arrival)
        if late < damage.reorder:
            arrival += held * datagram
        self.counts["passed"] += 1
        return [arrival, arrival + apart * datagram] if twice < damage.duplicate else [arrival]


class Relay:
    """The sockets, and what is under way between them."""

    def __init__(self, options):
        self.damage = Damage(options)
        self.up = Way(self.damage, options.seed * 2)
        self.down = Way(self.damage, options.seed * 2 + 1)
        self.mount = (HOST, options.mount_port)
        self.selector = selectors.DefaultSelector()
        self.server_side = self.bind(options.server_port, self.from_server)
        self.mount_sides = {}
        self.under_way = []
        self.number = 0

    def bind(self, port, take):
        """A socket whose datagrams `take` gets."""
        side = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            side.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        side.bind((HOST, port))
        side.setblocking(False)
        self.selector.register(side, selectors.EVENT_READ, lambda: self.drain(side, take))
        return side

    def drain(self, side, take):
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                data, sender = side.recvfrom(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue  # The other end is not there yet, or no more.
            take(data, sender)

    def from_server(self, data, server):
        if server not in self.mount_sides:
            self.mount_sides[server] = self.bind(
                0, lambda data, _: self.send(self.down, data, self.server_side, server)
            )
        self.send(self.up, data, self.mount_sides[server], self.mount)

    def send(self, way, data, side, to):
        for arrival in way.arrivals(time.monotonic(), len(data)):
            self.number += 1
            heapq.heappush(self.under_way, (arrival, self.number, data, side, to))

    def deliver(self):
        """Sends what has arrived; answers the seconds until the next arrival."""
        while self.under_way:
            wait = self.under_way[0][0] - time.monotonic()
            if wait > 0:
                return wait
            _, _, data, side, to = heapq.heappop(self.under_way)
            try:
                side.sendto(data, to)
            except (BlockingIOError, ConnectionRefusedError):
                pass  # Lost, as datagrams are.
        return None

    def obey(self, line):
        word, value = line.split()
        value = float(value)
        if word == "silence":
            self.damage.silent_until = time.monotonic() + value
            self.under_way.clear()
        elif word in Damage.FIELDS:
            setattr(self.damage, word, value)
        else:
            sys.exit(f"relay: unknown command {word!r}")
        print("ok", line, flush=True)

    def run(self):
        """Relays until standard input ends."""
        commands, rest, ended = sys.stdin.fileno(), b"", False

        def read_commands():
            nonlocal rest, ended
            data = os.read(commands, 4096)
            ended = not data
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self.obey(line.decode())

        self.selector.register(commands, selectors.EVENT_READ, read_commands)
        print("ready", self.server_side.getsockname()[1], flush=True)
        while not ended:
            for key, _ in self.selector.select(self.deliver()):
                key.data()
        for name, way in (("up", self.up), ("down", self.down)):
            print(name, *(f"{what}={count}" for what, count in way.counts.items()), flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Relay UDP between a server and a mount, badly.")
    parser.add_argument("server_port", type=int, help="where the server sends; 0: any free port")
    parser.add_argument("mount_port", type=int, help="where the mount listens")
    parser.add_argument("--loss", type=float, default=0, help="share of datagrams lost, 0 to 1")
    parser.add_argument("--duplicate", type=float, default=0, help="share that comes twice")
    parser.add_argument("--reorder", type=float, default=0, help="share that later ones overtake")
    parser.add_argument("--delay", type=float, default=0, help="milliseconds each way")
    parser.add_argument("--jitter", type=float, default=0, help="more of it, at random, at most")
    parser.add_argument("--rate", type=float, default=0, help="bytes a second each way; 0: any")
    parser.add_argument("--queue", type=float, default=0, help="bytes that wait before the line")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    Relay(parse_arguments()).run()
