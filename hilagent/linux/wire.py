# SPDX-License-Identifier: Apache-2.0
"""Records to and from the probe module (``/dev/hilhvc``), defined once.

:func:`c_header` writes the module's ``wire.h`` from it. A record is ``head + body``,
little-endian; ``crc`` is CRC-32 (zlib) over the head before that field and the body.
A reply echoes ``op`` and ``seq``; a negative ``status`` is ``-errno``, and its body
is then the reason as text. A record that can't be trusted (magic, version, size or
CRC) is answered with seq 0 and -EBADMSG, and what follows it is thrown away.

The register file and the signature are the payload's (`hilagent.link.wire`), so that
the same judges see both. What EL1 can't see of a frame is zero, and named in
``exchange.unseen``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

from hilagent.link.packed import Struct, struct_of
from hilagent.link.wire import FRAME, MAX_RUNS, MAX_SIGS, SIG, SYSREGS, Seen

VERSION = 1
MAGIC = 0x4B4C4948  # "HILK"
MAX_BODY = 1024
"""Greatest body of a request, in bytes."""
MAX_FRAMES = 16
CATCHES = 4
ANY_CPU = 0xFFFFFFFF


class Op(enum.IntEnum):
    """Requests."""

    IDENTIFY = 1  # no body; reply: identity
    HVC = 2  # request; reply: exchange + sig + frame before + frame after + landing
    SWEEP = 3  # request; reply: sweep + sigs + u32 runs (sig << 24 | length) + frame pairs


class Flag(enum.IntFlag):
    """Options of a request."""

    PLAIN = 0
    DANGEROUS = 1  # the host knows that this may kill the kernel
    STUB = 2  # by the host's knowledge the hyp-stub serves this CPU (EL2's MMU is off)
    ASK = 4  # ask afterwards whether VBAR_EL2 became a catch table, and give it back; always
    # done for an effect that no contract knows, where a register holds a catch table
    SWEEP_X0 = 8  # vary x0 from ``x0_first`` by ``x0_step``, with the immediate fixed
    NO_HVC = 16  # a nop in the place of the hvc: shows what the machinery itself changes


class Effect(enum.IntEnum):
    """What the hcall does by its contract (`hilagent.abi.contract.Effect`)."""

    UNDECLARED = 0  # an hcall that no contract knows
    NONE = 1
    GET_VECTORS = 2
    SET_VECTORS = 3
    RESET_VECTORS = 4
    CALL = 5
    RESTART = 6
    FINALISE = 7


class Conduit(enum.IntEnum):
    """How PSCI is reached; HVC means that somebody else owns EL2."""

    UNKNOWN = 0
    SMC = 1
    HVC = 2
    NONE = 3


class Feature(enum.IntFlag):
    """What the kernel said of itself."""

    PROTECTED = 1  # KVM's protected mode: EL2 refuses the stub's hcalls
    HVHE = 2  # KVM runs with E2H at EL2, the kernel at EL1
    VH = 4  # a CPU has VHE (ID_AA64MMFR1_EL1.VH)
    KVM = 8  # built with KVM
    SHADOW_CALL_STACK = 16
    KEEPS_X18 = 32  # built with the variant of the ISS ABI that leaves x18 alone
    LOST = 64  # a CPU never came back from an hvc; only a reset helps


class Landed(enum.IntEnum):
    """How a catch table was entered."""

    NO = 0
    CALLED = 1  # and returned
    RESTARTED = 2  # entered for good; went home by eret
    VECTORS = 3  # an hvc came to it: it was VBAR_EL2, and gave that back
    FAULT = 4  # an exception at EL2 while it was VBAR_EL2


LANDING_REGS: tuple[str, ...] = (
    *(f"x{n}" for n in range(31)), "SP", "PC", "CurrentEL", "DAIF", "SPSel", "NZCV",
    "SCTLR_EL2", "HCR_EL2", "VBAR_EL2", "ESR_EL2", "ELR_EL2", "SPSR_EL2", "CPTR_EL2",
    "MDCR_EL2", "CNTHCTL_EL2", "CNTVOFF_EL2", "VTTBR_EL2", "VTCR_EL2", "TCR_EL2",
    "TTBR0_EL2", "MAIR_EL2", "TPIDR_EL2", "HSTR_EL2", "VPIDR_EL2", "VMPIDR_EL2",
    "SP_EL1", "SCTLR_EL1", "CNTPCT", "CNTFRQ", "MPIDR_EL1",
)  # fmt: skip
"""Dumped where a catch table is entered, before it changes anything. Registers
from SCTLR_EL2 to SP_EL1 are zero where it was entered at EL1."""


HEAD = struct_of(
    "head", "u32 magic", "u16 version", "u16 op", "u32 seq", "s32 status", "u32 size", "u32 crc"
)

IDENTITY = struct_of(
    "identity", "u32 module", "u32 current_el", "u32 conduit", "u32 features", "u32 cpus",
    "s32 refused", "u32 page_size", "u32 lost_cpu", "u64 online[4]", "u64 stub_vectors",
    f"u64 catch[{CATCHES}]", "u8 release[64]", "u8 reason[128]",
)  # fmt: skip
"""``online``: bit n of word m, CPU 64 m + n. ``refused``: 0, or the -errno that HVC and
SWEEP would be refused with, for ``reason``. ``stub_vectors``: physical, 0 while unknown.
``catch``: physical addresses of the catch tables. ``lost_cpu``: ANY_CPU if none."""

REQUEST = struct_of(
    "request", "u32 cpu", "u32 flags", "u32 effect", "u32 pass", "u32 first", "u32 count",
    "u32 catch_mask", "u32 fixed_mask", "u64 seed", "u64 x0_first", "u64 x0_step",
    "u64 stub_vectors", "u64 ask_x0", "u32 ask_imm", "u32 max_frames", "u32 skip_count",
    "u32 skip[7]", "u64 x[31]", "u64 reserved",
)  # fmt: skip
"""Registers hold the pattern of ``seed`` (complemented in pass 1), but for those in
``fixed_mask`` (``x``) and ``catch_mask`` (bit r, r < 4: the catch table r, in pass 1
the next one). ``stub_vectors``: virtual address of __hyp_stub_vectors (kallsyms), 0
where unknown: a restart then tells the module. HVC: immediate ``first``; ``ask_imm`` and
``ask_x0``: an hcall that no server knows. The pass also chooses the way home: by an
svc behind the hvc (pass 0), or by a branch (pass 1), as each hides other registers."""

EXCHANGE = struct_of("exchange", "u32 cpu", "u32 pass", "u32 unseen", "u32 reserved")
"""``unseen``: bit n, SYSREGS[n] was not observed."""

LANDING = struct_of(
    "landing", "u32 kind", "u32 catch", "u64 count", f"u64 reg[{len(LANDING_REGS)}]"
)

SWEEP = struct_of(
    "sweep", "u32 cpu", "u32 pass", "u32 first", "u32 count", "u32 done", "u32 sigs", "u32 runs",
    "u32 left_out", "u32 frames", "u32 unseen", "u32 flags", "u32 crc", "u64 cnt_start",
    "u64 cnt_end", "u64 seed",
)  # fmt: skip
"""``frames`` pairs, for the first ``frames`` signatures in order. ``crc``: CRC-32 over the
signature index of each immediate, one byte each."""

STRUCTS: tuple[Struct, ...] = (HEAD, IDENTITY, REQUEST, EXCHANGE, SIG, FRAME, LANDING, SWEEP)
ENUMS: Mapping[str, type[enum.IntEnum] | type[enum.IntFlag]] = {
    "OP": Op, "FLAG": Flag, "EFFECT": Effect, "CONDUIT": Conduit, "FEATURE": Feature,
    "LANDED": Landed, "SEEN": Seen,
}  # fmt: skip

_C_TYPES = {"u8": "__u8", "u16": "__u16", "u32": "__u32", "u64": "__u64", "s32": "__s32"}


def c_header() -> str:
    """Return ``wire.h``: the same definitions in C, with sizes asserted."""
    out = [
        "/* SPDX-License-Identifier: GPL-2.0-only */",
        "/* Generated from hilagent/linux/wire.py; do not edit. */",
        "#ifndef HILHVC_WIRE_H",
        "#define HILHVC_WIRE_H",
        *(f"#define {name} {value:#x}" for name, value in constants().items()),
        "#ifndef __ASSEMBLY__",
        "#include <linux/types.h>",
    ]
    for item in STRUCTS:
        out.append(f"struct hil_{item.name} {{")
        for name, kind, count in item.fields:
            out.append(f"\t{_C_TYPES[kind]} {name}{f'[{count}]' if count > 1 else ''};")
        out += [
            "};",
            f'_Static_assert(sizeof(struct hil_{item.name}) == {item.size}, "{item.name}");',
        ]
    out += ["#endif", "#endif", ""]
    return "\n".join(out)


def constants() -> dict[str, int]:
    """Return what the C side sees as macros (``HIL_...``): numbers, enumerators, offsets."""
    out = {
        "VERSION": VERSION, "MAGIC": MAGIC, "MAX_BODY": MAX_BODY,
        "MAX_SIGS": MAX_SIGS, "MAX_RUNS": MAX_RUNS, "MAX_FRAMES": MAX_FRAMES,
        "CATCHES": CATCHES, "NSYS": len(SYSREGS), "NLANDING": len(LANDING_REGS),
        "ANY_CPU": ANY_CPU,
    }  # fmt: skip
    for prefix, members in ENUMS.items():
        out |= {f"{prefix}_{member.name}": int(member) for member in members}
    out |= {f"SYS_{name}": index for index, name in enumerate(SYSREGS)}
    out |= {f"LAND_{name}": index for index, name in enumerate(LANDING_REGS)}
    for item in STRUCTS:
        out[f"SIZEOF_{item.name.upper()}"] = item.size
        out |= {f"{item.name.upper()}_{name.upper()}": at for name, at in offsets(item)}
    return {f"HIL_{name}": value for name, value in out.items()}


def offsets(item: Struct) -> Iterator[tuple[str, int]]:
    """Yield each field's name and offset in bytes."""
    at = 0
    for name, kind, count in item.fields:
        yield name, at
        at += Struct("", ((name, kind, count),)).size
