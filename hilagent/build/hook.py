# SPDX-License-Identifier: Apache-2.0
"""What hatchling runs when it makes a wheel: builds what hosts without a compiler need.

An editable installation builds nothing. This file is no part of a wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WITHOUT = "HILAGENT_WITHOUT_PREBUILT"
_TARGET = "hilagent/_data/prebuilt"


class PrebuiltHook(BuildHookInterface[Any]):
    """Adds ``prebuilt/`` to a wheel; a wheel that can't have it isn't made."""

    PLUGIN_NAME = "custom"
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, in a process of its own that imports this tree's hilagent."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="hilagent-wheel-")
        path = os.pathsep.join(filter(None, [self.root, os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        without = bool(os.environ.get(WITHOUT))
        argv = [sys.executable, "-m", "hilagent.build.pack", self._folder.name]
        argv += ["--nothing"] if without else []
        done = subprocess.run(argv, env=env, cwd=self.root, capture_output=True, text=True)
        if done.returncode:
            self.app.abort(
                f"{done.stderr.strip()}\nA wheel carries the payload, so that hosts without a "
                f"compiler can run it. {WITHOUT}=1 makes one without; those hosts then can't."
            )
        build_data["force_include"][self._folder.name] = _TARGET

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was built."""
        if self._folder is not None:
            self._folder.cleanup()
