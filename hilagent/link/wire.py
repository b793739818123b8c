# SPDX-License-Identifier: Apache-2.0
"""The wire protocol, defined once.

Every structure that crosses the link stands here as data. Python packs and
unpacks with it, and :func:`c_header` writes the payload's ``wire.h`` from it
at build time, so the two sides can't drift. All integers are little-endian.

A packet is ``head + body + crc``: ``crc`` is CRC-32 (zlib) over head and body.
On the line it is one of two encodings, and a reply uses its request's:

* *raw*: ``00 COBS(packet) 00``;
* *armoured*: ``CR LF``, ``:`` + base64(packet) + ``CR LF`` (RFC 4648, padded),
  for consoles that are not 8-bit clean.

Bytes outside packets are console text: kept and shown, never interpreted.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping

from . import memory
from .packed import C_TYPES, CODES, Struct, struct_of

VERSION = 1
MAX_BODY = 1024
"""Greatest body of a packet, in bytes."""


class Kind(enum.IntEnum):
    """What a packet is."""

    REQUEST = 0x51
    REPLY = 0x52
    EVENT = 0x45
    NAK = 0x4E  # "something arrived here whose CRC was wrong": resend at once


class Op(enum.IntEnum):
    """Requests. The body of each is the structure of the same name below."""

    HELLO = 1  # body: any bytes (usually all 256 values); reply: hello + the same bytes
    ECHO = 2  # body: any bytes; reply: the same bytes
    READ = 3  # access; reply: bytes
    WRITE = 4  # access + bytes
    CRC = 5  # access; reply: u32 CRC-32 of the range
    CPU_INFO = 6  # u32 cpu; reply: cpu_info
    CPU_START = 7  # u32 cpu; reply: u32 cpu state
    VECTORS = 8  # vectors; chooses what is under test, on every CPU
    JOB_START = 9  # job; reply: u32 job id. Long work; ends with a JOB_DONE event
    JOB_STATUS = 10  # u32 cpu; reply: job_status
    JOB_RESULT = 11  # job_part; reply: bytes of the CPU's result area
    LINK_MOVE = 12  # u32 cpu: that CPU owns the UART from now on
    BOOT = 13  # boot: leave the payload and start another image; no reply after "ok"
    RESET = 14  # by PSCI SYSTEM_RESET
    POWEROFF = 15  # by PSCI SYSTEM_OFF
    SLOT_LOADED = 16  # access: the bytes at addr..addr+size are code now (cache maintenance)
    CPU_STOP = (
        17  # u32 cpu: an idle CPU is switched off (PSCI), or penned; CPU_START brings it back
    )
    NEXT = 18  # next: start the bundle's kernel with the results; in a batch only, as its last


class Event(enum.IntEnum):
    """Unasked messages from the payload (``op`` of an EVENT packet)."""

    BOOT = 1  # hello: printed once at start, and until the first request each second
    HEARTBEAT = 2  # job_status of each CPU that runs a job: CPU order
    JOB_DONE = 3  # job_status
    LOG = 4  # text
    DYING = 5  # frame head: a fault that can't be recovered; the payload resets or stops
    UPLOAD = 6  # upload_status, from the loader (firmware/uploaded/loader) while it runs


class Status(enum.IntEnum):
    """Result of a request."""

    OK = 0
    BAD_OP = 1
    BAD_ARG = 2
    FAULT = 3  # the access faulted; body: fault
    BUSY = 4  # the CPU runs a job
    NO_CPU = 5
    REFUSED = 6  # not safe here (no conduit named, secondaries still running, ...)
    FAILED = 7


class Job(enum.IntEnum):
    """Work that a CPU does by itself."""

    CALL = 1  # call a function at EL1 or EL2; result: call_result
    HVC = 2  # one hvc with the whole register file; result: frame before, frame after, sig
    SWEEP = 3  # a range of immediates or x0 values; result: sweep_result + sigs + runs
    DIRECT = 4  # VBAR_EL2 is the table itself; result as HVC, seen from EL1
    SYSREG = 5  # read or write one system register; result: call_result


class JobState(enum.IntEnum):
    """State of a CPU's last job."""

    NONE = 0
    RUNNING = 1
    DONE = 2
    FAULTED = 3  # ended by an exception that the job did not expect; call_result/fault
    TAINTED = 4  # after a hang: only a reset helps


class CpuState(enum.IntEnum):
    """State of a CPU, seen by the payload."""

    ABSENT = 0
    OFF = 1
    STARTING = 2
    READY = 3
    FAILED = 4
    BUSY = 5
    ELSEWHERE = 6  # CPU_INFO only: firmware says ON, but not for us (the kernel before us)


class Origin(enum.IntEnum):
    """Where an hvc is issued from. The value is SPSR.M[3:0]."""

    EL1H = 5
    EL2T = 8
    EL2H = 9


class Seen(enum.IntEnum):
    """How an issued hvc came home (``sig.seen``)."""

    RETURNED = 1  # to the instruction after the hvc, or ``pc_off`` bytes from it
    VECTORS_SET = 2  # VBAR_EL2 was found to be catch table ``catch``; then as RETURNED
    CALLED = 3  # catch table ``catch`` was called (returnable), then as RETURNED
    LANDED = 4  # catch table ``catch`` was entered and could not return (a restart)
    EL2_FAULT = 5  # an exception taken from EL2 to EL2, vector ``vector``, ``esr``
    EL1_FAULT = 6  # an exception taken to EL1, vector ``vector``, esr is ESR_EL1
    RECORDED = 7  # the payload's own vectors took the hvc: vector, esr
    LOST = 8  # home was reached by something else; see vector and esr
    NOT_ISSUED = 9  # left out on purpose (JOB.skip)


class Target(enum.IntEnum):
    """Which vectors are under test."""

    RECORDER = 0  # the payload's own recording vectors (architecture)
    HYP_STUB = 1  # reference vectors, hyp-stub flavour, built in
    KVM = 2  # reference vectors, KVM flavour, built in
    SLOT = 3  # whatever the host has loaded into the slot


class JobFlag(enum.IntFlag):
    """Options of HVC and SWEEP jobs."""

    SP_USABLE = 1  # SP_EL2 is a good stack for every hcall, not only for ``stack_imms``
    SWEEP_X0 = 2  # vary x0 from ``x0_first`` by ``x0_step``, with imm fixed at ``first``
    KEEP_PATTERN = 4  # HVC: take x0-x30 from the job's registers, not from the seed
    HOME_CALL = 8  # DIRECT: ``home_imm`` calls a function: a catch table, which goes home


SYSREGS: tuple[str, ...] = (
    "SP_EL0", "SP_EL1", "TPIDR_EL0", "TPIDRRO_EL0", "TPIDR_EL1", "VBAR_EL1",
    "SCTLR_EL1", "TTBR0_EL1", "TTBR1_EL1", "TCR_EL1", "MAIR_EL1", "CPACR_EL1",
    "CNTKCTL_EL1", "CONTEXTIDR_EL1", "ESR_EL1", "FAR_EL1", "ELR_EL1", "SPSR_EL1",
    "PAR_EL1", "FPCR", "FPSR", "VBAR_EL2", "HCR_EL2", "SCTLR_EL2", "TPIDR_EL2",
    "MDCR_EL2", "CPTR_EL2", "SP_EL2", "CNTVOFF_EL2", "VTTBR_EL2", "TTBR0_EL2", "CNTHCTL_EL2",
)  # fmt: skip
"""System registers in every frame; the index is the bit in ``sig.sys_changed``.

VBAR_EL2 to CNTHCTL_EL2 are the payload's own EL2 state: a change there is
"EL2 state altered", not a clobber of the caller.
"""

ID_REGS: tuple[str, ...] = (
    "MIDR_EL1", "MPIDR_EL1", "REVIDR_EL1", "CTR_EL0", "ID_AA64PFR0_EL1", "ID_AA64PFR1_EL1",
    "ID_AA64MMFR0_EL1", "ID_AA64MMFR1_EL1", "ID_AA64MMFR2_EL1", "ID_AA64ISAR0_EL1",
    "ID_AA64ISAR1_EL1", "ID_AA64DFR0_EL1",
)  # fmt: skip

