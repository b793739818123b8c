# SPDX-License-Identifier: Apache-2.0
"""The role labhost from a bare Debian, over SSH: twice, and its services spoken to.

The tests of a Debian build on each other, in this order.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ansible.played import Played
from tests.long import bare, booted, lab_to_be
from tests.long.conftest import Tell
from tests.long.lab_to_be import LAB, Lab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a chroot")
TALK = """
import select, sys
from hilagent.transport import rfc2217
stream = rfc2217.connect(sys.argv[1], 4001, 1500000)
stream.write(b"hello, board")
heard = b""
while heard != b"hello, board":
    assert select.select([stream.fileno()], [], [], 20)[0], heard
    heard += stream.read()
print(heard.decode())
"""


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not bare.mirror():
        pytest.skip("this host's apt names no Debian mirror")
    folder = tmp_path_factory.mktemp(request.param)
    with booted.debian(request.param) as machine:
        yield Lab(request.param, machine, folder, lab_to_be.wheel(folder))


def _told(tell: Tell, lab: Lab, what: str, goal: str, played: Played) -> None:
    tell(f"{lab.suite}: {what}", goal, f"{played.recap} ({lab.took_s:.0f} s)")


def test_a_dry_run_changes_nothing(lab: Lab, tell: Tell) -> None:
    played = lab.play("--check")
    _told(tell, lab, "dry run", "failed=0", played)
    assert played.status == 0, played.said
    assert not (lab.machine.root / "etc/hilagent").exists()


def test_the_first_time_makes_a_lab_host(lab: Lab, tell: Tell) -> None:
    played = lab.play()
    _told(tell, lab, "first run", "failed=0", played)
    assert played.status == 0, played.said
    assert played.count("changed") > 20
    assert "sesame" not in played.said
    assert lab.machine.run("systemctl", "is-system-running").stdout == "running\n"


def test_the_second_time_changes_nothing(lab: Lab, tell: Tell) -> None:
    played = lab.play()
    _told(tell, lab, "second run", "changed=0", played)
    assert played.status == 0, played.said
    assert played.changed == []
    assert played.count("changed") == 0


def test_its_units_have_no_fault_that_systemd_knows(lab: Lab) -> None:
    units = sorted(path.name for path in (lab.machine.root / "etc/systemd/system").glob("*lagent*"))
    units += ["labgrid-coordinator.service", "labgrid-exporter.service"]
    assert len(units) == 7
    done = lab.machine.run("systemd-analyze", "verify", *units)
    ours = [line for line in done.stdout.splitlines() if "hilagent" in line or "labgrid" in line]
    assert ours == []
    assert lab.machine.run("systemctl", "is-active", *lab_to_be.RUNNING).returncode == 0


def test_the_service_user_sees_the_boards(lab: Lab) -> None:
    said = lab.as_user("hilagent", "boards")
    assert "/etc/hilagent/boards/rock.yaml" in said
    assert lab.as_user("cat", "/etc/hilagent/secrets/bmc7") == "sesame\n"
    nobody = lab.machine.run("cat", "/etc/hilagent/secrets/bmc7", user="nobody")
    assert "Permission denied" in nobody.stdout
    pinned = "from hilagent.transport import known; print(*known.read(known.path_of('rock')))"
    env = "HILAGENT_KNOWN_HOSTS=/etc/hilagent/known_hosts"
    assert lab.as_user("env", env, lab_to_be.PYTHON, "-c", pinned) == "rock/os\n"


def test_tftp_is_served_to_the_lab_alone(lab: Lab) -> None:
    lab.as_user("sh", "-c", "echo from the lab host > /srv/tftp/hello")
    with lab.machine.board_side() as board:
        curl = ["curl", "--silent", "--max-time", "20", f"tftp://{booted.ADDRESS}/hello"]
        done = subprocess.run([*board, *curl], capture_output=True, text=True)
    assert done.stdout == "from the lab host\n"
    sockets = lab.machine.run("ss", "-Hlun", "sport", "=", ":69").stdout.splitlines()
    served = {line.split()[3].rpartition(":")[0].partition("%")[0] for line in sockets}
    assert booted.ADDRESS in served
    assert not served & {"127.0.0.1", "[::1]", "0.0.0.0", "*", "[::]"}


def test_ser2net_serves_the_adapter_by_its_name(lab: Lab) -> None:
    """A pty stands in for the adapter: its name is udev's to give."""
    (lab.machine.root / "opt/talk.py").write_text(TALK)
    with lab.echo("/dev/hilagent/rock"):
        said = lab.as_user(lab_to_be.PYTHON, "/opt/talk.py", booted.ADDRESS)
    assert said == "hello, board\n"


def test_udev_gives_the_adapter_its_name(lab: Lab) -> None:
    """By the rule's own ID_PATH; udevd doesn't run here, and its rules are tried all the same."""
    early = 'SUBSYSTEM=="tty", ENV{ID_PATH}="platform-usb-0:1.4:1.0"\n'
    (lab.machine.root / "etc/udev/rules.d/89-test.rules").write_text(early)
    done = lab.machine.run("udevadm", "test", "--action=add", "/sys/class/tty/tty")
    assert "hilagent/rock" in done.stdout
    assert "hilagent/pi" not in done.stdout
    bad = [line for line in done.stdout.splitlines() if "90-hilagent.rules:" in line]
    assert [line for line in bad if "nvalid" in line or "nknown" in line] == []


