//! A plan: several attacks, their source addresses, and the targets that are permitted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hioload_tcp::Cidr;

use crate::attack::Attack;
use crate::error::{PlanError, plan_error};
use crate::target::{hosts, is_local};

/// Attacks that run at once, each of another kind, and their source addresses.
///
/// ```
/// use hioload_attack::AttackPlan;
///
/// let plan: AttackPlan = "syn-flood,rate=100k+malformed".parse()?;
/// assert_eq!(plan.to_string(), "syn-flood,rate=100k+malformed,rate=50k");
/// # Ok::<(), hioload_attack::PlanError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttackPlan {
    attacks: Vec<Attack>,
    pool: Option<Cidr>,
}

impl AttackPlan {
    /// A plan of these attacks, from the load's own addresses.
    ///
    /// # Errors
    /// If there is no attack, two of one kind, or one with packets and one with messages.
    pub fn new(attacks: impl IntoIterator<Item = Attack>) -> Result<Self, PlanError> {
        let attacks: Vec<Attack> = attacks.into_iter().collect();
        if attacks.is_empty() {
            return plan_error("the plan has no attack");
        }
        for (i, attack) in attacks.iter().enumerate() {
            if attacks[..i].iter().any(|other| other.kind == attack.kind) {
                return plan_error(format!("attack {} is there twice", attack.kind));
            }
        }
        let packets = attacks.iter().find(|attack| !attack.kind.is_messages());
        let messages = attacks.iter().find(|attack| attack.kind.is_messages());
        if let (Some(packets), Some(messages)) = (packets, messages) {
            return plan_error(format!(
                "{} sends packets over a device and {} sends messages over sockets: they need separate runs",
                packets.kind, messages.kind
            ));
        }
        Ok(Self {
            attacks,
            pool: None,
        })
    }

    /// Whether the attacks send messages over the kernel's sockets, and not packets over a device. A plan has one kind only.
    #[must_use]
    pub fn is_messages(&self) -> bool {
        self.attacks.iter().all(|attack| attack.kind.is_messages())
    }

    /// The attacks.
    #[must_use]
    pub fn attacks(&self) -> &[Attack] {
        &self.attacks
    }

    /// The same plan from a pool of addresses: the first [`MAX_ADDRESSES`](crate::MAX_ADDRESSES) hosts of this network
    /// (`--attack-source`). Without a pool an attack uses the load's own addresses, with ports that the load does not use.
    #[must_use]
    pub fn with_source(mut self, pool: Cidr) -> Self {
        self.pool = Some(pool);
        self
    }

    /// The addresses of the pool; none without a pool. A port has to receive frames for them besides the load's own addresses. For
    /// AF_XDP they belong into `PortOptions::addresses`, or the answers go to the kernel. The [`Attacker`](crate::Attacker)
    /// answers ARP and neighbour solicitations for them.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.pool.map(hosts).unwrap_or_default()
    }

    /// Checks that `target` may be attacked. Private (RFC 1918, RFC 4193), loopback, link-local and benchmark addresses (RFC 2544,
    /// RFC 5180) are permitted. Other addresses are permitted only if the caller declares to own them.
    ///
    /// # Errors
    /// If the target is not permitted, or the pool is of the other address family or contains the target.
    pub fn check_target(&self, target: SocketAddr, owned: bool) -> Result<(), PlanError> {
        let ip = target.ip();
        if !owned && !is_local(ip) {
            return plan_error(format!(
                "{ip} is not a private, link-local or loopback address: if you own the target, add --i-own-the-target"
            ));
        }
        let Some(pool) = self.pool else {
            return Ok(());
        };
        if pool.addr().is_ipv4() != ip.is_ipv4() {
            return plan_error(format!(
                "--attack-source {pool} is not of the target's family ({ip})"
            ));
        }
        if hosts(pool).contains(&ip) {
            return plan_error(format!(
                "--attack-source {pool} contains the target's own address {ip}"
            ));
        }
        Ok(())
    }
}

impl FromStr for AttackPlan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let attacks: Result<Vec<Attack>, _> = text
            .split('+')
            .map(|part| part.trim().parse::<Attack>())
            .collect();
        Self::new(attacks?)
    }
}

