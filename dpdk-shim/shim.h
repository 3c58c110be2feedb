/*
 * The interface to DPDK that the crate dpdk-sys binds. Much of DPDK's data path consists of static inline functions, which cannot
 * be linked against: shim.c wraps them, with one call for a burst of frames. This header includes no header of DPDK: types are
 * opaque, and constants are repeated here and asserted in the .c files to equal DPDK's.
 *
 * A function that can fail returns 0 or a negative errno, unless its comment says otherwise.
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
 * The first cache line of an rte_mbuf, which the owner of a frame reads and writes without a call. shim.c asserts the offsets. Only
 * DPDK uses the members whose names begin with an underscore.
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
	/* hash.fdir.hi, which transmit functions ignore: start << 16 | offset of a checksum to be filled in. */
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
 * A queue of a port and its counters, owned by one thread. The shim writes the counters: a burst counts its frames while they are
 * in the cache.
 */
struct hl_queue {
	uint16_t port;
	uint16_t queue;
	/* The pool of buffers for a whole frame, for frames that arrive in segments; NULL: such frames are dropped. */
	struct rte_mempool *whole;
	uint64_t rx_frames;
	uint64_t rx_bytes;
	/* Frames that had to be copied, or needed room for a tag, and were dropped because no buffer was free or large enough. */
	uint64_t rx_dropped;
	/* Frames that were copied into one buffer: they arrived in several segments, or their buffer has another owner. */
	uint64_t rx_joined;
	/* Frames that the driver took, and their bytes. */
	uint64_t tx_frames;
	uint64_t tx_bytes;
	/* Frames with a wrong checksum request, or that the driver rejects. */
	uint64_t tx_dropped;
	/* Bursts of which the driver did not take all frames. */
	uint64_t tx_full;
	uint64_t tx_bursts;
};

/*
 * Receives up to n frames; returns their number. Each has one segment, whose buffer has no other owner, and the VLAN tags with which
 * it was sent. A frame in several segments, or in a buffer with another owner, is copied; a tag that the device has removed is put
 * back.
 */
uint16_t hl_rx_burst(struct hl_queue *queue, struct hl_mbuf **frames, uint16_t n);

/* Sends frames from the front; returns the number taken (sent or dropped). The rest still belongs to the caller. */
uint16_t hl_tx_burst(struct hl_queue *queue, struct hl_mbuf **frames, uint16_t n);
/* The same for a burst in which frames may request a checksum. */
uint16_t hl_tx_burst_fill(struct hl_queue *queue, struct hl_mbuf **frames, uint16_t n);

/* Takes up to n empty frames from the pool; returns their number. */
uint16_t hl_alloc_bulk(struct rte_mempool *pool, struct hl_mbuf **frames, uint16_t n);

/* Returns each frame to its pool. */
void hl_free_bulk(struct hl_mbuf **frames, uint16_t n);

/* The number of calls of the functions above by this thread. */
uint64_t hl_burst_calls(void);

/* -------------------------------------------------------------------------------------- pools and ring ports: pool.c */

/* Creates a pool of `n` mbufs with `room` bytes each (headroom included) on the node `socket` (-1: any). NULL: see hl_errno. */
struct rte_mempool *hl_pool_create(const char *name, unsigned n, unsigned cache, uint16_t room, int socket);
void hl_pool_free(struct rte_mempool *pool);
unsigned hl_pool_in_use(const struct rte_mempool *pool);
unsigned hl_pool_size(const struct rte_mempool *pool);
uint16_t hl_headroom(void);

/* Creates a ring of `n` slots, a power of two, for a pair of ring ports. NULL: see hl_errno. */
struct rte_ring *hl_ring_create(const char *name, unsigned n, int socket);
/* Frees the frames in the ring and then the ring. */
void hl_ring_free(struct rte_ring *ring);
/* Creates a port that receives from one set of rings and sends to another. Returns its number, or a negative errno. */
int hl_ring_port(const char *name, struct rte_ring **rx, struct rte_ring **tx, unsigned queues, int socket);

/* ----------------------------------------------------------------------------------------------------- EAL: eal.c */

/* Receives the texts of DPDK's log with their level, 1 (emergency) to 8 (debug), and printed texts with level 0. */
typedef void (*hl_log_fn)(uint32_t level, const char *text, size_t len);

/* Sends DPDK's log to `log` until the process ends. */
int hl_log_to(hl_log_fn log);

/*
 * rte_eal_init, with the texts that it prints sent to the log, and with the caller's CPU affinity restored.
 */
int hl_eal_init(int argc, char **argv);
int hl_eal_cleanup(void);
/* Whether the process has huge pages for DPDK. */
int hl_eal_has_huge_pages(void);
/* The addresses that devices use: "va" (virtual), "pa" (physical) or "?". */
const char *hl_eal_iova_mode(void);

/* Writes the CPUs on which this thread may run, at most n; returns their number. */
unsigned hl_cpus(uint16_t *cpus, unsigned n);

/* Registers this thread with DPDK, so that it has a cache in each pool. Returns 1 if it was registered before. */
int hl_thread_register(void);
void hl_thread_unregister(void);

/* The errno of this thread's last call that returned NULL, positive. */
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
	/* The NUMA node; -1: unknown. */
	int socket;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	uint64_t rss_types;
	uint16_t reta_size;
	uint8_t rss_key_len;
	/* The index of the kernel's network interface that a virtual device uses; 0: none. */
	uint32_t interface;
};

