// SPDX-License-Identifier: Apache-2.0
//
// Redirects the port's packets to the AF_XDP socket of the queue on which they arrive, drops the packets that the kernel must not
// get, and passes all other packets to the kernel unchanged. docs/af_xdp.md has the table of all cases; the fuzz target `redirect`
// compares this program with it.
//
// An address is owned in one of two ways. Own (SHARED is 0): the kernel does not have the address configured. Nothing that is sent
// to it reaches the kernel: TCP, ICMP, ARP, neighbour discovery and fragments go to the port, and the rest is dropped. Shared: the
// kernel has the address configured, and answers ARP and ICMP. The port receives only TCP to the listened endpoints, and ICMP errors
// that quote a segment from them. The kernel has no sockets for these endpoints, so it would answer their segments with a reset:
// it gets none of them, in whatever form. A packet for the port whose queue has no socket is dropped for the same reason.
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
// The EtherType of stacked tags before IEEE 802.1ad. The kernel does not know it.
#define ETH_P_OLD_QINQ 0x9100
// The number of IPv6 extension headers that are parsed, the same as in the stack. A packet to an own address with more is dropped.
#define MAX_EXTENSIONS 8

// The loader writes these before it loads the program, so that they are constants to the verifier. The fuzz target sets them for
// each packet.
#ifndef SETTING
#define SETTING volatile const
#endif
SETTING __u32 SHARED = 0;
// The 802.1Q identifier of the port's frames; NO_VLAN: the port's frames have no tag, or a priority tag (identifier 0).
SETTING __u32 VLAN = NO_VLAN;

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
	OTHER_PROTOCOL,
	STACKED_TAGS,
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

static __always_inline void count(enum verdict verdict)
{
	__u32 key = verdict;
	__u64 *counter = bpf_map_lookup_elem(&COUNTERS, &key);

	// Each CPU has a counter of its own, so the addition need not be atomic.
	if (counter)
		*counter += 1;
}

static __always_inline int pass(void)
{
	count(PASSED);
	return XDP_PASS;
}

static __always_inline int drop(enum verdict verdict)
{
	count(verdict);
	return XDP_DROP;
}

// A packet to an own address, or to nobody, that cannot be parsed. If the address is shared, the kernel drops and counts it as it
// does for its other addresses.
static __always_inline int malformed(void)
{
	count(MALFORMED);
	return SHARED ? XDP_PASS : XDP_DROP;
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
	__be32 sender, target;

	if (SHARED)
		return pass();
	if ((void *)(packet + 1) > end)
		return malformed();
	if (packet->hardware != bpf_htons(1) || packet->protocol != bpf_htons(ETH_P_IP) ||
	    packet->hardware_len != ETH_ALEN || packet->protocol_len != 4)
		return pass();
	__builtin_memcpy(&target, packet->target, sizeof(target));
	// A packet from an own address is a claim of another host on it, whatever it asks for (RFC 5227, section 2.4).
	__builtin_memcpy(&sender, packet->sender, sizeof(sender));
	return own4(target) || own4(sender) ? redirect(ctx, ARP) : pass();
}

// The destination of a segment whose header begins at `at`, of which the IP packet has `left` bytes: 1 if it is a listened endpoint,
// 0 if it is not, and -1 if the packet ends before the ports.
static __always_inline int to_listened4(__be32 address, void *at, void *end, __u32 left)
{
	struct ports *ports = at;

	if (left < sizeof(*ports) || (void *)(ports + 1) > end)
		return -1;
	return listened4(address, ports->destination);
}

static __always_inline int to_listened6(const struct in6_addr *address, void *at, void *end, __u32 left)
{
	struct ports *ports = at;

	if (left < sizeof(*ports) || (void *)(ports + 1) > end)
		return -1;
	return listened6(address, ports->destination);
}

// What becomes of a segment to a shared address, by the result of to_listened4 or to_listened6. A fragment with the ports of a
// listened endpoint is the first one. The kernel cannot reassemble the packet without it, so it may have the others, which have no
// ports. Nor does it get a first fragment whose ports are missing: they might be in the second.
static __always_inline int shared_tcp(struct xdp_md *ctx, int listened, int fragment)
{
	if (listened < 0)
		return fragment ? drop(MALFORMED) : malformed();
	if (!listened)
		return pass();
	return fragment ? drop(FRAGMENT) : redirect(ctx, TCP);
}

