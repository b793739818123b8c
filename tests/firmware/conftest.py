# SPDX-License-Identifier: Apache-2.0
"""The payload's portable C files as a host program, built once a session."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from hilagent.build import sources
from hilagent.link import wire

_PORTABLE = ("crc32", "cobs", "base64", "frame", "dtb", "dtb_address", "facts", "uart", "mem")
_OWN_NAMES = [f"-D{name}=hil_{name}" for name in ("memcpy", "memmove", "memset", "memcmp")]
_FLAGS = ("-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fno-builtin")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-strict-aliasing")


class Host:
    """Sends commands to the host program; a sanitizer's finding fails the test with its text."""

    def __init__(self, program: Path, errors: Path) -> None:
        self._program, self._errors = program, errors
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._errors.open("wb") as stderr:
            return subprocess.Popen(
                [self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )

    def __call__(self, op: str, data: bytes = b"") -> bytes:
        """Run one command and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(op.encode() + struct.pack("<I", len(data)) + data)
            self._process.stdin.flush()
            head = self._process.stdout.read(4)
        except BrokenPipeError:
            head = b""
        if len(head) < 4:
            self._died()
        return self._process.stdout.read(int.from_bytes(head, "little"))

    def _died(self) -> NoReturn:
        self._process.communicate()
        said = self._errors.read_text()[:4000]
        self._process = self._start()
        pytest.fail(f"the host program died:\n{said}")

    def close(self) -> None:
        """End the program; it must end well (no leak either)."""
        self._process.communicate(timeout=10)
        assert self._process.returncode == 0, self._errors.read_text()[:4000]


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The host program, under address and undefined-behaviour sanitizers."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc on this host")
    folder = tmp_path_factory.mktemp("host")
    program = Host(host_program(folder, "host.c", "gcc"), folder / "stderr")
    yield program
    program.close()


def host_program(folder: Path, main: str, compiler: str, *flags: str) -> Path:
    """Build the payload's portable files with ``main``, which is beside this one, for this
    host and under sanitizers; return the program."""
    (folder / "wire.h").write_text(wire.c_header())
    payload = sources.firmware_dir() / "payload"
    files = [Path(__file__).with_name(main), *(payload / f"{name}.c" for name in _PORTABLE)]
    argv = [compiler, *_FLAGS, *_SANITIZE, *flags, *_OWN_NAMES, f"-I{folder}", f"-I{payload}"]
    subprocess.run([*argv, *files, "-o", folder / "host"], check=True)
    return folder / "host"
