//! Counters that are declared once: name, help text, kind, unit and owner stand in one place, next to each other.
//!
//! A layer declares its block of counters with [`counters!`]. That makes a plain struct of `u64`, which the layer counts in, and
//! [`CounterMeta`] for each field, for code that shows the counters. A layer above handles the blocks of those below as
//! slices and names no field of theirs.
//!
//! ```
//! use hioload_counters::{Block, CounterKind, counters};
//!
//! counters! {
//!     /// What a queue has counted.
//!     pub struct QueueStats: Device, "queue_" {
//!         /// Frames received.
//!         rx_frames: Counter, Count;
//!         /// Bytes of frames that wait (gauge).
//!         waiting: Gauge, Bytes;
//!     }
//! }
//!
//! let mut stats = QueueStats::default();
//! stats.rx_frames += 1;
//! let [rx_frames, waiting] = QueueStats::META else { panic!() };
//! assert_eq!((rx_frames.name, rx_frames.help()), ("queue_rx_frames", "Frames received."));
//! assert_eq!(waiting.kind, CounterKind::Gauge);
//! assert_eq!(stats.values().as_ref(), [1, 0]);
//! ```

#![forbid(unsafe_code)]

/// How a value moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// What a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Events or things.
    Count,
    /// Bytes.
    Bytes,
    /// Nanoseconds.
    Nanoseconds,
}

/// The layer that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// Sessions, handlers and the loop of an lcore.
    Engine,
    /// What moves the bytes.
    Transport,
    /// TCP in user space.
    Tcp,
    /// The queue of a network interface.
    Device,
}

/// What is known of a counter besides its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CounterMeta {
    /// The name under which it is shown: lower case and underscores, unique among the blocks that are shown together.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: CounterKind,
    /// What it counts.
    pub unit: Unit,
    /// The layer that counts.
    pub owner: Owner,
    help: &'static str,
}

impl CounterMeta {
    /// For [`counters!`].
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        help: &'static str,
        kind: CounterKind,
        unit: Unit,
        owner: Owner,
    ) -> Self {
        Self {
            name,
            kind,
            unit,
            owner,
            help,
        }
    }

    /// The help text: one or two sentences.
    pub const fn help(&self) -> &'static str {
        self.help.trim_ascii()
    }
}

/// The counters of one layer, as [`counters!`] declares them.
pub trait Block: Default + Copy {
    /// What is known of each, in the order of the declaration.
    const META: &'static [CounterMeta];
    /// The values in the same order.
    type Values: AsRef<[u64]>;
    /// Copies the values.
    fn values(&self) -> Self::Values;
    /// Adds one value to each counter, in the order of the declaration.
    fn add(&mut self, values: impl IntoIterator<Item = u64>);
}

/// Declares a block of counters: a struct, its [`Owner`], and the prefix of the names under which its fields are shown. A field is
/// `name: Kind, Unit;` below its help text. `name as "shown_name": Kind, Unit;` is shown under a name of its own.
///
/// The struct implements [`Block`]. `struct Stats and Cells of Cell<u64>: ...` declares a second struct with the same fields of
/// another type, and its method `read`, which makes the first of it. The type has a method `get` that returns a `u64`.
#[macro_export]
macro_rules! counters {
    (
        $(#[$attr:meta])*
        pub struct $block:ident $(and $twin:ident of $cell:ty)?: $owner:ident, $prefix:literal {
            $($(#[doc = $help:literal])+ $name:ident $(as $shown:literal)?: $kind:ident, $unit:ident;)*
        }
    ) => {
        $(#[$attr])*
        #[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
        pub struct $block {
            $($(#[doc = $help])+ pub $name: u64,)*
        }

        impl $block {
            /// What is known of each counter, in the order of the declaration.
            pub const META: &'static [$crate::CounterMeta] = &[
                $($crate::CounterMeta::new(
                    $crate::shown_name!($prefix, $name $(, $shown)?),
                    concat!($($help),+),
                    $crate::CounterKind::$kind,
                    $crate::Unit::$unit,
                    $crate::Owner::$owner,
                ),)*
            ];

            /// The values, in the order of the declaration.
            pub fn values(&self) -> [u64; $block::META.len()] {
                [$(self.$name,)*]
            }
        }

        impl $crate::Block for $block {
            const META: &'static [$crate::CounterMeta] = Self::META;
            type Values = [u64; $block::META.len()];
            fn values(&self) -> Self::Values {
                self.values()
            }
            fn add(&mut self, values: impl IntoIterator<Item = u64>) {
                let mut values = values.into_iter();
                $(self.$name += values.next().unwrap_or(0);)*
            }
        }

        $crate::twin! {
            $($twin $cell,)? $block { $($(#[doc = $help])+ $name,)* }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! shown_name {
    ($prefix:literal, $name:ident) => {
        concat!($prefix, stringify!($name))
    };
    ($prefix:literal, $name:ident, $shown:literal) => {
        $shown
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! twin {
    ($block:ident { $($rest:tt)* }) => {};
    ($twin:ident $cell:ty, $block:ident { $($(#[doc = $help:literal])+ $name:ident,)* }) => {
        #[doc = concat!("The cells behind [`", stringify!($block), "`].")]
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct $twin {
            $($(#[doc = $help])+ pub $name: $cell,)*
        }

        impl $twin {
            /// Reads every cell.
            pub fn read(&self) -> $block {
                $block { $($name: self.$name.get(),)* }
            }
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub)]
mod tests {
    use super::*;
    use std::cell::Cell;

    counters! {
        /// Two.
        pub struct Two and Cells of Cell<u64>: Tcp, "tcp_" {
            /// The first
            /// of them.
            one: Counter, Count;
            /// The second.
            two as "second_bytes": Gauge, Bytes;
        }
    }

    #[test]
    fn a_declaration_gives_names_help_values_and_a_twin() {
        let meta: Vec<_> = Two::META
            .iter()
            .map(|m| (m.name, m.help(), m.kind, m.unit, m.owner))
            .collect();
        assert_eq!(
            meta,
            [
                (
                    "tcp_one",
                    "The first of them.",
                    CounterKind::Counter,
                    Unit::Count,
                    Owner::Tcp
                ),
                (
                    "second_bytes",
                    "The second.",
                    CounterKind::Gauge,
                    Unit::Bytes,
                    Owner::Tcp
                )
            ]
        );
        let cells = Cells::default();
        cells.two.set(7);
        let mut two = cells.read();
        assert_eq!(two.values(), [0, 7]);
        Block::add(&mut two, [1, 1]);
        assert_eq!(two, Two { one: 1, two: 8 });
    }
}
