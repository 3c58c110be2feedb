/* Flow rules: the device delivers only the flows of the port. */
#include "shim.h"

#include <errno.h>
#include <string.h>

#include <rte_byteorder.h>
#include <rte_ethdev.h>
#include <rte_flow.h>

#define MAX_QUEUES 128

/* The items of one rule, and the structures to which they point. */
struct pattern {
	struct rte_flow_item items[5];
	struct rte_flow_item_eth eth, eth_mask;
	struct rte_flow_item_vlan vlan, vlan_mask;
	struct rte_flow_item_ipv4 ipv4, ipv4_mask;
	struct rte_flow_item_ipv6 ipv6, ipv6_mask;
	struct rte_flow_item_tcp tcp, tcp_mask;
};

static void mask_bits(uint8_t *mask, unsigned bits)
{
	for (; bits >= 8; bits -= 8)
		*mask++ = 0xff;
	if (bits > 0)
		*mask = (uint8_t)(0xff00 >> bits);
}

static void fill(struct pattern *p, const struct hl_rule *rule)
{
	const rte_be16_t type = rte_cpu_to_be_16(rule->ether_type);
	struct rte_flow_item *item = p->items;

	memset(p, 0, sizeof(*p));
	*item++ = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_ETH, .spec = &p->eth, .mask = &p->eth_mask};
	if (rule->vlan != 0) {
		p->vlan.hdr.vlan_tci = rte_cpu_to_be_16(rule->vlan);
		p->vlan_mask.hdr.vlan_tci = rte_cpu_to_be_16(0x0fff);
		p->vlan.hdr.eth_proto = type;
		p->vlan_mask.hdr.eth_proto = 0xffff;
		*item++ = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_VLAN, .spec = &p->vlan, .mask = &p->vlan_mask};
	} else {
		p->eth.hdr.ether_type = type;
		p->eth_mask.hdr.ether_type = 0xffff;
	}
	if (rule->ether_type == RTE_ETHER_TYPE_IPV4) {
		memcpy(&p->ipv4.hdr.dst_addr, rule->address, 4);
		mask_bits((uint8_t *)&p->ipv4_mask.hdr.dst_addr, rule->prefix);
		p->ipv4.hdr.next_proto_id = rule->protocol;
		p->ipv4_mask.hdr.next_proto_id = rule->protocol != 0 ? 0xff : 0;
		*item++ = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_IPV4, .spec = &p->ipv4, .mask = &p->ipv4_mask};
	} else if (rule->ether_type == RTE_ETHER_TYPE_IPV6) {
		memcpy(&p->ipv6.hdr.dst_addr, rule->address, 16);
		mask_bits((uint8_t *)&p->ipv6_mask.hdr.dst_addr, rule->prefix);
		p->ipv6.hdr.proto = rule->protocol;
		p->ipv6_mask.hdr.proto = rule->protocol != 0 ? 0xff : 0;
		*item++ = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_IPV6, .spec = &p->ipv6, .mask = &p->ipv6_mask};
	}
	if (rule->protocol == 6) {
		p->tcp.hdr.dst_port = rte_cpu_to_be_16(rule->port);
		p->tcp_mask.hdr.dst_port = rule->port != 0 ? 0xffff : 0;
		*item++ = (struct rte_flow_item){.type = RTE_FLOW_ITEM_TYPE_TCP, .spec = &p->tcp, .mask = &p->tcp_mask};
	}
	item->type = RTE_FLOW_ITEM_TYPE_END;
}

int hl_flow_isolate(uint16_t port)
{
	struct rte_flow_error error;

	return rte_flow_isolate(port, 1, &error);
}

int hl_flow_add(uint16_t port, const struct hl_rule *rule, uint16_t queues, const struct hl_port_config *config,
		const char **reason)
{
	static uint16_t all[MAX_QUEUES];
	const struct rte_flow_attr attr = {.ingress = 1};
	const struct rte_flow_action_queue first = {.index = 0};
	struct rte_flow_action_rss rss;
	struct rte_flow_action actions[2] = {{.type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &first},
					     {.type = RTE_FLOW_ACTION_TYPE_END}};
	struct rte_flow_error error;
	struct pattern pattern;
	uint16_t i;

	*reason = NULL;
	memset(&error, 0, sizeof(error));
	if (queues > MAX_QUEUES || rule->prefix > (rule->ether_type == RTE_ETHER_TYPE_IPV4 ? 32 : 128))
		return -EINVAL;
	fill(&pattern, rule);
	if (queues > 1 && config->rss_types != 0 && rule->protocol == 6) {
		for (i = 0; i < queues; i++)
			all[i] = i;
		memset(&rss, 0, sizeof(rss));
		rss.types = config->rss_types;
		rss.key = config->rss_key_len != 0 ? config->rss_key : NULL;
		rss.key_len = config->rss_key_len;
		rss.queue = all;
		rss.queue_num = queues;
		actions[0] = (struct rte_flow_action){.type = RTE_FLOW_ACTION_TYPE_RSS, .conf = &rss};
	}
	if (rte_flow_create(port, &attr, pattern.items, actions, &error) == NULL) {
		*reason = error.message;
		return -(rte_errno != 0 ? rte_errno : ENOTSUP);
	}
	return 0;
}

int hl_flow_flush(uint16_t port)
{
	struct rte_flow_error error;

	return rte_flow_flush(port, &error);
}
