//! The errors of EAL and of ports.

use std::fmt;

use hioload_device::Party;

use crate::errno::Errno;

/// The step of creating a pool, which fails for lack of memory.
pub(crate) const CREATE_POOL: &str = "create a pool of frames";

/// The reason that EAL does not start or a port cannot be opened. Its text is one line: what failed, the cause, and a hint.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// EAL's arguments cannot be passed on.
    Arguments(String),
    /// EAL does not start.
    Eal {
        /// The arguments.
        arguments: String,
        /// The error number.
        cause: Errno,
        /// The error messages that EAL logged, in one line.
        log: Option<String>,
    },
    /// EAL already runs in this process, with other arguments.
    Running,
    /// EAL ran in this process and has been cleaned up. DPDK does not start it a second time.
    Finished,
    /// There is no such port.
    NoPort {
        /// The name or the number of the port.
        wanted: String,
        /// The ports that EAL has.
        have: Vec<String>,
        /// The error messages that EAL logged when it started: EAL continues without a device that it cannot use.
        log: Option<String>,
    },
    /// The port does not support an option.
    Unsupported {
        /// The port.
        port: String,
        /// The option, and what the port supports.
        what: String,
    },
    /// DPDK refused a step of opening the port.
    Step {
        /// The port.
        port: String,
        /// The step, as in "cannot STEP".
        step: String,
        /// The error number.
        cause: Errno,
        /// The error messages that DPDK logged, or the driver's reason, in one line.
        log: Option<String>,
    },
    /// DPDK cannot register this thread.
    Thread(Errno),
    /// The port is open, or has queues in use.
    InUse(String),
}

impl Error {
    /// Adds the error messages that DPDK logged.
    pub(crate) fn with_log(mut self, logged: Option<String>) -> Self {
        if let Self::Step { log, .. } = &mut self {
            *log = match (log.take(), logged) {
                (Some(reason), Some(logged)) => Some(format!("{reason}; {logged}")),
                (reason, logged) => reason.or(logged),
            };
        }
        self
    }

    /// The party that has to act.
    #[must_use]
    pub fn party(&self) -> Party {
        match self {
            Self::Arguments(_)
            | Self::Running
            | Self::Finished
            | Self::Unsupported { .. }
            | Self::InUse(_) => Party::Caller,
            Self::NoPort { have, .. } if !have.is_empty() => Party::Caller,
            Self::Eal { .. } | Self::NoPort { .. } | Self::Step { .. } | Self::Thread(_) => {
                Party::Environment
            }
        }
    }

    /// The command or the option that fixes it, if one is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Eal { cause, log, .. } => eal_hint(*cause, log.as_deref().unwrap_or_default()),
            Self::NoPort { have, .. } if have.is_empty() => {
                Some("deploy/dpdk/nic bind ADDRESS, or add a --vdev to EAL's arguments")
            }
            Self::Step { step, .. } if step == CREATE_POOL => {
                Some("give DPDK more memory: -m, or huge pages (deploy/dpdk/huge-pages)")
            }
            _ => None,
        }
    }
}

/// The hint for the two most frequent reasons that EAL does not start.
fn eal_hint(cause: Errno, log: &str) -> Option<&'static str> {
    let log = log.to_ascii_lowercase();
    if log.contains("hugepage") {
        Some("reserve huge pages with deploy/dpdk/huge-pages, or start without: --no-huge -m 512")
    } else if cause.is_permission() || log.contains("permission") || log.contains("not permitted") {
        Some("run as root, or give the user access to the huge pages and to /dev/vfio")
    } else {
        None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logged = |f: &mut fmt::Formatter<'_>, log: &Option<String>| match log {
            Some(log) => write!(f, " ({log})"),
            None => Ok(()),
        };
        match self {
            Self::Arguments(what) => write!(f, "DPDK's arguments: {what}")?,
            Self::Eal {
                arguments,
                cause,
                log,
            } => {
                write!(f, "DPDK does not start with \"{arguments}\": {cause}")?;
                logged(f, log)?;
            }
            Self::Running => {
                f.write_str("DPDK already runs in this process, with other arguments")?;
            }
            Self::Finished => {
                f.write_str("DPDK has ended in this process, and starts only once in a process")?;
            }
            Self::NoPort { wanted, have, log } => {
                write!(f, "there is no DPDK port {wanted}: ")?;
                match have.is_empty() {
                    true => f.write_str("there are none")?,
                    false => write!(f, "there are {}", have.join(", "))?,
                }
                logged(f, log)?;
            }
            Self::Unsupported { port, what } => write!(f, "DPDK port {port}: {what}")?,
            Self::Step {
                port,
                step,
                cause,
                log,
            } => {
                write!(f, "DPDK port {port}: cannot {step}: {cause}")?;
                logged(f, log)?;
            }
            Self::Thread(cause) => write!(f, "DPDK cannot register this thread: {cause}")?,
            Self::InUse(port) => write!(f, "DPDK port {port} still has queues in use")?,
        }
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Eal { cause, .. } | Self::Step { cause, .. } | Self::Thread(cause) => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn every_text_is_one_line() {
        let text = String::from;
        let cause = Errno::EINVAL;
        for error in [
            Error::Arguments(text("x")),
            Error::Eal {
                arguments: text("-m 1"),
                cause,
                log: Some(text("EAL: Cannot get hugepage information.")),
            },
            Error::Running,
            Error::Finished,
            Error::NoPort {
                wanted: text("7"),
                have: vec![],
                log: Some(text("EAL: no such thing")),
            },
            Error::NoPort {
                wanted: text("7"),
                have: vec![text("0 (net_ring0)")],
                log: None,
            },
            Error::Step {
                port: text("7"),
                step: text("start it"),
                cause,
                log: None,
            },
            Error::Thread(cause),
            Error::InUse(text("0")),
        ] {
            assert_eq!(error.to_string().lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn an_error_has_its_cause_its_party_and_a_hint() {
        let mut error = Error::Eal {
            arguments: String::new(),
            cause: Errno::EINVAL,
            log: Some("EAL: Cannot get hugepage information".into()),
        };
        let source = error.source().expect("a cause");
        assert_eq!(source.downcast_ref(), Some(&Errno::EINVAL));
        assert_eq!(error.party(), Party::Environment);
        assert!(error.to_string().contains("deploy/dpdk/huge-pages"));
        let Error::Eal { cause, log, .. } = &mut error else {
            unreachable!()
        };
        (*cause, *log) = (Errno::new(-13), None);
        assert!(error.hint().is_some_and(|hint| hint.contains("root")));
        assert_eq!(Error::InUse("0".into()).party(), Party::Caller);
    }
}
