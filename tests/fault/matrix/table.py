# SPDX-License-Identifier: Apache-2.0
"""The matrix: what may come of a run in which something goes wrong, by what and when.

A cell says which outcomes are allowed, the least share of runs that must reach the right
verdict all the same, and words one of which a run without a verdict must say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fault.matrix.score import Came
from tests.fault.matrix.troubles import TROUBLES


@dataclass(frozen=True)
class Phase:
    """A part of a run, as moments of `hilagent.testing.simulated`.

    Attributes:
        begins: the first words of its step.
        first, last: which share of what the board says in that step belongs to it.
    """

    begins: str
    first: float = 0.0
    last: float = 0.95


LAST_TEST = "clobber[hyp-stub-unknown-stack]"
PHASES: Mapping[str, Phase] = {
    "prompt": Phase("reach U-Boot"),
    "upload": Phase("load the payload"),
    "hello": Phase("start the payload", 0.56),
    "sweep": Phase("sweep reference-stub"),
    "report": Phase(f"outcome {LAST_TEST}", 0.0, 0.0),
}


@dataclass(frozen=True)
class Allowed:
    """What may come of a run.

    Attributes:
        least: of all runs, the share that must be right.
        also: what else may come of one.
        words: one of them must be said where it isn't right.
    """

    least: float = 1.0
    also: frozenset[Came] = field(default_factory=frozenset)
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One of the matrix."""

    trouble: str
    phase: str
    allowed: Allowed


RIGHT = Allowed()
STOPPED = Allowed(0.0, frozenset({Came.STOPPED}))
CUT_SHORT = Allowed(0.0, frozenset({Came.KILLED}))


def lab(*words: str, least: float = 0.0) -> Allowed:
    """Return a cell in which the lab may be blamed, by these words."""
    return Allowed(least, frozenset({Came.INFRA}), words)


_ON_LINE = ("prompt", "upload", "hello", "sweep")
_NO_PROMPT = lab("U-Boot never came to its prompt")
_GONE = lab("the simulated console")
_NOT_TAKEN = lab("took no more bytes")
_NO_POWER = lab("the board lost its power")
_STUCK = lab("the payload from before power was cycled still runs", least=0.75)
"""Right, but where the subject hangs: only power ends that, and this switch gives none."""
_NO_SECOND_PROMPT = lab("U-Boot never came to its prompt", least=0.75)
"""Right, but where the subject hangs, and U-Boot is needed again."""


def _everywhere(allowed: Allowed, phases: Sequence[str] = _ON_LINE) -> dict[str, Allowed]:
    return dict.fromkeys(phases, allowed)


