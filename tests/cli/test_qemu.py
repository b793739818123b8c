# SPDX-License-Identifier: Apache-2.0
"""The whole way on the emulated board: real U-Boot, real payload, real verdicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.elf.kernels import ISS, X0, kernel

pytestmark = pytest.mark.hil
PATH = os.pathsep.join(str(Path(part).absolute()) for part in sys.path)
VECTORS = ("--suite", "architecture", "--suite", "dispatch", "--suite", "clobber")
ONE_CPU = ("-o", "smp=1")


def _hilagent(
    tmp_path: Path, *argv: str, text: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    own = {"HILAGENT_RUNS": str(tmp_path / "runs"), "PYTHONPATH": PATH}
    return subprocess.run(
        [sys.executable, "-m", "hilagent", *argv],
        cwd=tmp_path, env={**os.environ, **own, **(env or {})}, input=text,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_reference_vectors_pass_and_the_run_directory_is_whole(tmp_path: Path) -> None:
    done = _hilagent(tmp_path, "run", "qemu-virt", *ONE_CPU, *VECTORS, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    assert data["verdict"] == "pass"
    assert data["run"]["emulated"] is True
    assert data["run"]["payload_build_id"]
    names = {
        "journal.jsonl",
        "junit.xml",
        "results.json",
        "console.raw",
        "console.idx",
        "console.tx",
    }
    assert names <= set(data["files"])
    (ranges,) = [d["ranges"] for d in data["dispatch"] if d["subject"] == "reference-kvm"]
    assert ranges[0][:3] == [0, 0, "HVC_CALL_HYP"]
    assert ranges[-1][1] == 0xFFFF
    assert all(row[4] for row in ranges)


def test_a_run_that_accuses_replays_from_its_directory_and_says_that_it_is_a_replay(
    tmp_path: Path,
) -> None:
    suites = ("--suite", "clobber")
    argv = ("run", "--vectors", "mutant:get_clobbers_x19", *ONE_CPU, *suites)
    done = _hilagent(tmp_path, *argv, "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    run = (tmp_path / "runs/latest").resolve()
    again = _hilagent(tmp_path, "run", f"recorded:{run}", *suites)
    assert again.returncode == 1, again.stdout + again.stderr
    assert "qemu-virt (replay, emulated, Cortex-A57)" in again.stdout
    assert "nothing was measured now" in " ".join(again.stdout.split())
    then = json.loads(done.stdout)
    now = json.loads((tmp_path / "runs/latest/results.json").read_text())
    for name in ("verdict", "counts", "dispatch", "clobber"):
        assert now[name] == then[name]
    assert now["run"]["replay_of"] == f"{run.name} of {then['run']['utc']}"
    other = _hilagent(tmp_path, "run", f"recorded:{run}", *suites, "--vectors", "reference-stub")
    assert other.returncode == 125, other.stdout + other.stderr
    assert "this replay is not the recorded run" in " ".join(other.stdout.split())


def test_a_mutant_is_accused_by_rule_hcall_and_register(tmp_path: Path) -> None:
    argv = ("run", "--suite", "clobber", "--vectors", "mutant:get_clobbers_x19", *ONE_CPU)
    done = _hilagent(tmp_path, *argv)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "clobber[hyp-stub-HVC_GET_VECTORS-clobber]  FAIL 2 of 2" in done.stdout
    assert "clobber: HVC_GET_VECTORS x19: expected keeps its value" in done.stdout
    results = json.loads((tmp_path / "runs/latest/results.json").read_text())
    (failed,) = [test for test in results["tests"] if test["verdict"] == "fail"]
    assert "console.raw" in failed["details"]
    assert " -> " in failed["details"]


def test_a_hang_with_one_cpu_names_the_immediate(tmp_path: Path) -> None:
    argv = ("run", "--suite", "clobber", "--vectors", "mutant:hangs", *ONE_CPU)
    done = _hilagent(tmp_path, *argv)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "HANG 2 of 2" in done.stdout
    assert "hvc #0x4321 from EL1h on CPU 0 does not come home" in " ".join(done.stdout.split())
    assert "0x4321         unknown              hangs" in done.stdout


@pytest.mark.parametrize(
    ("source", "defines", "said"),
    [
        (X0, (), "speaks: x0-mainline@6.12, hyp-stub"),
        (ISS, (), "speaks: iss-6.12, hyp-stub"),
        (X0, ("EVERY=mov x19, x1",), "clobber: unknown x19: expected keeps its value"),
        (X0, ("SET=4",), "dispatch: HVC_SET_VECTORS effect: expected sets VBAR_EL2 from x1"),
        (ISS, ("EVERY=mov x16, x17",), "clobber: HVC_GET_VECTORS x16: expected keeps its value"),
        (ISS, ("GET=7",), "result: HVC_GET_VECTORS x0: expected VBAR_EL2"),
        (ISS, ("EVERY=and x17, x17, #0xff",), "dispatch: unknown effect: expected returns"),
        (X0, ("SELECTOR=w0",), "found sets VBAR_EL2 from x1 where x0 was 0x100000000"),
        (ISS, ("SHADOW",), "clobber: HVC_CALL_FUNC x18: expected keeps its value"),
    ],
    ids=lambda value: "-".join(value) or "sound" if isinstance(value, tuple) else "",
)
def test_a_kernels_own_vectors_from_its_vmlinux(
    tmp_path: Path, source: str, defines: tuple[str, ...], said: str
) -> None:
    path = kernel(tmp_path, source, *defines)
    suites = ("--suite", "dispatch", "--suite", "clobber")
    done = _hilagent(tmp_path, "run", *suites, "--vectors", f"vmlinux:{path}", *ONE_CPU)
    assert done.returncode == (1 if defines else 0), done.stdout + done.stderr
    assert said in " ".join(done.stdout.split())


def test_a_users_own_file_in_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "\n"
        "def test_version(hilagent_uboot):\n"
        "    assert hilagent_uboot.version.startswith('20')\n"
        "\n"
        "@pytest.mark.hilagent_needs(cpus=2)\n"
        "def test_get_vectors_keeps_x19(hilagent_payload):\n"
        "    done = hilagent_payload.hvc(1)\n"
        "    assert done.after.x[19] == done.before.x[19]\n"
    )
    argv = ("-p", "hilagent.plugin", "--hilagent-board", "qemu-virt", "-q")
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": PATH}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *argv],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert (tmp_path / "hilagent-runs" / "latest" / "junit.xml").is_file()


def test_one_hvc_and_a_prompt(tmp_path: Path) -> None:
    done = _hilagent(tmp_path, "hvc", "qemu-virt", "1", "--x0", "0x1234", *ONE_CPU)
    assert done.returncode == 0, done.stderr
    assert "HVC_GET_VECTORS, returns, x0 = VBAR_EL2" in done.stdout
    assert "x0" in done.stdout
    typed = 'mrs("MIDR_EL1")\nhvc(1, x0=5)\nread64(payload.hello.scratch)\nmrs("NONESUCH")\n'
    done = _hilagent(tmp_path, "shell", "qemu-virt", *ONE_CPU, text=typed)
    assert done.returncode == 0, done.stderr
    assert "0x411fd070" in done.stdout
    assert "HVC_GET_VECTORS" in done.stdout
    assert "no system register 'NONESUCH'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_payload_is_the_labs(tmp_path: Path) -> None:
    cache = {"HILAGENT_CACHE": str(tmp_path / "cache")}
    assert _hilagent(tmp_path, "build", "payload", env=cache).returncode == 0
    (image,) = (tmp_path / "cache").glob("payload/*/payload.bin")
    os.truncate(image, 9000)
    done = _hilagent(tmp_path, "run", *ONE_CPU, env=cache)
    assert done.returncode == 125
    assert "is no whole arm64 Image: 9000 bytes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_board_without_el2_is_a_precondition(tmp_path: Path) -> None:
    from hilagent import data

    text = (data.data_dir("boards") / "qemu-virt.yaml").read_text()
    text = text.replace("name: qemu-virt", "name: no-el2").replace(",virtualization=on", "")
    (tmp_path / "no-el2.yaml").write_text(text)
    argv = ("--boards", str(tmp_path), "--suite", "dispatch", *ONE_CPU)
    done = _hilagent(tmp_path, "run", "no-el2", *argv)
    assert done.returncode == 125
    assert done.stdout.startswith("PRECONDITION no-el2")
    assert "entered at EL1" in done.stdout
