/* Pools of frames, and ports of rings. */
#include "shim.h"

#include <errno.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_ring.h>

/*
 * Without huge pages DPDK places no frame across a page boundary, so each frame has a page of its own and begins at its start: the
 * headers of all frames compete for one set of the first-level cache, which has about a dozen ways. If devices use virtual addresses,
 * page boundaries do not matter, and frames can lie back to back, as they do in huge pages. The next two functions replace DPDK's in
 * the operations of the pool.
 */
static ssize_t packed_size(const struct rte_mempool *pool, uint32_t n, uint32_t page_shift, size_t *min_chunk, size_t *align)
{
	(void)page_shift;
	return rte_mempool_op_calc_mem_size_helper(pool, n, 0, 0, min_chunk, align);
}

static int packed_populate(struct rte_mempool *pool, unsigned n, void *memory, rte_iova_t iova, size_t len,
			   rte_mempool_populate_obj_cb_t *made, void *made_arg)
{
	const size_t each = pool->header_size + pool->elt_size + pool->trailer_size;
	unsigned i;

	for (i = 0; i < n && (i + 1) * each <= len; i++) {
		const size_t at = i * each + pool->header_size;
		void *object = (char *)memory + at;

		made(pool, made_arg, object, iova == RTE_BAD_IOVA ? RTE_BAD_IOVA : iova + at);
		rte_mempool_ops_enqueue_bulk(pool, &object, 1);
	}
	return i;
}

/* Registers operations that equal DPDK's best ones for mbufs except for these two functions. Returns their name, or NULL. */
static const char *packed_ops(void)
{
	struct rte_mempool_ops packed = { .name = "hioload_packed" };
	const char *const best = rte_mbuf_best_mempool_ops();
	uint32_t i;

	for (i = 0; i < rte_mempool_ops_table.num_ops; i++) {
		const struct rte_mempool_ops *const ops = rte_mempool_get_ops(i);

		/* Operations with a layout of their own are not changed. */
		if (strcmp(ops->name, best) != 0 || ops->populate != NULL || ops->calc_mem_size != NULL)
			continue;
		packed.alloc = ops->alloc;
		packed.free = ops->free;
		packed.enqueue = ops->enqueue;
		packed.dequeue = ops->dequeue;
		packed.get_count = ops->get_count;
		packed.get_info = ops->get_info;
		packed.dequeue_contig_blocks = ops->dequeue_contig_blocks;
		packed.calc_mem_size = packed_size;
		packed.populate = packed_populate;
		i = rte_mempool_register_ops(&packed);
		return (int)i >= 0 || (int)i == -EEXIST ? "hioload_packed" : NULL;
	}
	return NULL;
}

struct rte_mempool *hl_pool_create(const char *name, unsigned n, unsigned cache, uint16_t room, int socket)
{
	const char *packed = NULL;

	if (!rte_eal_has_hugepages() && rte_eal_iova_mode() == RTE_IOVA_VA)
		packed = packed_ops();
	if (packed == NULL)
		return rte_pktmbuf_pool_create(name, n, cache, 0, room, socket);
	return rte_pktmbuf_pool_create_by_ops(name, n, cache, 0, room, socket, packed);
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
