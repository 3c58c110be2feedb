/* Stands in for <linux/bpf.h>: what redirect.bpf.c uses of it. Pointers have more than the 32 bits that BPF's context has for them. */
#ifndef HIOLOAD_NATIVE_LINUX_BPF_H
#define HIOLOAD_NATIVE_LINUX_BPF_H

#include <stddef.h>
#include <linux/types.h>

struct xdp_md {
	unsigned long data;
	unsigned long data_end;
	__u32 rx_queue_index;
};

enum xdp_action {
	XDP_ABORTED,
	XDP_DROP,
	XDP_PASS,
	XDP_TX,
	XDP_REDIRECT,
};

enum bpf_map_type {
	BPF_MAP_TYPE_HASH,
	BPF_MAP_TYPE_XSKMAP,
	BPF_MAP_TYPE_PERCPU_ARRAY,
};

#endif
