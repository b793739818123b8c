# SPDX-License-Identifier: Apache-2.0
"""A payload client on a scripted payload, in memory, on a clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hilagent.clock import Deadline
from hilagent.payload import Payload, connect
from hilagent.testing import Faults, MachineLine, ManualClock, PayloadTwin, Traits, behaviour
from hilagent.testing.behaviour import Behaviour
from hilagent.testing.jobs import GOOD

NONE = Faults()
RUN = 0xC0FFEE


@dataclass
class Bench:
    """Everything of one test; ``said`` is the console text."""

    clock: ManualClock
    twin: PayloadTwin
    line: MachineLine
    said: bytearray = field(default_factory=bytearray)

    def connect(self, seconds: float = 20.0, run_id: int = RUN, **options: Any) -> Payload:
        return connect(
            self.line,
            run_id=run_id,
            deadline=Deadline.after(seconds, self.clock),
            log=self.said.extend,
            **options,
        )


def bench(
    traits: Traits = GOOD,
    vectors: Behaviour = behaviour.hyp_stub,
    *,
    to_board: Faults = NONE,
    to_host: Faults = NONE,
    seed: int = 0,
    functions: dict[int, Callable[..., int]] | None = None,
) -> Bench:
    clock = ManualClock()
    twin = PayloadTwin(clock=clock, traits=traits, behaviour=vectors, functions=functions)
    line = MachineLine(twin, clock, to_board=to_board, to_host=to_host, seed=seed)
    return Bench(clock, twin, line)
