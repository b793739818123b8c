# SPDX-License-Identifier: Apache-2.0
"""The fields of a profile's YAML. See ``profiles/iss-2015.yaml`` for an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from hilagent.abi.contract import Effect
from hilagent.limits import Between, Length, Matches

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True}

_X = r"x(?:[0-9]|[12][0-9]|30)"
_V = r"v(?:[0-9]|[12][0-9]|3[01])"

Symbol = Annotated[str, Matches(r"[A-Z][A-Z0-9_]{1,63}", "a C name in capitals")]
Profile = Annotated[str, Matches(r"[a-z0-9][a-z0-9._-]{0,63}", "a name of a-z, 0-9, '.', '_', '-'")]
Version = Annotated[str, Matches(r"[0-9]{1,3}\.[0-9]{1,3}", 'a kernel version, "6.12", in quotes')]
Text = Annotated[str, Length(1, 2000)]
Register = Annotated[str, Matches(_X, "a register x0 to x30")]
Changed = Annotated[
    str,
    Matches(
        rf"{_X}(-{_X})?|{_V}(-{_V})?|NZCV|[A-Z][A-Z0-9]*_EL[012]",
        "x17, x0-x18, v0-v7, NZCV or a system register",
    ),
]
Origin = Literal["EL1h", "EL2h", "EL2t"]
Value = Annotated[int, Between(-(1 << 63), (1 << 64) - 1)]
ResultSpec = (
    Literal["unchanged", "error", "vectors", "callee", "any", "none"] | Value | tuple[Value, ...]
)


@dataclass(frozen=True)
class ServerSpec:
    """Whose vectors: ``origins`` are served; ``others`` says what the rest meet."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    about: Text
    origins: tuple[Origin, ...]
    others: Text


@dataclass(frozen=True)
class HcallSpec:
    """One hcall; ``by_server`` overrides fields for one server.

    Attributes:
        clobbers: instead of the profile's.
        servers: that serve it; everywhere else its number is an unknown one.
        sweep: text: why a sweep must leave it out.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    number: Annotated[int, Between(0, 0xFFFF)] | None = None
    about: Text | None = None
    servers: tuple[Profile, ...] | None = None
    args: Mapping[Register, Literal["vectors", "function", "entry", "value"]] = field(
        default_factory=dict
    )
    effect: Effect = "none"
    callee: Mapping[Register, Register] = field(default_factory=dict)
    result: ResultSpec = "unchanged"
    clobbers: tuple[Changed, ...] | None = None
    el2_changes: tuple[Changed, ...] = ()
    needs_stack: bool = False
    returns: bool = True
    sweep: Text | None = None

    def __post_init__(self) -> None:
        if (self.effect == "restart") == self.returns:
            raise ValueError(
                "an hcall with effect restart says 'returns: false', and no other does"
            )
        if (self.result == "none") == self.returns:
            raise ValueError("'result: none' goes with 'returns: false', and only with it")
        if bool(self.callee) != (self.effect in {"call", "restart"}):
            raise ValueError("'callee' goes with effect call or restart, and they need it")
        for register, kind in self.args.items():
            if kind != "value" and int(register[1:]) > 3:
                raise ValueError(f"a catch table can stand in x0 to x3 only, not in {register}")


@dataclass(frozen=True)
class VersionSpec:
    """What is otherwise from kernel ``since`` on: laid over all that stands before."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    since: Version
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class ErrorSpec:
    """The value that refuses an unknown hcall, and its name in the kernel's header."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: Symbol
    value: Value


@dataclass(frozen=True)
class ProfileSpec:
    """A whole profile, after ``extends`` and ``versions`` were applied."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    schema: Annotated[int, Between(1, 1)]
    profile: Profile
    about: Text
    selector: Literal["immediate", "x0"]
    clobbers: tuple[Changed, ...]
    servers: Mapping[Profile, ServerSpec]
    unknown: HcallSpec
    hcalls: Mapping[Symbol, HcallSpec]
    error: ErrorSpec | None = None
    bound: Symbol | None = None
