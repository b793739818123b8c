/* SPDX-License-Identifier: Apache-2.0 */
/* Values and encodings for the assembler files; ARM DDI 0487, chapter D. */
#ifndef HIL_EL_H
#define HIL_EL_H

#define SCTLR_EL2_OFF 0x30c51830 /* RES1 and I: MMU and D-cache off, little-endian */
#define SCTLR_EL1_OFF 0x30d01800
#define HCR_RW (1 << 31)
#define SCR_EL3_VALUE 0x305b1 /* NS, RES1, SMD, HCE, RW, APK, API */
#define SPSR_EL2H 0x3c9
#define SPSR_EL1H 0x3c5
#define CPTR_EL2_RES1 0x33ff
#define AFFINITY 0xff00ffffff

/* Encodings that older assemblers have no name for. */
#define ID_AA64MMFR3_EL1 S3_0_C0_C7_3
#define TCR2_EL2 S3_4_C2_C0_3
#define HFGRTR_EL2 S3_4_C1_C1_4
#define HFGWTR_EL2 S3_4_C1_C1_5
#define HFGITR_EL2 S3_4_C1_C1_6
#define HDFGRTR_EL2 S3_4_C3_C1_4
#define HDFGWTR_EL2 S3_4_C3_C1_5
#define HAFGRTR_EL2 S3_4_C3_C1_6
#define HCRX_EL2 S3_4_C1_C2_2
#define ZCR_EL2 S3_4_C1_C2_0
#define SMCR_EL2 S3_4_C1_C2_6
#define ZCR_EL3 S3_6_C1_C2_0
#define SMCR_EL3 S3_6_C1_C2_6
#define ICC_SRE_EL2 S3_4_C12_C9_5
#define ICC_SRE_EL3 S3_6_C12_C12_5
#define ICH_HCR_EL2 S3_4_C12_C11_0

#endif
