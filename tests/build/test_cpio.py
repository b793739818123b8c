# SPDX-License-Identifier: Apache-2.0
"""The archive: what another reader finds in it is what was put in."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilagent.build import cpio

NAMES = st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5}){0,2}", fullmatch=True)


@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=6))
def test_what_is_written_is_read_back(files: dict[str, bytes]) -> None:
    files = {n: d for n, d in files.items() if not any(o.startswith(f"{n}/") for o in files)}
    archive = cpio.write({name: cpio.file(data) for name, data in files.items()})
    found = dict(cpio.read(archive))
    assert {n: node.data for n, node in found.items() if stat.S_ISREG(node.mode)} == files
    order = list(found)
    for name in order:
        if "/" in name:
            assert order.index(name.rpartition("/")[0]) < order.index(name)
    assert len(archive) % 512 == 0
    assert archive == cpio.write(dict(reversed(list(found.items()))))


def test_links_devices_and_modes_keep() -> None:
    nodes = {
        "dev/console": cpio.char_device(5, 1),
        "bin/sh": cpio.symlink("busybox"),
        "root": cpio.folder(0o700),
        "init": cpio.file(b"#!/bin/sh\n", 0o755),
    }
    found = dict(cpio.read(cpio.write(nodes)))
    assert {name: found[name] for name in nodes} == nodes
    assert found["dev"] == cpio.folder()


@pytest.mark.parametrize("bad", [b"", b"070707" + b"0" * 104, cpio.write({})[:60]])
def test_what_is_no_archive_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="no entry at byte 0"):
        list(cpio.read(bad))