ENTRY_REGS: tuple[str, ...] = (
    "x0", "x1", "x2", "x3", "CurrentEL", "DAIF", "SPSel", "SCTLR_EL2", "HCR_EL2", "VBAR_EL2",
    "ESR_EL2", "ELR_EL2", "SPSR_EL2", "CPTR_EL2", "MDCR_EL2", "CNTHCTL_EL2", "CNTVOFF_EL2",
    "VTTBR_EL2", "TCR_EL2", "SCTLR_EL1", "CNTPCT", "CNTFRQ", "PC", "TCR2_EL2", "TTBR0_EL2",
    "ICC_SRE_EL2",
)  # fmt: skip
"""Entry state, saved before anything else; a register of a higher EL than the
entry's reads as zero (CurrentEL says which could be read)."""

HEAD = struct_of(
    "head", "u8 kind", "u8 op", "u16 seq", "u16 status", "u16 size", "u32 boot_id", "u32 run_id"
)
"""``seq`` is echoed in the reply; a repeated one is answered from the cache and
not done again. ``run_id`` is the host's; ``boot_id`` the payload's (0 in requests
before the first reply; then checked: a wrong one is answered REFUSED)."""

HELLO = struct_of(
    "hello", "u16 version", "u16 max_body", "u32 boot_id", "u8 build_id[20]", "u16 cpus",
    "u16 link_cpu", "u32 cntfrq", "u32 features", "u64 image", "u64 image_size", "u64 dtb",
    "u64 slot", "u32 slot_size", "u16 entry_el", "u16 uart_kind", "u64 uart_base",
    "u32 psci_conduit", "u32 scratch_size", "u64 scratch", "u8 uart_shift", "u8 uart_width",
    "u8 uart_fixed", "u8 uart_big_endian",
)  # fmt: skip
"""``features`` bit 0: SVE in the frames; bit 1: E2H would not clear; bit 2: no EL2,
the payload runs at EL1 and answers HELLO and RESET only. ``psci_conduit``: 0 none,
1 smc, 2 hvc. ``uart_kind``: 1 PL011, 2 16550, 3 BCM2835 mini-UART, 4 Cadence, 5 i.MX,
6 Meson, 7 TI's K3; its registers are 1 << ``uart_shift`` bytes apart, accessed by
``uart_width`` bytes. ``scratch``: memory that a host may use freely, in bytes."""

ACCESS = struct_of("access", "u64 addr", "u32 size", "u32 width")
"""``width`` in bytes (1, 2, 4, 8), each element one access of that width; ``size``
in bytes. For CRC width is ignored."""

FAULT = struct_of(
    "fault", "u32 vector", "u32 reserved", "u64 esr", "u64 far", "u64 elr", "u64 spsr"
)  # fmt: skip

CPU_INFO = struct_of(
    "cpu_info", "u32 cpu", "u32 state", "u64 mpidr", "u64 front", "u64 base_vectors",
    "u64 catch", "u32 catch_size", "u32 catch_count", "u64 stack_page", "u64 bad_sp",
    "u64 midr", f"u64 id[{len(ID_REGS)}]", f"u64 entry[{len(ENTRY_REGS)}]",
)  # fmt: skip
"""``front``: this CPU's front table, the expected VBAR_EL2. ``catch``: its first
catch table; pass A uses tables 0 to 3 for x0 to x3, pass B tables 4 to 7."""

VECTORS = struct_of("vectors", "u32 target", "u32 flags", "u64 offset", "u32 size", "u32 crc")
"""For SLOT: the table stands ``offset`` bytes into the slot (2 KiB aligned), ``size``
and ``crc`` (CRC-32) cover all of what was loaded and are verified. ``flags`` bit 0:
the contract serves EL2h and EL2t too, so +0x200 and +0x000 go to the table as well."""

