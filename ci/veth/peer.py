"""Clients and a server on kernel sockets, for what nc, curl and wrk can't do.

    peer.py listen PORT                 echo server on :: (both families); prints "listening"
    peer.py conns ADDRESS PORT COUNT    COUNT connections open at once, each echoes a line; then all closed
    peer.py source ADDRESS PORT BYTES   asks linerate's source for BYTES of pattern, compares SHA-256
    peer.py sink ADDRESS PORT BYTES     sends BYTES of pattern to linerate's sink, reads its verdict
    peer.py stall ADDRESS PORT ROUNDS   to an echo server: sends until both windows are shut, then reads all; says the longest wait
    peer.py http_pieces ADDRESS PORT    requests cut at every byte, and several in one piece

Exits 0 if all was right, else 1 with one line on stderr.
"""

import errno
import hashlib
import os
import resource
import select
import socket
import struct
import sys
import threading
import time

PERIOD = 65_521  # of the pattern, bytes
PIECE = PERIOD * 16


def pattern_block():
    """One period of what linerate's source sends: SplitMix64, little endian, seeded with "linerate"."""
    mask, state, block = (1 << 64) - 1, 0x6C696E6572617465, bytearray()
    while len(block) < PERIOD:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        block += struct.pack("<Q", z ^ (z >> 31))
    return bytes(block[:PERIOD])


