"""A wire that fails in seven ways, between whoever ships and MLflow's server. It counts each."""

import random
import socket
import socketserver
import struct
import threading
from collections import Counter
from contextlib import suppress

MODES = ("refused", "hanging", "500", "429", "reset after commit", "half a body", "twice")
SECONDS_HANGING = 60.0  # longer than whoever asks waits


class Proxy:
    """Forwards requests to a port of this machine, but for those that it was told to spoil."""

    def __init__(self, port: int, *, faults: int, fraction: float, seed: int) -> None:
        """fraction: of requests that are spoiled, until `faults` of them have been."""
        self._to, self._left, self._fraction = port, faults, fraction
        self._at_work = 0  # requests
        self._random, self._lock = random.Random(seed), threading.Lock()
        self.counts: Counter[str] = Counter()
        self.forwarded = 0
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def is_done(self) -> bool:
        """Whether every fault has happened."""
        return self._left == 0 and self._at_work == 0

    def fate(self) -> str | None:
        """How the next request is spoiled; None: not at all. It is counted when it has been."""
        with self._lock:
            self._at_work += 1
            if self._left and self._random.random() < self._fraction:
                self._left -= 1
                return MODES[self._left % len(MODES)]
            self.forwarded += 1
            return None

    def count(self, mode: str) -> None:
        """Write down that it happened."""
        with self._lock:
            self.counts[mode] += 1

    def done(self) -> None:
        """Write down that a request is over, spoiled or not."""
        with self._lock:
            self._at_work -= 1

    def ask(self, request: bytes) -> bytes:
        """Bring a request to the server and return its whole answer."""
        with socket.create_connection(("127.0.0.1", self._to), timeout=60) as server:
            server.sendall(request)
            return _whole(server)


class _Handler(socketserver.BaseRequestHandler):
    proxy: Proxy

    def handle(self) -> None:
        """One request, as `Connection: close` leaves no second."""
        mode = self.proxy.fate()
        try:
            with suppress(OSError):
                if mode == "refused":  # as near as a listener comes to it: closed before a word
                    self.proxy.count(mode)
                    self._reset()
                else:
                    self._answer(mode, _closing(_whole(self.request)))
        finally:
            self.proxy.done()

    def _answer(self, mode: str | None, request: bytes) -> None:
        if mode == "hanging":
            self.request.settimeout(SECONDS_HANGING)
            assert self.request.recv(1) == b"", "a word more, though nothing was answered"
            self.proxy.count(mode)  # whoever asked has given up
        elif mode in ("500", "429"):
            self.proxy.count(mode)
            self.request.sendall(_plain(mode))
        else:
            answer = self.proxy.ask(request)
            if mode == "twice":
                answer = self.proxy.ask(request)
            if mode is not None:
                self.proxy.count(mode)  # the server has done it
            self._give(mode, answer)

    def _give(self, mode: str | None, answer: bytes) -> None:
        if mode == "reset after commit":
            self._reset()
        elif mode == "half a body":
            head, _, body = answer.partition(b"\r\n\r\n")
            self.request.sendall(head + b"\r\n\r\n" + body[: len(body) // 2])
        else:
            self.request.sendall(answer)

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)  # so that closing sends a reset
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.request.close()


def _whole(connection: socket.socket) -> bytes:
    """Read one message to the end of its body."""
    text = b""
    while b"\r\n\r\n" not in text:
        if not (read := connection.recv(65536)):
            raise ConnectionError("it was closed")
        text += read
    head, _, body = text.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        raise ConnectionError("chunks are not read here")
    length = int(fields.get(b"content-length", b"0"))
    while len(body) < length:
        if not (read := connection.recv(65536)):
            raise ConnectionError("it was closed")
        body += read
    return head + b"\r\n\r\n" + body


def _closing(message: bytes) -> bytes:
    """Ask for one answer a connection."""
    head, _, body = message.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body


def _plain(status: str) -> bytes:
    reason = {"500": "Internal Server Error", "429": "Too Many Requests"}[status]
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nno!\n"
    ).encode()
