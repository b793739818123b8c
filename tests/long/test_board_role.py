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
from tests import ansible_env
from tests.ansible import board_vm, debian_disk
from tests.ansible.board_vm import BoardVm
from tests.long.conftest import Tell

HILAGENT = Path(sys.executable).parent / "hilagent"
BOOT_S = 900
"""As slow as an emulated board on a busy host may boot."""
RAMOOPS = {"address": f"{board_vm.RESERVED[0]:#x}", "size": f"{board_vm.RESERVED[1]:#x}"}


class Lab:
    """Two boards, and Ansible with an inventory of them and a way to boot a kernel once."""

    def __init__(
        self, folder: Path, mode: str, boards: tuple[BoardVm, BoardVm], kernel: Kernel
    ) -> None:
        self.mode, self.boards, self.kernel, self._folder = mode, boards, kernel, folder
        self._settings: dict[str, object] = {"board_fallback": mode, "board_boot_timeout_s": BOOT_S}
        if mode == "kexec":
            self._settings["board_ramoops"] = RAMOOPS
        self._known = folder / "known_hosts"
        board_vm.inventory(folder / "inventory.yml", boards, self._known)

    def play(self, *argv: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Run a playbook with these variables."""
        given = self._folder / "variables.json"
        given.write_text(json.dumps(self._settings | variables))
        book = ["ansible-playbook", "-i", str(self._folder / "inventory.yml"), "-e", f"@{given}"]
        return ansible_env.run([*book, *argv], self._folder / "home")

    def deploy(self, *argv: str, **variables: object) -> tuple[int, str, str]:
        """Deploy the kernel; return exit status, what was said, and the summary."""
        summary = self._folder / "summary.md"
        summary.unlink(missing_ok=True)
        done = self.play(
            "deploy-kernel.yml", *argv, deploy_hilagent=str(HILAGENT),
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
        subprocess.run(board.cycle, check=True)
        self.wait(board.name)

    def wait(self, boards: str) -> None:
        """Wait until these boards answer."""
        argv = ["ansible", "-i", str(self._folder / "inventory.yml"), boards, "-m",
                "ansible.builtin.wait_for_connection", "-a", f"timeout={BOOT_S}"]  # fmt: skip
        done = ansible_env.run(argv, self._folder / "home")
        assert done.returncode == 0, done.stdout

    def new_key(self) -> tuple[Path, str]:
        """Make a key that opens no board yet: its file, and its public line."""
        path = self._folder / "key"
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "second", "-f", str(path)]
        subprocess.run(argv, check=True)
        return path, path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module", params=["kexec", "grub"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Boards without firmware that is known, for kexec; with UEFI for GRUB."""
    disk, uefi = debian_disk.built(), request.param == "grub"
    kernel = build_kernel("patched", config=(fragment("distro"),))
    folder = tmp_path_factory.mktemp("lab")
    with (
        board_vm.running(folder / "1", "one", disk, uefi=uefi) as one,
        board_vm.running(folder / "2", "two", disk, uefi=uefi) as two,
    ):
        lab = Lab(folder, request.param, (one, two), kernel)
        lab.wait("boards")
        yield lab


def recap(said: str) -> dict[str, dict[str, int]]:
    """Return the numbers of PLAY RECAP, by host."""
    rows = re.findall(r"^(\S+) +: (ok=.*)$", said.partition("PLAY RECAP")[2], re.MULTILINE)
    return {
        host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", numbers)}
        for host, numbers in rows
    }


def rows(summary: str) -> str:
    """Return a summary's boards and outcomes, on one line."""
    return "; ".join(re.findall(r"^\| (\w+ \| [^|]*?) \|", summary, re.MULTILINE)[1:])


def told(found: dict[str, dict[str, int]]) -> str:
    """Return the numbers that matter, on one line."""
    names = ("ok", "changed", "unreachable", "failed")
    return "; ".join(
        f"{host} {' '.join(f'{name}={row[name]}' for name in names)}" for host, row in found.items()
    )


def test_the_role_twice_changes_nothing_the_second_time(lab: Lab, tell: Tell) -> None:
    key, public = lab.new_key()
    first = recap(lab.play("site.yml", board_authorized_keys=[public]).stdout)
    again = lab.play("site.yml", board_authorized_keys=[public])
    second = recap(again.stdout)
    tell(f"role board, {lab.mode}, again", "changed=0", told(second))
    assert all(row["failed"] == row["unreachable"] == 0 for row in first.values()), first
    assert [row["changed"] > 0 for row in first.values()] == [True, True]
    assert [row["changed"] for row in second.values()] == [0, 0], again.stdout
    assert lab.on(lab.boards[0], "id -u", key=key) == "0"
    assert lab.on(lab.boards[0], "grep ^LOAD_KEXEC /etc/default/kexec") == "LOAD_KEXEC=false"


def test_a_check_changes_nothing(lab: Lab) -> None:
    look = "find /etc /boot /var/lib/hilagent -type f -exec sha256sum {} + | sort | sha256sum"
    before = lab.on(lab.boards[0], look)
    done = lab.play("site.yml", "--check", board_authorized_keys=["ssh-ed25519 AAAAother third"])
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout)["one"]["changed"] == 1
    assert lab.on(lab.boards[0], look) == before


