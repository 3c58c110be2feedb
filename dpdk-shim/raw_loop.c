/* The yardstick of the raw path's benchmark: the same loop without any Rust, as an example program of DPDK has it. */
#include "shim.h"

#include <rte_branch_prediction.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#define MAX_BURST 64

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
			struct rte_ether_hdr *eth;
			struct rte_ether_addr swap;

			if (i + 1 < got)
				rte_prefetch0(rte_pktmbuf_mtod(m[i + 1], void *));
			eth = rte_pktmbuf_mtod(m[i], struct rte_ether_hdr *);
			swap = eth->dst_addr;
			eth->dst_addr = eth->src_addr;
			eth->src_addr = swap;
		}
		sent = rte_eth_tx_burst(port, queue, m, got);
		total += sent;
		if (unlikely(sent < got))
			rte_pktmbuf_free_bulk(m + sent, got - sent);
	}
	return total;
}
