//! Safe wrappers of the kernel's interfaces.
//!
//! The crate's unsafe code is here (system calls for which no library has a safe wrapper, and the mapping of the rings) and in
//! `umem`.

pub(crate) mod ethtool;
pub(crate) mod mapping;
pub(crate) mod netlink;
pub(crate) mod socket;
