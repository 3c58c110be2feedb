//! The configuration of the engine for an input. The limits are low, so that scripts reach them.

use std::time::Duration;

use hioload_engine::{Config, Limits, SendPolicy};
use hioload_ws_proto::deflate::{DeflateConfig, Sharing};

use super::Options;

pub(super) fn config(options: Options) -> Config {
    let mut limits = Limits::default();
    limits.handshake_timeout = Duration::from_millis(1000);
    limits.close_timeout = Duration::from_millis(500);
    limits.ping_interval = Duration::from_millis(700);
    limits.idle_timeout = Duration::from_millis(2000);
    limits.send_queue = 64 << 20;
    limits.message_timeout = Duration::ZERO;
    if !options.exact {
        let policy = usize::from(options.policy);
        limits.message_timeout = [Duration::from_millis(900), Duration::ZERO][policy % 2];
        limits.message_min_rate = [0, 100][policy % 2];
        limits.send_timeout = Duration::from_millis(1200);
        limits.send_queue = [1, 300, 5000][policy];
        let policies = [
            SendPolicy::Close,
            SendPolicy::DropNew,
            SendPolicy::DropOldest,
        ];
        limits.send_policy = policies[policy];
        limits.publish_policy = policies[(policy + 2) % 3];
        limits.mailbox_bytes = 500;
    }
    let mut config = Config::default();
    match options.limits {
        0 => {}
        1 => {
            limits.max_message = 150;
            limits.max_fragments = 3;
            limits.max_handshake = 300;
            if !options.exact {
                limits.reassembly_memory = 1000;
            }
        }
        2 => {
            limits.message_rate = 50;
            config.tunables.turn_messages = 1;
            config.tunables.turn_events = 2;
        }
        _ => {
            limits.max_subscriptions = 2;
            limits.max_connections_per_source = 2;
            limits.accept_rate = if options.exact { 0 } else { 30 };
            config.tunables.turn_messages = 3;
        }
    }
    config.tunables.limits = limits;
    config.tunables.deflate = (options.deflate > 1).then(|| {
        let mut deflate = DeflateConfig::new(if options.deflate == 2 {
            Sharing::Shared
        } else {
            Sharing::Own
        });
        deflate.threshold = 16;
        deflate.mem_level = 1;
        deflate
    });
    config
}
