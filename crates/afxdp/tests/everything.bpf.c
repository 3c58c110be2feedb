// SPDX-License-Identifier: Apache-2.0
//
// For tests: the same maps and entry points, but the program redirects every packet.

#define redirect_linear unused_linear
#define redirect_frags unused_frags
#include "../../../ebpf/redirect.bpf.c"
#undef redirect_linear
#undef redirect_frags

SEC("xdp")
int redirect_linear(struct xdp_md *ctx)
{
	return redirect(ctx, TCP);
}

SEC("xdp.frags")
int redirect_frags(struct xdp_md *ctx)
{
	return redirect(ctx, TCP);
}
