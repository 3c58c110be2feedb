/* The environment abstraction layer (EAL): start, stop, threads, log. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_version.h>

static hl_log_fn sink;
static FILE *logged, *printed;

static ssize_t on_logged(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	/* DPDK flushes its log after each message, so the level of the current message is the level of this text. */
	sink((uint32_t)rte_log_cur_msg_loglevel(), text, len);
	return (ssize_t)len;
}

static ssize_t on_printed(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	sink(0, text, len);
	return (ssize_t)len;
}

int hl_log_to(hl_log_fn log)
{
	const cookie_io_functions_t to_log = {.write = on_logged}, to_print = {.write = on_printed};

	sink = log;
	if (logged == NULL)
		logged = fopencookie(NULL, "w", to_log);
	if (printed == NULL)
		printed = fopencookie(NULL, "w", to_print);
	if (logged == NULL || printed == NULL)
		return -ENOMEM;
	setvbuf(printed, NULL, _IOLBF, 0);
	return rte_openlog_stream(logged);
}

int hl_eal_init(int argc, char **argv)
{
	FILE *const out = stdout, *const err = stderr;
	cpu_set_t affinity;
	const int known = sched_getaffinity(0, sizeof(affinity), &affinity);
	int result, error;

	/* DPDK prints errors about its arguments on stderr, and two pages of usage on stdout. */
	if (printed != NULL) {
		stdout = printed;
		stderr = printed;
	}
	result = rte_eal_init(argc, argv);
	error = rte_errno;
	if (printed != NULL) {
		fflush(printed);
		stdout = out;
		stderr = err;
	}
	if (logged != NULL)
		rte_openlog_stream(logged);
	if (known == 0)
		sched_setaffinity(0, sizeof(affinity), &affinity);
	if (result >= 0)
		return 0;
	return error > 0 ? -error : -EINVAL;
}

int hl_eal_cleanup(void)
{
	return rte_eal_cleanup();
}

int hl_eal_has_huge_pages(void)
{
	return rte_eal_has_hugepages();
}

const char *hl_eal_iova_mode(void)
{
	switch (rte_eal_iova_mode()) {
	case RTE_IOVA_PA:
		return "pa";
	case RTE_IOVA_VA:
		return "va";
	default:
		return "?";
	}
}

unsigned hl_cpus(uint16_t *cpus, unsigned n)
{
	cpu_set_t affinity;
	unsigned cpu, count = 0;

	if (sched_getaffinity(0, sizeof(affinity), &affinity) != 0)
		return 0;
	for (cpu = 0; cpu < CPU_SETSIZE && count < n; cpu++)
		if (CPU_ISSET(cpu, &affinity))
			cpus[count++] = (uint16_t)cpu;
	return count;
}

int hl_thread_register(void)
{
	if (rte_lcore_id() != LCORE_ID_ANY)
		return 1;
	return rte_thread_register() == 0 ? 0 : -rte_errno;
}

void hl_thread_unregister(void)
{
	rte_thread_unregister();
}

int hl_errno(void)
{
	return rte_errno;
}

const char *hl_strerror(int error)
{
	return rte_strerror(error);
}

const char *hl_version(void)
{
	return rte_version();
}
