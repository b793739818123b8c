# SPDX-License-Identifier: Apache-2.0
"""What consoles that are not 8-bit clean do to the bytes, as filters for `Faults`.

Each name is a factory: a filter has state, so every line gets its own::

    Faults(filter=filters.xon_xoff)
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping


def tilde_after_newline() -> Callable[[bytes], bytes]:
    """Serial-over-LAN and ssh: ``~`` after a line end is their escape and goes missing."""
    at_start = [True]

    def run(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if byte == 0x7E and at_start[0]:
                at_start[0] = False
                continue
            at_start[0] = byte in b"\r\n"
            out.append(byte)
        return bytes(out)

    return run


def telnet() -> Callable[[bytes], bytes]:
    """A telnet server that takes 0xFF and the byte behind it for a command."""
    in_command = [False]

    def run(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            if in_command[0]:
                in_command[0] = False
                if byte == 0xFF:
                    out.append(byte)
            elif byte == 0xFF:
                in_command[0] = True
            else:
                out.append(byte)
        return bytes(out)

    return run


def xon_xoff() -> Callable[[bytes], bytes]:
    """Software flow control: 0x11 and 0x13 go missing."""
    return lambda data: data.translate(None, b"\x11\x13")


def xoff_latches() -> Callable[[bytes], bytes]:
    """A port that throws everything away from 0x13 until 0x11."""
    stopped = [False]

    def run(data: bytes) -> bytes:
        out = b""
        for piece in re.split(rb"([\x11\x13])", data):
            if piece in (b"\x11", b"\x13"):
                stopped[0] = piece == b"\x13"
            elif not stopped[0]:
                out += piece
        return out

    return run


def cr_to_lf() -> Callable[[bytes], bytes]:
    """A tty with ICRNL."""
    return lambda data: data.replace(b"\r", b"\n")


def lf_to_crlf() -> Callable[[bytes], bytes]:
    """A tty with ONLCR."""
    return lambda data: data.replace(b"\n", b"\r\n")


def seven_bits() -> Callable[[bytes], bytes]:
    """A line set to 7 data bits."""
    return lambda data: bytes(byte & 0x7F for byte in data)


def no_nul() -> Callable[[bytes], bytes]:
    """A console server that swallows zero bytes."""
    return lambda data: data.replace(b"\0", b"")


def drifted(seed: int = 0, share: float = 0.5) -> Callable[[], Callable[[bytes], bytes]]:
    """Return a factory of lines whose two ends differ in their baud rate: of so large a
    share of the bytes the last bits are the next character's, or the frame is lost."""

    def make() -> Callable[[bytes], bytes]:
        chance = random.Random(seed)
        return lambda data: b"".join(_sampled(byte, chance, share) for byte in data)

    return make


def _sampled(byte: int, chance: random.Random, share: float) -> bytes:
    if chance.random() >= share:
        return bytes([byte])
    kept = chance.randrange(8)  # from there on the sampling is in the wrong bit
    shifted = (byte & (1 << kept) - 1) | (byte >> kept << (kept + 1)) & 0xFF
    return chance.choice([bytes([shifted]), bytes([shifted | 0x80]), b"\0", b""])


ALL: Mapping[str, Callable[[], Callable[[bytes], bytes]]] = {
    "tilde-after-newline": tilde_after_newline,
    "telnet": telnet,
    "xon-xoff": xon_xoff,
    "xoff-latches": xoff_latches,
    "cr-to-lf": cr_to_lf,
    "lf-to-crlf": lf_to_crlf,
    "seven-bits": seven_bits,
    "no-nul": no_nul,
}
