# SPDX-License-Identifier: Apache-2.0
"""The second stage: our sender and the loader's C, over lines of every kind, in simulated time."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest

from hilagent import errors
from hilagent.link import memory
from hilagent.link.memory import Chunk, Uploaded
from hilagent.payload.trouble import Silence
from hilagent.payload.upload import Piece
from hilagent.testing import Fault, Faults
from tests.firmware.loader.simulated import BASE, Carried, Change, Conditions, carry

KERNEL, INITRD = BASE + 0x20_0000, BASE + 0x80_0000
WORDS = random.Random(5).randbytes(2000)
NO_BLOCK_CRC: Change = ("return crc == word(w->frame + size);", "return crc | 1;")

NO_CHUNK_CRC: Change = (
    "if (crc_of(l, to, chunk->size) != chunk->crc)",
    "if (crc_of(l, to, chunk->size) != chunk->crc && 0)",
)
NO_REGIONS: Change = ("&& chunk->size <= plan->size[i] - offset", "")


def pieces(size: int = 60_000, seed: int = 1) -> list[Piece]:
    """Something like a kernel, that can be compressed, and something like an initrd."""
    chance = random.Random(seed)
    kernel = b"".join(WORDS[(at := chance.randrange(1900)) : at + 12] for _ in range(size // 12))
    return [Piece(KERNEL, kernel), Piece(INITRD, chance.randbytes(size // 2 + 7))]


def good(carried: Carried) -> bool:
    return carried.ended == Uploaded.DONE and carried.right


@pytest.mark.parametrize("baud", [38_400, 115_200, 1_500_000])
def test_every_byte_arrives(baud: int) -> None:
    carried = carry(pieces(30_000), Conditions(baud=baud))
    assert good(carried)
    assert (carried.counts.repeats, carried.counts.lost) == (0, 0)


def test_a_piece_of_many_chunks_and_odd_sizes_arrives() -> None:
    assert good(carry(pieces(1_200_001)))
    assert good(carry([Piece(KERNEL + 8, b"x")]))


@pytest.mark.parametrize("rate", [1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("seed", range(3))
def test_a_line_that_spoils_bytes_both_ways_only_costs_time(rate: float, seed: int) -> None:
    bad = Faults.spread(rate)
    block = memory.UPLOAD_BLOCK_MAX if rate < 1e-3 else 256
    given = Conditions(baud=921_600, to_board=bad, to_host=bad, seed=seed, block=block)
    assert good(carry(pieces(), given))


@pytest.mark.parametrize(
    "fault", [Fault.DROP, Fault.FLIP, Fault.DOUBLE, Fault.GARBAGE, Fault.STALL, Fault.DELAY]
)
@pytest.mark.parametrize("to", ["to_board", "to_host"])
@pytest.mark.parametrize("at", [0, 1, 500, 3000])
def test_one_fault_anywhere_is_mended(fault: Fault, to: str, at: int) -> None:
    bad = Faults(at={at if to == "to_board" else at // 5: fault}, stall_s=1.5)
    both = Conditions(baud=460_800)
    given = replace(both, to_board=bad) if to == "to_board" else replace(both, to_host=bad)
    assert good(carry(pieces(9000), given))


@pytest.mark.parametrize("at", [10, 20_000])
def test_a_cable_that_is_pulled_is_the_lines_fault(at: int) -> None:
    with pytest.raises(errors.LinkError):
        carry(pieces(), Conditions(to_board=Faults(at={at: Fault.CUT})))


def test_a_board_that_resets_meanwhile_says_so() -> None:
    with pytest.raises(errors.BoardReset):
        carry(pieces(), Conditions(baud=115_200, reset_s=1.0))


def test_a_board_that_falls_silent_is_the_lines_fault() -> None:
    with pytest.raises(Silence, match=r"nothing heard for 5 s, after \d+ blocks"):
        carry(pieces(300_000), Conditions(to_host=Faults(at={300: Fault.STALL}, stall_s=100)))


def test_a_line_that_carries_nothing_to_the_board_ends() -> None:
    with pytest.raises(errors.LinkError, match="nothing got through for 30 s"):
        carry(pieces(), Conditions(to_board=Faults(drop=0.2), silence_s=100))


def test_the_time_that_was_given_is_kept() -> None:
    with pytest.raises(errors.LabError, match="not done within 2 s"):
        carry(pieces(), Conditions(baud=9600), within_s=2)


def test_a_host_that_stops_gives_the_line_back_to_the_payload() -> None:
    some = pieces(9000)
    carried = carry(some, Conditions(silence_s=3), stream=iter([bytes(0)]), within_s=1000)
    assert carried.ended == Uploaded.SILENCE
    assert not carried.right


def test_a_slow_board_loses_bytes_of_its_fifo_and_gets_them_again() -> None:
    carried = carry(pieces(), Conditions(step_ns=60_000))
    assert carried.counts.lost > 0
    assert carried.counts.repeats > 0
    assert good(carried)


def head(piece: Piece, **changed: int) -> bytes:
    fields = {
        "addr": piece.addr, "size": len(piece.data), "packed": len(piece.data),
        "crc": zlib.crc32(piece.data), "kind": int(Chunk.STORED),
    }  # fmt: skip
    return memory.UPLOAD_CHUNK.pack(**{**fields, **changed})


@pytest.mark.parametrize(
    ("changed", "ended"),
    [
        ({"addr": KERNEL - 8}, Uploaded.BAD_CHUNK),
        ({"addr": KERNEL + 8}, Uploaded.BAD_CHUNK),
        ({"addr": 2**64 - 8}, Uploaded.BAD_CHUNK),
        ({"size": 2**32 - 1}, Uploaded.BAD_CHUNK),
        ({"kind": 77}, Uploaded.BAD_CHUNK),
        ({"packed": 5}, Uploaded.BAD_DATA),
        ({"kind": int(Chunk.LZMA)}, Uploaded.BAD_DATA),
        ({"crc": 1}, Uploaded.BAD_CRC),
    ],
)
def test_a_chunk_that_is_wrong_is_refused(changed: dict[str, int], ended: Uploaded) -> None:
    piece = Piece(KERNEL, b"\1" + WORDS)
    stream = iter([head(piece, **changed) + piece.data, memory.UPLOAD_CHUNK.pack(kind=Chunk.END)])
    assert carry([piece], stream=stream).ended == ended


def spoilt(planted: list[Change], seed: int) -> Carried:
    bad = Faults(flip=2e-5)
    return carry(pieces(seed=seed), Conditions(to_board=bad, seed=seed), planted=planted)


def test_without_the_crc_of_blocks_that_of_chunks_finds_it() -> None:
    ended = [spoilt([NO_BLOCK_CRC], seed) for seed in range(4)]
    assert not any(each.ended == Uploaded.DONE and not each.right for each in ended)
    assert any(each.ended in (Uploaded.BAD_CRC, Uploaded.BAD_DATA) for each in ended)


def test_without_any_crc_it_would_be_wrong_and_these_tests_would_see_it() -> None:
    """The planted defect: what the whole's CRC, in `second_stage`, is there for as well."""
    ended = [spoilt([NO_BLOCK_CRC, NO_CHUNK_CRC], seed) for seed in range(6)]
    assert any(each.ended == Uploaded.DONE and not each.right for each in ended)


def test_without_its_look_at_regions_a_chunk_would_go_anywhere() -> None:
    piece = Piece(KERNEL, WORDS)
    stream = iter([head(piece, addr=KERNEL + 64) + WORDS, memory.UPLOAD_CHUNK.pack(kind=Chunk.END)])
    assert carry([piece], stream=stream, planted=[NO_REGIONS]).ended == Uploaded.DONE


@pytest.mark.parametrize("block", [0, 12, 1 << 20])
def test_a_plan_that_is_none_is_refused(block: int) -> None:
    assert carry([], Conditions(block=block), stream=iter([])).ended == Uploaded.BAD_PLAN


def test_a_last_word_that_is_lost_is_not_missed() -> None:
    """Damage from the last block on, to the host alone: what is sure is the call's result."""
    some = pieces(9000)
    whole = carry(some)
    told = Faults(at=dict.fromkeys(range(60, 4000), Fault.DROP))
    carried = carry(some, Conditions(to_host=told))
    assert good(carried)
    assert carried.took_s < whole.took_s + 5
