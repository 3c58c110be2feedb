/* Ports: properties, configuration, link, counters, events. */
#include "shim.h"

#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_ethdev.h>

static_assert(HL_RX_OFFLOAD_IPV4 == RTE_ETH_RX_OFFLOAD_IPV4_CKSUM && HL_RX_OFFLOAD_TCP == RTE_ETH_RX_OFFLOAD_TCP_CKSUM &&
		      HL_RX_OFFLOAD_SCATTER == RTE_ETH_RX_OFFLOAD_SCATTER && HL_TX_OFFLOAD_TCP == RTE_ETH_TX_OFFLOAD_TCP_CKSUM &&
		      HL_TX_OFFLOAD_TSO == RTE_ETH_TX_OFFLOAD_TCP_TSO,
	      "offloads");
static_assert(HL_RSS_IPV4 == RTE_ETH_RSS_IPV4 && HL_RSS_IPV4_TCP == RTE_ETH_RSS_NONFRAG_IPV4_TCP &&
		      HL_RSS_IPV6 == RTE_ETH_RSS_IPV6 && HL_RSS_IPV6_TCP == RTE_ETH_RSS_NONFRAG_IPV6_TCP,
	      "hash types");

int hl_port_next(uint16_t from)
{
	const uint64_t port = rte_eth_find_next(from);

	return port < RTE_MAX_ETHPORTS ? (int)port : -ENODEV;
}

int hl_port_by_name(const char *name)
{
	uint16_t port;
	const int error = rte_eth_dev_get_port_by_name(name, &port);

	return error != 0 ? error : port;
}

int hl_port_info(uint16_t port, struct hl_port_info *info)
{
	struct rte_eth_dev_info dev;
	struct rte_ether_addr mac;
	int error;

	memset(info, 0, sizeof(*info));
	memset(&dev, 0, sizeof(dev));
	error = rte_eth_dev_info_get(port, &dev);
	if (error != 0)
		return error;
	if (rte_eth_dev_get_name_by_port(port, info->name) != 0)
		info->name[0] = '\0';
	snprintf(info->driver, sizeof(info->driver), "%s", dev.driver_name != NULL ? dev.driver_name : "");
	if (rte_eth_macaddr_get(port, &mac) == 0)
		memcpy(info->mac, mac.addr_bytes, sizeof(info->mac));
	rte_eth_dev_get_mtu(port, &info->mtu);
	info->min_mtu = dev.min_mtu;
	info->max_mtu = dev.max_mtu;
	info->max_rx_queues = dev.max_rx_queues;
	info->max_tx_queues = dev.max_tx_queues;
	info->socket = rte_eth_dev_socket_id(port);
	info->rx_offloads = dev.rx_offload_capa;
	info->tx_offloads = dev.tx_offload_capa;
	info->rss_types = dev.flow_type_rss_offloads;
	info->reta_size = dev.reta_size;
	info->rss_key_len = dev.hash_key_size;
	info->interface = dev.if_index;
	return 0;
}

int hl_port_configure(uint16_t port, struct hl_port_config *config, const char **step)
{
	struct rte_eth_conf conf;
	int error;

	memset(&conf, 0, sizeof(conf));
	conf.rxmode.mtu = config->mtu;
	conf.rxmode.offloads = config->rx_offloads;
	conf.txmode.offloads = config->tx_offloads;
	if (config->rss_types != 0) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf = config->rss_types;
		if (config->rss_key_len != 0) {
			conf.rx_adv_conf.rss_conf.rss_key = config->rss_key;
			conf.rx_adv_conf.rss_conf.rss_key_len = config->rss_key_len;
		}
	}
	*step = "configure the port";
	error = rte_eth_dev_configure(port, config->queues, config->queues, &conf);
	if (error != 0)
		return error;
	*step = "adjust the number of descriptors";
	return rte_eth_dev_adjust_nb_rx_tx_desc(port, &config->rx_descriptors, &config->tx_descriptors);
}