impl fmt::Display for AttackPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, attack) in self.attacks.iter().enumerate() {
            let joint = if i == 0 { "" } else { "+" };
            write!(f, "{joint}{attack}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::AttackKind;
    use crate::target::MAX_ADDRESSES;

    fn refused(text: &str) -> String {
        let Err(error) = text.parse::<AttackPlan>() else {
            panic!("{text} was taken");
        };
        error.to_string()
    }

    #[test]
    fn the_text_of_a_plan_parses_to_the_plan() {
        for kind in AttackKind::all() {
            let plan: AttackPlan = kind.name().parse().expect("a name alone");
            assert_eq!(plan.attacks(), [Attack::new(kind)]);
            assert_eq!(plan.to_string().parse::<AttackPlan>(), Ok(plan));
        }
        for text in [
            "syn-flood,rate=1M,seed=7+malformed,rate=1",
            "rst-storm,rate=1500,live=100+slow-reader,rate=1k,connections=7,interval=250ms",
            "slow-handshake,rate=10k,interval=3us",
            "topics,rate=1,shape=deep+deflate,size=65536+trickle,read=9+unfinished,size=2MiB,interval=20s",
        ] {
            let plan: AttackPlan = text.parse().expect("a plan");
            assert_eq!(plan.to_string().parse::<AttackPlan>(), Ok(plan));
        }
        let plan: AttackPlan = "rst-storm,live=100%,rate=2M".parse().expect("a plan");
        assert_eq!(
            (plan.attacks()[0].live, plan.attacks()[0].rate),
            (100, 2_000_000)
        );
    }

    #[test]
    fn an_error_names_the_fault() {
        for (text, says) in [
            ("", "there is no attack ''"),
            (
                "teardrop",
                "there is no attack 'teardrop': expected one of syn-flood,",
            ),
            ("syn-flood,rate=0", "rate must be packets per second"),
            ("syn-flood,rate=+5", "rate must be packets per second"),
            (
                "syn-flood,rate=18446744073709551615k",
                "rate=18446744073709551615k",
            ),
            ("syn-flood,rate=1,rate=2", "has 'rate' twice"),
            ("syn-flood,fast", "'fast' is not KEY=VALUE"),
            (
                "syn-flood,connections=5",
                "has no 'connections': it takes rate and seed",
            ),
            (
                "overlap,live=5",
                "has no 'live': it takes rate, seed and connections",
            ),
            ("ack-storm,live=101", "live must be 0 to 100"),
            ("slow-reader,interval=0s", "interval must be a time"),
            ("slow-reader,connections=65537", "1 to 65536"),
            ("syn-flood+syn-flood", "attack syn-flood is there twice"),
            (
                "topics+syn-flood",
                "syn-flood sends packets over a device and topics sends messages over sockets",
            ),
            ("deflate,size=2GiB", "size must be bytes, 1 to 1GiB"),
            ("topics,shape=round", "shape must be all, deep or wide"),
            (
                "trickle,shape=all",
                "has no 'shape': it takes rate, seed, connections, size and read",
            ),
        ] {
            let said = refused(text);
            assert!(said.contains(says), "{text}: {said}");
            assert!(!said.contains('\n'));
        }
    }

    #[test]
    fn public_targets_need_a_declaration() {
        let plan: AttackPlan = "syn-flood".parse().expect("a plan");
        let may = |ip: &str, owned| {
            let target = SocketAddr::new(ip.parse().expect("an address"), 80);
            plan.check_target(target, owned).is_ok()
        };
        for ip in [
            "10.77.0.2",
            "172.31.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "198.19.255.255",
            "fd77::2",
            "fe80::1",
            "::1",
            "2001:2::5",
            "::ffff:10.0.0.1",
        ] {
            assert!(may(ip, false), "{ip}");
        }
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "198.20.0.1",
            "2001:db8::1",
            "2001:2:1::1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
        ] {
            assert!(!may(ip, false) && may(ip, true), "{ip}");
        }
    }

    #[test]
    fn a_pool_is_bounded_and_excludes_the_target() {
        let pool = |text: &str| -> AttackPlan {
            let plan: AttackPlan = "syn-flood".parse().expect("a plan");
            plan.with_source(text.parse().expect("a network"))
        };
        let all = pool("10.66.3.4/16").addresses();
        assert_eq!(all.len(), MAX_ADDRESSES);
        assert_eq!(all[0].to_string(), "10.66.0.1");
        assert_eq!(all[255].to_string(), "10.66.1.0");
        assert_eq!(
            pool("10.66.0.7/32").addresses(),
            ["10.66.0.7".parse::<IpAddr>().expect("one")]
        );
        assert_eq!(pool("10.66.0.8/29").addresses().len(), 6);
        assert_eq!(pool("10.66.0.8/31").addresses().len(), 2);
        let six = pool("fd66::/64").addresses();
        assert_eq!(
            (six.len(), six[0].to_string()),
            (MAX_ADDRESSES, "fd66::1".into())
        );
        assert_eq!(pool("fd66::/0").addresses().len(), MAX_ADDRESSES);

        let target = "10.66.0.2:80".parse().expect("an address");
        for (source, says) in [("10.66.0.0/24", "own address"), ("fd66::/64", "family")] {
            let error = pool(source)
                .check_target(target, true)
                .expect_err("it may not");
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
