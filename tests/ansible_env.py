# SPDX-License-Identifier: Apache-2.0
"""Ansible and its linter for the tests: 92 MB that nobody needs who only tests boards."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import locked_env, tree

FOLDER = tree.TOP / "ansible"


def tool(name: str) -> str:
    """Return the path of ``ansible-playbook``, ``ansible-lint`` and so on."""
    return str(_bin() / name)


def run(
    argv: Sequence[str | Path],
    home: Path,
    cwd: Path = FOLDER,
    env: Mapping[str, str] | None = None,
    *,
    root: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run one of the tools, ``argv[0]`` its name, with this environment's others in PATH.

    Args:
        home: where Ansible keeps what it writes by itself.
        env: variables besides this process's.
        root: be root of a user namespace, if this user isn't: modules give files to root.

    Returns what it came to, stdout and stderr as one text. A status other than 0 raises nothing.
    """
    name, *rest = argv
    own = {
        "PATH": f"{_bin()}:{os.environ.get('PATH', '')}",
        "ANSIBLE_HOME": str(home),
        "ANSIBLE_CONFIG": str(FOLDER / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
    }
    as_root = ["unshare", "--map-root-user"] if root and os.geteuid() != 0 else []
    # Ansible wants a UTF-8 locale, and every glibc has this one.
    return subprocess.run(
        [*as_root, tool(str(name)), *rest],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **own, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _bin() -> Path:
    return locked_env.folder("ansible") / "bin"
