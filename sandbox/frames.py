"""Frames: how host, zygote and child delimit messages on a byte stream.

Reading order: send and receive (host and zygote trust each other), then claim and read_claims (a child is not trusted).
A claim is a nonce that only this job's process was told, a length and that many bytes; whatever else arrives on the
channel ends the job as crashed.
"""

import os
import socket
import struct
from typing import Final

LENGTH = struct.Struct(">Q")
NONCE_BYTES: Final = 16


class BadFrame(Exception):
    """What arrived is not a claim: a wrong nonce, or more than the cap. The message says which."""


def send(channel: socket.socket, body: bytes) -> None:
    """Write one message. Raises OSError when the other side is gone."""
    channel.sendall(LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket) -> bytes:
    """Read one message. Raises EOFError when the other side is gone."""
    (length,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    return _exactly(channel, length)


def claim(nonce: bytes, body: bytes) -> bytes:
    """The bytes of one claim."""
    return nonce + LENGTH.pack(len(body)) + body


def read_claims(nonce: bytes, buffer: bytearray, max_bytes: int) -> list[bytes]:
    """Take every complete claim off the front of the buffer. Raises BadFrame for anything else than a claim."""
    bodies = []
    while len(buffer) >= NONCE_BYTES + LENGTH.size:
        if buffer[:NONCE_BYTES] != nonce:
            raise BadFrame("a message on the result channel without the job's nonce")
        (length,) = LENGTH.unpack_from(buffer, NONCE_BYTES)
        if length > max_bytes:
            raise BadFrame(f"a result of {length} bytes, more than {max_bytes}")
        end = NONCE_BYTES + LENGTH.size + length
        if len(buffer) < end:
            break
        bodies.append(bytes(buffer[NONCE_BYTES + LENGTH.size : end]))
        del buffer[:end]
    return bodies


def write_all(descriptor: int, data: bytes) -> None:
    """os.write until everything is out."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _exactly(channel: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = channel.recv(min(length, 1 << 20))
        if not part:
            raise EOFError("the other side closed the channel")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
