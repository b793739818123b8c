# SPDX-License-Identifier: Apache-2.0
"""The role ``board`` and deploy-kernel.yml against Debian on emulated boards, over SSH."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilagent.build import keys
from hilagent.build.kernel import Kernel, build_kernel
from hilagent.build.series import fragment
from tests import ansible_env, tree
from tests.ansible import board_vm, debian_disk
from tests.ansible.board_vm import BoardVm
from tests.long.conftest import Tell

HILAGENT = Path(sys.executable).parent / "hilagent"
RAMOOPS = {"address": f"{board_vm.RESERVED[0]:#x}", "size": f"{board_vm.RESERVED[1]:#x}"}


class Lab:
    """Two boards, and Ansible with an inventory of them."""

    def __init__(self, folder: Path, boards: tuple[BoardVm, BoardVm], kernel: Kernel) -> None:
        self.boards, self.kernel, self._folder = boards, kernel, folder
        self._known = folder / "known_hosts"
        board_vm.inventory(folder / "inventory.yml", boards, self._known)

    def play(self, *argv: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook with these variables."""
        given = self._folder / "variables.json"
        given.write_text(json.dumps(variables))
        book = ["ansible-playbook", "-i", str(self._folder / "inventory.yml"), "-e", f"@{given}"]
        return ansible_env.run([*book, *argv], self._folder / "home")

    def deploy(self, *argv: str, **variables: object) -> tuple[int, str, str]:
        """Deploy the kernel; return exit status, what was said, and the summary."""
        summary = self._folder / "summary.md"
        summary.unlink(missing_ok=True)
        done = self.play(
            "deploy-kernel.yml", *argv, deploy_hilagent=str(HILAGENT), board_ramoops=RAMOOPS,
            deploy_image=str(self.kernel.image), deploy_summary=str(summary), **variables,
        )  # fmt: skip
        return done.returncode, done.stdout, summary.read_text() if summary.exists() else ""

    def on(self, board: BoardVm, command: str, key: Path | None = None) -> str:
        """Run a command on a board, by SSH alone."""
        argv = ["ssh", "-i", str(key or keys.lab_keys().client), "-o", "IdentitiesOnly=yes",
                "-o", f"UserKnownHostsFile={self._known}", "-p", str(board.port),
                "root@127.0.0.1", command]  # fmt: skip
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def boot_id(self, board: BoardVm) -> str:
        return self.on(board, "cat /proc/sys/kernel/random/boot_id")

    def reset(self, board: BoardVm) -> None:
        """Switch a board off and on, and wait until it answers."""
        subprocess.run(board.cycle, check=True, cwd=tree.TOP)
        wait = ["ansible", "-i", str(self._folder / "inventory.yml"), board.name, "-m",
                "ansible.builtin.wait_for_connection", "-a", "timeout=300"]  # fmt: skip
        done = ansible_env.run(wait, self._folder / "home")
        assert done.returncode == 0, done.stdout

    def new_key(self) -> tuple[Path, str]:
        """Make a key that opens no board yet: its file, and its public line."""
        path = self._folder / "key"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "second", "-f", str(path)]
        subprocess.run(argv, check=True)
        return path, path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    disk = debian_disk.built()
    kernel = build_kernel("patched", config=(fragment("distro"),))
    folder = tmp_path_factory.mktemp("lab")
    with (
        board_vm.running(folder / "1", "one", disk.image) as one,
        board_vm.running(folder / "2", "two", disk.image) as two,
    ):
        yield Lab(folder, (one, two), kernel)


def recap(said: str) -> dict[str, dict[str, int]]:
    """Return the numbers of PLAY RECAP, by host."""
    rows = re.findall(r"^(\S+) +: (ok=.*)$", said.partition("PLAY RECAP")[2], re.MULTILINE)
    return {
        host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", numbers)}
        for host, numbers in rows
    }


def told(rows: dict[str, dict[str, int]]) -> str:
    """Return the numbers that matter, on one line."""
    names = ("ok", "changed", "unreachable", "failed")
    return "; ".join(
        f"{host} {' '.join(f'{name}={row[name]}' for name in names)}" for host, row in rows.items()
    )


