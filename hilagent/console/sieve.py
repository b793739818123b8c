# SPDX-License-Identifier: Apache-2.0
"""What of a live console may reach a person's terminal.

:func:`hilagent.text.scrub` wants the whole text; this is for a stream, and gives the
same answer however the stream is cut. It lets through printable characters, CR, LF,
TAB and BS, and nothing else, but the colours of :data:`_COLOUR` where they are asked
for. So no byte of a board moves the cursor elsewhere, sets a mode or a title, writes a
clipboard, or makes the terminal answer: an answer would be typed into the board.

A control string (OSC, DCS and the like) without an end swallows at most its own line.
"""

from __future__ import annotations

import codecs
import enum
import re

from hilagent.text import is_printable

REPLACEMENT = "\ufffd"
"""Stands for what is no UTF-8, or no character that a person can see."""
MAX_CSI = 32
MAX_STRING = 256
_PLAIN = re.compile(r"[\x20-\x7e\r\n\t\b]+")
_PLAIN_UTF8 = re.compile(rf"[\x20-\x7e\r\n\t\b{REPLACEMENT}]+")
_SGR = r"(?:0?[0147]|2[247]|[34][0-79]|9[0-7]|10[0-7])"
_COLOUR = re.compile(rf"\x1b\[(?:{_SGR}(?:;{_SGR})*)?m")
"""ECMA-48 SGR: reset, bold, underline, inverse, their ends, and the 16 colours."""
_ENDS_STRING = "\x07\x18\x1a\x9c"


class _State(enum.Enum):
    GROUND = enum.auto()
    ESCAPE = enum.auto()
    CHARSET = enum.auto()  # ESC and an intermediate byte, ECMA-35
    CSI = enum.auto()
    STRING = enum.auto()


class Sieve:
    """Sieves one stream; a pure state machine.

    Args:
        colours: whether colours pass.
        ascii_only: True for a terminal without UTF-8: to it, the second byte of a
            harmless character may be a control byte.
    """

    def __init__(self, *, colours: bool = False, ascii_only: bool = False) -> None:
        self._colours, self._replacement = colours, "?" if ascii_only else REPLACEMENT
        self._ascii_only = ascii_only
        self._run = _PLAIN if ascii_only else _PLAIN_UTF8
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._state = _State.GROUND
        self._steps = {
            _State.GROUND: self._ground,
            _State.ESCAPE: self._escape,
            _State.CHARSET: self._escape,
            _State.CSI: self._control,
            _State.STRING: self._string,
        }
        self._csi = ""
        self._left = 0

    def feed(self, chunk: bytes) -> str:
        """Return what passes of ``chunk``; the end of a cut character comes with the next."""
        text, out, at = self._decoder.decode(chunk), [], 0
        while at < len(text):
            run = self._run.match(text, at) if self._state is _State.GROUND else None
            out.append(run.group() if run else self._step(text[at]))
            at = run.end() if run else at + 1
        return "".join(out)

    def _step(self, char: str) -> str:
        if char == "\x1b":
            self._state = _State.ESCAPE
            return ""
        return self._steps[self._state](char)

    def _ground(self, char: str) -> str:
        self._state = _State.GROUND
        if _PLAIN.fullmatch(char):
            return char
        if char < "\x80":
            return ""
        return self._replacement if self._ascii_only or not is_printable(char) else char

    def _escape(self, char: str) -> str:
        first = self._state is _State.ESCAPE
        if first and char == "[":
            self._state, self._csi = _State.CSI, "\x1b["
        elif first and char in "]PX^_":
            self._state, self._left = _State.STRING, MAX_STRING
        elif " " <= char <= "/":
            self._state = _State.CHARSET
        elif "0" <= char <= "~":
            self._state = _State.GROUND
        else:
            return self._ground(char)
        return ""

    def _control(self, char: str) -> str:
        if not " " <= char <= "~" or len(self._csi) > MAX_CSI:
            return self._ground(char)
        self._csi += char
        if char < "@":
            return ""
        self._state = _State.GROUND
        return self._csi if self._colours and _COLOUR.fullmatch(self._csi) else ""

    def _string(self, char: str) -> str:
        self._left -= 1
        if char in "\r\n" or not self._left:
            return self._ground(char)
        if char in _ENDS_STRING:
            self._state = _State.GROUND
        return ""
