//! Messages to the service manager: the protocol of sd_notify(3), which systemd and others speak.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(super) use unix::Manager;

/// Other systems have no such managers.
#[cfg(not(unix))]
mod none {
    use std::io;

    use hioload_ws::CountersHandle;

    pub(crate) enum Manager {}

    impl Manager {
        pub(crate) fn find() -> Option<Self> {
            None
        }

        pub(crate) fn tell(&self, _: &str) {
            match *self {}
        }

        pub(crate) fn watch(self, _: CountersHandle) -> io::Result<()> {
            match self {}
        }

        pub(crate) fn try_clone(&self) -> io::Result<Self> {
            match *self {}
        }
    }
}
#[cfg(not(unix))]
pub(super) use none::Manager;
