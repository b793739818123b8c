# SPDX-License-Identifier: Apache-2.0
"""Kernels that are broken on purpose: which are built, how they are run, what must be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from hilagent.build import series
from tests.fault.harness import Ran

LEGS = {"crash into the payload": "crash and payload", "kexec into the payload": "file and payload"}
"""What of the suite ``restart`` shows it, by how its leg begins."""
MODES = {"hyp-stub": "none", "kvm": "nvhe"}
"""The mode in which a server serves; the copied stub and the callers in any."""
SUITES = {"boot": "live"}
"""Where what never boots is seen."""


@dataclass(frozen=True)
class Broken:
    """One of ``broken.yaml``; its file documents the fields."""

    name: str
    server: str
    rule: str
    hcall: str
    what: str
    suite: str
    leg: str
    boots: bool
    cpu: int | None

    def __str__(self) -> str:
        return self.name

    @property
    def argv(self) -> list[str]:
        """The arguments of ``hilagent`` that show it."""
        mode = "none" if "KVM off" in self.leg else MODES.get(self.server, "default")
        cpu = []
        if "with VHE" in self.leg:
            mode, cpu = "default", ["-o", "cpu=max"]
        run = ["run", "qemu-virt", "-o", "smp=2", *cpu]
        run += ["--suite", SUITES.get(self.suite, self.suite)]
        only = next((words for leg, words in LEGS.items() if self.leg.startswith(leg)), "")
        narrow = ["-k", only] if only else []
        return [*run, *narrow, "--kernel", f"broken:{self.name}", "--mode", mode]

    def accused(self, done: Ran) -> str:
        """Return what is missing from the accusation; empty for nothing."""
        if not self.boots:
            return "" if "HANG" in done.verdicts else f"expected a HANG, found {done.verdicts}"
        found = {(each.rule, each.hcall, each.what) for each in done.findings}
        if not any((rule, hcall) == (self.rule, self.hcall) for rule, hcall, _ in found):
            return f"expected {self.rule} {self.hcall} {self.what}, found {found}"
        cpus = {cpu for each in done.findings for cpu in each.cpus if each.rule == self.rule}
        wrong = self.cpu is not None and cpus != {self.cpu}
        return f"expected CPU {self.cpu} alone, found {cpus}" if wrong else ""


def listed() -> list[Broken]:
    """Return every one of them."""
    path = series.folder() / "broken" / "broken.yaml"
    return [_one(each) for each in yaml.safe_load(path.read_text())["kernels"]]


def _one(each: dict[str, Any]) -> Broken:
    fields = ("name", "server", "rule", "hcall", "what", "suite", "leg")
    return Broken(
        **{name: each[name] for name in fields}, boots=each.get("boots", True), cpu=each.get("cpu")
    )
