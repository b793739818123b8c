# SPDX-License-Identifier: Apache-2.0
"""The one door from a board's bytes to human eyes.

Whatever came from a board (console text, strings in a DTB, names in an ELF)
goes through :func:`scrub` before a terminal, a report or a page sees it. A live
console goes through :mod:`hilagent.console.sieve`, which can work on a stream.
"""

from __future__ import annotations

import re
import unicodedata

_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[PX^_].*?(?:\x1b\\|\x07)|\].*?(?:\x1b\\|\x07)|[ -/]*[0-~])",
    re.DOTALL,
)
_PERHAPS = re.compile(r"[^\n\t -~]")
_MARKS = dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF, 0x061C]
)


def scrub(raw: bytes | str, *, limit: int = 0) -> str:
    """Return ``raw`` as text that can do nothing but be read.

    Terminal control sequences and bidirectional or invisible marks are
    removed; CR LF becomes LF; every other control byte and every invalid
    UTF-8 byte becomes ``\\xNN``.

    Args:
        raw: bytes or text from a board.
        limit: greatest number of characters, 0 for no limit; a cut is marked.
    """
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    text = _ANSI.sub("", text).replace("\r\n", "\n").translate(_MARKS)
    out = _PERHAPS.sub(lambda match: _shown(match[0]), text)
    if limit and len(out) > limit:
        return out[:limit] + f"… ({len(out) - limit} more characters)"
    return out


def scrub_line(raw: bytes | str, *, limit: int = 200) -> str:
    """Return ``raw`` scrubbed and on one line, for names and messages."""
    return " ".join(scrub(raw).split())[:limit]


def is_printable(char: str) -> bool:
    """Return whether a person can see ``char``, and it changes nothing around itself."""
    return not _is_control(char) and ord(char) not in _MARKS


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _shown(char: str) -> str:
    return _escape(char) if _is_control(char) else char


def _escape(char: str) -> str:
    code = ord(char)
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )
