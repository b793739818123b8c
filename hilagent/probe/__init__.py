# SPDX-License-Identifier: Apache-2.0
"""What to sweep and how to judge it; pure, one question a file.

::

    wanted = probe.requests(profile, "hyp-stub", "vectors", cpus)
    passes = payload.sweep(wanted, want=probe.wanted_frames(profile, "hyp-stub", lab))
    judgement = probe.judge(profile, "hyp-stub", passes, lab, wanted=wanted)
    judgement.cell("HVC_GET_VECTORS", "result").state
"""

from collections.abc import Callable

from hilagent.abi import Profile
from hilagent.link.wire import Origin
from hilagent.result import Sig, SweepPass

from . import architecture, by_x0, clobber, coverage, direct, dispatch, esr, observation
from .coverage import Gap
from .judgement import Cell, Judgement, Note, Segment, State, Withheld, judge, with_findings
from .look import Lab, looks, with_vectors
from .plan import as_asked, as_passes, baseline, by_value, landing_imms, narrow, requests

RULES: tuple[str, ...] = (*dispatch.RULES, *clobber.RULES)


def rules(profile: Profile, server: str) -> tuple[tuple[str, str], ...]:
    """Return every (hcall, rule) that there is a verdict on; ``unknown`` is an hcall."""
    return tuple((each.hcall, rule) for each in profile.hcalls(server) for rule in RULES)


def wanted_frames(profile: Profile, server: str, lab: Lab) -> Callable[[Sig], bool]:
    """Return whether the whole register files of a signature are needed to judge it.

    A clean pass needs them for its calls alone.
    """

    by_vbar = {lab.vbar(cpu): cpu for cpu in lab.cpus}

    def want(sig: Sig) -> bool:
        cpu = by_vbar.get(sig.x0, min(lab.cpus))
        swept = SweepPass(
            cpu=cpu, origin=Origin.EL1H, pass_no=sig.catch >> 2 & 1, first=sig.first, count=1,
            seed=0, sigs=(sig,), runs=((sig.first, 1, 0),), left_out=0, ticks=0,
        )  # fmt: skip
        seen = looks(profile, server, swept, lab)
        return any(dispatch.wants_frames(look) or clobber.wants_frames(look) for look in seen)

    return want


__all__ = [
    "RULES", "Cell", "Gap", "Judgement", "Lab", "Note", "Segment", "State", "Withheld",
    "architecture", "as_asked", "as_passes", "baseline", "by_value", "by_x0", "clobber",
    "coverage",
    "direct", "dispatch", "esr", "judge",
    "landing_imms", "looks", "narrow", "observation", "requests", "rules", "wanted_frames",
    "with_findings", "with_vectors",
]  # fmt: skip