def test_the_coordinator_knows_what_the_exporter_has(lab: Lab) -> None:
    assert "rock-a/NetworkSerialPort" in lab.as_user("labgrid-client", "resources")
    lab.as_user("labgrid-client", "-p", "rock-a", "create")
    lab.as_user("labgrid-client", "-p", "rock-a", "add-match", "*/rock-a/*")
    lab.machine.run("systemctl", "restart", "labgrid-coordinator.service")
    lab.until("labgrid-client", "resources", says="rock-a/NetworkSerialPort")
    assert lab.as_user("labgrid-client", "places").split() == ["rock-a"]


def test_old_runs_and_the_disk_are_looked_after(lab: Lab) -> None:
    for name in ("prune", "disk-space"):
        done = lab.machine.run("systemctl", "start", f"hilagent-{name}.service")
        assert done.returncode == 0, lab.machine.run("journalctl", "-u", f"hilagent-{name}").stdout
    said = lab.machine.run("systemctl", "list-timers", "--all").stdout
    assert "hilagent-prune.timer" in said
    assert "hilagent-disk-space.timer" in said


def test_the_service_user_comes_to_a_verdict(lab: Lab, tell: Tell) -> None:
    argv = ("hilagent", "run", "qemu-virt", "--suite", "architecture")
    done = lab.machine.run(*argv, user="hilagent")
    verdict = next((line for line in done.stdout.splitlines() if "13 pass" in line), "none")
    tell(f"{lab.suite}: {' '.join(argv)}", "13 pass", verdict.strip())
    assert done.returncode == 0, done.stdout
    assert list((lab.machine.root / "srv/hilagent/runs").glob("*qemu-virt*"))


def test_what_a_killed_run_left_on_is_switched_off(lab: Lab) -> None:
    lab.outlet()
    with lab.echo("/dev/hilagent/rock"), lab.running("hilagent", "run", "rock"):
        lab.until("cat", "/srv/hilagent/outlet", says="on")
    lab.until("hilagent", "boards", says="may be on")
    done = lab.machine.run("bash", "-e", f"{lab_to_be.LIB}/job-completed.sh", user="hilagent")
    assert done.returncode == 0, done.stdout
    assert lab.as_user("cat", "/srv/hilagent/outlet") == "off\n"
    assert "may be on" not in lab.as_user("hilagent", "boards")


def test_a_wrong_board_is_refused_and_the_old_one_stays(lab: Lab, tell: Tell) -> None:
    file = lab.machine.root / "etc/hilagent/boards/rock.yaml"
    before = file.read_bytes()
    lab.inventory(LAB.replace("rock-pi-4", "rock-pi-9"))
    played = lab.play("--tags", "labhost_boards")
    _told(tell, lab, "a wrong board", "failed=1", played)
    assert played.count("failed") == 1
    assert played.changed == []
    assert "rock.yaml:4: extends: no board 'rock-pi-9'" in played.said
    assert file.read_bytes() == before


def test_another_inventory_changes_what_it_says_and_nothing_else(lab: Lab, tell: Tell) -> None:
    """A bound on the disk that no disk keeps, no board, and no exporter."""
    less = LAB.partition("labhost_boards")[0]
    lab.inventory(f"{less}labhost_free_gib: 99999\n")
    played = lab.play()
    _told(tell, lab, "another inventory", "changed=5", played)
    unit = "hilagent-disk-space.service"
    assert played.changed == [
        "Remove what the inventory doesn't have any more: /etc/hilagent/boards/rock.yaml",
        "Write what is done before and after a job: disk-space.sh",
        "End what is to run no more: labgrid-exporter.service",
        "Remove its unit: labgrid-exporter.service",
        f"Write the units: {unit}",
    ], played.said
    assert "/etc/hilagent/boards/rock.yaml" not in lab.as_user("hilagent", "boards")
    assert lab.machine.run("systemctl", "start", unit).returncode != 0
    done = lab.machine.run("bash", "-e", f"{lab_to_be.LIB}/job-started.sh", user="hilagent")
    assert done.returncode == 125
    assert "MiB free, 99999 GiB are needed" in done.stdout


def test_a_new_wheel_replaces_the_old_one(lab: Lab, tell: Tell) -> None:
    link = lab.machine.root / "opt/hilagent/venv"
    before = os.readlink(link)
    with lab.wheel.open("ab") as out:  # another file by its hash, the same by what is in it
        out.write(b"\0")
    played = lab.play("--tags", "labhost_hilagent")
    _told(tell, lab, "another wheel", "failed=0", played)
    assert played.status == 0, played.said
    assert "Make it the one that counts" in played.changed
    assert os.readlink(link) != before
    assert (link.parent / before / "installed").is_file()  # a run may still use it
    assert Path(os.readlink(link)).name in {path.name for path in link.parent.iterdir()}
