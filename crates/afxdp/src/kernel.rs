//! What is asked of the kernel, as calls that are safe to make.
//!
//! Unsafe code is here (system calls that no library has a safe form of; the mapping of the rings) and in `umem`.

pub(crate) mod ethtool;
pub(crate) mod mapping;
pub(crate) mod netlink;
pub(crate) mod socket;