def test_a_good_kernel_runs_once(lab: Lab, tell: Tell) -> None:
    one = lab.boards[0]
    code, said, summary = lab.deploy("--limit", "one,localhost")
    tell(f"deploy-kernel.yml, {lab.mode}", "runs once", f"exit {code}, {told(recap(said))}")
    assert code == 0, said
    assert "| one | runs until the next reset | Linux version" in summary
    assert f"#{lab.kernel.build}" in lab.on(one, "cat /proc/version")
    lab.reset(one)
    assert "Debian" in lab.on(one, "uname -v")


def test_a_kernel_that_panics_is_gone_by_itself(lab: Lab, tell: Tell) -> None:
    """Nothing switches its power: the command would fail."""
    one, two = lab.boards
    before = lab.boot_id(two)
    code, said, summary = lab.deploy(board_cmdline="init=/none", board_power_cycle=["false"])
    tell(f"a kernel that panics, {lab.mode}", "back, two untouched", rows(summary))
    assert code == 2, said
    assert "| one | failed, its own kernel is back |" in summary
    assert "reset the board before it answered by SSH" in summary
    assert "| two | not touched |" in summary
    assert lab.boot_id(two) == before
    assert "Debian" in lab.on(one, "uname -v")
    assert lab.on(one, "find /boot/hilagent /var/lib/hilagent -type f || :") == ""


def test_what_it_said_is_brought_by_the_night(lab: Lab, tmp_path: Path) -> None:
    """It wrote its console to ramoops. UEFI and GRUB know nothing of the region, and use it."""
    if lab.mode == "grub":
        pytest.skip("between two boots by UEFI nothing keeps that memory free")
    done = lab.play("nightly.yml", nightly_dir=str(tmp_path))
    logs = [path.read_text(errors="replace") for path in tmp_path.glob("pstore/one/*")]
    assert any("Kernel panic - not syncing" in log for log in logs), done.stdout
    assert any(f"#{lab.kernel.build}" in log for log in logs)


def test_a_kernel_that_never_answers_is_switched_off(lab: Lab, tell: Tell) -> None:
    one, two = lab.boards
    before = lab.boot_id(two)
    code, said, summary = lab.deploy(
        board_cmdline="systemd.mask=ssh.service", board_boot_timeout_s=240,
        board_power_cycle=one.cycle,
    )  # fmt: skip
    tell(f"a kernel that never answers, {lab.mode}", "back by its power", rows(summary))
    assert code == 2, said
    assert "| one | failed, its own kernel is back | board : Start the kernel under" in summary
    assert "| two | not touched |" in summary
    assert lab.boot_id(two) == before
