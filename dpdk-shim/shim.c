/* Frames by the burst: receive, send, take, give back; pools and rings. */
#include "shim.h"

#include <assert.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

#define SAME(mine, theirs)                                                                                               \
	static_assert(offsetof(struct hl_mbuf, mine) == offsetof(struct rte_mbuf, theirs) &&                            \
			      sizeof(((struct hl_mbuf *)0)->mine) == sizeof(((struct rte_mbuf *)0)->theirs),             \
		      "rte_mbuf has another layout: " #theirs)
SAME(buf_addr, buf_addr);
SAME(data_off, data_off);
SAME(_refcnt, refcnt);
SAME(_nb_segs, nb_segs);
SAME(ol_flags, ol_flags);
SAME(pkt_len, pkt_len);
SAME(data_len, data_len);
SAME(fill, hash.fdir.hi);
SAME(buf_len, buf_len);
SAME(_pool, pool);
static_assert(sizeof(struct hl_mbuf) == 64, "the first cache line of an mbuf");

static_assert(HL_RX_IP_MASK == RTE_MBUF_F_RX_IP_CKSUM_MASK && HL_RX_IP_BAD == RTE_MBUF_F_RX_IP_CKSUM_BAD &&
		      HL_RX_L4_MASK == RTE_MBUF_F_RX_L4_CKSUM_MASK && HL_RX_L4_BAD == RTE_MBUF_F_RX_L4_CKSUM_BAD,
	      "receive flags");
static_assert(HL_TX_L4_MASK == RTE_MBUF_F_TX_L4_MASK && HL_TX_TCP == RTE_MBUF_F_TX_TCP_CKSUM &&
		      HL_TX_UDP == RTE_MBUF_F_TX_UDP_CKSUM,
	      "transmit flags");

/* What fits into the mbuf's field for the length of the IP header and its extensions. */
#define MAX_L3_LEN ((1u << RTE_MBUF_L3_LEN_BITS) - 1)

/* The reference count and, behind it, the number of segments, both one, in either byte order. */
#define ONE_OF_EACH 0x00010001u
static_assert(offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, refcnt) + 2, "read as one word");

static inline struct rte_mbuf **theirs(struct hl_mbuf **frames)
{
	return (struct rte_mbuf **)frames;
}

/* One segment, one owner, data of its own (or an external buffer of its own), nothing asked of the transmit side. */
static inline int is_plain(const struct rte_mbuf *m)
{
	return m->nb_segs == 1 && m->refcnt == 1 && !(m->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_TX_OFFLOAD_MASK));
}

/*
 * Makes a frame plain: into its own first segment if all of it fits there and nobody else has it, else into one of `pool`.
 * NULL, and the frame is gone, if there is none large enough.
 */
static __rte_noinline struct rte_mbuf *make_plain(struct rte_mbuf *m, struct rte_mempool *pool, struct hl_counts *counts)
{
	struct rte_mbuf *whole;
	const uint64_t keep = m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);

	m->ol_flags &= ~RTE_MBUF_F_TX_OFFLOAD_MASK;
	if (is_plain(m))
		return m;
	counts->joined++;
	if (m->refcnt == 1 && !(m->ol_flags & RTE_MBUF_F_INDIRECT) && rte_pktmbuf_linearize(m) == 0)
		return m;
	whole = pool != NULL ? rte_pktmbuf_alloc(pool) : NULL;
	if (whole != NULL && m->pkt_len <= rte_pktmbuf_tailroom(whole)) {
		struct rte_mbuf *part;
		char *to = rte_pktmbuf_append(whole, m->pkt_len);

		for (part = m; part != NULL; part = part->next) {
			memcpy(to, rte_pktmbuf_mtod(part, char *), part->data_len);
			to += part->data_len;
		}
		whole->ol_flags |= keep;
	} else {
		rte_pktmbuf_free(whole);
		whole = NULL;
		counts->dropped++;
	}
	rte_pktmbuf_free(m);
	return whole;
}

/* Makes each frame plain; returns how many are left. */
static __rte_noinline uint16_t make_all_plain(struct rte_mbuf **m, uint16_t n, struct rte_mempool *whole,
					      struct hl_counts *counts)
{
	uint16_t i, kept = 0;

	counts->bytes = 0;
	for (i = 0; i < n; i++) {
		struct rte_mbuf *frame = is_plain(m[i]) ? m[i] : make_plain(m[i], whole, counts);

		if (frame != NULL) {
			counts->bytes += frame->data_len;
			m[kept++] = frame;
		}
	}
	return kept;
}

uint16_t hl_rx_burst(uint16_t port, uint16_t queue, struct hl_mbuf **frames, uint16_t n, struct rte_mempool *whole,
		     struct hl_counts *counts)
{
	struct rte_mbuf **m = theirs(frames);
	const uint16_t got = rte_eth_rx_burst(port, queue, m, n);
	uint64_t odd = 0;
	uint32_t bytes = 0;
	uint16_t i;

	/* Whether all are plain (they are, but for jumbo frames in segments) without a branch for each. */
#pragma GCC unroll 4
	for (i = 0; i < got; i++) {
		const struct rte_mbuf *frame = m[i];
		uint32_t counts_of_it;

		rte_prefetch0(rte_pktmbuf_mtod(frame, void *));
		memcpy(&counts_of_it, &frame->refcnt, sizeof(counts_of_it));
		odd |= (counts_of_it ^ ONE_OF_EACH) | (frame->ol_flags & (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_TX_OFFLOAD_MASK));
		bytes += frame->data_len;
	}
	counts->bytes = bytes;
	if (unlikely(odd != 0))
		return make_all_plain(m, got, whole, counts);
	return got;
}

