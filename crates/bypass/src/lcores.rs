//! Which CPUs the lcores of a port run on.

use hioload_engine::{LcorePlacement, Lcores};
use hioload_lcore::Topology;

use crate::error::Error;

/// One lcore for each of `queues` queues. [`Lcores::Auto`] takes CPUs of the port's NUMA node if there are enough; other choices
/// have to be as many as the queues.
pub(crate) fn choose(
    chosen: &Lcores,
    port: &str,
    queues: usize,
    node: Option<u32>,
) -> Result<Lcores, Error> {
    let lcores = match chosen {
        Lcores::Auto => {
            let topology = Topology::detect();
            let is_near = |cpu: &usize| node.is_some() && topology.node_of(*cpu) == node;
            let near: Vec<usize> = topology.placement().into_iter().filter(is_near).collect();
            return Ok(match near.get(..queues) {
                Some(cpus) => Lcores::Cpus(cpus.to_vec()),
                None => Lcores::Count(queues),
            });
        }
        Lcores::Count(count) => *count,
        Lcores::Cpus(cpus) => cpus.len(),
    };
    if lcores == queues {
        return Ok(chosen.clone());
    }
    Err(Error::LcoreCount {
        port: port.to_owned(),
        queues,
        lcores,
    })
}

/// Logs a warning if an lcore runs on another NUMA node than its queue.
pub(crate) fn warn_of_distance(queue: u32, node: Option<u32>, placement: LcorePlacement) {
    if let (Some(queue_node), Some(lcore_node)) = (node, placement.node)
        && queue_node != lcore_node
    {
        tracing::warn!(
            lcore = placement.lcore,
            queue,
            queue_node,
            lcore_node,
            "the lcore runs on another NUMA node than its queue; choose CPUs of the queue's node"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_gets_one_lcore() {
        let some = choose(&Lcores::Count(2), "p", 2, None).expect("as many");
        assert_eq!(some, Lcores::Count(2));
        assert_eq!(
            choose(&Lcores::Auto, "p", 3, None).expect("any number"),
            Lcores::Count(3)
        );
        let why = choose(&Lcores::Cpus(vec![0]), "p", 2, None).expect_err("too few");
        assert!(
            why.to_string().contains("p has 2 queues and 1 lcores"),
            "{why}"
        );
    }
}
