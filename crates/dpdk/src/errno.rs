//! The error numbers of DPDK.

use std::error::Error;
use std::ffi::CStr;
use std::fmt;

use hioload_dpdk_sys as sys;

/// An error number of DPDK: an errno of the system, or a number above them that DPDK adds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Errno(i32);

impl Errno {
    pub(crate) const EINVAL: Self = Self(22);

    /// From the result of a call, which is the negative number.
    pub(crate) fn new(code: i32) -> Self {
        Self(code.saturating_abs())
    }

    /// The number of the error that DPDK's last failed call on this thread left.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a variable of this thread.
        Self::new(unsafe { sys::hl_errno() })
    }

    /// The number, positive.
    #[must_use]
    pub fn code(self) -> i32 {
        self.0
    }

    /// Whether the process lacks a permission: EPERM or EACCES.
    pub(crate) fn is_permission(self) -> bool {
        matches!(self.0, 1 | 13)
    }

    /// Whether a device rejects a request that it does not know: ENOTSUP or ENOSYS.
    pub(crate) fn is_unsupported(self) -> bool {
        matches!(self.0, 95 | 38)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: the function takes any number, and returns a string that ends with NUL and lives at least until the next call
        // on this thread.
        let text = unsafe { CStr::from_ptr(sys::hl_strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

impl Error for Errno {}