def test_the_role_twice_changes_nothing_the_second_time(lab: Lab, tell: Tell) -> None:
    """Keys, packages, ramoops and kexec; then GRUB, over it."""
    key, public = lab.new_key()
    settings = {"board_authorized_keys": [public], "board_ramoops": RAMOOPS}
    first = recap(lab.play("site.yml", **settings).stdout)
    again = lab.play("site.yml", **settings)
    second = recap(again.stdout)
    tell("role board by kexec, again", "changed=0", told(second))
    assert all(row["failed"] == row["unreachable"] == 0 for row in (first | second).values())
    assert [row["changed"] > 0 for row in first.values()] == [True, True]
    assert [row["changed"] for row in second.values()] == [0, 0], again.stdout
    assert lab.on(lab.boards[0], "cat /sys/module/pstore/parameters/backend") == "ramoops"
    assert lab.on(lab.boards[0], "id -u", key=key) == "0"
    assert lab.on(lab.boards[0], "grep ^LOAD_KEXEC /etc/default/kexec") == "LOAD_KEXEC=false"


def test_a_check_changes_nothing_and_says_what_would(lab: Lab) -> None:
    before = lab.on(lab.boards[0], "cat /boot/grub/custom.cfg || echo none")
    done = lab.play("site.yml", "--check", board_fallback="grub")
    assert done.returncode == 0, done.stdout
    assert lab.on(lab.boards[0], "cat /boot/grub/custom.cfg || echo none") == before


@pytest.mark.parametrize("mode", ["kexec", "grub"])
def test_a_good_kernel_runs_once(lab: Lab, tell: Tell, mode: str) -> None:
    assert lab.play("site.yml", board_fallback=mode).returncode == 0
    one = lab.boards[0]
    code, said, summary = lab.deploy("--limit", "one,localhost", board_fallback=mode)
    tell(f"deploy-kernel.yml by {mode}", "runs once", f"exit {code}, {told(recap(said))}")
    assert code == 0, said
    assert "| one | runs until the next reset | Linux version" in summary
    assert f"#{lab.kernel.build}" in lab.on(one, "cat /proc/version")
    lab.reset(one)
    assert f"#{lab.kernel.build}" not in lab.on(one, "cat /proc/version")


@pytest.mark.parametrize("mode", ["kexec", "grub"])
def test_a_kernel_that_panics_is_gone_by_itself(lab: Lab, tell: Tell, mode: str) -> None:
    """Nothing switches its power: the command would fail."""
    one, two = lab.boards
    before = lab.boot_id(two)
    code, said, summary = lab.deploy(
        board_fallback=mode, board_cmdline="init=/none", board_power_cycle=["false"]
    )
    tell(f"a kernel that panics, by {mode}", "back, two untouched", summary.splitlines()[-2])
    assert code == 2, said
    assert "| one | failed, its own kernel is back |" in summary
    assert "reset the board before it answered by SSH" in summary
    assert "| two | not touched |" in summary
    assert lab.boot_id(two) == before
    assert "Debian" in lab.on(one, "cat /proc/version")
    assert lab.on(one, "ls /boot/hilagent /var/lib/hilagent | grep Image || :") == ""


def test_a_kernel_that_never_answers_is_switched_off(lab: Lab, tell: Tell) -> None:
    one, two = lab.boards
    before = lab.boot_id(two)
    code, said, summary = lab.deploy(
        board_fallback="kexec", board_cmdline="systemd.mask=ssh.service",
        board_boot_timeout_s=240, board_power_cycle=one.cycle,
    )  # fmt: skip
    tell("a kernel that never answers", "back by its power", summary.splitlines()[-2])
    assert code == 2, said
    assert (
        "| one | failed, its own kernel is back | board : Start the kernel under test:" in summary
    )
    assert "| two | not touched |" in summary
    assert lab.boot_id(two) == before


def test_what_it_said_is_kept_over_the_reset(lab: Lab, tmp_path: Path) -> None:
    """The one that panicked wrote its console to ramoops, and the night's job brings it."""
    done = lab.play("nightly.yml", nightly_dir=str(tmp_path))
    logs = [path.read_text(errors="replace") for path in tmp_path.glob("pstore/one/*")]
    assert any("Kernel panic - not syncing" in log for log in logs), done.stdout
    assert any(f"#{lab.kernel.build}" in log for log in logs)
