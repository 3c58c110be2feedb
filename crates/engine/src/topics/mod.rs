//! Who is subscribed to what.
//!
//! [`grammar`] says what topics and patterns are; [`index`] holds the subscriptions of one lcore; [`interest`] tells a publisher which
//! other lcores may have subscribers.

mod grammar;
mod index;
mod interest;
mod slab;
#[cfg(test)]
mod tests;
mod token;

pub use grammar::{MAX_TOKENS, MAX_TOPIC, MAX_WILDCARDS, is_pattern, is_topic};
pub(crate) use index::{Index, SetId, most_bytes};
pub(crate) use interest::{Interest, LcoreSet, Table};
