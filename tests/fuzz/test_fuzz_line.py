# SPDX-License-Identifier: Apache-2.0
"""What comes over a line, spoilt: nothing is believed that was not said."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from hilagent import errors
from hilagent.link import frame, wire
from hilagent.link.frame import Decoder, Packet
from hilagent.linux import records
from hilagent.text import is_printable, scrub, scrub_line
from tests.fuzz.mutate import fuzz, mutated
from tests.linux.test_records import ASKED, _replies


def _packets(seed: int) -> list[Packet]:
    chance = random.Random(seed)
    kinds = [int(kind) for kind in wire.Kind]
    return [
        Packet(chance.choice(kinds), 1, number, 0, 7, 7, chance.randbytes(chance.randrange(200)),
               armoured=armoured)
        for number in range(4) for armoured in (False, True)
    ]  # fmt: skip


SENT = [packet for seed in range(4) for packet in _packets(seed)]
LINES = [b"U-Boot 2023.01\r\n=> ", b"[    1.5] printk\r\n"]
STREAMS = [
    b"".join(LINES[number % 2] + frame.encode(each) for number, each in enumerate(_packets(seed)))
    for seed in range(4)
]


@fuzz(400)
@given(mutated(STREAMS), st.integers(1, 4000))
def test_frames(stream: bytes, piece: int) -> None:
    decoder, items = Decoder(), list[frame.Item]()
    for at in range(0, len(stream), piece):
        items += decoder.feed(stream[at : at + piece])
        assert len(decoder.held) < 2 * frame.MAX_PACKET
    assert all(item in SENT for item in items if isinstance(item, Packet))
    assert frame.merge_text(items) == frame.merge_text(Decoder().feed(stream))


REPLIES = _replies()


@fuzz(500)
@given(mutated([REPLIES]))
def test_the_modules_records(raw: bytes) -> None:
    try:
        found = records.replies(raw, ASKED)
    except errors.LabError:
        return
    assert raw == REPLIES, "a spoilt answer was believed"
    assert records.identity(found[0]).release


NASTY = ["\x1b[2J", "\x1b]52;c;eA==\x07", "\u202e", "\x9b31m", "\ud800", "\r\n", "\0", "\t", "=> "]
TEXT = st.lists(st.sampled_from(NASTY) | st.text(max_size=20), max_size=12).map("".join)


@fuzz(1000)
@given(TEXT | st.binary(max_size=300), st.integers(0, 60))
def test_scrub(raw: str | bytes, limit: int) -> None:
    text = scrub(raw, limit=limit)
    assert all(is_printable(char) or char in "\n\t" for char in text), repr(text)
    assert not limit or len(text) <= limit + len("…") + 40
    assert scrub(text) == text, "scrubbing it again changes it"
    line = scrub_line(raw)
    assert all(map(is_printable, line)), repr(line)
