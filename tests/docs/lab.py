# SPDX-License-Identifier: Apache-2.0
"""The lab in which the pages' commands are executed, and what each of them must do.

Its boards have the names that the pages use, and are emulated; a command is executed as it
stands, in a folder where ``.venv/bin/hilagent`` is ours.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cli.person import environment

OURS = ".venv/bin/hilagent "
SMALL = "qemu: {smp: 1}\ncpus: 1\n"
BOARDS: Mapping[str, str] = {
    "rock": SMALL + "tags: [nightly]\nsoc: rk3399\n",
    "rock2": SMALL,
    "one": SMALL,
    "max": "qemu: {cpu: max}\n",
    "no-el2": "qemu: {machine: virt}\n",
    "nobody": SMALL + 'uboot: {prompt: "nobody$ ", prompt_timeout_s: 3}\n',
    "rock-high": SMALL + "uboot: {load_addr: 0x7fe00000}\n",
}
"""What each board's file says beside ``extends: qemu-virt`` and its name."""
MINE = """\
def test_get_vectors_keeps_x19(hilagent_payload):
    exchange = hilagent_payload.hvc(1)
    assert exchange.after.x[19] == exchange.before.x[19]
"""


@dataclass(frozen=True)
class Step:
    """What a command must do.

    Attributes:
        said: stands in its output.
        code: its exit code.
        typed: on its standard input.
        instead: words of the command, and what is typed for them: FIRST is the first run.
    """

    said: str
    code: int = 0
    typed: str = ""
    instead: Mapping[str, str] | None = None


QUICK: Mapping[str, Step] = {
    f"{OURS}boards check": Step("nothing wrong"),
    f"{OURS}boards": Step("rock"),
    f"{OURS}run rock --suite architecture": Step("PASS  rock (emulated"),
    f"{OURS}report latest": Step("report.html"),
    f"{OURS}report latest --format markdown": Step("PASS: rock"),
    f"{OURS}history rock": Step("passed 1 of 1"),
    f"{OURS}history prune --keep-days 90": Step("0 runs, 0.0 MiB removed"),
    f"{OURS}hvc rock 1": Step("HVC_GET_VECTORS"),
}
"""In this order, in CI, too."""
LONG: Mapping[str, Step] = {
    f"{OURS}run rock": Step("PASS  rock (emulated"),
    f"{OURS}run rock --vectors mutant:clobbers_x16": Step("FAIL  rock (emulated", 1),
    f"{OURS}diff 20261127T2245 latest": Step("x16", 1, instead={"20261127T2245": "FIRST"}),
    f"{OURS}run recorded:RUN --suite dispatch --suite clobber": Step(
        "replay", instead={"RUN": "FIRST"}
    ),
    f"{OURS}shell rock": Step("VBAR", typed="print('VBAR', hex(mrs('VBAR_EL2')))\n"),
    f"{OURS}console rock --power-on": Step("U-Boot", typed="version\n"),
    f"{OURS}doctor rock": Step("all is well"),
    f"{OURS}run rock rock2 --suite dispatch": Step("PASS  2 boards"),
    f"{OURS}run --tag nightly --wait 30m": Step("PASS  rock (emulated"),
    f"{OURS}run --all --tag soc=rk3399": Step("PASS  rock (emulated"),
    f"{OURS}soak rock --for 8h": Step("PASS", instead={"8h": "1s"}),
    f"{OURS}run qemu-raspi3b": Step("PASS"),
    ".venv/bin/pytest --hilagent-board rock test_mine.py": Step("1 passed"),
    f"{OURS}build kernel": Step("patched"),
    f"{OURS}audit path/to/vmlinux": Step("PASS  vmlinux"),
    f"{OURS}run qemu-virt --vectors vmlinux:path/to/vmlinux": Step("PASS"),
    f"{OURS}run qemu-virt --image arch/arm64/boot/Image --suite restart": Step("PASS"),
    f"{OURS}run qemu-virt --suite kernel": Step("PASS"),
    f"{OURS}run qemu-virt --suite live --kernel debian --mode none": Step("PASS"),
    f"{OURS}run qemu-virt --suite restart --chain 3 -k 'crash and payload'": Step("PASS"),
}
"""In this order, in the second tier."""
_BISECT = (
    "git bisect run ~/hilagent/.venv/bin/hilagent run rock --source . --suite restart --bisect"
)
_CHROOTS = "tests/long/test_chroots.py"
_LABHOST = "tests/long/test_labhost.py"
ELSEWHERE: Mapping[str, str] = {
    f"{OURS}power rock cycle": "tests/cli/test_power.py",
    "ansible-playbook site.yml --limit boards": "tests/long/test_board_role.py",
    "ansible-playbook deploy-kernel.yml -e deploy_image=/srv/ci/Image": (
        "tests/long/test_board_role.py"
    ),
    "ansible-playbook nightly.yml -e nightly_dir=/srv/nightly": "tests/ansible/test_nightly.py",
    "python3 -m hilagent.setup run": f"{_CHROOTS}::test_the_main_job_runs_from_nothing",
    "python3 -m hilagent.setup test": f"{_CHROOTS}::test_the_tests_pass",
    "python3 -m hilagent.setup test --long": "tests/setup/test_setup.py",
    **dict.fromkeys(
        (
            "git bisect start v6.12.20 v6.12.10",
            _BISECT,
        ),
        "tests/cli/test_bisect_hil.py",
    ),
    ".venv/bin/python -m hatchling build -t wheel -d dist": "tests/setup/packaged.py::hatchling",
    "pip install dist/hilagent-0.1.0-py3-none-any.whl": (
        "tests/long/test_installed.py::test_all_suites_pass_there"
    ),
    "cp -r inventory.example inventory": (
        "tests/ansible/test_lint.py::test_a_playbook_parses_with_the_example"
    ),
    "ansible-playbook site.yml --check": f"{_LABHOST}::test_a_dry_run_changes_nothing",
    "ansible-playbook site.yml": f"{_LABHOST}::test_the_first_time_makes_a_lab_host",
    ".venv/bin/pytest tests/link": "tests/link",
    ".venv/bin/pytest -m 'not hil'": "tests",
    ".venv/bin/ruff format && .venv/bin/ruff check && .venv/bin/mypy": "tests/test_lint.py",
    f"{OURS}onboard /dev/ttyUSB0 --name rock --power-on 'outlet 2 on' --power-off 'outlet 2 off'": (
        "tests/bringup/test_onboard_hil.py::test_what_it_writes_runs_without_editing"
    ),
    **dict.fromkeys(
        (
            "python3 -m venv ~/labgrid && ~/labgrid/bin/pip install labgrid",
            "export PATH=~/labgrid/bin:$PATH LG_COORDINATOR=lab0:20408",
            "labgrid-coordinator",
            "labgrid-exporter exporter.yaml",
            "labgrid-client -p rock-a create",
            "labgrid-client -p rock-a add-match 'lab1/rock-a/*'",
            "labgrid-client -p rock-a set-tags board=rock-pi-4 soc=rk3399",
            f"{OURS}run --place rock-a",
            f"{OURS}run --reserve soc=rk3399 --wait 30m",
            f"{OURS}console rock-pi-4 --place rock-a --power-on",
        ),
        "tests/place/test_readme_hil.py::test_its_lab_of_several_hosts_runs",
    ),
}
"""What other tests execute: they have the part that this lab hasn't."""