int hl_port_queue(uint16_t port, uint16_t queue, const struct hl_port_config *config, struct rte_mempool *pool, int socket,
		  const char **step)
{
	struct rte_eth_dev_info dev;
	struct rte_eth_rxconf rx;
	struct rte_eth_txconf tx;
	int error;

	*step = "read its properties";
	error = rte_eth_dev_info_get(port, &dev);
	if (error != 0)
		return error;
	rx = dev.default_rxconf;
	rx.offloads = config->rx_offloads;
	tx = dev.default_txconf;
	tx.offloads = config->tx_offloads;
	*step = "set up a receive queue";
	error = rte_eth_rx_queue_setup(port, queue, config->rx_descriptors, (unsigned)socket, &rx, pool);
	if (error != 0)
		return error;
	*step = "set up a transmit queue";
	return rte_eth_tx_queue_setup(port, queue, config->tx_descriptors, (unsigned)socket, &tx);
}

/* Maps entry i of the indirection table to queue i modulo `queues`, whatever the device's default is. */
static int spread(uint16_t port, uint16_t queues)
{
	struct rte_eth_rss_reta_entry64 table[RTE_ETH_RSS_RETA_SIZE_512 / RTE_ETH_RETA_GROUP_SIZE];
	struct rte_eth_dev_info dev;
	uint16_t i;
	int error = rte_eth_dev_info_get(port, &dev);

	if (error != 0 || dev.reta_size == 0 || dev.reta_size > RTE_ETH_RSS_RETA_SIZE_512 || dev.flow_type_rss_offloads == 0)
		return error;
	memset(table, 0, sizeof(table));
	for (i = 0; i < dev.reta_size; i++) {
		table[i / RTE_ETH_RETA_GROUP_SIZE].mask |= 1ULL << i % RTE_ETH_RETA_GROUP_SIZE;
		table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = i % queues;
	}
	return rte_eth_dev_rss_reta_update(port, table, dev.reta_size);
}

static int unless_unsupported(int error)
{
	return error == -ENOTSUP || error == -ENOSYS ? 0 : error;
}

int hl_port_start(uint16_t port, uint16_t queues, const char **step)
{
	int error;

	*step = "start the port";
	error = rte_eth_dev_start(port);
	if (error != 0)
		return error;
	*step = "leave promiscuous mode";
	error = unless_unsupported(rte_eth_promiscuous_disable(port));
	if (error == 0) {
		/* IPv6 neighbour solicitations are sent to multicast addresses. */
		*step = "receive multicast";
		error = unless_unsupported(rte_eth_allmulticast_enable(port));
	}
	if (error == 0 && queues > 1) {
		*step = "spread hash values over the queues";
		error = unless_unsupported(spread(port, queues));
	}
	if (error == 0) {
		*step = "raise the link";
		error = unless_unsupported(rte_eth_dev_set_link_up(port));
	}
	if (error != 0)
		rte_eth_dev_stop(port);
	return error;
}

void hl_port_stop(uint16_t port)
{
	rte_eth_dev_stop(port);
}

static int copied(char *to, size_t room, const char *from)
{
	const int length = snprintf(to, room, "%s", from != NULL ? from : "");

	return length >= 0 && (size_t)length < room ? 0 : -ENAMETOOLONG;
}

int hl_port_origin(uint16_t port, struct hl_port_origin *origin)
{
	struct rte_eth_dev_info dev;
	const struct rte_devargs *devargs;
	int error;

	memset(origin, 0, sizeof(*origin));
	memset(&dev, 0, sizeof(dev));
	error = rte_eth_dev_info_get(port, &dev);
	if (error != 0)
		return error;
	if (dev.device == NULL || rte_dev_bus(dev.device) == NULL)
		return -ENODEV;
	devargs = rte_dev_devargs(dev.device);
	error = copied(origin->bus, sizeof(origin->bus), rte_bus_name(rte_dev_bus(dev.device)));
	if (error == 0)
		error = copied(origin->device, sizeof(origin->device), rte_dev_name(dev.device));
	if (error == 0)
		error = copied(origin->arguments, sizeof(origin->arguments), devargs != NULL ? devargs->args : NULL);
	return error;
}

