/* Bursts of frames: receive, send, allocate, free. */
#include "shim.h"

#include <assert.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

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

/* The largest value of the mbuf's field for the length of the IP header and its extensions. */
#define MAX_L3_LEN ((1u << RTE_MBUF_L3_LEN_BITS) - 1)

/*
 * The fields that tell whether a frame is plain lie in 16 bytes: data_off, refcnt, nb_segs and port, two bytes each, and ol_flags.
 * One load reads them all, instead of three for each frame of a burst.
 */
typedef uint16_t state __attribute__((vector_size(16), may_alias));
#define STATE_AT offsetof(struct rte_mbuf, data_off)
static_assert(STATE_AT % sizeof(state) == 0 && offsetof(struct rte_mbuf, refcnt) == STATE_AT + 2 &&
		      offsetof(struct rte_mbuf, nb_segs) == STATE_AT + 4 && offsetof(struct rte_mbuf, ol_flags) == STATE_AT + 8,
	      "the fields of one load");

/* In the first half, all bits of the two counts except the lowest. They are in the middle, so this holds in either byte order. */
#define COUNTS_BEYOND_1 0x0000fffefffe0000ULL

static inline state state_of(const struct rte_mbuf *m)
{
	return *(const state *)__builtin_assume_aligned((const char *)m + STATE_AT, sizeof(state));
}

static __thread uint64_t calls;

static inline struct rte_mbuf **theirs(struct hl_mbuf **frames)
{
	return (struct rte_mbuf **)frames;
}

/* A device has removed one or two VLAN tags from the frame. */
#define STRIPPED (RTE_MBUF_F_RX_VLAN_STRIPPED | RTE_MBUF_F_RX_QINQ_STRIPPED)
/* The flags of frames that may not be plain. */
#define UNCOMMON (RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL | STRIPPED | RTE_MBUF_F_TX_OFFLOAD_MASK)

/*
 * Whether nothing else reads or writes the buffer of the first segment. There are three kinds of buffers. The mbuf's own: each
 * mbuf that is attached to it holds a reference, so the count is 1 if there is none. That of another mbuf: this one is then
 * indirect. An external one: all mbufs with it share its count. A count of 1 cannot rise, because only an owner raises it, and the
 * only owner is the caller.
 */
static inline int is_exclusive(const struct rte_mbuf *m)
{
	if (m->refcnt != 1 || m->ol_flags & RTE_MBUF_F_INDIRECT)
		return 0;
	return !(m->ol_flags & RTE_MBUF_F_EXTERNAL) || (m->shinfo != NULL && rte_mbuf_ext_refcnt_read(m->shinfo) == 1);
}

/* Whether a frame has one segment, whose buffer is exclusive, has all its tags, and requests no transmit offload. */
static inline int is_plain(const struct rte_mbuf *m)
{
	return m->nb_segs == 1 && !(m->ol_flags & (STRIPPED | RTE_MBUF_F_TX_OFFLOAD_MASK)) && is_exclusive(m);
}

/* Writes a VLAN tag into a frame with an exclusive buffer; returns 0 if there is no room. */
static int put_tag(struct rte_mbuf *m, uint16_t tci)
{
	const size_t macs = 2 * RTE_ETHER_ADDR_LEN;
	struct rte_vlan_hdr tag = { .vlan_tci = rte_cpu_to_be_16(tci) };
	const rte_be16_t type = rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN);
	uint8_t *data;

	if (m->data_len < RTE_ETHER_HDR_LEN)
		return 0;
	if (rte_pktmbuf_headroom(m) >= sizeof(tag)) {
		data = (uint8_t *)rte_pktmbuf_prepend(m, sizeof(tag));
		memmove(data, data + sizeof(tag), macs);
	} else {
		if (rte_pktmbuf_append(m, sizeof(tag)) == NULL)
			return 0;
		data = rte_pktmbuf_mtod(m, uint8_t *);
		memmove(data + macs + sizeof(tag), data + macs, m->data_len - sizeof(tag) - macs);
	}
	memcpy(data + macs, &type, sizeof(type));
	memcpy(data + macs + sizeof(type), &tag.vlan_tci, sizeof(tag.vlan_tci));
	return 1;
}

/* Puts removed tags back, so that the stack, which decides by them, sees the frame as it was sent; returns 0 if there is no room. */
static int restore_tags(struct rte_mbuf *m, uint64_t flags, uint16_t tci, uint16_t outer)
{
	m->ol_flags &= ~STRIPPED;
	if (flags & RTE_MBUF_F_RX_VLAN_STRIPPED && !put_tag(m, tci))
		return 0;
	return !(flags & RTE_MBUF_F_RX_QINQ_STRIPPED) || put_tag(m, outer);
}

