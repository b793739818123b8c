# SPDX-License-Identifier: Apache-2.0
"""``hilagent hvc``: one hvc, and everything that it did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hilagent import errors
from hilagent.cli import using
from hilagent.link import wire
from hilagent.payload import Payload
from hilagent.probe import dispatch, looks, names, observation
from hilagent.result import EXIT_OK, Exchange
from hilagent.session.session import Session
from hilagent.session.settings import Request, Settings
from hilagent.session.subject import Subject
from hilagent.session.sweeps import exchange, start
from hilagent.suites import observe, verdicts

ORIGINS = {"EL1h": wire.Origin.EL1H, "EL2h": wire.Origin.EL2H, "EL2t": wire.Origin.EL2T}


def hvc(
    request: Request, imm: int, *, cpu: int, origin: str, x: Mapping[int, int], run_dir: Path | None
) -> int:
    """Issue one hvc and print what it did; return 0 if it came home."""
    if not 0 <= imm <= 0xFFFF:
        raise errors.UsageError(f"hvc #{imm:#x}: an immediate has 16 bits")
    with using.session(request, run_dir) as (session, settings):
        subject = settings.subjects[0]
        done = issue(session, settings, subject, imm, cpu=cpu, origin=origin, x=x)
        lines = told(session, settings, subject, done, cpu=cpu, origin=origin)
    print("\n".join(lines))
    return EXIT_OK


def issue(
    session: Session,
    settings: Settings,
    subject: Subject,
    imm: int,
    *,
    cpu: int,
    origin: str,
    x: Mapping[int, int],
) -> Exchange:
    """Issue one hvc; registers that the ABI takes as addresses hold catch tables.

    Raises:
        errors.UsageError: the board has no such CPU, or the contract doesn't serve
            this origin: several tables answer it with an endless loop.
        errors.TargetHang: it did not come home, twice.
    """
    contract = settings.profile_of(subject).contract(imm, subject.server, origin)
    if not contract.served:
        raise errors.UsageError(f"{origin} is not served by {subject.server}: {contract.reason}")
    mask = settings.profile_of(subject).catch_mask(subject.server)

    def ask(payload: Payload) -> Exchange:
        if cpu not in [known.cpu for known in start(session, payload)]:
            raise errors.UsageError(f"there is no CPU {cpu}")
        return payload.hvc(
            imm,
            cpu=cpu,
            origin=ORIGINS[origin],
            x=dict(x),
            catch_mask=mask & ~sum(1 << register for register in x),
            stack_imms=settings.profile_of(subject).stack_imms(subject.server),
        )

    done = exchange(session, subject, ask, f"hvc #{imm:#x}")
    session.journal.observation("hvc", subject=subject.name, done=done)
    return done


def told(
    session: Session,
    settings: Settings,
    subject: Subject,
    done: Exchange,
    *,
    cpu: int,
    origin: str,
) -> list[str]:
    """Return what a person reads of one exchange."""
    swept = observation.of_exchange(done, cpu=cpu, origin=ORIGINS[origin])
    (look,) = looks(
        settings.profile_of(subject), subject.server, swept, observe.lab(session, session.cpus)
    )
    head = f"hvc #{done.after.imm:#x} from {origin} on CPU {cpu}, {subject.name}: "
    return [
        head + f"{look.contract.hcall}, {dispatch.effect(look)}",
        *verdicts.registers(done)[1:],
        f"  came home as {names.mode(done.after.pstate)} at {done.after.pc:#x}",
    ]