def pieces(length):
    """`length` bytes of pattern."""
    whole = memoryview(pattern_block() * (PIECE // PERIOD))
    while length:
        piece = whole[:min(length, len(whole))]
        yield piece
        length -= len(piece)


def listen(port):
    server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    print("listening", flush=True)

    def echo(conn):
        with conn:
            while data := conn.recv(65536):
                conn.sendall(data)

    while True:
        conn, _ = server.accept()
        threading.Thread(target=echo, args=(conn,), daemon=True).start()


class Conns:
    """A state machine a connection: connecting, asked, answered, closing, closed."""

    # So many SYNs are out at once; a listener's backlog is finite.
    CONNECTING_AT_MOST = 256

    def __init__(self, address, port, count):
        self.family, _, _, _, self.to = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        self.count = count
        self.poll = select.epoll()
        self.conns = {}  # fd -> (socket, line it asked with, answer so far)
        self.connecting = self.opened = self.answered = self.closed = 0

    def open_one(self):
        conn = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = conn.connect_ex(self.to)
        if error != errno.EINPROGRESS:
            raise OSError(error, f"connect of number {self.opened + self.connecting}: {os.strerror(error)}")
        self.conns[conn.fileno()] = (conn, f"connection {self.opened + self.connecting}\n".encode(), bytearray())
        self.poll.register(conn.fileno(), select.EPOLLOUT)
        self.connecting += 1

    def on_event(self, fd, events):
        conn, line, answer = self.conns[fd]
        if events & select.EPOLLOUT:
            error = conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"connect of number {self.opened}")
            self.connecting -= 1
            self.opened += 1
            conn.send(line)
            self.poll.modify(fd, select.EPOLLIN)
            return
        data = conn.recv(4096)
        if data:
            answer += data
            if answer == line:
                self.answered += 1
            elif not line.startswith(answer):
                raise ValueError(f"asked {line!r}, was answered {bytes(answer)!r}")
        elif self.answered < self.count:
            raise ValueError("the server closed a connection before all were answered")
        else:
            self.closed += 1
            self.poll.unregister(fd)
            conn.close()

    def turn(self):
        events = self.poll.poll(15)
        if not events:
            raise TimeoutError(f"nothing for 15 s: {self.connecting} connecting, {self.opened} open, "
                               f"{self.answered} answered, {self.closed} closed")
        for fd, mask in events:
            self.on_event(fd, mask)

    def run(self):
        began = time.monotonic()
        while self.answered < self.count:
            while self.connecting < self.CONNECTING_AT_MOST and self.opened + self.connecting < self.count:
                self.open_one()
            self.turn()
        answered = time.monotonic()
        for conn, _, _ in self.conns.values():
            conn.shutdown(socket.SHUT_WR)
        while self.closed < self.count:
            self.turn()
        print(f"{self.opened} open at once and answered in {answered - began:.2f} s, "
              f"closed in {time.monotonic() - answered:.2f} s")


def conns(address, port, count):
    wanted = count + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    Conns(address, port, count).run()


def source(address, port, length):
    expected = hashlib.sha256()
    began = time.monotonic()
    with socket.create_connection((address, port), 20) as conn:
        conn.sendall(struct.pack(">Q", length))
        got, received, buffer = hashlib.sha256(), 0, bytearray(1 << 20)
        while n := conn.recv_into(buffer):
            got.update(memoryview(buffer)[:n])
            received += n
    took = time.monotonic() - began
    for piece in pieces(length):
        expected.update(piece)
    if received != length or got.digest() != expected.digest():
        raise ValueError(f"asked for {length} bytes {expected.hexdigest()}, got {received} bytes {got.hexdigest()}")
    print(f"source: {length} bytes, {got.hexdigest()[:16]}..., in {took:.2f} s (hashing included)")


def sink(address, port, length):
    began = time.monotonic()
    with socket.create_connection((address, port), 20) as conn:
        for piece in pieces(length):
            conn.sendall(piece)
        conn.shutdown(socket.SHUT_WR)
        answer = b""
        while data := conn.recv(64):
            answer += data
    took = time.monotonic() - began
    if len(answer) != 16:
        raise ValueError(f"the sink answered {len(answer)} bytes, not 16: {answer!r}")
    count, mismatches = struct.unpack(">QQ", answer)
    if count != length or mismatches:
        raise ValueError(f"sent {length} bytes, the sink counted {count}, {mismatches} of them wrong")
    print(f"sink: {length} bytes, none wrong, in {took:.2f} s")


def stall(address, port, rounds):
    sizes = [1 + (n * 7919) % 2999 for n in range(4096)]  # no multiple of anything: edges fall anywhere
    sent = received = 0
    longest = 0.0
    whole = bytes(pattern_block() * 2)
    with socket.create_connection((address, port), 20) as conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.setblocking(False)
        for _ in range(rounds):
            n = 0
            # Not writable for a while: full here, there, and on the way back.
            while select.select([], [conn], [], 0.05)[1]:
                at = sent % PERIOD
                sent += conn.send(whole[at:at + sizes[n % len(sizes)]])
                n += 1
            while received < sent:
                began = time.monotonic()
                if not select.select([conn], [], [], 20)[0]:
                    raise TimeoutError(f"nothing for 20 s, {sent - received} bytes are still to come")
                longest = max(longest, time.monotonic() - began)
                data = conn.recv(PERIOD)
                at = received % PERIOD
                if not data or data != whole[at:at + len(data)]:
                    raise ValueError(f"wrong or no bytes after {received}")
                received += len(data)
    print(f"longest wait {longest * 1000:.0f} ms in {rounds} rounds, {sent} bytes")


def http_pieces(address, port):
    request = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
    with socket.create_connection((address, port), 20) as conn:
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(request)):
            conn.sendall(request[at:at + 1])
        conn.sendall(request * 50 + request[:9])
        conn.sendall(request[9:] + last)
        answers = b""
        while data := conn.recv(65536):
            answers += data
    wanted, got = 1 + 50 + 1 + 1, answers.count(b"HTTP/1.1 200 OK")
    if got != wanted:
        raise ValueError(f"{got} answers to {wanted} requests, {len(answers)} bytes")


def main(what, *args):
    try:
        if what == "listen":
            listen(int(args[0]))
        elif what == "http_pieces":
            http_pieces(args[0], int(args[1]))
        else:
            {"conns": conns, "source": source, "sink": sink, "stall": stall}[what](args[0], int(args[1]), int(args[2]))
    except (OSError, ValueError) as error:
        print(f"peer.py {what} {' '.join(args)}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


sys.exit(main(*sys.argv[1:]))
