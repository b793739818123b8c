# SPDX-License-Identifier: Apache-2.0
"""What a model says of its hardware, and the words that every part of a board uses.

Nothing here is needed to run a board: the payload finds its UART by the device tree.
It is what ``hilagent boards`` shows, and what ``hilagent boards check`` holds the load
addresses against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from hilagent.limits import Between, Length, Matches

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}

Name = Annotated[str, Matches(r"[a-z0-9][a-z0-9._-]{0,63}", "a name of a-z, 0-9, '.', '_', '-'")]
Text = Annotated[str, Length(1, 1000)]
Address = Annotated[int, Between(0, (1 << 52) - 1)]


@dataclass(frozen=True)
class Uart:
    """The UART behind the console: the device tree's ``stdout-path``.

    Attributes:
        kind: of its registers, ``UART_*`` of firmware/payload/facts.h; ``16550`` is what
            says so in its ``compatible``, ``omap`` the relative of it in TI's K3.
        base: physical address of its registers.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["16550", "cadence", "imx", "meson", "mini", "omap", "pl011"]
    base: Address


@dataclass(frozen=True)
class Watchdog:
    """What resets a board that has no PSCI.

    Attributes:
        kind: of its registers; ``bcm2835`` is that of the Raspberry Pi, up to the 4.
        base: physical address of its registers.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["bcm2835"]
    base: Address


@dataclass(frozen=True)
class Region:
    """A range of physical memory.

    Attributes:
        use: ``ram`` that every board of this type has, or ``reserved``: firmware, devices
            or another CPU keep something there, and nothing is loaded to it.
        base: its first byte.
        size: in bytes.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    use: Literal["ram", "reserved"]
    base: Address
    size: Annotated[int, Between(1, 1 << 52)]

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.base + self.size
