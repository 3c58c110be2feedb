/*
 * What the crate dpdk-sys binds of DPDK. Much of DPDK's data path is static inline functions, which cannot be linked
 * against: shim.c wraps them by the burst, never by the frame. This header includes none of DPDK's: types are opaque, numbers
 * are repeated here and asserted in the .c files to be DPDK's.
 *
 * Functions that can fail return 0 or a negative errno, unless they say otherwise.
 */
#ifndef HIOLOAD_DPDK_SHIM_H
#define HIOLOAD_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

struct rte_mempool;
struct rte_ring;
struct rte_flow;

/* ------------------------------------------------------------------------------------------------- frames: shim.c */

/*
 * The first cache line of an rte_mbuf: what the owner of a frame reads and writes without a call. Offsets are asserted.
 * Names with an underscore are DPDK's business.
 */
struct hl_mbuf {
	uint8_t *buf_addr;
	uint64_t _iova;
	uint16_t data_off;
	uint16_t _refcnt;
	uint16_t _nb_segs;
	uint16_t _port;
	uint64_t ol_flags;
	uint32_t _packet_type;
	uint32_t pkt_len;
	uint16_t data_len;
	uint16_t _vlan_tci;
	uint32_t _rss;
	/* hash.fdir.hi, which means nothing to a transmit function: start << 16 | offset of a checksum to be filled in. */
	uint32_t fill;
	uint16_t _vlan_tci_outer;
	uint16_t buf_len;
	void *_pool;
};

#define HL_RX_IP_MASK 0x90ULL
#define HL_RX_IP_BAD 0x10ULL
#define HL_RX_L4_MASK 0x108ULL
#define HL_RX_L4_BAD 0x8ULL
#define HL_TX_L4_MASK 0x30000000000000ULL
#define HL_TX_TCP 0x10000000000000ULL
#define HL_TX_UDP 0x30000000000000ULL

/*
 * A queue of a port: which, and what it has counted. One thread's. The counters are the shim's to write: a burst adds to them
 * what it has seen of its frames while they were in the cache anyway.
 */
struct hl_queue {
	uint16_t port;
	uint16_t queue;
	/* Where a whole frame fits, for those that come in segments; none: they are dropped. */
	struct rte_mempool *whole;
	uint64_t rx_frames;
	uint64_t rx_bytes;
	/* Received in several segments, and no buffer for the whole. */
	uint64_t rx_dropped;
	/* Received in several segments and made one. */
	uint64_t rx_joined;
	/* Taken by the driver, and their bytes. */
	uint64_t tx_frames;
	uint64_t tx_bytes;
	/* Refused by the driver for what they are. */
	uint64_t tx_dropped;
	/* Bursts of which some frames were left. */
	uint64_t tx_full;
	uint64_t tx_bursts;
};

/* Receives up to n frames; returns how many. Each is one segment with one owner; what is not is copied to one of `whole`. */
uint16_t hl_rx_burst(struct hl_queue *queue, struct hl_mbuf **frames, uint16_t n);

/* Sends from the front; returns how many were taken (sent or dropped). The rest still belongs to the caller. */
uint16_t hl_tx_burst(struct hl_queue *queue, struct hl_mbuf **frames, uint16_t n);
/* The same if some of them may want a checksum. */
uint16_t hl_tx_burst_fill(struct hl_queue *queue, struct hl_mbuf **frames, uint16_t n);

/* Takes up to n empty frames from the pool; returns how many. */
uint16_t hl_alloc_bulk(struct rte_mempool *pool, struct hl_mbuf **frames, uint16_t n);

/* Gives frames back, each to its own pool. */
void hl_free_bulk(struct hl_mbuf **frames, uint16_t n);

/* How often this thread has called one of the four functions above. */
uint64_t hl_burst_calls(void);

/* A pool of `n` mbufs with `room` bytes each (headroom included) on the node `socket` (-1: any). NULL: see hl_errno. */
struct rte_mempool *hl_pool_create(const char *name, unsigned n, unsigned cache, uint16_t room, int socket);
void hl_pool_free(struct rte_mempool *pool);
unsigned hl_pool_in_use(const struct rte_mempool *pool);
unsigned hl_pool_size(const struct rte_mempool *pool);
uint16_t hl_headroom(void);

/* A ring for a pair of ring ports, `n` a power of two. NULL: see hl_errno. */
struct rte_ring *hl_ring_create(const char *name, unsigned n, int socket);
/* Frees the frames in it and then the ring. */
void hl_ring_free(struct rte_ring *ring);
/* A port that receives from one set of rings and sends to another; negative on error. */
int hl_ring_port(const char *name, struct rte_ring **rx, struct rte_ring **tx, unsigned queues, int socket);

/* ----------------------------------------------------------------------------------------------------- EAL: eal.c */

/* Receives each line of DPDK's log; level 1 (emergency) to 8 (debug), 0 for what was printed rather than logged. */
typedef void (*hl_log_fn)(uint32_t level, const char *text, size_t len);

/* Sends DPDK's log to `log`, for good. */
int hl_log_to(hl_log_fn log);

/*
 * rte_eal_init with everything that it would print sent to the log, and the caller's CPU affinity as it was before.
 * Returns 0 or a negative errno.
 */
int hl_eal_init(int argc, char **argv);
int hl_eal_cleanup(void);
/* Whether the process has huge pages for DPDK. */
int hl_eal_has_huge_pages(void);
/* "va", "pa" or "?": how devices address memory. */
const char *hl_eal_iova_mode(void);

/* The CPUs this thread may run on, at most n; returns how many. */
unsigned hl_cpus(uint16_t *cpus, unsigned n);

/* Makes this thread known to DPDK, so that its allocations have a cache of their own. 1: it was known before. */
int hl_thread_register(void);
void hl_thread_unregister(void);

