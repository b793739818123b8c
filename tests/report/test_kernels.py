# SPDX-License-Identifier: Apache-2.0
"""The summary names each kernel, and for each way of restarting it the code that served."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from hilagent import journal
from hilagent.probe.restart import Row, Times
from hilagent.report.kernels import WIDTH, sections
from hilagent.report.results import results
from hilagent.report.summary import summary

KEXEC = Row("kexec-file", "patched", "nvhe", "payload", "trans-pgd", "why", "trans-pgd", "EL2",
            Times(0.1, 0.2, 1.25), 3, "pass")  # fmt: skip
CRASH = Row("crash", "patched", "nvhe", "kernel", "kvm", "why", "", "EL1", Times(), 1, "fail")


def run_of(folder: Path, *rows: Row) -> journal.Run:
    folder.mkdir(exist_ok=True)
    log = journal.Journal(folder)
    said = {"release": "6.12.117-hilagent", "image": "ab" * 32, "abi": "iss-6.12"}
    facts = {"kernel patched": said, "kernel_build_id": "abab", "abi": "iss-2015"}
    log.run(board="qemu-virt", vectors=["reference-stub"], **facts)
    for row in rows:
        log.observation("restarts", boot="patched", rows=[asdict(row)])
    log.close()
    return journal.read(folder)


def test_each_way_says_who_served_it_how_often_and_at_which_el(tmp_path: Path) -> None:
    kernels, restarts = sections(run_of(tmp_path, KEXEC, CRASH))
    assert "patched          6.12.117-hilagent  iss-6.12  abababababab" in kernels
    head, kexec, crash = restarts.splitlines()[1:]
    assert head.split() == [
        "way", "kernel", "EL2", "by", "into", "served", "by", "EL", "n", "s", "each",
    ]  # fmt: skip
    assert kexec.split() == [
        "kexec-file", "patched", "nvhe", "payload", "trans-pgd", "2", "3", "1.2", "pass",
    ]  # fmt: skip
    assert crash.split() == ["crash", "patched", "nvhe", "kernel", "kvm", "1", "1", "fail"]


def test_a_way_that_was_taken_twice_is_one_line_with_the_worst_verdict(tmp_path: Path) -> None:
    worse = Row(**{**vars(KEXEC), "verdict": "hang", "count": 1})
    (_, _, line) = list(sections(run_of(tmp_path, KEXEC, worse)))[1].splitlines()
    assert line.split()[-1] == "hang"
    assert "  4 " in line or " 4 " in line


def test_what_had_to_be_refused_is_no_arrival(tmp_path: Path) -> None:
    refused = Row("kexec-file", "patched", "protected", "kernel", "trans-pgd", "why", count=1,
                  verdict="pass")  # fmt: skip
    line = list(sections(run_of(tmp_path, refused)))[1].splitlines()[-1]
    assert line.split() == [
        "kexec-file", "patched", "protected", "kernel", "trans-pgd", "1", "refused",
    ]  # fmt: skip


def leg(number: int, el: int, ready_s: float | None, mib: int) -> dict[str, object]:
    times = {"left_s": None, "first_s": None, "ready_s": ready_s}
    return {"boot": "patched", "way": "kexec-file", "receiver": "kernel", "number": number,
            "el": el, "times": times, "available_bytes": mib << 20}  # fmt: skip


def test_restarts_in_a_row_tell_el_times_and_memory_of_all(tmp_path: Path) -> None:
    log = journal.Journal(tmp_path)
    log.run(board="qemu-virt")
    for number, (el, s, mib) in enumerate([(2, 3.0, 800), (2, 3.5, 790), (1, 9.0, 795)]):
        log.observation("leg", **leg(number, el, s, mib))
    log.observation("leg", **leg(4, 0, None, 0))
    log.observation("leg", **{**leg(1, 2, 3.0, 700), "way": "crash"})
    log.close()
    (section,) = sections(journal.read(tmp_path))
    assert section.splitlines()[0] == "Restarts in a row"
    assert section.splitlines()[1].endswith("MiB: 1st min last")
    assert section.splitlines()[2].split() == [
        "kexec-file", "patched", "kernel", "3", "1,2", "3.0", "3.5", "9.0", "800", "790", "795",
    ]  # fmt: skip
    assert len(section.splitlines()) == 3


def test_a_run_without_kernels_says_nothing_of_them(tmp_path: Path) -> None:
    log = journal.Journal(tmp_path)
    log.run(board="qemu-virt")
    log.close()
    assert list(sections(journal.read(tmp_path))) == []


def test_a_run_of_kernels_alone_names_no_vectors(tmp_path: Path) -> None:
    said = summary(run_of(tmp_path, KEXEC))
    assert "reference" not in said
    assert "Restarts" in said


def test_machines_get_the_same(tmp_path: Path) -> None:
    out = results(run_of(tmp_path, KEXEC))
    assert out["restarts"][0]["rows"][0]["server"] == "trans-pgd"


@settings(max_examples=25)
@given(text=st.text(max_size=40))
def test_no_board_text_is_wider_than_the_terminal_or_does_anything(
    tmp_path_factory: object, text: str
) -> None:
    folder = tmp_path_factory.mktemp("run")  # type: ignore[attr-defined]
    row = Row(**{**vars(KEXEC), "sender": text, "server": text})
    for section in sections(run_of(folder, row)):
        for line in section.splitlines():
            assert len(line) <= WIDTH
            assert line.isprintable()