/* Frees a frame that cannot be made plain. */
static struct rte_mbuf *discard(struct rte_mbuf *m, struct hl_queue *q)
{
	q->rx_dropped++;
	rte_pktmbuf_free(m);
	return NULL;
}

/*
 * Copies a frame into one exclusive buffer: its own first one if it fits there and is exclusive, otherwise one of `whole`. Drops the
 * frame and returns NULL if no buffer is free or large enough.
 */
static struct rte_mbuf *join(struct rte_mbuf *m, struct hl_queue *q)
{
	struct rte_mbuf *whole;
	const uint64_t keep = m->ol_flags & (RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_L4_CKSUM_MASK);

	q->rx_joined++;
	if (is_exclusive(m) && rte_pktmbuf_linearize(m) == 0)
		return m;
	whole = q->whole != NULL ? rte_pktmbuf_alloc(q->whole) : NULL;
	if (whole != NULL && m->pkt_len <= rte_pktmbuf_tailroom(whole)) {
		struct rte_mbuf *part;
		char *to = rte_pktmbuf_append(whole, m->pkt_len);

		for (part = m; part != NULL; part = part->next) {
			memcpy(to, rte_pktmbuf_mtod(part, char *), part->data_len);
			to += part->data_len;
		}
		whole->ol_flags |= keep;
		rte_pktmbuf_free(m);
		return whole;
	}
	rte_pktmbuf_free(whole);
	return discard(m, q);
}

/* Makes a frame plain. Drops it and returns NULL if that is not possible. */
static __rte_noinline struct rte_mbuf *make_plain(struct rte_mbuf *m, struct hl_queue *q)
{
	const uint64_t flags = m->ol_flags;
	const uint16_t tci = m->vlan_tci, outer = m->vlan_tci_outer;

	m->ol_flags &= ~RTE_MBUF_F_TX_OFFLOAD_MASK;
	if (m->nb_segs != 1 || !is_exclusive(m))
		m = join(m, q);
	if (m == NULL || !(flags & STRIPPED) || restore_tags(m, flags, tci, outer))
		return m;
	return discard(m, q);
}

/* Makes each frame plain; returns the number of frames that remain. */
static __rte_noinline uint16_t make_all_plain(struct rte_mbuf **m, uint16_t n, struct hl_queue *q)
{
	uint16_t i, kept = 0;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *frame = is_plain(m[i]) ? m[i] : make_plain(m[i], q);

		if (frame != NULL) {
			q->rx_bytes += frame->data_len;
			m[kept++] = frame;
		}
	}
	q->rx_frames += kept;
	return kept;
}

/*
 * Returns whether all frames are plain for sure, and sums their bytes. All are, except jumbo frames in segments, frames in external
 * buffers, which some drivers use, and frames without their tags. There is no branch for a
 * frame, and there are two sums: the additions of one sum depend on each other, which costs a cycle for each frame. Neither count of
 * a frame is ever 0, so all counts are 1 if no other bit is set in any of them.
 */
static inline int all_plain(struct rte_mbuf *const *m, unsigned n, uint32_t *bytes)
{
	struct rte_mbuf *const *const end = m + n, *const *const last = m + (n & ~3u);
	state any[2] = { { 0 } };
	uint32_t sum[2] = { 0 };
	uint64_t halves[2];

	for (; m != last; m += 4) {
		any[0] |= state_of(m[0]);
		any[1] |= state_of(m[1]);
		sum[0] += m[0]->pkt_len;
		sum[1] += m[1]->pkt_len;
		any[0] |= state_of(m[2]);
		any[1] |= state_of(m[3]);
		sum[0] += m[2]->pkt_len;
		sum[1] += m[3]->pkt_len;
	}
	for (; m != end; m++) {
		any[0] |= state_of(*m);
		sum[0] += (*m)->pkt_len;
	}
	any[0] |= any[1];
	*bytes = sum[0] + sum[1];
	memcpy(halves, &any[0], sizeof(halves));
	return (halves[0] & COUNTS_BEYOND_1) == 0 && (halves[1] & UNCOMMON) == 0;
}

/*
 * rte_eth_rx_burst and rte_eth_tx_burst keep the arguments of callbacks in registers across the call of the driver, for each burst.
 * There is a callback only while a capture runs, so these functions check for one first.
 */
static __rte_noinline uint16_t receive_with_callbacks(struct hl_queue *q, struct rte_mbuf **m, uint16_t n)
{
	return rte_eth_rx_burst(q->port, q->queue, m, n);
}

static inline uint16_t receive(struct hl_queue *q, struct rte_mbuf **m, uint16_t n)
{
	const struct rte_eth_fp_ops *const port = &rte_eth_fp_ops[q->port];

	if (unlikely(port->rxq.clbk[q->queue] != NULL))
		return receive_with_callbacks(q, m, n);
	return port->rx_pkt_burst(port->rxq.data[q->queue], m, n);
}