int hl_port_reattach(const struct hl_port_origin *origin)
{
	const int error = rte_eal_hotplug_remove(origin->bus, origin->device);

	if (error != 0 && error != -ENOENT && error != -ENODEV)
		return error;
	return rte_eal_hotplug_add(origin->bus, origin->device, origin->arguments);
}

int hl_port_is_promiscuous(uint16_t port)
{
	return rte_eth_promiscuous_get(port);
}

int hl_port_set_promiscuous(uint16_t port)
{
	return rte_eth_promiscuous_enable(port);
}

int hl_port_add_mac(uint16_t port, const uint8_t *mac)
{
	struct rte_ether_addr address;

	memcpy(address.addr_bytes, mac, sizeof(address.addr_bytes));
	return rte_eth_dev_mac_addr_add(port, &address, 0);
}

int hl_interface_exists(uint32_t interface)
{
	char name[IF_NAMESIZE];

	return if_indextoname(interface, name) != NULL;
}

int hl_port_link(uint16_t port, struct hl_link *link)
{
	struct rte_eth_link now;
	int error;

	memset(&now, 0, sizeof(now));
	error = rte_eth_link_get_nowait(port, &now);
	link->up = now.link_status == RTE_ETH_LINK_UP;
	link->full_duplex = now.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	link->speed = now.link_speed;
	return error;
}

int hl_port_stats(uint16_t port, struct hl_port_stats *stats)
{
	struct rte_eth_stats now;
	int error;

	memset(&now, 0, sizeof(now));
	error = rte_eth_stats_get(port, &now);
	stats->rx_frames = now.ipackets;
	stats->tx_frames = now.opackets;
	stats->rx_bytes = now.ibytes;
	stats->tx_bytes = now.obytes;
	stats->rx_missed = now.imissed;
	stats->rx_no_buffer = now.rx_nombuf;
	stats->rx_errors = now.ierrors;
	stats->tx_errors = now.oerrors;
	return error;
}

int hl_port_xstats(uint16_t port, char (*names)[64], uint64_t *values, unsigned n)
{
	struct rte_eth_xstat_name name[256];
	struct rte_eth_xstat value[256];
	int i, count, have = rte_eth_xstats_get(port, NULL, 0);

	static_assert(sizeof(name[0].name) == 64, "length of a counter's name");
	if (have <= 0 || names == NULL)
		return have;
	if (n > RTE_DIM(value))
		n = RTE_DIM(value);
	/* Both calls need room for all counters. */
	if (have > (int)n)
		return -ENOBUFS;
	count = rte_eth_xstats_get_names(port, name, n);
	if (count < 0 || count > (int)n)
		return count < 0 ? count : -ENOBUFS;
	count = rte_eth_xstats_get(port, value, n);
	if (count < 0 || count > (int)n)
		return count < 0 ? count : -ENOBUFS;
	for (i = 0; i < count; i++) {
		memcpy(names[i], name[value[i].id].name, sizeof(name[0].name));
		values[i] = value[i].value;
	}
	return count;
}

static uint32_t events[RTE_MAX_ETHPORTS];

static int on_event(uint16_t port, enum rte_eth_event_type event, void *arg, void *ret)
{
	(void)arg;
	(void)ret;
	if (port < RTE_MAX_ETHPORTS) {
		if (event == RTE_ETH_EVENT_INTR_RMV)
			__atomic_fetch_or(&events[port], 1, __ATOMIC_RELEASE);
		else
			__atomic_fetch_add(&events[port], 2, __ATOMIC_RELEASE);
	}
	return 0;
}

const uint32_t *hl_port_events(uint16_t port)
{
	if (port >= RTE_MAX_ETHPORTS)
		return NULL;
	__atomic_store_n(&events[port], 0, __ATOMIC_RELEASE);
	/* A device without such an interrupt never calls the function. */
	rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_RMV, on_event, NULL);
	rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_LSC, on_event, NULL);
	return &events[port];
}

int hl_port_close(uint16_t port)
{
	rte_eth_dev_callback_unregister(port, RTE_ETH_EVENT_INTR_RMV, on_event, NULL);
	rte_eth_dev_callback_unregister(port, RTE_ETH_EVENT_INTR_LSC, on_event, NULL);
	return rte_eth_dev_close(port);
}