ONE_BYTE = (
    "a byte is lost", "a bit is flipped", "a byte comes twice", "garbage before a byte",
    "a byte to the board is lost", "a bit to the board is flipped",
    "a byte to the board comes twice", "garbage to the board",
)  # fmt: skip
SPOKEN = tuple(name for name in TROUBLES if name.startswith("the payload's packets are "))
_ROWS: Mapping[str, Mapping[str, Allowed]] = {
    **{name: _everywhere(RIGHT) for name in ONE_BYTE},
    "0.1 % of the bytes are bad": _everywhere(lab("not reached", "YMODEM", least=0.9)),
    "1 % of the bytes are bad": {
        "prompt": lab("not reached in 3 tries"),
        "upload": lab("not reached in 3 tries", least=0.2),
        "hello": lab("not reached", "heard", "failed", "once", least=0.4),
        "sweep": lab("not reached", "heard", "failed", "once", least=0.4),
    },
    "the board stalls for 3 s": _everywhere(RIGHT),
    "the board stalls for 40 s": _everywhere(RIGHT),
    "the baud rate drifts until power": {"prompt": RIGHT, "upload": RIGHT, "sweep": RIGHT},
    "the baud rate drifts for good": {
        "prompt": _NO_PROMPT, "upload": _NO_PROMPT, "sweep": _NO_PROMPT,
    },
    "the line has 7 bits": _everywhere(RIGHT),
    "the line swallows NULs": _everywhere(RIGHT),
    "the line takes XON and XOFF": _everywhere(RIGHT),
    "the wire to the board breaks": _everywhere(_NO_PROMPT),
    "the wire from the board breaks": _everywhere(_NO_PROMPT),
    "the adapter is unplugged": {**_everywhere(_GONE), "report": RIGHT},
    "the adapter is away for 4 s": {**_everywhere(RIGHT), "report": RIGHT},
    "an XOFF for 4 s": _everywhere(RIGHT),
    "an XOFF for good": {**_everywhere(_NOT_TAKEN), "report": RIGHT},
    "500 NULs": _everywhere(RIGHT),
    "noise of 300 bytes": _everywhere(RIGHT),
    "a flood of 220 KB": {**_everywhere(RIGHT), "report": RIGHT},
    "an endless line of 200 KB": {**_everywhere(RIGHT), "report": RIGHT},
    "a kernel's line": _everywhere(RIGHT),
    "a prompt that is none": _everywhere(RIGHT),
    "a countdown that is none": _everywhere(RIGHT),
    "a panic's text": {**_everywhere(RIGHT), "report": RIGHT},
    "the board resets once": {**_everywhere(RIGHT), "report": RIGHT},
    "the board hangs once": {**_everywhere(RIGHT), "report": RIGHT},
    "the board loses power, and its switch tells": {
        "prompt": RIGHT, "upload": RIGHT, "hello": _NO_POWER, "sweep": _NO_POWER, "report": RIGHT,
    },
    "the board loses power, and nobody tells": {**_everywhere(RIGHT), "report": RIGHT},
    **{name: _everywhere(RIGHT, ("hello", "sweep")) for name in SPOKEN},
    "the payload's packets are refusing": {
        "hello": RIGHT,
        "sweep": Allowed(0.0, frozenset({Came.BUG}), ("has run another job",)),
    },
    "the switch sticks when off": {
        "prompt": _STUCK, "sweep": _STUCK, "report": RIGHT,
    },
    "the switch sticks when off, and tells": _everywhere(
        lab("its switch says that it is on"), ("prompt", "sweep", "report")
    ),
    "the switch lies": {
        "prompt": _STUCK, "sweep": _STUCK, "report": RIGHT,
    },
    "the switch is of another outlet": {
        "prompt": _STUCK, "sweep": _STUCK, "report": RIGHT,
    },
    "the switch is 5 s late": _everywhere(RIGHT, ("prompt", "sweep", "report")),
    "the switch fails every 2nd time": _everywhere(
        lab("the simulated relay didn't answer", least=0.3), ("prompt", "sweep", "report")
    ),
    "U-Boot echoes nothing": _everywhere(lab("the echo"), ("prompt", "upload")),
    "U-Boot never prompts": _everywhere(_NO_SECOND_PROMPT, ("prompt", "upload")),
    "U-Boot's commands fail": _everywhere(lab("Unknown command 'cr"), ("prompt", "upload")),
    "the disk is full": {**_everywhere(CUT_SHORT), "report": CUT_SHORT},
    "Ctrl-C": {**_everywhere(STOPPED), "report": STOPPED},
    "SIGTERM": {**_everywhere(STOPPED), "report": STOPPED},
    "kill -9": {**_everywhere(CUT_SHORT), "report": CUT_SHORT},
}  # fmt: skip


def cells() -> Iterator[Cell]:
    """Yield the cells in simulated time, row by row."""
    for trouble, phases in _ROWS.items():
        for phase, allowed in phases.items():
            yield Cell(trouble, phase, allowed)


REAL: Mapping[tuple[str, str], str] = {
    (trouble, phase): f"tests.fault.{module}::test_{name}"
    for trouble, phase, module, name in (
        ("no EL2", "hello", "test_outcomes",
         "a_board_without_el2_does_not_meet_the_precondition"),
        ("the image never arrives whole", "upload", "test_outcomes",
         "an_image_that_never_arrives_whole_is_not_started"),
        ("the image is spoilt once", "upload", "test_outcomes",
         "an_image_that_is_spoilt_once_is_loaded_again"),
        ("a cached image is cut short", "prompt", "test_outcomes",
         "a_cached_image_that_is_cut_short_is_not_taken"),
        ("the prompt is another", "prompt", "test_outcomes",
         "a_prompt_that_the_board_file_has_wrong_is_named"),
        ("the emulator is killed", "sweep", "test_outcomes",
         "an_emulator_that_is_killed_in_mid_sweep_is_the_labs"),
        ("the host key changed", "prompt", "test_linux_outcomes",
         "a_host_key_that_changed_sends_nothing_to_the_board"),
        ("the key is refused", "prompt", "test_linux_outcomes",
         "a_key_that_the_board_refuses_is_the_labs"),
        ("the board's disk is full", "kexec", "test_linux_outcomes",
         "a_full_disk_of_the_board_is_the_labs"),
        ("the network is lost in the upload", "kexec", "test_linux_outcomes",
         "a_network_that_is_lost_in_the_upload_is_the_labs"),
        ("the second kernel panics", "kexec", "test_linux_outcomes",
         "a_panic_of_the_second_kernel_is_its_crash"),
        ("the kernel is entered at EL1", "kernel", "test_linux_outcomes",
         "a_kernel_that_is_entered_at_el1_is_the_boot_paths"),
        ("Ctrl-C in a batch", "sweep", "test_alone",
         "a_run_that_is_interrupted_switches_it_off"),
    )
}  # fmt: skip
"""Cells on real parts, by QEMU, and the test that is each of them."""