static __rte_noinline uint16_t transmit_with_callbacks(struct hl_queue *q, struct rte_mbuf **m, uint16_t n)
{
	return rte_eth_tx_burst(q->port, q->queue, m, n);
}

static inline uint16_t transmit(struct hl_queue *q, struct rte_mbuf **m, uint16_t n)
{
	const struct rte_eth_fp_ops *const port = &rte_eth_fp_ops[q->port];

	if (unlikely(port->txq.clbk[q->queue] != NULL))
		return transmit_with_callbacks(q, m, n);
	return port->tx_pkt_burst(port->txq.data[q->queue], m, n);
}

uint16_t hl_rx_burst(struct hl_queue *q, struct hl_mbuf **frames, uint16_t n)
{
	struct rte_mbuf **m = theirs(frames);
	const uint16_t got = receive(q, m, n);
	uint32_t bytes;

	calls++;
	if (unlikely(!all_plain(m, got, &bytes)))
		return make_all_plain(m, got, q);
	q->rx_frames += got;
	q->rx_bytes += bytes;
	return got;
}

static inline int is_tag(const uint8_t *ether_type)
{
	return (ether_type[0] == 0x81 && ether_type[1] == 0x00) || (ether_type[0] == 0x88 && ether_type[1] == 0xa8);
}

/* Sets the fields that the driver needs to fill in a checksum; returns 0 if the request does not match the frame. */
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

/* Sends frames of which some request a checksum, after rte_eth_tx_prepare. Drops frames with a wrong request, and rejected frames. */
static __rte_noinline uint16_t send_described(struct hl_queue *q, struct rte_mbuf **m, uint16_t n)
{
	uint16_t taken = 0;

	while (taken < n) {
		uint16_t good = 0, sent = 0;

		while (taken + good < n && describe(m[taken + good]))
			good++;
		if (good > 0)
			good = rte_eth_tx_prepare(q->port, q->queue, m + taken, good);
		if (good > 0)
			sent = rte_eth_tx_burst(q->port, q->queue, m + taken, good);
		taken += sent;
		if (sent < good || taken == n)
			break;
		q->tx_bytes -= m[taken]->pkt_len;
		q->tx_frames--;
		q->tx_dropped++;
		rte_pktmbuf_free(m[taken++]);
	}
	return taken;
}

static inline uint32_t bytes_of(struct rte_mbuf *const *m, unsigned n)
{
	struct rte_mbuf *const *const end = m + n, *const *const last = m + (n & ~3u);
	uint32_t sum[2] = { 0 };

	for (; m != last; m += 4) {
		sum[0] += m[0]->pkt_len;
		sum[1] += m[1]->pkt_len;
		sum[0] += m[2]->pkt_len;
		sum[1] += m[3]->pkt_len;
	}
	for (; m != end; m++)
		sum[0] += (*m)->pkt_len;
	return sum[0] + sum[1];
}

/* Counts the frames that the driver did not take; the caller still owns them. */
static __rte_noinline void left_over(struct hl_queue *q, struct rte_mbuf *const *m, uint16_t n)
{
	q->tx_full++;
	q->tx_bytes -= bytes_of(m, n);
}

/* Completes the counters. The bytes of all n frames have been added before. */
static inline uint16_t sent(struct hl_queue *q, struct rte_mbuf *const *m, uint16_t n, uint16_t taken)
{
	if (unlikely(taken < n))
		left_over(q, m + taken, n - taken);
	q->tx_bursts++;
	q->tx_frames += taken;
	return taken;
}

uint16_t hl_tx_burst(struct hl_queue *q, struct hl_mbuf **frames, uint16_t n)
{
	struct rte_mbuf **m = theirs(frames);

	calls++;
	q->tx_bytes += bytes_of(m, n);
	return sent(q, m, n, transmit(q, m, n));
}

uint16_t hl_tx_burst_fill(struct hl_queue *q, struct hl_mbuf **frames, uint16_t n)
{
	struct rte_mbuf **m = theirs(frames);

	calls++;
	q->tx_bytes += bytes_of(m, n);
	return sent(q, m, n, send_described(q, m, n));
}

uint16_t hl_alloc_bulk(struct rte_mempool *pool, struct hl_mbuf **frames, uint16_t n)
{
	calls++;
	/* DPDK allocates all or none: request fewer frames near the end of the pool. */
	for (; n > 0; n /= 2)
		if (rte_pktmbuf_alloc_bulk(pool, theirs(frames), n) == 0)
			return n;
	return 0;
}

void hl_free_bulk(struct hl_mbuf **frames, uint16_t n)
{
	calls++;
	rte_pktmbuf_free_bulk(theirs(frames), n);
}

uint64_t hl_burst_calls(void)
{
	return calls;
}
