"""Frames: how host, zygote and child delimit messages on a byte stream.

Reading order: send and receive (host and zygote trust each other), joined and parted (one request), then claim and
claimed_size (a child is not trusted), then moving bytes.
A claim is a nonce that only this job's process was told, a length and that many bytes; whatever else arrives on the
channel ends the job as crashed.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final

LENGTH = struct.Struct(">Q")
NONCE_BYTES: Final = 16
HEAD_BYTES: Final = NONCE_BYTES + LENGTH.size


class BadFrame(Exception):
    """What arrived is not a claim: a wrong nonce, or more than the cap. The message says which."""


def send(channel: socket.socket, body: bytes) -> None:
    """Write one message. Raises OSError when the other side is gone."""
    channel.sendall(LENGTH.pack(len(body)) + body)


def receive(channel: socket.socket) -> bytes:
    """Read one message. Raises EOFError when the other side is gone."""
    (length,) = LENGTH.unpack(receive_exactly(channel, LENGTH.size))
    return receive_exactly(channel, length)


def joined(parts: Sequence[bytes]) -> bytes:
    """Parts in one message: their number, their lengths, then they."""
    lengths = [len(part) for part in parts]
    return struct.pack(f">Q{len(parts)}Q", len(parts), *lengths) + b"".join(parts)


def parted(body: bytes) -> list[bytes]:
    """What was `joined`, by our own host."""
    (count,) = LENGTH.unpack_from(body)
    parts, at = [], LENGTH.size * (1 + count)
    for length in struct.unpack_from(f">{count}Q", body, LENGTH.size):
        parts.append(body[at : at + length])
        at += length
    return parts


def claim(nonce: bytes, body: bytes) -> bytes:
    """The bytes of one claim."""
    return nonce + LENGTH.pack(len(body)) + body


def claimed_size(head: bytes, nonce: bytes, max_bytes: int) -> int:
    """The length that a claim's first HEAD_BYTES announce. Raises BadFrame for anything else than a claim."""
    if head[:NONCE_BYTES] != nonce:
        raise BadFrame("a message on the result channel without the job's nonce")
    (length,) = LENGTH.unpack_from(head, NONCE_BYTES)
    if length > max_bytes:
        raise BadFrame(f"a result of {length} bytes, more than {max_bytes}")
    return int(length)


def moved(source: int, target: int, count: int) -> Iterator[int]:
    """Move bytes between a pipe and a socket inside the kernel; yields how many each step moved, until none are left.

    Ends early when the source does. Where there is no splice the bytes are copied, and their memory is not wiped.
    """
    while count:
        if hasattr(os, "splice"):
            step = os.splice(source, target, count)
        else:
            part = os.read(source, min(count, 1 << 16))
            write_all(target, part)
            step = len(part)
        if not step:
            return
        count -= step
        yield step


def send_file(channel: socket.socket, source: int, count: int) -> None:
    """Send the first bytes of a file from within the kernel."""
    at = 0
    while at < count:
        at += os.sendfile(channel.fileno(), source, at, count - at)


def read_exactly(descriptor: int, count: int) -> bytes:
    """os.read until that many bytes have come. Raises EOFError when they do not."""
    parts = []
    while count:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            raise EOFError("the other side closed the pipe")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def write_all(descriptor: int, data: bytes) -> None:
    """os.write until everything is out."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def receive_exactly(channel: socket.socket, length: int) -> bytes:
    """Read that many bytes. Raises EOFError when the other side is gone."""
    parts = []
    while length:
        part = channel.recv(min(length, 1 << 20))
        if not part:
            raise EOFError("the other side closed the channel")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
