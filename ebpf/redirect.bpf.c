// SPDX-License-Identifier: Apache-2.0
//
// Redirects the port's packets to the AF_XDP socket of the queue on which they arrive, and passes all other packets to the
// kernel unchanged.
//
// An address is owned in one of two ways. Own (SHARED is 0): the kernel does not have the address configured. The port receives
// TCP to any of its TCP ports, ICMP, ARP and neighbour discovery for it, and fragments. Shared: the kernel has the address
// configured, and answers ARP and ICMP. The port receives only TCP to the listened endpoints, and ICMP errors that quote a
// segment from them. A packet for the port whose queue has no socket is dropped, because the kernel would answer with a reset.
//
// All helpers used here are available to programs of any licence, so the program has the licence of the project.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Apache-2.0";

#define NO_VLAN 0xffffu
#define VLAN_ID 0x0fff
// The number of IPv6 extension headers that are parsed. A packet with more is passed to the kernel.
#define MAX_EXTENSIONS 6

// The loader writes these before it loads the program, so that they are constants to the verifier.
volatile const __u32 SHARED = 0;
// The 802.1Q identifier of the port's frames; NO_VLAN: the port's frames have no tag.
volatile const __u32 VLAN = NO_VLAN;

// The outcome for a packet. The loader reads the counters by these numbers.
enum verdict {
	TCP,
	ARP,
	ND,
	ICMP,
	FRAGMENT,
	PASSED,
	MALFORMED,
	NO_SOCKET,
	VERDICTS,
};

struct endpoint {
	struct in6_addr address; // IPv4 as ::ffff:a.b.c.d
	__be16 port;
	__u16 zero;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __be32);
	__type(value, __u8);
} OWN4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct in6_addr);
	__type(value, __u8);
} OWN6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct endpoint);
	__type(value, __u8);
} LISTENED SEC(".maps");

// The loader sets the number of entries to the number of queues.
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} SOCKETS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} COUNTERS SEC(".maps");

struct vlan_header {
	__be16 tag;
	__be16 protocol;
};

struct arp4 {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
} __attribute__((packed));

struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

// The part that all extension headers have in common.
struct extension {
	__u8 next;
	__u8 len;
	__be16 fragment; // of a fragment header: the offset, and the flag that more follow
	__be32 rest;
};

struct ports {
	__be16 source;
	__be16 destination;
};

static __always_inline int count(enum verdict verdict)
{
	__u32 key = verdict;
	__u64 *counter = bpf_map_lookup_elem(&COUNTERS, &key);

	// Each CPU has a counter of its own, so the addition need not be atomic.
	if (counter)
		*counter += 1;
	return XDP_PASS;
}

static __always_inline int redirect(struct xdp_md *ctx, enum verdict verdict)
{
	// The lower bits of the flags are the result if the queue has no socket.
	int action = bpf_redirect_map(&SOCKETS, ctx->rx_queue_index, XDP_DROP);

	count(action == XDP_REDIRECT ? verdict : NO_SOCKET);
	return action;
}

static __always_inline int own4(__be32 address)
{
	return bpf_map_lookup_elem(&OWN4, &address) != NULL;
}

static __always_inline int own6(const struct in6_addr *address)
{
	// The key of a map must be on the stack.
	struct in6_addr key;

	__builtin_memcpy(&key, address, sizeof(key));
	return bpf_map_lookup_elem(&OWN6, &key) != NULL;
}

static __always_inline int listened4(__be32 address, __be16 port)
{
	struct endpoint key = { .port = port };

	key.address.s6_addr32[2] = bpf_htonl(0xffff);
	key.address.s6_addr32[3] = address;
	return bpf_map_lookup_elem(&LISTENED, &key) != NULL;
}

static __always_inline int listened6(const struct in6_addr *address, __be16 port)
{
	struct endpoint key = { .port = port };

	__builtin_memcpy(&key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&LISTENED, &key) != NULL;
}

static __always_inline int arp(struct xdp_md *ctx, void *at, void *end)
{
	struct arp4 *packet = at;
	__be32 target;

	if (SHARED)
		return count(PASSED);
	if ((void *)(packet + 1) > end)
		return count(MALFORMED);
	if (packet->hardware != bpf_htons(1) || packet->protocol != bpf_htons(ETH_P_IP) ||
	    packet->hardware_len != ETH_ALEN || packet->protocol_len != 4)
		return count(PASSED);
	__builtin_memcpy(&target, packet->target, sizeof(target));
	return own4(target) ? redirect(ctx, ARP) : count(PASSED);
}

// Whether an ICMP error quotes a segment from a listened endpoint (RFC 792).
static __always_inline int quotes_listened4(struct icmp_header *icmp, void *end)
{
	struct iphdr *quoted = (void *)(icmp + 1);
	struct ports *ports;

	if (icmp->type != 3 && icmp->type != 11 && icmp->type != 12)
		return 0;
	if ((void *)(quoted + 1) > end || quoted->version != 4 || quoted->ihl < 5)
		return 0;
	if (quoted->protocol != IPPROTO_TCP || quoted->frag_off & bpf_htons(0x1fff))
		return 0;
	ports = (void *)quoted + quoted->ihl * 4;
	if ((void *)(ports + 1) > end)
		return 0;
	return listened4(quoted->saddr, ports->source);
}

