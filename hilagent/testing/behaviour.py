# SPDX-License-Identifier: Apache-2.0
"""What the vectors of a scripted board do with an hvc: one function, (issued) -> Sig.

The default does what correct vectors of the profile ``iss-2015`` would do in the
payload's laboratory. Broken ones are made from it::

    def clobbers_x19(issued: Issued) -> Sig | None:
        sig = hyp_stub(issued)
        return dataclasses.replace(sig, gpr_changed=sig.gpr_changed | 1 << 19)

``None`` is a hang: the CPU never comes home from that immediate. One that answers the same
hvc the same way each time is better called `pure`: a long sweep of it is worked out once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

from hilagent.link.wire import Origin, Seen
from hilagent.result import Sig

GET_VECTORS, SET_VECTORS, CALL_FUNC, CALL_HYP = 1, 2, 3, 0
_CLOBBERED = 1 << 17 | 1 << 18
_NOWHERE = 0xFF
_ESR_HVC = 0x5A000000


class Issued(NamedTuple):
    """One hvc as it is issued.

    Attributes:
        front: VBAR_EL2 of that CPU, which GET_VECTORS returns.
        catch: number of the catch table that x0 holds, None where it holds a pattern.
        args: what x0 to x3 hold.
        stack: whether SP_EL2 is a good stack.
    """

    imm: int
    cpu: int
    origin: int
    pass_no: int
    front: int
    catch: int | None
    args: tuple[int, ...] = (0, 0, 0, 0)
    stack: bool = False


Behaviour = Callable[[Issued], Sig | None]
_PURE = "hilagent_pure"


def pure(behaviour: Behaviour) -> Behaviour:
    """Mark a behaviour that depends on nothing but the hvc, and return it."""
    setattr(behaviour, _PURE, True)
    return behaviour


def is_pure(behaviour: Behaviour) -> bool:
    """Whether it is marked so."""
    return getattr(behaviour, _PURE, False)


@functools.cache
def returned(**fields: int) -> Sig:
    """Return the Sig of an hvc that came home and changed nothing; ``fields`` differ.
    The same fields give the same object, which makes long sweeps quick."""
    plain = {field.name: 0 for field in dataclasses.fields(Sig)}
    plain |= {"seen": Seen.RETURNED, "catch": _NOWHERE, "el": 1}
    return Sig(**{**plain, "args": (0,) * 8, **fields})  # type: ignore[arg-type]


@pure
def recorder(issued: Issued) -> Sig | None:
    """The payload's own recording vectors: the hvc is taken, nothing changes."""
    vector = {Origin.EL1H: 8, Origin.EL2H: 4, Origin.EL2T: 0}[Origin(issued.origin)]
    level = 1 if issued.origin == Origin.EL1H else 2
    return returned(seen=Seen.RECORDED, vector=vector, esr=_ESR_HVC, el=level)


@pure
def hyp_stub(issued: Issued) -> Sig | None:
    """Correct vectors of ``iss-2015``, hyp-stub flavour."""
    stack = 4 if issued.stack else 0
    plain = returned(
        gpr_changed=_CLOBBERED, flags=stack, el=1 if issued.origin == Origin.EL1H else 2
    )
    if issued.imm == GET_VECTORS:
        changed = plain.gpr_changed | 1
        return dataclasses.replace(plain, gpr_changed=changed, x0=issued.front)
    if issued.catch is None:
        return plain
    if issued.imm == SET_VECTORS:
        return dataclasses.replace(plain, seen=Seen.VECTORS_SET, catch=issued.catch)
    if issued.imm == CALL_FUNC:
        return _called(plain, issued)
    return plain


@pure
def kvm(issued: Issued) -> Sig | None:
    """Correct vectors of ``iss-2015``, KVM flavour: CALL_HYP is served too."""
    sig = hyp_stub(issued)
    if sig is None or issued.imm != CALL_HYP or issued.catch is None:
        return sig
    return _called(sig, issued)


def _called(sig: Sig, issued: Issued) -> Sig:
    """x0 was called at EL2h, interrupts masked, with what x1 to x3 held. The call
    leaves its arguments in x0 to x2."""
    args = (1, 2, 3, 3, 4, 5, 6, 7)
    return dataclasses.replace(
        sig,
        seen=Seen.CALLED,
        catch=_NOWHERE if issued.catch is None else issued.catch,
        x0=issued.args[1],
        args=args,
        landing_state=2 | 1 << 8 | 0xF << 16,
        gpr_changed=sig.gpr_changed | 0b111,
    )


def changed(
    base: Behaviour, at: Mapping[int, Callable[[Sig], Sig | None]] | None = None, **fields: int
) -> Behaviour:
    """Return ``base`` with its Sigs changed: of the immediates in ``at`` by a function,
    or (without ``at``) of all by ``fields``. The functions must depend on nothing else."""

    def run(issued: Issued) -> Sig | None:
        sig = base(issued)
        if sig is None:
            return None
        if at is None:
            return dataclasses.replace(sig, **fields)  # type: ignore[arg-type]
        return at[issued.imm](sig) if issued.imm in at else sig

    return pure(run) if is_pure(base) else run


def hangs_at(imm: int, base: Behaviour = hyp_stub) -> Behaviour:
    """Return ``base``, but never coming home from ``imm``."""
    return changed(base, {imm: lambda sig: None})
