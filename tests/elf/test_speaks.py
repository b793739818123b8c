# SPDX-License-Identifier: Apache-2.0
"""Vectors are recognised by what their code does, also where it is wrong in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilagent.build import vectors
from hilagent.elf.cut import cut
from hilagent.elf.file import open_elf
from hilagent.elf.speaks import Spoken, recognise_static
from hilagent.errors import InputError

from .kernels import ISS, X0, kernel

OLD = 'BANNER="Linux version 5.10.0-lab"'


def _spoken(folder: Path, source: str, *defines: str, server: str = "hyp-stub") -> Spoken:
    elf = open_elf(kernel(folder, source, *defines))
    return recognise_static(elf, cut(elf, server))


@pytest.mark.parametrize(
    ("source", "defines", "profile"),
    [
        (X0, (), "x0-mainline@6.12"),
        (X0, ("NO_BANNER",), "x0-mainline"),
        (X0, ("SELECTOR=w0",), "x0-mainline@6.12"),
        (X0, ("SET=4",), "x0-mainline@6.12"),
        (X0, ("FINALISE=9",), "x0-mainline@6.12"),
        (ISS, (), "iss-6.12"),
        (ISS, ("NO_BANNER",), "iss-6.12"),
        (ISS, ("SCRATCH=x16",), "iss-6.12"),
        (ISS, ("SCRATCH=x16", "NO_BANNER"), "iss-6.12-scs"),
        (ISS, ("SCRATCH=x16", "SHADOW"), "iss-6.12-scs"),
        (ISS, ("SHADOW",), "iss-6.12-scs"),
        (ISS, ("GET=7",), "iss-6.12"),
        (ISS, ("EVERY=mov x9, x17",), "iss-6.12"),
    ],
)
def test_a_kernel_is_recognised(
    tmp_path: Path, source: str, defines: tuple[str, ...], profile: str
) -> None:
    assert _spoken(tmp_path, source, *defines).profile == profile


@pytest.mark.parametrize(("source", "profile"), [(X0, "x0-mainline@6.12"), (ISS, "iss-6.12")])
def test_the_copied_table_speaks_it_too(tmp_path: Path, source: str, profile: str) -> None:
    assert _spoken(tmp_path, source, server="trans-pgd").profile == profile


@pytest.mark.parametrize(
    ("name", "profile"), [("iss-2015", "iss-2015"), ("iss-6.12-scs", "iss-6.12-scs")]
)
def test_reference_vectors_are_recognised_by_their_code_alone(
    tmp_path: Path, name: str, profile: str
) -> None:
    """Another source than the tests' kernels: written to the contracts, with other compares."""
    from hilagent import abi
    from hilagent.build import compile

    header = vectors.header(abi.load(name), "hyp-stub")
    source = Path(vectors.builtin()[0].source)
    folder = source.parent
    text = source.read_text().replace('#include "hcalls.h"', header)
    text = text.replace("VECTORS_START:", "__hyp_stub_vectors:\nVECTORS_START:")
    (tmp_path / "mutants.h").write_text((folder / "mutants.h").read_text())
    (tmp_path / "iss.S").write_text("	.globl	__hyp_stub_vectors\n" + text)
    tools = compile.toolchain()
    symbols = ("-DVECTORS_START=vectors_start", "-DVECTORS_END=vectors_end")
    compile.run([tools.tool("gcc"), "-c", *symbols, "iss.S", "-o", "iss.o"], tmp_path)
    compile.run([tools.tool("ld"), "-Ttext=0x10000", "-e", "0", "iss.o", "-o", "iss"], tmp_path)
    elf = open_elf(tmp_path / "iss")
    assert recognise_static(elf, cut(elf)).profile == profile


def test_the_evidence_names_addresses_and_what_differs(tmp_path: Path) -> None:
    said = _spoken(tmp_path, X0, "SET=4")
    assert said.evidence[0] == "kernel Linux version 6.12.9-lab"
    assert said.evidence[1].startswith("named by x0: 0xffff8000")
    assert "x0 against 0x4" in said.evidence[1]
    assert any(line.startswith("not as x0-mainline: 0x0 ") for line in said.evidence)
    assert any("others: x0 0xbadca11" in line for line in said.evidence)
    shadow = _spoken(tmp_path, ISS, "SHADOW").evidence[-1]
    assert "symbol irq_shadow_call_stack_ptr" in shadow
    assert "write x17, x18" in shadow


def test_an_older_kernel_gets_its_versions_numbers(tmp_path: Path) -> None:
    said = _spoken(tmp_path, X0, OLD)
    assert said.profile == "x0-mainline@5.10"
    assert any("0x3 finalise, unknown x0 0xbadca11" in line for line in said.evidence)


@pytest.mark.parametrize(
    ("source", "defines", "said"),
    [
        (X0, ("SET=1", "RESTART=2", "RESET=7", "FINALISE=8"), "no profile has such numbers"),
        (X0, ("SELECTOR=x9", "FINALISE_IGNORED"), "compares neither ESR_EL2's ISS nor x0"),
        (ISS, ("SCRATCH=x15", "NO_BANNER"), "iss-6.12, or iss-6.12-scs"),
    ],
)
def test_what_can_not_be_told_asks_for_the_abi(
    tmp_path: Path, source: str, defines: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said) as seen:
        _spoken(tmp_path, source, *defines)
    assert "--abi" in seen.value.hint
