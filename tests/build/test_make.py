# SPDX-License-Identifier: Apache-2.0
"""Whose fault it is that a kernel doesn't build: this host's, or the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.build import child, make
from hilagent.errors import LabError, NotBuilt


def _built(monkeypatch: pytest.MonkeyPatch, status: int, *lines: str) -> None:
    monkeypatch.setattr(child, "run", lambda *args, **words: child.Done(status, lines))
    make.run(Path("/"), ["Image"])


@pytest.mark.parametrize(
    "line",
    [
        "gcc: fatal error: Killed signal terminated program cc1",
        "collect2: fatal error: ld terminated with signal 9 [Killed]",
        "virtual memory exhausted: Cannot allocate memory",
        "ld: vmlinux.o: memory exhausted",
        "cc1: out of memory allocating 65536 bytes after a total of 1 bytes",
        "make[3]: vfork: Resource temporarily unavailable",
        "sh: 1: Cannot fork: Cannot allocate memory",
        "fs/x.c:3:10: fatal error: linux/fs.h: Input/output error",
        "as: fs/x.o: Too many open files",
        "make[3]: *** [scripts/Makefile.build:229: fs/x.o] Killed",
        "make[3]: *** [scripts/Makefile.build:229: fs/x.o] Error 137",
    ],
)
def test_a_host_that_fails_is_the_labs(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    with pytest.raises(LabError, match="this host could not build the kernel") as caught:
        _built(monkeypatch, 2, "  CC      fs/x.o", line, "make: *** [Makefile:1: x] Error 2")
    assert line in caught.value.message
    assert caught.value.hint


def test_so_is_a_make_that_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match="ended by signal 9"):
        _built(monkeypatch, -9, "  CC      fs/x.o")


def test_a_kernel_is_accused_that_only_talks_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotBuilt, match=r"x\.c:3:9: error: expected ';'"):
        _built(
            monkeypatch, 2, "fs/x.c:3:9: error: expected ';'",
            '    3 |         pr_err("x: memory exhausted, terminated with signal 9")',
            "      | : Cannot allocate memory",
            "make[3]: *** [scripts/Makefile.build:229: fs/x.o] Error 1",
        )  # fmt: skip
