/*
 * Runs the XDP program on this machine. The maps of the program are only declarations here; a lookup searches the lists of the host
 * that the caller has passed. All state belongs to one thread.
 */
#include <stdint.h>
#include <string.h>

#include <linux/bpf.h>

#define SETTING static __thread

#include "../../../ebpf/redirect.bpf.c"

/* What the program knows of the port. The addresses are as in packets; an endpoint is an address as IPv6 and a port. */
struct hl_host {
	uint32_t shared;
	uint32_t vlan;
	const uint8_t (*own4)[4];
	size_t own4_len;
	const uint8_t (*own6)[16];
	size_t own6_len;
	const struct endpoint *listened;
	size_t listened_len;
	uint32_t has_socket;
};

static __thread const struct hl_host *host;
static __thread __u64 counters[VERDICTS];

static void *find(const void *list, size_t len, const void *key, size_t size)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (memcmp((const char *)list + i * size, key, size) == 0)
			return (char *)list + i * size;
	return NULL;
}

static void *bpf_map_lookup_elem(const void *map, const void *key)
{
	__u32 index;

	if (map == &OWN4)
		return find(host->own4, host->own4_len, key, 4);
	if (map == &OWN6)
		return find(host->own6, host->own6_len, key, 16);
	if (map == &LISTENED)
		return find(host->listened, host->listened_len, key, sizeof(struct endpoint));
	if (map != &COUNTERS)
		__builtin_trap();
	memcpy(&index, key, sizeof(index));
	return index < VERDICTS ? &counters[index] : NULL;
}

static long bpf_redirect_map(const void *map, __u64 key, __u64 flags)
{
	if (map != &SOCKETS || key != 0)
		__builtin_trap();
	return host->has_socket ? XDP_REDIRECT : (long)flags;
}

/* Runs the program on a packet; returns its action, and writes the verdict that it has counted. It must count exactly one. */
int hl_redirect_run(const struct hl_host *of, const uint8_t *data, size_t len, uint32_t *verdict);

int hl_redirect_run(const struct hl_host *of, const uint8_t *data, size_t len, uint32_t *verdict)
{
	struct xdp_md ctx = { .data = (unsigned long)data, .data_end = (unsigned long)(data + len) };
	__u64 total = 0;
	__u32 i;
	int action;

	host = of;
	SHARED = of->shared;
	VLAN = of->vlan;
	memset(counters, 0, sizeof(counters));
	action = redirect_linear(&ctx);
	for (i = 0; i < VERDICTS; i++) {
		total += counters[i];
		if (counters[i] != 0)
			*verdict = i;
	}
	if (total != 1 || redirect_frags(&ctx) != action)
		__builtin_trap();
	return action;
}
