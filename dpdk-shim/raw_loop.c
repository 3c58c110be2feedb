/* The reference of the raw path's benchmark: the same loop in C, in the style of DPDK's example programs. */
#include "shim.h"

#include <rte_branch_prediction.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#define MAX_BURST 64

static inline void swap_addresses(struct rte_mbuf *m)
{
	struct rte_ether_hdr *const eth = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	const struct rte_ether_addr to = eth->dst_addr;

	eth->dst_addr = eth->src_addr;
	eth->src_addr = to;
}

uint64_t hl_raw_loop(uint16_t port, uint16_t queue, uint16_t burst, uint64_t turns)
{
	struct rte_mbuf *m[MAX_BURST];
	uint64_t total = 0;

	if (burst > MAX_BURST)
		burst = MAX_BURST;
	for (; turns > 0; turns--) {
		const uint16_t got = rte_eth_rx_burst(port, queue, m, burst);
		uint16_t i, sent;

		for (i = 0; i < got; i++) {
			if (i + 1 < got)
				rte_prefetch0(rte_pktmbuf_mtod(m[i + 1], void *));
			swap_addresses(m[i]);
		}
		sent = rte_eth_tx_burst(port, queue, m, got);
		total += sent;
		if (unlikely(sent < got))
			rte_pktmbuf_free_bulk(m + sent, got - sent);
	}
	return total;
}

uint64_t hl_counting_loop(uint16_t port, uint16_t queue, uint16_t burst, uint64_t turns, uint64_t *bytes)
{
	struct rte_mbuf *m[MAX_BURST];
	uint64_t total = 0;

	if (burst > MAX_BURST)
		burst = MAX_BURST;
	for (; turns > 0; turns--) {
		const uint16_t got = rte_eth_rx_burst(port, queue, m, burst);
		uint16_t i, kept = 0, sent;

		for (i = 0; i < got; i++) {
			struct rte_mbuf *const frame = m[i];

			if (i + 1 < got)
				rte_prefetch0(rte_pktmbuf_mtod(m[i + 1], void *));
			if (unlikely(frame->nb_segs != 1)) {
				rte_pktmbuf_free(frame);
				continue;
			}
			bytes[0] += frame->data_len;
			swap_addresses(frame);
			m[kept++] = frame;
		}
		for (i = 0; i < kept; i++)
			bytes[1] += m[i]->data_len;
		sent = rte_eth_tx_burst(port, queue, m, kept);
		total += sent;
		if (unlikely(sent < kept)) {
			for (i = sent; i < kept; i++)
				bytes[1] -= m[i]->data_len;
			rte_pktmbuf_free_bulk(m + sent, kept - sent);
		}
	}
	return total;
}
