# SPDX-License-Identifier: Apache-2.0
"""``--help`` of every verb is a manual page: summary, arguments, options, examples, exit codes;
``--version`` tells the payload; a shell completes what can be named."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hilagent import __version__, cli
from hilagent.build import cache, payload
from hilagent.build.series import names as kernels
from hilagent.cli import bisecting
from hilagent.cli.examples import EXAMPLES, EXIT_CODES
from hilagent.result import EXIT_BUG, EXIT_SIGINT, EXIT_SIGTERM, EXIT_USAGE, RENDERINGS
from tests import tree

ROOT = cli._hilagent
_UNITS = re.compile(r"TIME|SECONDS|BITS|DAYS|BYTES|\bN\b|NUMBER|CPU|bits a second|How often|VALUE")


def _verbs(command: click.Command = ROOT, name: str = "") -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for each, below in command.commands.items():
            yield from _verbs(below, f"{name} {each}".strip())


VERBS = dict(_verbs())
NAMED = [name for name in VERBS if name]


def _help(name: str) -> str:
    words = name.split()
    context = click.Context(VERBS[name], info_name=words[-1] if words else "hilagent",
                            max_content_width=80)  # fmt: skip
    return VERBS[name].get_help(context)


@pytest.mark.parametrize("name", NAMED)
def test_each_verb_has_a_summary_that_fits_its_line(name: str) -> None:
    listed = _help(name.rpartition(" ")[0])
    first = (VERBS[name].help or "").split("\n\n")[0].replace("\n", " ")
    assert first.endswith(".")
    assert re.search(rf"^  {name.split()[-1]} +{re.escape(first)}$", listed, re.M)


@pytest.mark.parametrize("name", VERBS)
def test_each_option_says_what_it_does_and_in_which_unit(name: str) -> None:
    for param in VERBS[name].params:
        if not isinstance(param, click.Option):
            continue
        assert (param.help or "").endswith((".", ").")), param.opts
        measured = isinstance(param.type, click.types.IntParamType | click.types.FloatParamType)
        if measured or param.type.name in ("time", "number"):
            said = f"{param.metavar} {param.help}"
            assert _UNITS.search(said), param.opts


@pytest.mark.parametrize("name", NAMED)
def test_each_argument_is_explained(name: str) -> None:
    command = VERBS[name]
    for param in command.params:
        if isinstance(param, click.Argument) and name != "setup":
            word = re.findall(r"[A-Z]{2,}", param.make_metavar(click.Context(command)))
            choices = isinstance(param.type, click.Choice)
            assert choices or re.search(rf"\b{word[0]}\b", command.help or ""), param.name


def test_each_verb_has_an_example_and_each_example_a_verb() -> None:
    assert set(EXAMPLES) == set(NAMED)
    assert set(EXIT_CODES) <= set(VERBS)


@pytest.mark.parametrize("line", [line for each in EXAMPLES.values() for line in each])
def test_each_example_is_accepted(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = line.partition('eval "$(')[2].rstrip(')"') or line.split(" | ")[-1].split(" > ")[0]
    words = shlex.split(ours.removeprefix("git bisect run "))
    assert words.pop(0) == "hilagent"
    command: click.Command = ROOT
    name = ""
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        name = f"{name} {words[0]}".strip()
        command = command.commands[words.pop(0)]
    assert any(line in EXAMPLES[name.rsplit(" ", n)[0]] for n in range(2))
    with command.make_context(name, words):
        pass
    for kernel in re.findall(r"(?:build kernel|--kernel|rootfs|module) ([a-z][a-z0-9:-]+)", line):
        assert kernel in (*kernels(), "debian")


@pytest.mark.parametrize("name", [name for name in VERBS if name != "setup"])
def test_help_shows_all_of_it_unwrapped(name: str) -> None:
    said = _help(name)
    shown = [*EXAMPLES.get(name, ()), *EXIT_CODES.get(name, "").splitlines()]
    assert [line for line in shown if f"    {line}\n" not in f"{said}\n"] == []
    assert max(len(line) for line in said.splitlines()) <= 100


def test_help_of_setup_is_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hilagent", "setup", "--help"],
        cwd=tree.TOP, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--check" in done.stdout
    assert "Example: run --yes" in done.stdout


def test_exit_codes_are_those_of_the_table() -> None:
    known = {each.exit_code for each in RENDERINGS.values()}
    known |= {bisecting.STOP, EXIT_BUG, EXIT_USAGE, EXIT_SIGINT, EXIT_SIGTERM, 0}
    for text in EXIT_CODES.values():
        assert {int(code) for code in re.findall(r"^\d+|(?<=; )\d+(?= S)", text, re.M)} <= known


def _version() -> list[str]:
    argv = [sys.executable, "-m", "hilagent", "--version"]
    return subprocess.run(
        argv, cwd=tree.TOP, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_version_tells_the_payload_that_a_run_would_load() -> None:
    built = payload.build_payload()
    assert _version() == [f"hilagent, version {__version__}", f"payload, build id {built.build_id}"]


def test_version_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.ENV, str(tmp_path / "cache"))
    assert _version()[1] == "payload, not built yet: 'hilagent build payload' builds it"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _version()[1].startswith("payload, not built yet")
    assert not (tmp_path / "cache").exists()


@functools.cache
def _script() -> str:
    words = [sys.executable, "-m", "hilagent", "completion", "bash"]
    return subprocess.run(words, capture_output=True, text=True, cwd=tree.TOP, check=True).stdout


def _bash(words: str, **env: str) -> list[str]:
    """What a real bash offers behind these words, by the script that is printed for it."""
    code = (
        f"{_script()}\n"
        f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
        '_hilagent_completion hilagent; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    own = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **env}
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, env=own, cwd=tree.TOP
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_verbs_boards_and_values(tmp_path: Path) -> None:
    (tmp_path / "qemu-mine.yaml").touch()
    assert _bash("hilagent doc") == ["doctor"]
    assert "qemu-virt" in _bash("hilagent run qemu-v")
    assert "qemu-mine" in _bash(f"hilagent run --boards {tmp_path} qemu-m")
    assert _bash("hilagent run --suite arch") == ["architecture"]
    assert _bash("hilagent audit --abi iss-2") == ["iss-2015"]
    assert _bash("hilagent run qemu-virt --vec") == ["--vectors"]


def test_a_shell_completes_runs(tmp_path: Path) -> None:
    (tmp_path / "20261127T224501Z-rock-0aa9da").mkdir()
    runs = {"HILAGENT_RUNS": str(tmp_path)}
    assert _bash("hilagent report 2026", **runs) == ["20261127T224501Z-rock-0aa9da"]
    assert _bash("hilagent diff x", **runs) == []
    assert _bash("hilagent diff ''", HILAGENT_RUNS=str(tmp_path / "none")) == []


def test_a_folder_that_is_not_there_completes_nothing() -> None:
    assert _bash("hilagent run --boards /nonexistent qemu") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert f"_HILAGENT_COMPLETE={shell}_complete" in said
