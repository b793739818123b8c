# SPDX-License-Identifier: Apache-2.0
"""What ``--help`` of each verb says last: how it is used, and what its exit code means.

A test reads every line as the command line would.
"""

from __future__ import annotations

from collections.abc import Iterator

import click

_RUN = """\
0    it was observed, and it is what the contract says
1    what is under test is accused, with the evidence
2    wrong usage
3    hilagent itself is wrong
125  the lab, a board that isn't as declared, or nothing that could be judged"""

EXIT_CODES = {
    "": f"{_RUN}\n130  SIGINT; 143 SIGTERM",
    "run": f"{_RUN}\nThe worst decides, in this order: 1, 3, 125; of many boards, then 2.\n"
           "128  with --bisect, instead of 2 and 3: git stops",
    "soak": _RUN,
    "hvc": "0    it came home\n1    it crashed or hung the CPU that issued it\n125  the lab",
    "doctor": "0    all is well\n125  a layer is broken, or not as the board's file says",
    "onboard": "0    the file was written, and is right\n125  the board didn't answer",
    "build kernel": "0    it was built\n1    it doesn't build\n125  this host lacks something",
    "boards check": "0    nothing is wrong\n2    something is",
    "diff": "0    nothing began to fail\n1    something did\n125  the second judged nothing",
    "audit": "0    no breach\n1    its vectors break their contract\n"
             "125  some of their code could not be followed",
    "power": "0    it was switched\n125  it couldn't be, or the switch says the opposite",
}  # fmt: skip
"""By verb; the empty one is that of all verbs."""

EXAMPLES = {
    "run": (
        "hilagent run",
        "hilagent run rock --suite architecture --wait 30m",
        "hilagent run qemu-virt --vectors mutant:one_misrouted -o smp=1",
        "hilagent run qemu-virt --suite restart --kernel patched --mode nvhe --chain 3",
        "hilagent run --tag nightly --tag soc=rk3399 --jobs 4",
        "git bisect run hilagent run rock --source . --suite restart --bisect",
        "hilagent run --reserve soc=rk3399 --coordinator lab0:20408",
    ),
    "soak": ("hilagent soak rock --for 8h", "hilagent soak rock --suite restart --chain 10"),
    "hvc": (
        "hilagent hvc qemu-virt 1",
        "hilagent hvc rock 0x102 --x0 0x4000 --origin EL1h --cpu 2",
    ),
    "audit": (
        "hilagent audit path/to/vmlinux",
        "hilagent audit Image+System.map --abi iss-6.12 --json",
    ),
    "shell": ("hilagent shell rock --vectors reference-kvm",),
    "power": ("hilagent power rock cycle", "hilagent power rock state --wait 10m"),
    "console": (
        "hilagent console rock --power-on --timestamps",
        "hilagent console rock --watch",
        "echo version | hilagent console rock --cycle --quiet 10",
    ),
    "trust": ("hilagent trust rock", "hilagent trust rock --system rootfs"),
    "completion": (
        'eval "$(hilagent completion bash)"',
        "hilagent completion fish > ~/.config/fish/completions/hilagent.fish",
    ),
    "build": ("hilagent build payload", "hilagent build kernel debian"),
    "build payload": ("hilagent build payload --out /srv/tftp",),
    "build kernel": ("hilagent build kernel", "hilagent build kernel broken:stub-get-cpu1"),
    "build module": ("hilagent build module patched --out .",),
    "build rootfs": ("hilagent build rootfs patched --out .",),
    "doctor": ("hilagent doctor rock", "hilagent doctor qemu-virt --json"),
    "onboard": (
        "hilagent onboard /dev/ttyUSB0 --name rock --power-on 'pdu on' --power-off 'pdu off'",
        "hilagent onboard tcp:lab7:4001 --name rock --baud 1500000",
    ),
    "boards": ("hilagent boards", "hilagent boards --json"),
    "boards check": ("hilagent boards check", "hilagent boards check lab/boards"),
    "boards release": ("hilagent boards release rock",),
    "boards schema": ("hilagent boards schema > boards.json",),
    "report": ("hilagent report latest", "hilagent report latest --format markdown"),
    "diff": ("hilagent diff 20261127T2245 latest",),
    "history": ("hilagent history rock", "hilagent history prune --keep-days 90 --dry-run"),
    "setup": ("hilagent setup --check",),
}


def shown_by(command: click.Command, verb: str = "") -> None:
    """Let ``command``, and each verb below it, show its examples and exit codes."""
    command.epilog = "\n\n".join(_paragraphs(verb)) or None
    if isinstance(command, click.Group):
        for name, each in command.commands.items():
            shown_by(each, f"{verb} {name}".strip())


def _paragraphs(verb: str) -> Iterator[str]:
    """Yield them as click wants what it isn't to wrap."""
    for title, lines in (
        ("Examples", EXAMPLES.get(verb, ())),
        ("Exit codes", EXIT_CODES.get(verb, "").splitlines()),
    ):
        if lines:
            yield "\n".join(["\b", f"{title}:", *(f"  {line}" for line in lines)])
