# SPDX-License-Identifier: Apache-2.0
"""System registers by name: (op0, op1, CRn, CRm, op2), ARM DDI 0487 chapter D19.

Any other register is named as the assembler does: ``S3_4_C1_C0_0``.
"""

from __future__ import annotations

import re

from hilagent import errors

_GENERIC = re.compile(r"S([0-3])_([0-7])_C(1[0-5]|\d)_C(1[0-5]|\d)_([0-7])", re.IGNORECASE)

REGISTERS: dict[str, tuple[int, int, int, int, int]] = {
    "MIDR_EL1": (3, 0, 0, 0, 0), "MPIDR_EL1": (3, 0, 0, 0, 5), "REVIDR_EL1": (3, 0, 0, 0, 6),
    "ID_AA64PFR0_EL1": (3, 0, 0, 4, 0), "ID_AA64PFR1_EL1": (3, 0, 0, 4, 1),
    "ID_AA64ZFR0_EL1": (3, 0, 0, 4, 4), "ID_AA64SMFR0_EL1": (3, 0, 0, 4, 5),
    "ID_AA64DFR0_EL1": (3, 0, 0, 5, 0), "ID_AA64DFR1_EL1": (3, 0, 0, 5, 1),
    "ID_AA64ISAR0_EL1": (3, 0, 0, 6, 0), "ID_AA64ISAR1_EL1": (3, 0, 0, 6, 1),
    "ID_AA64ISAR2_EL1": (3, 0, 0, 6, 2), "ID_AA64MMFR0_EL1": (3, 0, 0, 7, 0),
    "ID_AA64MMFR1_EL1": (3, 0, 0, 7, 1), "ID_AA64MMFR2_EL1": (3, 0, 0, 7, 2),
    "SCTLR_EL1": (3, 0, 1, 0, 0), "ACTLR_EL1": (3, 0, 1, 0, 1), "CPACR_EL1": (3, 0, 1, 0, 2),
    "TTBR0_EL1": (3, 0, 2, 0, 0), "TTBR1_EL1": (3, 0, 2, 0, 1), "TCR_EL1": (3, 0, 2, 0, 2),
    "SPSR_EL1": (3, 0, 4, 0, 0), "ELR_EL1": (3, 0, 4, 0, 1), "SP_EL0": (3, 0, 4, 1, 0),
    "SPSEL": (3, 0, 4, 2, 0), "CURRENTEL": (3, 0, 4, 2, 2), "PAN": (3, 0, 4, 2, 3),
    "AFSR0_EL1": (3, 0, 5, 1, 0), "AFSR1_EL1": (3, 0, 5, 1, 1), "ESR_EL1": (3, 0, 5, 2, 0),
    "FAR_EL1": (3, 0, 6, 0, 0), "PAR_EL1": (3, 0, 7, 4, 0), "MAIR_EL1": (3, 0, 10, 2, 0),
    "AMAIR_EL1": (3, 0, 10, 3, 0), "VBAR_EL1": (3, 0, 12, 0, 0), "RVBAR_EL1": (3, 0, 12, 0, 1),
    "ISR_EL1": (3, 0, 12, 1, 0), "ICC_SRE_EL1": (3, 0, 12, 12, 5),
    "CONTEXTIDR_EL1": (3, 0, 13, 0, 1), "TPIDR_EL1": (3, 0, 13, 0, 4),
    "CNTKCTL_EL1": (3, 0, 14, 1, 0), "MDSCR_EL1": (2, 0, 0, 2, 2), "OSLAR_EL1": (2, 0, 1, 0, 4),
    "OSLSR_EL1": (2, 0, 1, 1, 4), "CLIDR_EL1": (3, 1, 0, 0, 1), "CCSIDR_EL1": (3, 1, 0, 0, 0),
    "CSSELR_EL1": (3, 2, 0, 0, 0), "CTR_EL0": (3, 3, 0, 0, 1), "DCZID_EL0": (3, 3, 0, 0, 7),
    "NZCV": (3, 3, 4, 2, 0), "DAIF": (3, 3, 4, 2, 1), "FPCR": (3, 3, 4, 4, 0),
    "FPSR": (3, 3, 4, 4, 1), "TPIDR_EL0": (3, 3, 13, 0, 2), "TPIDRRO_EL0": (3, 3, 13, 0, 3),
    "CNTFRQ_EL0": (3, 3, 14, 0, 0), "CNTPCT_EL0": (3, 3, 14, 0, 1),
    "CNTVCT_EL0": (3, 3, 14, 0, 2), "PMCR_EL0": (3, 3, 9, 12, 0),
    "VPIDR_EL2": (3, 4, 0, 0, 0), "VMPIDR_EL2": (3, 4, 0, 0, 5), "SCTLR_EL2": (3, 4, 1, 0, 0),
    "ACTLR_EL2": (3, 4, 1, 0, 1), "HCR_EL2": (3, 4, 1, 1, 0), "MDCR_EL2": (3, 4, 1, 1, 1),
    "CPTR_EL2": (3, 4, 1, 1, 2), "HSTR_EL2": (3, 4, 1, 1, 3), "HFGRTR_EL2": (3, 4, 1, 1, 4),
    "HFGWTR_EL2": (3, 4, 1, 1, 5), "HFGITR_EL2": (3, 4, 1, 1, 6), "HACR_EL2": (3, 4, 1, 1, 7),
    "ZCR_EL2": (3, 4, 1, 2, 0), "HCRX_EL2": (3, 4, 1, 2, 2), "TTBR0_EL2": (3, 4, 2, 0, 0),
    "TCR_EL2": (3, 4, 2, 0, 2), "VTTBR_EL2": (3, 4, 2, 1, 0), "VTCR_EL2": (3, 4, 2, 1, 2),
    "SPSR_EL2": (3, 4, 4, 0, 0), "ELR_EL2": (3, 4, 4, 0, 1), "SP_EL1": (3, 4, 4, 1, 0),
    "AFSR0_EL2": (3, 4, 5, 1, 0), "AFSR1_EL2": (3, 4, 5, 1, 1), "ESR_EL2": (3, 4, 5, 2, 0),
    "FAR_EL2": (3, 4, 6, 0, 0), "HPFAR_EL2": (3, 4, 6, 0, 4), "MAIR_EL2": (3, 4, 10, 2, 0),
    "VBAR_EL2": (3, 4, 12, 0, 0), "RVBAR_EL2": (3, 4, 12, 0, 1), "ICC_SRE_EL2": (3, 4, 12, 9, 5),
    "ICH_HCR_EL2": (3, 4, 12, 11, 0), "CONTEXTIDR_EL2": (3, 4, 13, 0, 1),
    "TPIDR_EL2": (3, 4, 13, 0, 2), "CNTVOFF_EL2": (3, 4, 14, 0, 3),
    "CNTHCTL_EL2": (3, 4, 14, 1, 0),
}  # fmt: skip


def encoding(register: str | int) -> int:
    """Return the 16 bits op0:2 op1:3 CRn:4 CRm:4 op2:3 of a name or of themselves.

    Raises `errors.UsageError` for a name that is not known.
    """
    if isinstance(register, int):
        if 0 <= register <= 0xFFFF:
            return register
        raise errors.UsageError(f"system register encoding {register:#x} is not 16 bits")
    generic = _GENERIC.fullmatch(register)
    found = tuple(map(int, generic.groups())) if generic else REGISTERS.get(register.upper())
    if found is None:
        raise errors.UsageError(
            f"no system register {register!r}", hint="name it as S3_4_C1_C1_0 or by its encoding"
        )
    op0, op1, crn, crm, op2 = found
    return op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2
