/* Stands in for <bpf/bpf_helpers.h>: the declarations of maps, and the helpers, which native.c defines. */
#ifndef HIOLOAD_NATIVE_BPF_HELPERS_H
#define HIOLOAD_NATIVE_BPF_HELPERS_H

#define SEC(name) __attribute__((used))
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) __typeof__(value) *name

static void *bpf_map_lookup_elem(const void *map, const void *key);
static long bpf_redirect_map(const void *map, __u64 key, __u64 flags);

#endif
