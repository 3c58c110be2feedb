/* Frames as some drivers make them, for tests of the receive path. */
#include "shim.h"

#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

/* Bytes of an external buffer, which ends with the information that its owners share. */
#define ROOM 4096

struct external {
	struct rte_mbuf_ext_shared_info *shared;
	uint8_t bytes[ROOM];
};

static void free_external(void *address, void *external)
{
	(void)address;
	free(external);
}

void *hl_odd_external(struct hl_mbuf *frame, uint16_t others)
{
	struct rte_mbuf *m = (struct rte_mbuf *)frame;
	struct external *external = calloc(1, sizeof(*external));
	uint16_t len = ROOM;
	const uint16_t start = m->data_off, size = m->data_len;

	if (external == NULL)
		return NULL;
	external->shared = rte_pktmbuf_ext_shinfo_init_helper(external->bytes, &len, free_external, external);
	if (external->shared == NULL || start + size > len) {
		free(external);
		return NULL;
	}
	memcpy(external->bytes + start, rte_pktmbuf_mtod(m, void *), size);
	rte_pktmbuf_attach_extbuf(m, external->bytes, RTE_BAD_IOVA, len, external->shared);
	m->data_off = start;
	m->data_len = size;
	m->pkt_len = size;
	rte_mbuf_ext_refcnt_update(external->shared, (int16_t)others);
	return external;
}

struct hl_mbuf *hl_odd_clone(struct hl_mbuf *frame, struct rte_mempool *pool)
{
	return (struct hl_mbuf *)rte_pktmbuf_clone((struct rte_mbuf *)frame, pool);
}

uint64_t hl_odd_release(void *external, uint16_t others)
{
	struct external *buffer = external;
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < ROOM - sizeof(*buffer->shared) - sizeof(void *); i++)
		sum += buffer->bytes[i];
	if (rte_mbuf_ext_refcnt_update(buffer->shared, (int16_t)-others) == 0)
		free(buffer);
	return sum;
}

void hl_odd_stripped(struct hl_mbuf *frame, uint16_t tci, int outer)
{
	struct rte_mbuf *m = (struct rte_mbuf *)frame;

	m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
	m->vlan_tci = tci;
	if (outer) {
		m->ol_flags |= RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED;
		m->vlan_tci_outer = (uint16_t)outer;
	}
}