JOB = struct_of(
    "job", "u32 cpu", "u32 kind", "u32 origin", "u32 flags", "u32 pass", "u32 block",
    "u64 seed", "u32 first", "u32 count", "u64 x0_first", "u64 x0_step", "u32 catch_mask",
    "u32 stack_count", "u32 stack_imms[8]", "u32 skip_count", "u32 skip_imms[8]",
    "u32 home_imm", "u32 el", "u32 fixed_mask", "u64 addr",
    "u32 land_count", "u32 land_imms[3]", "u64 x[31]",
)  # fmt: skip
"""CALL: ``addr`` called at ``el`` with ``x[0..7]``. SYSREG: ``addr`` bit 31 set to
write ``x[0]``; bits 15:0 are op0:2 op1:3 CRn:4 CRm:4 op2:3 (bits 19:5 of MRS,
ARM DDI 0487 C6.2 MRS). HVC: imm ``first``. SWEEP: immediates ``first`` to
``first + count - 1``. ``catch_mask``: bit r, xr holds catch table r (or 4 + r in
pass 1), r in 0..3. ``fixed_mask``: bit r, xr holds ``x[r]``. All other registers hold
the pattern of ``seed`` (complemented in pass 1). ``block``: immediates between
heartbeats when the link's own CPU does the work (0: 4096). ``stack_imms``: hcalls that
need a good SP_EL2. ``land_imms``: hcalls that don't return (a soft restart): their landing
always goes home. DIRECT: imm ``first`` with the same registers, then
``home_imm`` with x0 (or, where ``fixed_mask`` bit 31 is set, x0 = ``x0_step`` and
x1) = the front table."""

JOB_STATUS = struct_of(
    "job_status", "u16 cpu", "u16 state", "u32 job", "u32 at", "u32 done", "u64 cntpct"
)
"""``at``: the immediate (or index) being issued now; ``done``: how many are done."""

JOB_PART = struct_of("job_part", "u32 cpu", "u32 job", "u32 offset", "u32 size")
"""``job``: the id that JOB_START gave; a result of another job is REFUSED."""

SIG = struct_of(
    "sig", "u8 seen", "u8 vector", "u8 catch", "u8 el", "u32 gpr_changed", "u32 v_changed",
    "u32 sys_changed", "u64 x0", "u32 pstate_diff", "s32 pc_off", "u64 esr", "u32 flags",
    "u32 first", "u8 args[8]", "u32 landing_state", "u32 z_changed", "u64 elr",
)  # fmt: skip
"""What one issued hvc did. ``vector``: offset / 0x80 of the entry that ended it.
``el``: exception level that home was reached from. ``gpr_changed`` bit 31: SP of the
origin. ``x0``: x0's value when bit 0 of ``gpr_changed`` is set. ``pstate_diff``: SPSR
at home xor the one issued with. ``pc_off``: ELR minus the instruction after the hvc;
saturates. ``esr``: for RECORDED and faults, with the immediate's 16 bits xored out for
an hvc. ``flags`` bit 0: the patterned stack page was written; bit 1: SP_EL2 was not
what it was; bit 2: SP_EL2 was a good stack; bit 4: an SError is pending; bit 31: stands
for all that found no place. ``first``: the first immediate with it. ``args``: for
CALLED and LANDED, which input register each of x0-x7 at the landing equals (0xff:
none). ``landing_state``: EL | SPSel<<8 | DAIF<<16 (4 bits) at the landing.
``z_changed``: SVE state above bit 127, P, FFR (bit 31)."""

SWEEP_RESULT = struct_of(
    "sweep_result", "u32 magic", "u16 cpu", "u16 origin", "u32 pass", "u32 first", "u32 count",
    "u32 done", "u16 sigs", "u16 runs", "u32 left_out", "u32 crc", "u32 frames", "u32 vectors_crc",
    "u32 job", "u64 cnt_start", "u64 cnt_end", "u64 seed",
)  # fmt: skip
"""Followed by ``sigs`` sig structures, then ``runs`` u32: sig << 24 | length.
``left_out``: immediates after the runs were full. ``vectors_crc``: VECTORS.crc of what
was under test (0 for the recorder). ``job``: the job's id. ``crc``: CRC-32 over the sig
index of each immediate, one byte each. ``frames``: frame pairs saved, one for the first
immediate of each signature, at FRAMES_OFFSET in the result area."""

SWEEP_MAGIC = 0x4C494853
MAX_SIGS = 32
MAX_RUNS = 4096
FRAMES_OFFSET = 0x5000

FRAME = struct_of(
    "frame", "u64 x[31]", "u64 sp", "u64 pc", "u64 pstate", "u64 esr", "u64 far",
    "u32 seen", "u32 imm", "u64 reserved", f"u64 sys[{len(SYSREGS)}]", "u64 v[64]",
)  # fmt: skip
"""The whole register file. In a pair the first is what went in (``pc``: address of
the hvc), the second what came home. ``sp``: of the origin. ``v``: low, high of v0,
of v1, ..."""