static __always_inline int ipv4(struct xdp_md *ctx, void *at, void *end)
{
	struct iphdr *ip = at;
	__u32 header;
	void *transport;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return count(MALFORMED);
	header = ip->ihl * 4;
	if (bpf_ntohs(ip->tot_len) < header || at + header > end)
		return count(MALFORMED);
	if (!own4(ip->daddr))
		return count(PASSED);
	// If the address is shared, the kernel receives all fragments: only the first one has the TCP ports.
	if (ip->frag_off & bpf_htons(0x3fff))
		return SHARED ? count(PASSED) : redirect(ctx, FRAGMENT);
	transport = at + header;
	if (ip->protocol == IPPROTO_TCP) {
		struct ports *ports = transport;

		if (!SHARED)
			return redirect(ctx, TCP);
		if ((void *)(ports + 1) > end)
			return count(MALFORMED);
		return listened4(ip->daddr, ports->destination) ? redirect(ctx, TCP) :
								  count(PASSED);
	}
	if (ip->protocol == IPPROTO_ICMP) {
		struct icmp_header *icmp = transport;

		if (!SHARED)
			return redirect(ctx, ICMP);
		if ((void *)(icmp + 1) > end)
			return count(MALFORMED);
		return quotes_listened4(icmp, end) ? redirect(ctx, ICMP) : count(PASSED);
	}
	return count(PASSED);
}

static __always_inline int quotes_listened6(struct icmp_header *icmp, void *end)
{
	struct ipv6hdr *quoted = (void *)(icmp + 1);
	struct ports *ports = (void *)(quoted + 1);

	// The port sends segments without extension headers.
	if (icmp->type < 1 || icmp->type > 4 || (void *)(ports + 1) > end)
		return 0;
	if (quoted->version != 6 || quoted->nexthdr != IPPROTO_TCP)
		return 0;
	return listened6(&quoted->saddr, ports->source);
}

// Whether this is a neighbour solicitation for an own address (RFC 4861, section 4.3). It is sent to the solicited-node group.
static __always_inline int solicits_own(struct icmp_header *icmp, void *end)
{
	struct in6_addr *target = (void *)(icmp + 1);

	return icmp->type == 135 && (void *)(target + 1) <= end && own6(target);
}

static __always_inline int icmp6(struct xdp_md *ctx, struct icmp_header *icmp, void *end, int own)
{
	if ((void *)(icmp + 1) > end)
		return count(MALFORMED);
	if (SHARED)
		return own && quotes_listened6(icmp, end) ? redirect(ctx, ICMP) : count(PASSED);
	if (own)
		return redirect(ctx, icmp->type == 135 || icmp->type == 136 ? ND : ICMP);
	return solicits_own(icmp, end) ? redirect(ctx, ND) : count(PASSED);
}

// Whether this is a solicited-node group, ff02::1:ffxx:xxxx (RFC 4291, section 2.7.1).
static __always_inline int solicited_node(const struct in6_addr *address)
{
	return address->s6_addr32[0] == bpf_htonl(0xff020000) && address->s6_addr32[1] == 0 &&
	       address->s6_addr32[2] == bpf_htonl(1) && address->s6_addr[12] == 0xff;
}

static __always_inline int ipv6(struct xdp_md *ctx, void *at, void *end)
{
	struct ipv6hdr *ip = at;
	int own;
	__u8 next;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return count(MALFORMED);
	own = own6(&ip->daddr);
	if (!own && (SHARED || !solicited_node(&ip->daddr)))
		return count(PASSED);
	next = ip->nexthdr;
	at = ip + 1;
	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		struct extension *extension = at;

		if (next == IPPROTO_ICMPV6)
			return icmp6(ctx, at, end, own);
		if (next == IPPROTO_TCP) {
			struct ports *ports = at;

			if (!own)
				return count(PASSED);
			if (!SHARED)
				return redirect(ctx, TCP);
			if ((void *)(ports + 1) > end)
				return count(MALFORMED);
			return listened6(&ip->daddr, ports->destination) ? redirect(ctx, TCP) :
									   count(PASSED);
		}
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			return count(PASSED);
		if ((void *)(extension + 1) > end)
			return count(MALFORMED);
		if (next == IPPROTO_FRAGMENT) {
			// An atomic fragment is the whole packet (RFC 6946).
			if (extension->fragment & bpf_htons(0xfff9))
				return SHARED || !own ? count(PASSED) : redirect(ctx, FRAGMENT);
			at += sizeof(*extension);
		} else {
			at += (extension->len + 1) * 8;
		}
		next = extension->next;
	}
	return count(PASSED);
}

static __always_inline int steer(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	void *at = ethernet + 1;
	__be16 protocol;

	if (at > end)
		return count(MALFORMED);
	protocol = ethernet->h_proto;
	if (VLAN != NO_VLAN) {
		struct vlan_header *vlan = at;

		if (protocol != bpf_htons(ETH_P_8021Q))
			return count(PASSED);
		if ((void *)(vlan + 1) > end)
			return count(MALFORMED);
		if ((bpf_ntohs(vlan->tag) & VLAN_ID) != VLAN)
			return count(PASSED);
		protocol = vlan->protocol;
		at = vlan + 1;
	}
	if (protocol == bpf_htons(ETH_P_IP))
		return ipv4(ctx, at, end);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return ipv6(ctx, at, end);
	if (protocol == bpf_htons(ETH_P_ARP))
		return arp(ctx, at, end);
	return count(PASSED);
}

SEC("xdp")
int redirect_linear(struct xdp_md *ctx)
{
	return steer(ctx);
}

// The same for packets in several buffers. The headers are in the first buffer.
SEC("xdp.frags")
int redirect_frags(struct xdp_md *ctx)
{
	return steer(ctx);
}
