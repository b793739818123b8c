// SPDX-License-Identifier: GPL-2.0-only
/* What kernel and firmware say of EL2, by what a module can see. */
#include <linux/acpi.h>
#include <linux/cpumask.h>
#include <linux/of.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/utsname.h>
#include <asm/cpufeature.h>
#include <asm/sysreg.h>
#include <asm/virt.h>

#include "hilhvc.h"

#define VH_SHIFT 8 /* ID_AA64MMFR1_EL1.VH */

static u32 conduit_by_acpi(void)
{
#ifdef CONFIG_ACPI
	if (!acpi_disabled && acpi_gbl_FADT.arm_boot_flags & ACPI_FADT_PSCI_COMPLIANT)
		return acpi_gbl_FADT.arm_boot_flags & ACPI_FADT_PSCI_USE_HVC ? HIL_CONDUIT_HVC :
									       HIL_CONDUIT_SMC;
#endif
	return HIL_CONDUIT_UNKNOWN;
}

/* As psci_dt_init reads it: /psci's "method". */
u32 hil_conduit(void)
{
	static const struct of_device_id psci[] = {
		{ .compatible = "arm,psci" },
		{ .compatible = "arm,psci-0.2" },
		{ .compatible = "arm,psci-1.0" },
		{},
	};
	struct device_node *node = of_find_matching_node(NULL, psci);
	u32 conduit = conduit_by_acpi();
	const char *method;

	if (conduit != HIL_CONDUIT_UNKNOWN)
		goto out;
	if (!node)
		return HIL_CONDUIT_NONE;
	if (of_property_read_string(node, "method", &method))
		goto out;
	if (!strcmp(method, "hvc"))
		conduit = HIL_CONDUIT_HVC;
	else if (!strcmp(method, "smc"))
		conduit = HIL_CONDUIT_SMC;
out:
	of_node_put(node);
	return conduit;
}

static bool vhe;

static void look_for_vhe(void *unused)
{
	if (read_sysreg(id_aa64mmfr1_el1) >> VH_SHIFT & 0xf)
		WRITE_ONCE(vhe, true);
}

/* Whether any CPU has it: cores of two kinds may differ, and a lost one can't be asked. */
static bool any_vhe(void)
{
	if (hil_lost_cpu() == HIL_ANY_CPU)
		on_each_cpu(look_for_vhe, NULL, 1);
	return READ_ONCE(vhe);
}

u32 hil_features(void)
{
	u32 features = 0;

	if (is_protected_kvm_enabled())
		features |= HIL_FEATURE_PROTECTED;
#ifdef ARM64_KVM_HVHE
	if (cpus_have_final_cap(ARM64_KVM_HVHE))
		features |= HIL_FEATURE_HVHE;
#endif
	if (any_vhe())
		features |= HIL_FEATURE_VH;
	if (IS_ENABLED(CONFIG_KVM))
		features |= HIL_FEATURE_KVM;
	if (IS_ENABLED(CONFIG_SHADOW_CALL_STACK))
		features |= HIL_FEATURE_SHADOW_CALL_STACK;
	if (IS_ENABLED(CONFIG_ARM64_HCALL_KEEP_X18))
		features |= HIL_FEATURE_KEEPS_X18;
	if (hil_lost_cpu() != HIL_ANY_CPU)
		features |= HIL_FEATURE_LOST;
	return features;
}

int hil_op_identify(struct hil_out *out)
{
	struct hil_identity id = {
		.module = HIL_MODULE_VERSION,
		.current_el = read_sysreg(CurrentEL) >> 2,
		.conduit = hil_conduit(),
		.features = hil_features(),
		.cpus = nr_cpu_ids,
		.page_size = PAGE_SIZE,
		.lost_cpu = hil_lost_cpu(),
		.stub_vectors = hil_stub_vectors,
	};
	const char *why = "";
	u32 cpu;

	id.refused = hil_refuse(&why);
	for (cpu = 0; cpu < 256 && cpu < nr_cpu_ids; cpu++)
		if (cpu_online(cpu))
			id.online[cpu / 64] |= 1ull << cpu % 64;
	for (u32 n = 0; n < HIL_CATCHES; n++)
		id.catch[n] = hil_catch(n);
	strscpy((char *)id.release, utsname()->release, sizeof(id.release));
	strscpy((char *)id.reason, why, sizeof(id.reason));
	return hil_put(out, &id, sizeof(id));
}