CALL_RESULT = struct_of(
    "call_result", "u64 x0", "u32 faulted", "u32 reserved", "u32 vector", "u32 el", "u64 esr",
    "u64 far", "u64 elr", "u64 spsr", "u64 x[31]",
)  # fmt: skip

BOOT = struct_of("boot", "u64 addr", "u64 x0", "u64 x1", "u64 x2", "u64 x3", "u32 flags", "u32 el")

STRUCTS: tuple[Struct, ...] = (
    HEAD, HELLO, ACCESS, FAULT, CPU_INFO, VECTORS, JOB, JOB_STATUS, JOB_PART, SIG,
    SWEEP_RESULT, FRAME, CALL_RESULT, BOOT,
    memory.BUNDLE, memory.BUNDLE_ENTRY, memory.BATCH, memory.RESULTS, memory.NEXT,
    memory.UPLOAD, memory.UPLOAD_CHUNK, memory.UPLOAD_STATUS,
)  # fmt: skip
ENUMS: Mapping[str, type[enum.IntEnum] | type[enum.IntFlag]] = {
    "KIND": Kind, "OP": Op, "EVENT": Event, "STATUS": Status, "JOBKIND": Job, "JOB": JobState,
    "CPU": CpuState, "ORIGIN": Origin, "SEEN": Seen, "TARGET": Target, "JOBFLAG": JobFlag,
    "BATCHEND": memory.BatchEnd, "CHUNK": memory.Chunk, "UPLOADED": memory.Uploaded,
}  # fmt: skip


_NATURAL = frozenset({"frame", "sig", "sweep_result"})
"""Structures that stand 8-byte aligned in the payload's memory, where speed counts."""


def c_header() -> str:
    """Return ``wire.h``: the same definitions in C, with sizes asserted."""
    out = [
        "/* SPDX-License-Identifier: Apache-2.0 */",
        "/* Generated from hilagent/link/wire.py; do not edit. */",
        "#ifndef HIL_WIRE_H",
        "#define HIL_WIRE_H",
    ]
    for name, value in _constants().items():
        out.append(f"#define {name} {value:#x}")
    out += ["#ifndef __ASSEMBLER__", "#include <stdint.h>"]
    for item in STRUCTS:
        out.append(f"struct wire_{item.name} {{")
        out += [
            f"\t{C_TYPES[kind]} {name}{f'[{count}]' if count > 1 else ''};"
            for name, kind, count in item.fields
        ]
        packed = "" if item.name in _NATURAL else " __attribute__((packed, aligned(4)))"
        out.append(f"}}{packed};")
        out.append(
            f'_Static_assert(sizeof(struct wire_{item.name}) == {item.size}, "{item.name}");'
        )
    out += ["#endif", "#endif", ""]
    return "\n".join(out)


def _constants() -> dict[str, int]:
    out = {
        "WIRE_VERSION": VERSION, "WIRE_MAX_BODY": MAX_BODY, "WIRE_SWEEP_MAGIC": SWEEP_MAGIC,
        "WIRE_MAX_SIGS": MAX_SIGS, "WIRE_MAX_RUNS": MAX_RUNS,
        "WIRE_FRAMES_OFFSET": FRAMES_OFFSET, "WIRE_NSYS": len(SYSREGS),
        "WIRE_NID": len(ID_REGS), "WIRE_NENTRY": len(ENTRY_REGS),
        **{name: value for name, value in vars(memory).items() if isinstance(value, int)},
    }  # fmt: skip
    for prefix, members in ENUMS.items():
        out |= {f"{prefix}_{member.name}": int(member) for member in members}
    out |= {f"SYS_{name}": index for index, name in enumerate(SYSREGS)}
    for item in STRUCTS:
        offset = 0
        out[f"SIZEOF_{item.name.upper()}"] = item.size
        for name, kind, count in item.fields:
            constant = f"{item.name.upper()}_{name.upper()}"
            assert constant not in out, constant
            out[constant] = offset
            offset += struct.calcsize("<" + CODES[kind]) * count
    return out