/* The error of the last call that returned NULL, positive. */
int hl_errno(void);
const char *hl_strerror(int error);
const char *hl_version(void);

/* -------------------------------------------------------------------------------------------------- ports: port.c */

#define HL_RX_OFFLOAD_IPV4 0x2ULL
#define HL_RX_OFFLOAD_TCP 0x8ULL
#define HL_RX_OFFLOAD_SCATTER 0x2000ULL
#define HL_TX_OFFLOAD_TCP 0x8ULL
#define HL_TX_OFFLOAD_TSO 0x20ULL
#define HL_RSS_IPV4 0x4ULL
#define HL_RSS_IPV4_TCP 0x10ULL
#define HL_RSS_IPV6 0x100ULL
#define HL_RSS_IPV6_TCP 0x400ULL

struct hl_port_info {
	char name[64];
	char driver[64];
	uint8_t mac[6];
	uint16_t mtu;
	uint16_t min_mtu;
	uint16_t max_mtu;
	uint16_t max_rx_queues;
	uint16_t max_tx_queues;
	/* -1: none in particular. */
	int socket;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
	uint16_t reta_size;
	uint8_t rss_key_len;
	/* The kernel's network interface that the device stands on; 0: none. */
	uint32_t interface;
};

/* The first port with a number of at least `from`; negative if there is none. */
int hl_port_next(uint16_t from);
int hl_port_by_name(const char *name);
int hl_port_info(uint16_t port, struct hl_port_info *info);

struct hl_port_config {
	uint16_t queues;
	/* In: wanted. Out: what the device takes. */
	uint16_t rx_descriptors;
	uint16_t tx_descriptors;
	uint16_t mtu;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	/* None: 0. */
	uint64_t rss_types;
	uint8_t *rss_key;
	uint8_t rss_key_len;
};

/* Sizes the port and adjusts the descriptors. `step` gets the name of what failed. */
int hl_port_configure(uint16_t port, struct hl_port_config *config, const char **step);
int hl_port_queue(uint16_t port, uint16_t queue, const struct hl_port_config *config, struct rte_mempool *pool, int socket,
		  const char **step);
/* Starts it: own address and multicast only, hash values spread over the queues. `step` as above; a thing that the device
 * does not know (-ENOTSUP) is no failure. */
int hl_port_start(uint16_t port, uint16_t queues, const char **step);
void hl_port_stop(uint16_t port);
int hl_port_close(uint16_t port);
/* Where a port comes from, as EAL was told of it. */
struct hl_port_origin {
	char bus[32];
	char device[64];
	char arguments[1024];
};
/* Negative errno if it cannot be known, or is too long. */
int hl_port_origin(uint16_t port, struct hl_port_origin *origin);
/* DPDK forgets a port that was closed, and keeps its device: takes the device out and in again, which makes a port. */
int hl_port_revive(const struct hl_port_origin *origin);
/* 1, 0, or a negative errno. */
int hl_port_promiscuous(uint16_t port);
int hl_port_all_multicast(uint16_t port);
/* Takes frames to any address. */
int hl_port_be_promiscuous(uint16_t port);
/* Takes frames to this address too. */
int hl_port_add_mac(uint16_t port, const uint8_t *mac);
/* Whether the kernel has this network interface. */
int hl_interface_exists(uint32_t interface);

struct hl_link {
	uint8_t up;
	uint8_t full_duplex;
	/* Mbit/s; UINT32_MAX if unknown. */
	uint32_t speed;
};
int hl_port_link(uint16_t port, struct hl_link *link);

struct hl_port_stats {
	uint64_t rx_frames, tx_frames, rx_bytes, tx_bytes;
	/* No descriptor was free; no buffer was free; bad frames. */
	uint64_t rx_missed, rx_no_buffer, rx_errors, tx_errors;
};
int hl_port_stats(uint16_t port, struct hl_port_stats *stats);

/* Number of extended counters; then their names (64 bytes each) and values, at most n; returns how many there are. */
int hl_port_xstats(uint16_t port, char (*names)[64], uint64_t *values, unsigned n);

/* Becomes 1 when the device is taken away, and 2 is added each time its link changes. */
const uint32_t *hl_port_events(uint16_t port);

/* ---------------------------------------------------------------------------------------------- flow rules: flow.c */

struct hl_rule {
	/* 0x0800, 0x86dd, 0x0806: what the frame carries. */
	uint16_t ether_type;
	/* 0: untagged. */
	uint16_t vlan;
	/* The destination; 0, 4 or 16 bytes of it, and how many bits count. */
	uint8_t address[16];
	uint8_t prefix;
	/* 0: any; 6: TCP, and 1, 58: ICMP. */
	uint8_t protocol;
	/* 0: any. Host order. */
	uint16_t port;
};

/* Only what a rule asks for shall reach the port; before hl_port_configure. */
int hl_flow_isolate(uint16_t port);
/* Frames that match go to the queues: spread by `rss_types` if there are several. `why` gets the driver's reason or NULL. */
int hl_flow_add(uint16_t port, const struct hl_rule *rule, uint16_t queues, const struct hl_port_config *config,
		const char **why);
int hl_flow_flush(uint16_t port);

#ifdef HIOLOAD_RAW_LOOP
/* raw_loop.c: receive, swap the addresses, send, `turns` times, in C against DPDK itself; returns frames sent. For
 * benchmarks. The second does what a device has to beside that: it counts bytes both ways and drops what is in segments. */
uint64_t hl_raw_loop(uint16_t port, uint16_t queue, uint16_t burst, uint64_t turns);
uint64_t hl_counting_loop(uint16_t port, uint16_t queue, uint16_t burst, uint64_t turns, uint64_t *bytes);
#endif

#endif
