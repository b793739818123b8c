# SPDX-License-Identifier: Apache-2.0
"""The probe module's judgement of EL2 and of its own safety, run on the host.

Its files are compiled under sanitizers against `module_kernel.h`; what only a kernel
and a real EL2 can show is in the live suites.
"""

from __future__ import annotations

import errno
import re
import subprocess
from pathlib import Path

import pytest

from hilagent.build import sources
from hilagent.link.wire import SYSREGS, Seen
from hilagent.linux import wire

_FILES = ("run", "sweep", "exchange", "judge", "refuse", "identify")
_FLAGS = ("-std=gnu11", "-g", "-O1", "-Wall", "-Wno-address-of-packed-member",
          "-fsanitize=address,undefined", "-fno-sanitize-recover=all")  # fmt: skip
_FAR = 1 << SYSREGS.index("FAR_EL1")
_INCLUDE = re.compile(r"^#include <([\w/]+\.h)>", re.M)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module as a host program."""
    folder, module = tmp_path_factory.mktemp("module"), sources.firmware_dir() / "module"
    (folder / "wire.h").write_text(wire.c_header())
    files = [module / f"{name}.c" for name in _FILES]
    texts = [path.read_text() for path in (*files, module / "hilhvc.h", folder / "wire.h")]
    for name in {name for text in texts for name in _INCLUDE.findall(text)} - {"linux/errno.h"}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    here = Path(__file__).parent
    argv: list[str | Path] = ["gcc", *_FLAGS, f"-I{folder}", f"-I{module}"]
    argv += ["-include", here / "module_kernel.h"]
    subprocess.run([*argv, here / "module_host.c", *files, "-o", folder / "module"], check=True)
    return folder / "module"


def run(program: Path, *args: str) -> dict[str, int]:
    done = subprocess.run([program, *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[:4000]
    return {name: int(value, 0) for name, value in re.findall(r"(\w+)=(\S+)", done.stdout)}


def test_a_cpu_that_comes_back_after_the_timer_is_not_lost(program: Path) -> None:
    late = run(program, "late", "known")
    assert (late["error"], late["lost"], late["active"]) == (0, -1, 1)
    assert (late["pins"], late["alarms"]) == (0, 0)
    lost = run(program, "lost", "known")
    assert (lost["error"], lost["lost"], lost["active"]) == (-errno.ETIMEDOUT, 1, 0)
    assert (lost["pins"], lost["alarms"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "stub", "error"),
    [
        ("set", "unknown", 0),  # nobody asks
        ("undeclared", "unknown", 0),  # asked, and can't be given back
        ("sweep", "unknown", -errno.EUCLEAN),
        ("sweep-killed", "known", -errno.EINTR),
    ],
)
def test_a_module_whose_catch_table_may_be_vbar_el2_stays(
    program: Path, name: str, stub: str, error: int
) -> None:
    left = run(program, name, stub)
    assert (left["error"], left["ours"] or name == "sweep-killed", left["pins"]) == (error, 1, 1)


@pytest.mark.parametrize("name", ["set-ask", "undeclared", "sweep"])
def test_vectors_that_were_given_back_let_the_module_go(program: Path, name: str) -> None:
    left = run(program, name, "known")
    assert (left["error"], left["ours"], left["pins"]) == (0, 0, 0)
    assert left["seen"] == (0 if name == "sweep" else Seen.VECTORS_SET)


def test_kvms_own_vectors_set_again_let_the_module_go(program: Path) -> None:
    """As the host asks it there: catch tables stand in other registers only."""
    assert run(program, "kvm", "known")["pins"] == 0


def test_far_el1_is_seen_by_the_branch_home_alone(program: Path) -> None:
    """An svc leaves it UNKNOWN (ARM DDI 0487, FAR_EL1)."""
    svc, branch = run(program, "plain"), run(program, "direct")
    assert (svc["seen"], svc["sys"], svc["unseen"] & _FAR) == (Seen.RETURNED, 0, _FAR)
    assert (branch["seen"], branch["sys"], branch["unseen"] & _FAR) == (Seen.RETURNED, 0, 0)


def test_the_branch_home_keeps_far_el1_before_its_svc() -> None:
    text = (sources.firmware_dir() / "module" / "issue.S").read_text()
    home = text[text.index("(hil_home)") : text.index("SYM_CODE_END(hil_home)")]
    assert 0 < home.index("far_el1") < home.index("svc\t#1")
    leaving = text[text.index("(came)") : text.index("\nhome:")]
    assert 0 < leaving.index("HIL_SYS_FAR_EL1") < leaving.index("eret")


def test_finalise_is_refused_where_another_cpu_than_the_writers_has_vhe(program: Path) -> None:
    assert run(program, "finalise", "known")["error"] == -errno.EPERM