/* The first port with a number of at least `from`, or a negative errno. */
int hl_port_next(uint16_t from);
int hl_port_by_name(const char *name);
int hl_port_info(uint16_t port, struct hl_port_info *info);

struct hl_port_config {
	uint16_t queues;
	/* In: the requested number. Out: the number after the device has adjusted it. */
	uint16_t rx_descriptors;
	uint16_t tx_descriptors;
	uint16_t mtu;
	uint64_t rx_offloads;
	uint64_t tx_offloads;
	/* 0: no RSS. */
	uint64_t rss_types;
	uint8_t *rss_key;
	uint8_t rss_key_len;
};

/* Configures the port and adjusts the numbers of descriptors. On failure, `step` has the name of the failed step. */
int hl_port_configure(uint16_t port, struct hl_port_config *config, const char **step);
int hl_port_queue(uint16_t port, uint16_t queue, const struct hl_port_config *config, struct rte_mempool *pool, int socket,
		  const char **step);
/* Starts the port: it receives frames to its own address and multicast, with hash values spread over the queues. `step` is as above.
 * A step that the device does not support (-ENOTSUP) is not a failure. */
int hl_port_start(uint16_t port, uint16_t queues, const char **step);
void hl_port_stop(uint16_t port);
int hl_port_close(uint16_t port);
/* The device of a port, as EAL's arguments or bus scan name it. */
struct hl_port_origin {
	char bus[32];
	char device[64];
	char arguments[1024];
};
/* Fails if DPDK does not report the device, or if a text is too long. */
int hl_port_origin(uint16_t port, struct hl_port_origin *origin);
/* DPDK forgets a port that was closed and keeps its device. Removes the device and adds it again, which creates a port. */
int hl_port_reattach(const struct hl_port_origin *origin);
/* 1, 0, or a negative errno. */
int hl_port_is_promiscuous(uint16_t port);
/* Makes the port receive frames to any address. */
int hl_port_set_promiscuous(uint16_t port);
/* Makes the port receive frames to this address as well. */
int hl_port_add_mac(uint16_t port, const uint8_t *mac);
/* Whether the kernel has a network interface with this index. */
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
	/* Frames dropped because no descriptor was free, or no buffer; frames with errors. */
	uint64_t rx_missed, rx_no_buffer, rx_errors, tx_errors;
};
int hl_port_stats(uint16_t port, struct hl_port_stats *stats);

/* Writes the names (64 bytes each) and values of the driver's own counters, at most n; returns their number. With names == NULL it
 * only returns the number. */
int hl_port_xstats(uint16_t port, char (*names)[64], uint64_t *values, unsigned n);

/* The events of a port: bit 0 is set when the device is removed, and 2 is added each time the link changes. */
const uint32_t *hl_port_events(uint16_t port);

/* ---------------------------------------------------------------------------------------------- flow rules: flow.c */

struct hl_rule {
	/* The EtherType: 0x0800, 0x86dd or 0x0806. */
	uint16_t ether_type;
	/* The VLAN identifier; 0: untagged. */
	uint16_t vlan;
	/* The destination address (4 or 16 bytes), and the number of bits that are compared; 0: any. */
	uint8_t address[16];
	uint8_t prefix;
	/* 6 (TCP), 1 or 58 (ICMP); 0: any. */
	uint8_t protocol;
	/* The TCP destination port in host order; 0: any. */
	uint16_t port;
};

/* Restricts the port to frames for which there is a rule. To be called before hl_port_configure. */
int hl_flow_isolate(uint16_t port);
/* Adds a rule: frames that match go to the queues, spread by `rss_types` if there are several. On failure, `reason` has the driver's
 * reason or NULL. */
int hl_flow_add(uint16_t port, const struct hl_rule *rule, uint16_t queues, const struct hl_port_config *config,
		const char **reason);
int hl_flow_flush(uint16_t port);

#ifdef HIOLOAD_ODD_FRAMES
/*
 * odd_frames.c, for tests: frames as some drivers make them. The first moves the bytes of a frame into an external buffer, with
 * `others` owners besides the frame, and returns the buffer; NULL without memory. The second attaches a new frame of `pool` to the
 * buffer of a frame, which becomes its second owner; NULL without a free one. The third removes `others` owners of an external buffer
 * and returns its bytes' sum; the buffer is freed with its last owner. The fourth marks a frame as having lost its tags.
 */
void *hl_odd_external(struct hl_mbuf *frame, uint16_t others);
struct hl_mbuf *hl_odd_clone(struct hl_mbuf *frame, struct rte_mempool *pool);
uint64_t hl_odd_release(void *external, uint16_t others);
void hl_odd_stripped(struct hl_mbuf *frame, uint16_t tci, int outer);
#endif

#ifdef HIOLOAD_RAW_LOOP
/* raw_loop.c, for benchmarks: receives, swaps the addresses and sends, `turns` times, with DPDK's own functions. Returns the number
 * of frames sent. The second also does the work that every device must do: it counts bytes in both directions and drops frames in
 * several segments. */
uint64_t hl_raw_loop(uint16_t port, uint16_t queue, uint16_t burst, uint64_t turns);
uint64_t hl_counting_loop(uint16_t port, uint16_t queue, uint16_t burst, uint64_t turns, uint64_t *bytes);
#endif

#endif
