# SPDX-License-Identifier: Apache-2.0
"""Vectors that break one rule each, and what they must be accused of.

A checker that has never caught anything has not been tested. Each mutant is
``firmware/vectors/iss.S`` with ``-DMUTANT_<name>``; the accusation must name the
rule (:data:`hilagent.probe.RULES`, or ``hang``), the hcall and what of it.
"""

from __future__ import annotations

from dataclasses import dataclass

ANY = "*"
"""As the hcall of a mutant: every hcall that the server serves, and ``unknown``."""


@dataclass(frozen=True)
class Mutant:
    """One broken table.

    Attributes:
        name: of ``--vectors mutant:NAME``; unique.
        rule, hcall, what: the accusation that it must meet, among its findings.
        about: what it does.
        server: the flavour that is broken.
        profile: the ABI whose contract it breaks.
        immediate: the immediate that must be named, where it is one of many.
        cpu: the CPU that must be named, where it is one only.
        define: of the macro, where two mutants are made by the same one.
    """

    name: str
    rule: str
    hcall: str
    what: str
    about: str
    server: str = "hyp-stub"
    profile: str = "iss-2015"
    immediate: int | None = None
    cpu: int | None = None
    define: str = ""

    @property
    def macro(self) -> str:
        """The macro that breaks the source."""
        return f"MUTANT_{self.define or self.name}"


_GET, _SET, _CALL, _HYP = "HVC_GET_VECTORS", "HVC_SET_VECTORS", "HVC_CALL_FUNC", "HVC_CALL_HYP"
_UNKNOWN = "unknown"
_6_12 = "iss-6.12"

