/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the base know of each other. */
#ifndef HIL_PAYLOAD_H
#define HIL_PAYLOAD_H

#include "facts.h"
#include "frame.h"
#include "lab.h"
#include "pcpu.h"

#define SCRATCH_SIZE 0x10000
#define FEATURE_SVE 1u
#define FEATURE_E2H 2u /* HCR_EL2.E2H would not clear */
#define FEATURE_EL1 4u /* no EL2: HELLO and RESET is all there is */

/* Set by primary_main before the link is served; constant from then on. */
struct boot {
	uint32_t id; /* never 0 */
	uint32_t entry_el;
	uint32_t features;
	uint32_t cpus; /* CPU 0 is the one that booted, then the tree's order */
	uint32_t conduit; /* the one that may be used, CONDUIT_* */
	uint64_t dtb;
};
extern struct boot boot;
extern struct facts facts;
extern const uint8_t _head[], _end[]; /* the image, with BSS */
extern uint8_t scratch[SCRATCH_SIZE];

/* start.S */
extern uint64_t cpu_mpidr[NR_CPUS]; /* ~0 behind the last */
void secondary_entry(void);
void el2_setup(void);
__attribute__((noreturn)) void jump_away(uint64_t addr, const uint64_t *x, uint64_t el);
__attribute__((noreturn)) void pen(uint64_t release, volatile uint64_t *waiting);
uint64_t smc_call(uint64_t fn, uint64_t a, uint64_t b, uint64_t c);
uint64_t hvc_call(uint64_t fn, uint64_t a, uint64_t b, uint64_t c);

/* main.c: a CPU's life: serves the link while it owns it, and its mail. */
__attribute__((noreturn)) void cpu_main(struct pcpu *p);

/* smp.c */
void smp_init(struct pcpu *p); /* numbers the CPUs; p is the boot CPU's */
uint32_t smp_state(uint32_t cpu); /* CPU_* */
uint32_t smp_start(struct pcpu *self, uint32_t cpu); /* STATUS_* */
uint32_t smp_stop(struct pcpu *self, uint32_t cpu); /* STATUS_* */
uint32_t smp_leave(struct pcpu *self, const struct facts *next); /* all secondaries; STATUS_* */
void smp_fill_info(struct pcpu *self, uint32_t cpu, struct wire_cpu_info *info);
void smp_here(struct pcpu *p); /* on each CPU as it starts: its id registers */
__attribute__((noreturn)) void smp_go(struct pcpu *p); /* this CPU: off, or into its pen */
uint32_t smp_method(uint32_t cpu); /* ENABLE_* */
uint64_t smp_release(uint32_t cpu);

/* psci.c: STATUS_REFUSED unless the tree names a conduit that can be used from here. */
uint32_t psci_cpu_on(struct pcpu *self, uint64_t mpidr, uint64_t entry);
uint32_t psci_is_off(struct pcpu *self, uint64_t mpidr); /* 1 if AFFINITY_INFO says OFF */
void psci_cpu_off(struct pcpu *self); /* returns if it was denied */
uint32_t psci_can_reset(void);
uint32_t psci_system(struct pcpu *self, uint32_t off); /* returns only if it failed */

/* jobs.c */
#define JOBKIND_LEAVE 0xff00u /* internal: CPU_OFF, or the pen */
uint32_t jobs_start(struct pcpu *self, const struct wire_job *job, uint32_t *id);
void jobs_run_own(struct pcpu *self); /* the job that was started on the link's own CPU */
void jobs_take(struct pcpu *self); /* a worker's look at its mail */
void jobs_watch(struct pcpu *self); /* heartbeats and JOB_DONE of the others */
uint32_t jobs_any_running(void);
void jobs_status(uint32_t cpu, struct wire_job_status *status);

/* access.c */
uint32_t access_read(struct pcpu *p, const struct wire_access *a, uint8_t *to);
uint32_t access_write(struct pcpu *p, const struct wire_access *a, const uint8_t *from);
uint32_t access_crc(struct pcpu *p, const struct wire_access *a, uint32_t *crc);
uint32_t access_code(struct pcpu *p, const struct wire_access *a);
int is_ram(uint64_t start, uint64_t size);

/* link.c */
struct request {
	uint32_t op;
	uint32_t size; /* of the body, as sent */
	uint8_t body[WIRE_MAX_BODY + 8] __attribute__((aligned(8))); /* zeros behind size */
};
enum after { AFTER_NOTHING, AFTER_JOB, AFTER_MOVE, AFTER_BOOT, AFTER_RESET, AFTER_POWEROFF };
struct reply {
	uint8_t *body; /* room for WIRE_MAX_BODY */
	uint32_t size;
	enum after after; /* done once the reply has left */
	uint32_t cpu; /* AFTER_MOVE */
	struct wire_boot boot; /* AFTER_BOOT */
};
void link_serve(struct pcpu *self); /* returns when another CPU owns the link */
void link_offered(struct pcpu *self); /* a worker finds mail.take_link set */
void link_event(uint32_t event, const void *body, uint32_t size);
uint32_t link_owner(void);
void link_fill_hello(struct wire_hello *hello);

/* ops.c: does the request; returns a STATUS_*. */
uint32_t ops_do(struct pcpu *self, const struct request *rq, struct reply *rp);

/* batch.c */
uint32_t batch_find(struct pcpu *self); /* whether a batch came along as the initrd */
__attribute__((noreturn)) void batch_run(struct pcpu *self); /* the one that was found */

/* fatal.c */
void fatal_watch(void); /* an exception that ended another CPU: reports it, and doesn't return */

/* main.c: the facts of the tree at dtb; 0, or -1 */
int facts_at(uint64_t dtb, struct facts *to);

/* leave.c */
uint32_t leave_check(struct pcpu *self, const struct wire_boot *to);
__attribute__((noreturn)) void leave_boot(const struct wire_boot *to);

#endif