static inline int is_tag(const uint8_t *ether_type)
{
	return (ether_type[0] == 0x81 && ether_type[1] == 0x00) || (ether_type[0] == 0x88 && ether_type[1] == 0xa8);
}

/* Tells the driver what it needs to know to fill in a checksum; whether the request makes sense. */
static int describe(struct rte_mbuf *m)
{
	const uint8_t *data = rte_pktmbuf_mtod(m, uint8_t *);
	const uint32_t start = m->hash.fdir.hi >> 16, offset = m->hash.fdir.hi & 0xffff;
	uint32_t l2 = RTE_ETHER_HDR_LEN;

	if (!(m->ol_flags & RTE_MBUF_F_TX_L4_MASK))
		return 1;
	while (l2 + RTE_VLAN_HLEN <= m->data_len && is_tag(data + l2 - 2))
		l2 += RTE_VLAN_HLEN;
	if (start < l2 + sizeof(struct rte_ipv4_hdr) || start + offset + 2 > m->data_len || start - l2 > MAX_L3_LEN)
		return 0;
	m->l2_len = l2;
	m->l3_len = start - l2;
	m->l4_len = (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM ? sizeof(struct rte_tcp_hdr) :
										       sizeof(struct rte_udp_hdr);
	m->tso_segsz = 0;
	m->ol_flags |= data[l2] >> 4 == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	return 1;
}

/* Sends frames of which some want a checksum, after the driver's last look. What makes no sense or is refused is dropped. */
static __rte_noinline uint16_t send_described(uint16_t port, uint16_t queue, struct rte_mbuf **m, uint16_t n, struct hl_counts *counts)
{
	uint16_t taken = 0;

	while (taken < n) {
		uint16_t good = 0, sent = 0;

		while (taken + good < n && describe(m[taken + good]))
			good++;
		if (good > 0)
			good = rte_eth_tx_prepare(port, queue, m + taken, good);
		if (good > 0)
			sent = rte_eth_tx_burst(port, queue, m + taken, good);
		taken += sent;
		if (sent < good || taken == n)
			break;
		counts->bytes -= m[taken]->data_len;
		counts->dropped++;
		rte_pktmbuf_free(m[taken++]);
	}
	return taken;
}

uint16_t hl_tx_burst(uint16_t port, uint16_t queue, struct hl_mbuf **frames, uint16_t n, struct hl_counts *counts)
{
	struct rte_mbuf **m = theirs(frames);
	uint32_t bytes = 0;
	uint64_t asked = 0;
	uint16_t i, taken;

#pragma GCC unroll 4
	for (i = 0; i < n; i++) {
		bytes += m[i]->data_len;
		asked |= m[i]->ol_flags & RTE_MBUF_F_TX_L4_MASK;
	}
	counts->bytes = bytes;
	if (unlikely(asked != 0))
		taken = send_described(port, queue, m, n, counts);
	else
		taken = rte_eth_tx_burst(port, queue, m, n);
	for (i = taken; i < n; i++)
		counts->bytes -= m[i]->data_len;
	return taken;
}

uint16_t hl_alloc_bulk(struct rte_mempool *pool, struct hl_mbuf **frames, uint16_t n)
{
	/* All or nothing, says DPDK: near the end of the pool ask for less. */
	for (; n > 0; n /= 2)
		if (rte_pktmbuf_alloc_bulk(pool, theirs(frames), n) == 0)
			return n;
	return 0;
}

void hl_free_bulk(struct hl_mbuf **frames, uint16_t n)
{
	rte_pktmbuf_free_bulk(theirs(frames), n);
}

struct rte_mempool *hl_pool_create(const char *name, unsigned n, unsigned cache, uint16_t room, int socket)
{
	return rte_pktmbuf_pool_create(name, n, cache, 0, room, socket);
}

void hl_pool_free(struct rte_mempool *pool)
{
	rte_mempool_free(pool);
}

unsigned hl_pool_in_use(const struct rte_mempool *pool)
{
	return rte_mempool_in_use_count(pool);
}

unsigned hl_pool_size(const struct rte_mempool *pool)
{
	return pool->size;
}

uint16_t hl_headroom(void)
{
	return RTE_PKTMBUF_HEADROOM;
}

struct rte_ring *hl_ring_create(const char *name, unsigned n, int socket)
{
	return rte_ring_create(name, n, socket, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

void hl_ring_free(struct rte_ring *ring)
{
	struct rte_mbuf *m[64];
	unsigned n;

	while ((n = rte_ring_dequeue_burst(ring, (void **)m, RTE_DIM(m), NULL)) > 0)
		rte_pktmbuf_free_bulk(m, n);
	rte_ring_free(ring);
}

int hl_ring_port(const char *name, struct rte_ring **rx, struct rte_ring **tx, unsigned queues, int socket)
{
	const int port = rte_eth_from_rings(name, rx, queues, tx, queues, socket < 0 ? 0 : (unsigned)socket);

	return port >= 0 ? port : -rte_errno;
}
