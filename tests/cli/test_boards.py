# SPDX-License-Identifier: Apache-2.0
"""``hilagent boards``: the listing, the check and the schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hilagent import cli


def test_boards_lists_what_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["boards"]) == 0
    assert "qemu-virt" in capsys.readouterr().out
    assert cli.main(["boards", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["qemu-virt"]["kind"], rows["qemu-virt"]["needs"]) == ("emulated", [])
    assert rows["rock-5b"]["kind"] == "model"
    assert rows["rock-5b"]["needs"] == ["console", "power", "linux.ssh.host"]
    assert "cpus" in rows["sbsa-server"]["needs"]
    assert rows["sbsa-server"]["cpus"] is None


def test_the_listing_says_what_a_model_needs_and_what_can_not_be_asked_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["boards"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\nrock-5b +model .*\n.* VHE, PSCI by smc, UART 16550 at 0xfeb50000\n", out)
    assert "UART cadence at 0xff000000\n" in out
    assert "UART omap at 0x2800000\n" in out
    assert "no VHE, no PSCI, UART mini" in out
    assert "needs console, power, os.ssh.host, linux.ssh.host" in out.replace("cpus, ", "")


def test_a_folder_of_boards_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["boards", "check"]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    (tmp_path / "mine.yaml").write_text("extends: qemu-virt\nname: mine\nnonsense: 1\ncpus: 0\n")
    (tmp_path / "more.yaml").write_text("extends: mine\nname: more\n")
    assert cli.main(["boards", "check", str(tmp_path / "mine.yaml")]) == 2
    said = capsys.readouterr()
    assert "mine.yaml:3: nonsense: unknown field" in said.err
    assert "mine.yaml:4: cpus: expected 1 to 256, found 0" in said.err
    assert said.out == "1 file, 2 mistakes\n"
    assert cli.main(["boards", "check", str(tmp_path / "more.yaml")]) == 2
    assert "no board 'mine'" in capsys.readouterr().err
    in_folder = ["--boards", str(tmp_path), "check", str(tmp_path / "more.yaml")]
    assert cli.main(["boards", *in_folder]) == 2
    assert "no board" not in capsys.readouterr().err
    assert cli.main(["boards", "check", str(tmp_path / "none")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert cli.main(["boards", "--json", "check"]) == 2
    assert "--json is for the listing alone" in capsys.readouterr().err


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["boards", "schema"]) == 0
    assert "uboot" in json.loads(capsys.readouterr().out)["properties"]


def test_a_model_is_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "rock-5b"]) == 2
    said = capsys.readouterr().err
    assert "rock-5b is a model of boards: it needs console, power, linux.ssh.host" in said
    assert "extends: rock-5b" in said


def test_a_malformed_board_is_told_with_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text("schema: 1\nname: mine\nnonsense: 1\n")
    assert cli.main(["boards", "--boards", str(tmp_path)]) == 2
    assert "mine.yaml:3: nonsense: unknown field" in capsys.readouterr().err
