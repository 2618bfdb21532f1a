"""A DICOM peer that says what a test tells it to, byte by byte (PS3.8, chapter 9; PS3.7, 9.3)."""

import socket
import struct
from contextlib import contextmanager

from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

DX = DigitalXRayImageStorageForPresentation
VERIFICATION = "1.2.840.10008.1.1"
ASSOCIATE, ACCEPT, REJECT, DATA, RELEASE, RELEASED, ABORT = range(1, 8)
COMMAND, LAST = 1, 2
"""Bits of a fragment's header."""
SECONDS = 20


def item(kind, content):
    return struct.pack(">BBH", kind, 0, len(content)) + content


def pdu(kind, content, length=None):
    """A protocol data unit; `length` is what it claims to have."""
    return struct.pack(">BBI", kind, 0, len(content) if length is None else length) + content


def associate(called="CXRTOOL", calling="DEVICE", classes=(DX,), syntax=ExplicitVRLittleEndian):
    """An A-ASSOCIATE-RQ that proposes classes as contexts 1, 3, ..."""
    titles = called.ljust(16).encode() + calling.ljust(16).encode()
    content = struct.pack(">HH", 1, 0) + titles + bytes(32)
    content += item(0x10, b"1.2.840.10008.3.1.1.1")
    for place, one in enumerate(classes):
        inside = bytes([2 * place + 1, 0, 0, 0])
        inside += item(0x30, one.encode()) + item(0x40, syntax.encode())
        content += item(0x20, inside)
    content += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4"))
    return pdu(ASSOCIATE, content)


def element(tag, content):
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(content)) + content


def store_request(instance_uid, class_uid=DX):
    """The command set of a C-STORE."""
    texts = {
        tag: one.encode() + b"\0" * (len(one) % 2)
        for tag, one in ((0x00000002, class_uid), (0x00001000, instance_uid))
    }
    values = {
        0x00000002: texts[0x00000002],
        0x00000100: struct.pack("<H", 1),
        0x00000110: struct.pack("<H", 7),
        0x00000700: struct.pack("<H", 0),
        0x00000800: struct.pack("<H", 1),
        0x00001000: texts[0x00001000],
    }
    content = b"".join(element(tag, values[tag]) for tag in sorted(values))
    return element(0x00000000, struct.pack("<I", len(content))) + content


def fragments(header, content, context=1, size=8192):
    """P-DATA units of a command (`COMMAND`) or a data set (0), the last one marked as such."""
    parts = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    made = b""
    for place, part in enumerate(parts):
        bits = header | (LAST if place == len(parts) - 1 else 0)
        value = struct.pack(">IBB", len(part) + 2, context, bits) + part
        made += pdu(DATA, value)
    return made


class Peer:
    """A connection."""

    def __init__(self, made):
        self.socket = made

    def send(self, content):
        self.socket.sendall(content)

    def read(self):
        """The kind and the content of the next unit; (0, b"") at the end."""
        head = self._exactly(6)
        if len(head) < 6:
            return 0, b""
        kind, _, length = struct.unpack(">BBI", head)
        return kind, self._exactly(length)

    def _exactly(self, size):
        content = b""
        while len(content) < size:
            try:
                part = self.socket.recv(size - len(content))
            except ConnectionResetError:
                break
            if not part:
                break
            content += part
        return content

    def status(self):
        """The status of the answer to a C-STORE."""
        kind, content = self.read()
        assert kind == DATA, kind
        content, found = content[6:], {}
        while content:
            group, number, length = struct.unpack("<HHI", content[:8])
            found[group << 16 | number] = content[8 : 8 + length]
            content = content[8 + length :]
        return struct.unpack("<H", found[0x00000900])[0]


@contextmanager
def peer(port, **proposal):
    """A peer that has sent its A-ASSOCIATE-RQ."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as made:
        one = Peer(made)
        one.send(associate(**proposal))
        yield one