// Whether an ICMP error of `left` bytes quotes a segment from a listened endpoint (RFC 792).
static __always_inline int quotes_listened4(struct icmp_header *icmp, void *end, __u32 left)
{
	struct iphdr *quoted = (void *)(icmp + 1);
	struct ports *ports;
	__u32 header;

	if (left < sizeof(*icmp) + sizeof(*quoted) || (void *)(quoted + 1) > end)
		return 0;
	if (icmp->type != 3 && icmp->type != 11 && icmp->type != 12)
		return 0;
	if (quoted->version != 4 || quoted->ihl < 5)
		return 0;
	if (quoted->protocol != IPPROTO_TCP || quoted->frag_off & bpf_htons(0x1fff))
		return 0;
	header = quoted->ihl * 4;
	ports = (void *)quoted + header;
	if (left < sizeof(*icmp) + header + sizeof(*ports) || (void *)(ports + 1) > end)
		return 0;
	return listened4(quoted->saddr, ports->source);
}

static __always_inline int ipv4(struct xdp_md *ctx, void *at, void *end)
{
	struct iphdr *ip = at;
	__u32 header, total;
	int fragment;

	// The destination address is at the end of the header without options.
	if ((void *)(ip + 1) > end)
		return malformed();
	if (!own4(ip->daddr))
		return pass();
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || ip->ihl < 5 || total < header || at + header > end)
		return malformed();
	// The offset, and the flag that more follow.
	fragment = ip->frag_off & bpf_htons(0x3fff);
	if (!SHARED) {
		if (fragment)
			return redirect(ctx, FRAGMENT);
		if (ip->protocol == IPPROTO_TCP)
			return redirect(ctx, TCP);
		return ip->protocol == IPPROTO_ICMP ? redirect(ctx, ICMP) : drop(OTHER_PROTOCOL);
	}
	at += header;
	if (ip->frag_off & bpf_htons(0x1fff))
		return pass();
	if (ip->protocol == IPPROTO_TCP)
		return shared_tcp(ctx, to_listened4(ip->daddr, at, end, total - header), fragment);
	if (ip->protocol == IPPROTO_ICMP && !fragment && quotes_listened4(at, end, total - header))
		return redirect(ctx, ICMP);
	return pass();
}

static __always_inline int quotes_listened6(struct icmp_header *icmp, void *end, __u32 left)
{
	struct ipv6hdr *quoted = (void *)(icmp + 1);
	struct ports *ports = (void *)(quoted + 1);

	// The port sends segments without extension headers.
	if (left < sizeof(*icmp) + sizeof(*quoted) + sizeof(*ports) || (void *)(ports + 1) > end)
		return 0;
	if (icmp->type < 1 || icmp->type > 4)
		return 0;
	if (quoted->version != 6 || quoted->nexthdr != IPPROTO_TCP)
		return 0;
	return listened6(&quoted->saddr, ports->source);
}

// Whether this is a message of neighbour discovery about an own address that is sent to a group: a solicitation, or the claim of
// another host on it (RFC 4861, sections 4.3 and 4.4).
static __always_inline int about_own(struct icmp_header *icmp, void *end)
{
	struct in6_addr *target = (void *)(icmp + 1);

	return (icmp->type == 135 || icmp->type == 136) && (void *)(target + 1) <= end && own6(target);
}

// ICMPv6 of `left` bytes. If `own` is 0, it is sent to a group, and the port's addresses are its own.
static __always_inline int icmp6(struct xdp_md *ctx, struct icmp_header *icmp, void *end, __u32 left, int own)
{
	if (SHARED)
		return quotes_listened6(icmp, end, left) ? redirect(ctx, ICMP) : pass();
	if ((void *)(icmp + 1) > end)
		return own ? malformed() : pass();
	if (own)
		return redirect(ctx, icmp->type == 135 || icmp->type == 136 ? ND : ICMP);
	return about_own(icmp, end) ? redirect(ctx, ND) : pass();
}

