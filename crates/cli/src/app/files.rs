//! The limit on open files, and the connections that fit under it.

/// Descriptors that the process needs besides those of connections: for each lcore (poller, waker, and connections that get a refusal),
/// and for itself.
const PER_LCORE: usize = 8 + 64;
const ITSELF: usize = 32;

/// Raises the soft limit on open files to the hard limit, and returns the resulting limit; `None` if there is none.
#[cfg(unix)]
pub(super) fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// On other systems sockets are not files.
#[cfg(not(unix))]
pub fn raise_limit() -> Option<u64> {
    None
}

/// Descriptors besides those of connections.
pub(super) fn reserve(lcores: usize, listeners: usize) -> usize {
    ITSELF + lcores * (PER_LCORE + listeners)
}

/// The number of connections that fit under a limit on open files.
pub(super) fn room_for_connections(limit: u64, lcores: usize, listeners: usize) -> usize {
    let reserve = reserve(lcores, listeners);
    usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .saturating_sub(reserve)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept() {
        assert_eq!(room_for_connections(1024, 2, 1), 1024 - 32 - 2 * 73);
        assert_eq!(room_for_connections(10, 64, 1), 1);
        assert_eq!(room_for_connections(u64::MAX, 1, 1), usize::MAX - 32 - 73);
    }

    #[cfg(unix)]
    #[test]
    fn the_limit_is_raised_once() {
        let raised = raise_limit();
        assert_eq!(raise_limit(), raised);
    }
}
