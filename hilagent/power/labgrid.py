# SPDX-License-Identifier: Apache-2.0
"""Power by the place of a labgrid coordinator, whatever its exporters have.

::

    place: {name: rock-a, coordinator: lab7}
    console: {kind: labgrid}
    power: {kind: labgrid, off_s: 5}

Any power port that ``labgrid-client power`` switches, but for GPIO lines. Of several, the
one called ``power`` (``labgrid-client add-named-match``).
"""

from __future__ import annotations

from collections.abc import Callable

from hilagent.board.model import Power as Spec
from hilagent.clock import SYSTEM, Clock
from hilagent.errors import LabError
from hilagent.place import Place
from hilagent.power.base import Relay

_WORDS = {True: "on", False: "off"}


class LabgridPower(Relay):
    """Asks labgrid's driver; each request ends within ``spec.limit_s``.

    Args:
        pause: waits until the board is empty; its capacitors have no event to wait for.
    """

    def __init__(
        self,
        spec: Spec,
        place: Place,
        *,
        clock: Clock = SYSTEM,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._spec, self._place = spec, place
        super().__init__(spec.off_s, clock, pause)

    def state(self) -> bool | None:
        """Return what the switch says; None of one that tells nothing."""
        return self._place.switch("get", self._spec.limit_s)

    def _switch(self, on: bool) -> None:
        self._place.switch(_WORDS[on], self._spec.limit_s)
        if self.state() is (not on):
            said = f"the switch of place {self._place.name} says that it is {_WORDS[not on]}"
            raise LabError(f"power {_WORDS[on]}: {said}", hint="is its relay locked, or worn out?")
