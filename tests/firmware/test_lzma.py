# SPDX-License-Identifier: Apache-2.0
"""The loader's LZMA against liblzma's encoder, whole, cut short and spoilt."""

from __future__ import annotations

import lzma
import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.link.memory import Chunk
from hilagent.payload.upload import packed
from tests.firmware.loader.simulated import built

ROUNDS = 150


class Decoder:
    """The host program; a sanitizer's finding fails the test with its text."""

    def __init__(self, program: Path, errors: Path) -> None:
        self._errors = errors
        with errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )

    def __call__(self, stream: bytes, size: int) -> bytes | None:
        """Return what it decodes to; None where it is refused."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(struct.pack("<II", size, len(stream)) + stream)
        self.process.stdin.flush()
        answer = self.process.stdout.read(4 + size)
        assert len(answer) == 4 + size, self._errors.read_text()[:4000]
        return None if answer[0] else answer[4:]


@pytest.fixture(scope="module")
def decode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decoder]:
    folder = tmp_path_factory.mktemp("lzma")
    decoder = Decoder(built(folder, "lzma_host.c", "gcc", names=["lzma"]), folder / "stderr")
    yield decoder
    decoder.process.communicate(timeout=10)
    assert decoder.process.returncode == 0


def data(seed: int) -> bytes:
    """Bytes of many kinds: runs, far and near repeats, tables, noise."""
    chance = random.Random(seed)
    out = bytearray(chance.randbytes(chance.randrange(1, 200)))
    for _ in range(chance.randrange(1, 60)):
        kind = chance.randrange(5)
        if kind == 0:
            out += bytes([chance.randrange(256)]) * chance.randrange(1, 2000)
        elif kind == 1:
            at = chance.randrange(len(out))
            out += out[at : at + chance.randrange(1, 3000)]
        elif kind == 2:
            out += struct.pack("<16I", *(0x9400_0000 + chance.randrange(999) for _ in range(16)))
        elif kind == 3:
            out += chance.randbytes(chance.randrange(1, 300))
        else:
            out += out[-chance.randrange(1, min(9, len(out)) + 1) :] * chance.randrange(1, 40)
    return bytes(out)


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 5000])
def test_edges(decode: Decoder, size: int) -> None:
    for plain in (bytes(size), bytes(range(256)) * (size // 256 + 1)):
        assert packed(bytes(4096))[0] == Chunk.LZMA
        assert decode(compressed(plain[:size]), size) == plain[:size]


def compressed(plain: bytes) -> bytes:
    from hilagent.payload import upload

    return lzma.compress(plain, lzma.FORMAT_RAW, filters=upload._FILTERS)


def test_what_liblzma_encodes_is_decoded(decode: Decoder) -> None:
    for seed in range(ROUNDS):
        plain = data(seed)
        assert decode(compressed(plain), len(plain)) == plain, seed


def test_a_stream_that_was_cut_is_refused_and_a_spoilt_one_harms_nothing(decode: Decoder) -> None:
    refused = 0
    for seed in range(ROUNDS):
        chance, plain = random.Random(seed), data(seed)
        stream = bytearray(compressed(plain))
        assert decode(bytes(stream[: len(stream) // 2]), len(plain)) is None
        for _ in range(3):
            stream[chance.randrange(len(stream))] ^= 1 << chance.randrange(8)
        refused += decode(bytes(stream), len(plain)) is None
    assert refused > ROUNDS // 3


def test_what_cant_be_compressed_goes_as_it_is() -> None:
    noise = random.Random(1).randbytes(3000)
    assert packed(noise) == (Chunk.STORED, noise)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if (h.rep[0] >= done || length > size - done)", "if (length > size - done)"),
        ("if (h.rep[0] >= done || length > size - done)", "if (h.rep[0] >= done)"),
    ],
)
def test_a_decoder_that_trusts_its_stream_is_caught(
    tmp_path: Path, before: str, after: str
) -> None:
    program = built(tmp_path, "lzma_host.c", "gcc", names=["lzma"], planted=[(before, after)])
    decoder = Decoder(program, tmp_path / "stderr")

    def mislead() -> None:
        for seed in range(ROUNDS):
            plain = data(seed)
            stream = compressed(plain)
            decoder(stream, len(plain) // 2 + 1)
            decoder(stream[:9] + bytes(reversed(stream[9:])), len(plain))

    with pytest.raises((AssertionError, BrokenPipeError)):
        mislead()
    decoder.process.kill()
    decoder.process.communicate()
    assert "AddressSanitizer" in (tmp_path / "stderr").read_text()
