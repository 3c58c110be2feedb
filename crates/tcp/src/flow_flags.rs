//! The flags of a flow.

use std::ops::{BitAnd, BitOr, Not};

/// A set of flags in the low 13 bits, and in the 3 bits above them the class of the flow's path: an index into the
/// interfaces, which differ in their MTU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FlowFlags(u16);

/// The lowest bit of the path's class.
const CLASS_SHIFT: u32 = 13;

impl FlowFlags {
    /// The slot is in use.
    pub(crate) const USED: Self = Self(1);
    /// The user has the flow's id.
    pub(crate) const OWNED: Self = Self(1 << 1);
    /// The peer has begun the handshake, and it is not complete.
    pub(crate) const HALF_OPEN: Self = Self(1 << 2);
    /// We have begun the handshake, and it is not complete.
    pub(crate) const CONNECTING: Self = Self(1 << 3);
    /// The user has released the flow, and it is closing.
    pub(crate) const ORPHAN: Self = Self(1 << 4);
    /// The flow is in the list of those that are polled before the end of the turn.
    pub(crate) const TOUCHED: Self = Self(1 << 5);
    /// The peer has sent a valid segment since the timer last fired.
    pub(crate) const HEARD: Self = Self(1 << 6);
    /// The peer is silent since the time in [`Hot::quiet`](crate::flows::Hot::quiet).
    pub(crate) const QUIET: Self = Self(1 << 7);
    /// The rings were used since the last sweep of [`RingReclaim`](crate::ring_reclaim::RingReclaim).
    pub(crate) const ACTIVE: Self = Self(1 << 8);
    /// The receive ring may hold data out of order.
    pub(crate) const GAPS: Self = Self(1 << 9);
    /// TCP has ended, but the user still has the flow's id.
    pub(crate) const ENDED: Self = Self(1 << 10);
    /// The flow is in the flow table.
    pub(crate) const LISTED: Self = Self(1 << 11);
    /// The last segment of the peer had a window of zero.
    pub(crate) const ZERO_WINDOW: Self = Self(1 << 12);

    /// Whether at least one of `flags` is set.
    #[inline]
    pub(crate) const fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// The class of the path.
    #[inline]
    pub(crate) const fn class(self) -> usize {
        (self.0 >> CLASS_SHIFT) as usize
    }

    /// The same flags with another class, at most 7.
    pub(crate) fn with_class(self, class: usize) -> Self {
        let class = (class as u16).min(7);
        Self(self.0 & ((1 << CLASS_SHIFT) - 1) | class << CLASS_SHIFT)
    }
}

impl BitOr for FlowFlags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for FlowFlags {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for FlowFlags {
    type Output = Self;

    #[inline]
    fn not(self) -> Self {
        Self(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_class_do_not_overlap() {
        let flags = FlowFlags::USED | FlowFlags::ZERO_WINDOW;
        for class in 0..=7 {
            let both = flags.with_class(class);
            assert_eq!(both.class(), class);
            assert!(both.intersects(FlowFlags::USED) && both.intersects(FlowFlags::ZERO_WINDOW));
            assert!(!both.intersects(FlowFlags::LISTED));
            assert_eq!(both.with_class(0), flags);
        }
        assert_eq!(flags.with_class(8).class(), 7);
    }
}