// Whether this is a solicited-node group, ff02::1:ffxx:xxxx (RFC 4291, section 2.7.1), or the group of all nodes, ff02::1.
static __always_inline int discovery_group(const struct in6_addr *address)
{
	if (address->s6_addr32[0] != bpf_htonl(0xff020000) || address->s6_addr32[1] != 0)
		return 0;
	if (address->s6_addr32[2] == bpf_htonl(1))
		return address->s6_addr[12] == 0xff;
	return address->s6_addr32[2] == 0 && address->s6_addr32[3] == bpf_htonl(1);
}

// An IPv6 packet whose extension headers end beyond it.
static __always_inline int cut_short(int own, int fragment)
{
	if (!own)
		return pass();
	return fragment ? drop(MALFORMED) : malformed();
}

static __always_inline int ipv6(struct xdp_md *ctx, void *at, void *end)
{
	struct ipv6hdr *ip = at;
	__u32 left, size;
	int own, fragment = 0;
	__u8 next;

	if ((void *)(ip + 1) > end)
		return malformed();
	own = own6(&ip->daddr);
	if (!own && (SHARED || !discovery_group(&ip->daddr)))
		return pass();
	if (ip->version != 6)
		return own ? malformed() : pass();
	next = ip->nexthdr;
	left = bpf_ntohs(ip->payload_len);
	at = ip + 1;
	for (int i = 0; i <= MAX_EXTENSIONS; i++) {
		struct extension *extension = at;

		if (next == IPPROTO_ICMPV6)
			return fragment ? pass() : icmp6(ctx, at, end, left, own);
		if (next == IPPROTO_TCP) {
			if (!own)
				return pass();
			if (!SHARED)
				return redirect(ctx, TCP);
			return shared_tcp(ctx, to_listened6(&ip->daddr, at, end, left), fragment);
		}
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			return own && !SHARED ? drop(OTHER_PROTOCOL) : pass();
		if (left < sizeof(*extension) || (void *)(extension + 1) > end)
			return cut_short(own, fragment);
		size = sizeof(*extension);
		if (next != IPPROTO_FRAGMENT)
			size = (extension->len + 1) * 8;
		// An atomic fragment is the whole packet (RFC 6946).
		else if (extension->fragment & bpf_htons(0xfff9)) {
			if (!SHARED)
				return own ? redirect(ctx, FRAGMENT) : pass();
			if (extension->fragment & bpf_htons(0xfff8))
				return pass();
			fragment = 1;
		}
		if (left < size)
			return cut_short(own, fragment);
		left -= size;
		at += size;
		next = extension->next;
	}
	// The kernel parses longer chains, and might find a segment for a listened endpoint.
	return own ? drop(MALFORMED) : pass();
}

static __always_inline int is_tag(__be16 protocol)
{
	return protocol == bpf_htons(ETH_P_8021Q) || protocol == bpf_htons(ETH_P_8021AD);
}

static __always_inline int steer(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	void *at = ethernet + 1;
	__be16 protocol;

	if (at > end)
		return malformed();
	protocol = ethernet->h_proto;
	if (is_tag(protocol)) {
		struct vlan_header *vlan = at;
		__u16 id;

		if ((void *)(vlan + 1) > end)
			return malformed();
		id = bpf_ntohs(vlan->tag) & VLAN_ID;
		// The frame is in another VLAN.
		if (id != 0 && (id != VLAN || protocol != bpf_htons(ETH_P_8021Q)))
			return pass();
		// The kernel removes priority tags however many there are, also service tags (IEEE 802.1ad), and would find the packet.
		if (protocol != bpf_htons(ETH_P_8021Q) || is_tag(vlan->protocol) ||
		    vlan->protocol == bpf_htons(ETH_P_OLD_QINQ))
			return drop(STACKED_TAGS);
		// A priority tag is not the tag of a VLAN (IEEE 802.1Q, section 9.6).
		if (id == 0 && VLAN != NO_VLAN)
			return pass();
		protocol = vlan->protocol;
		at = vlan + 1;
	} else if (VLAN != NO_VLAN) {
		return pass();
	}
	if (protocol == bpf_htons(ETH_P_IP))
		return ipv4(ctx, at, end);
	if (protocol == bpf_htons(ETH_P_IPV6))
		return ipv6(ctx, at, end);
	if (protocol == bpf_htons(ETH_P_ARP))
		return arp(ctx, at, end);
	return pass();
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
