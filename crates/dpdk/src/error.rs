//! What can go wrong while a port is set up. Each is one line that says who has to do what.

use std::fmt;

/// Why EAL or a port could not be had.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// EAL's arguments cannot be passed on.
    Arguments(String),
    /// EAL does not start with these arguments.
    Eal {
        /// The arguments.
        arguments: String,
        /// What EAL said.
        reason: String,
    },
    /// EAL runs already, with other arguments.
    Running,
    /// EAL ran before and has been cleaned up; it starts once in a process.
    Finished,
    /// There is no such port.
    NoPort {
        /// The one wanted.
        wanted: String,
        /// Those that EAL has.
        have: Vec<String>,
        /// What EAL complained about when it started; it goes on without a device that does not work.
        heard: Option<String>,
    },
    /// The port cannot do what is asked of it.
    Unable {
        /// The port.
        port: String,
        /// What it cannot do.
        what: String,
    },
    /// DPDK refused a step of setting up the port.
    Step {
        /// The port.
        port: String,
        /// The step: "cannot STEP".
        step: String,
        /// Why.
        reason: String,
    },
    /// DPDK does not know this thread and cannot take it in.
    Thread(String),
    /// The port still has queues in use.
    InUse(String),
}

impl Error {
    /// The same, with what DPDK logged about it.
    pub(crate) fn because(self, heard: Option<String>) -> Self {
        match (self, heard) {
            (Self::Step { port, step, reason }, Some(heard)) => Self::Step {
                port,
                step,
                reason: format!("{reason} ({heard})"),
            },
            (other, _) => other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(why) => write!(f, "DPDK's arguments: {why}"),
            Self::Eal { arguments, reason } => {
                write!(f, "DPDK does not start with \"{arguments}\": {reason}")?;
                write!(f, "{}", hint(reason))
            }
            Self::Running => f.write_str("DPDK runs already in this process, with other arguments"),
            Self::Finished => {
                f.write_str("DPDK has run and ended in this process; it starts only once")
            }
            Self::NoPort {
                wanted,
                have,
                heard,
            } => {
                write!(f, "there is no DPDK port {wanted}")?;
                if have.is_empty() {
                    f.write_str(": there are none; bind a NIC to vfio-pci, or add a --vdev")?;
                } else {
                    write!(f, "; there are {}", have.join(", "))?;
                }
                heard.iter().try_for_each(|heard| write!(f, " ({heard})"))
            }
            Self::Unable { port, what } => write!(f, "DPDK port {port}: {what}"),
            Self::Step { port, step, reason } => {
                write!(f, "DPDK port {port}: cannot {step}: {reason}")
            }
            Self::Thread(reason) => write!(f, "DPDK does not take this thread: {reason}"),
            Self::InUse(port) => write!(f, "DPDK port {port} still has queues in use"),
        }
    }
}

impl std::error::Error for Error {}

/// What mends the two most frequent troubles.
fn hint(reason: &str) -> &'static str {
    let reason = reason.to_ascii_lowercase();
    if reason.contains("hugepage") {
        " (reserve huge pages with deploy/dpdk/huge-pages, or do without: --no-huge -m 512)"
    } else if reason.contains("permission") || reason.contains("not permitted") {
        " (run as root, or give the user the huge pages and /dev/vfio)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_one_line() {
        let text = String::from;
        for error in [
            Error::Arguments(text("x")),
            Error::Eal {
                arguments: text("-m 1"),
                reason: text("EAL: Cannot get hugepage information."),
            },
            Error::Running,
            Error::Finished,
            Error::NoPort {
                wanted: text("7"),
                have: vec![],
                heard: Some(text("EAL: no such thing")),
            },
            Error::NoPort {
                wanted: text("7"),
                have: vec![text("0 (net_ring0)")],
                heard: None,
            },
            Error::InUse(text("0")),
        ] {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
        let error = Error::Eal {
            arguments: String::new(),
            reason: text("EAL: Cannot get hugepage information."),
        };
        assert!(
            error.to_string().contains("deploy/dpdk/huge-pages"),
            "{error}"
        );
    }
}
