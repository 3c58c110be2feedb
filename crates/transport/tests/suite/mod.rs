//! The behaviour of every transport, as functions over a [`Harness`](world::Harness).

pub mod closing;
pub mod fairness;
pub mod layers;
pub mod over_frames;
pub mod over_script;
pub mod over_sockets;
pub mod receiving;
pub mod sending;
pub mod world;

/// Makes a test of each named function, for one harness.
#[macro_export]
macro_rules! suite {
    ($name:ident, $harness:ty) => {
        mod $name {
            use super::*;

            $crate::suite!(@in $harness, receiving: echo, peer_address, held_for_more, held_for_later,
                later_before_the_end, pause_and_resume, paused_within_a_call, data_with_the_end,
                big_transfer, unread_held_bytes_are_dropped);
            $crate::suite!(@in $harness, sending: order_of_shared_and_written, blocked_then_writable,
                drop_oldest_while_blocked, queue_bound, nothing_is_sent_after_finish, lent_but_not_committed,
                uncommitted_space_is_lent_again, writable_may_write_again);
            $crate::suite!(@in $harness, closing: half_close, finish_then_receive, close_waits_for_the_peer,
                close_delivers_despite_unread_bytes, abort_is_reported_later, abort_while_blocked, stale_ids,
                peer_resets, peer_resets_while_paused, refused_accept, refused_and_aborted, write_to_a_dead_peer);
            $crate::suite!(@in $harness, fairness: event_budget, exhausted_driver, exhausted_flush, accept_budget, full_reads_take_turns,
                accepting_stops_and_restarts, stop_listening);
        }
    };
    (@in $harness:ty, $module:ident: $($test:ident),*) => {
        $(#[test]
        fn $test() {
            if !<$harness as $crate::suite::world::Harness>::is_available() {
                return;
            }
            $crate::suite::$module::$test::<$harness>();
        })*
    };
}