MUTANTS: tuple[Mutant, ...] = (
    Mutant("clobbers_x16", "clobber", ANY, "x16", "writes x16, which the contract keeps"),
    Mutant("get_clobbers_x19", "clobber", _GET, "x19", "writes x19, in one hcall"),
    Mutant("clobbers_x29", "clobber", ANY, "x29", "writes the frame pointer"),
    Mutant("clobbers_x30", "clobber", ANY, "x30", "loses the caller's return address"),
    Mutant("call_keeps_lr", "clobber", _CALL, "x30", "does not put lr back after its callee"),
    Mutant("clobbers_v7", "clobber", ANY, "v7", "writes a vector register"),
    Mutant("clobbers_v31_high", "clobber", ANY, "v31", "writes the upper half of v31 alone"),
    Mutant("clobbers_sp_el0", "clobber", ANY, "SP_EL0", "writes SP_EL0"),
    Mutant("clobbers_sp_el1", "clobber", ANY, "SP_EL1", "moves the caller's stack pointer"),
    Mutant("clobbers_tpidr", "clobber", ANY, "TPIDR_EL0", "writes TPIDR_EL0"),
    Mutant("clobbers_tpidr_el1", "clobber", ANY, "TPIDR_EL1", "writes TPIDR_EL1"),
    Mutant("clobbers_ttbr0", "clobber", ANY, "TTBR0_EL1", "writes TTBR0_EL1"),
    Mutant("clobbers_nzcv", "pstate", ANY, "NZCV", "returns with N flipped"),
    Mutant("clears_daif", "pstate", ANY, "DAIF", "returns with interrupts unmasked"),
    Mutant("sets_daif", "pstate", ANY, "DAIF", "returns with everything masked"),
    Mutant("clears_tde", "el2-state", ANY, "MDCR_EL2", "changes another EL2 register"),
    Mutant("leaks_esr", "leak", _UNKNOWN, "x1", "leaves ESR_EL2 in x1"),
    Mutant("leaks_vbar", "leak", _UNKNOWN, "x9", "leaves VBAR_EL2 in x9"),
    Mutant("iss_8bit", "dispatch", _UNKNOWN, "effect", "looks at 8 bits of the immediate",
           immediate=0x102),
    Mutant("iss_12bit", "dispatch", _UNKNOWN, "effect", "looks at 12 bits of the immediate",
           immediate=0x1002),
    Mutant("iss_off_by_one", "dispatch", _SET, "effect", "serves each hcall one too late"),
    Mutant("one_misrouted", "dispatch", _UNKNOWN, "effect", "one immediate of 65,536 sets vectors",
           immediate=0xBEEF),
    Mutant("one_clobbers", "clobber", _UNKNOWN, "x20", "one immediate of 65,536 writes x20",
           immediate=0x7FFF),
    Mutant("get_set_swapped", "dispatch", _GET, "effect", "get and set are swapped"),
    Mutant("get_unknown", "result", _GET, "x0", "does not know get-vectors"),
    Mutant("get_in_x1", "result", _GET, "x0", "answers in the wrong register"),
    Mutant("set_ignored", "dispatch", _SET, "effect", "set-vectors does nothing"),
    Mutant("set_from_x1", "dispatch", _SET, "effect", "set-vectors takes the wrong register"),
    Mutant("set_returns_zero", "result", _SET, "x0", "set-vectors does not keep x0"),
    Mutant("call_ignored", "dispatch", _CALL, "effect", "calls nothing"),
    Mutant("call_swaps_args", "callee-args", _CALL, "x0", "hands the arguments on crosswise"),
    Mutant("call_at_el1", "callee-state", _CALL, "EL", "calls the function at EL1"),
    Mutant("unknown_returns_zero", "result", _UNKNOWN, "x0", "answers what it does not know"),
    Mutant("unknown_returns_zero_6_12", "result", _UNKNOWN, "x0", "answers 0, not the error",
           profile=_6_12, define="unknown_returns_zero"),
    Mutant("restart_x1_kept", "callee-args", "HVC_SOFT_RESTART", "x1",
           "does not shift the arguments of the entry", profile=_6_12),
    Mutant("restart_returns", "dispatch", "HVC_SOFT_RESTART", "effect", "returns to the caller",
           profile=_6_12),
    Mutant("by_value", "dispatch", _UNKNOWN, "effect", "looks at x0, as before 2015"),
    Mutant("get_truncates", "result", _GET, "x0", "loses the low bits of VBAR_EL2"),
    Mutant("unknown_halves", "result", _UNKNOWN, "x0", "clears the upper half of x0"),
    Mutant("wears_out", "clobber", _GET, "x19", "is wrong from its 64th call on"),
    Mutant("clears_cntvoff", "el2-state", ANY, "CNTVOFF_EL2", "clears another EL2 register"),
    Mutant("restart_cached", "el2-state", "HVC_SOFT_RESTART", "SCTLR_EL2",
           "enters with the data cache on", profile=_6_12),
    Mutant("faults", "fault", _UNKNOWN, "EL2 exception", "takes an exception at EL2"),
    Mutant("returns_skipping", "return-pc", ANY, "pc", "skips an instruction of the caller"),
    Mutant("returns_again", "return-pc", ANY, "pc", "returns to the hvc itself"),
    Mutant("returns_at_el2", "return-el", ANY, "EL", "returns at EL2"),
    Mutant("returns_el1t", "return-el", ANY, "SPSel", "returns on the wrong stack pointer"),
    Mutant("uses_stack", "stack", ANY, "SP_EL2", "pushes a register"),
    Mutant("moves_sp", "stack", ANY, "SP_EL2", "leaves SP_EL2 moved"),
    Mutant("kvm_uses_stack", "stack", _GET, "SP_EL2", "pushes a register", server="kvm",
           define="uses_stack"),
    Mutant("kvm_clobbers_x16", "clobber", _HYP, "x16", "writes x16 after a call", server="kvm",
           define="clobbers_x16"),
    Mutant("cpu1_only", "clobber", _GET, "x21", "is wrong on CPU 1 alone", cpu=1),
    Mutant("second_call", "clobber", _GET, "x22", "is wrong on every second call"),
    Mutant("hangs", "hang", _UNKNOWN, "progress", "one immediate never returns",
           immediate=0x4321),
    Mutant("get_hangs", "hang", _GET, "progress", "get-vectors never returns"),
)  # fmt: skip