class Lab:
    """A folder with boards, runs and state of its own.

    Args:
        names: what the pages call somebody's file, and where there is one.
    """

    def __init__(self, folder: Path, names: Mapping[str, str] | None = None) -> None:
        self.folder, self._names = folder, dict(names or {})
        boards = folder / "boards"
        boards.mkdir()
        for name, more in BOARDS.items():
            text = f"extends: qemu-virt\nname: {name}\ndescription: {name}, emulated\n{more}"
            (boards / f"{name}.yaml").write_text(text)
        (folder / "test_mine.py").write_text(MINE)
        ours = folder / ".venv/bin"
        ours.mkdir(parents=True)
        for name in ("hilagent", "pytest"):
            (ours / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {name} "$@"\n')
            (ours / name).chmod(0o755)
        self._env = {**environment(folder), "HILAGENT_BOARDS": str(boards)}
        self._env.pop("CI", None)

    def does(self, command: str, step: Step | None = None) -> subprocess.CompletedProcess[str]:
        """Type a command in a shell; both streams of its output are in ``stdout``."""
        for word, name in (step.instead or {} if step else {}).items():
            command = command.replace(word, self._run(name))
        for word, path in self._names.items():
            command = command.replace(word, path)
        return subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self._env, text=True,
            input=step.typed if step else "", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def wrong(self, command: str, step: Step) -> str:
        """Type it; return what is wrong with what it did, "" for nothing."""
        done = self.does(command, step)
        if done.returncode == step.code and step.said in done.stdout:
            return ""
        return f"{command}: exit code {done.returncode}:\n{done.stdout[-3000:]}"

    def _run(self, word: str) -> str:
        """Return the first run of the board rock, or ``word`` where no run is meant."""
        return str(min((self.folder / "runs").glob("2*-rock-*"))) if word == "FIRST" else word
