//! The flags of attacks with messages, and the help about all attacks.

use clap::Args;

/// What attacks with messages say to a server that is not `hioload serve`.
#[derive(Args, Debug)]
pub(crate) struct MessageArgs {
    /// The path that attacks on topics connect to [default: /topics]
    #[arg(long, value_name = "PATH")]
    pub attack_path: Option<String>,
    /// The subprotocol that attacks on topics offer; "" for none
    #[arg(long, value_name = "NAME", default_value = "hioload.topics.v1")]
    pub attack_protocol: String,
    /// The message that subscribes to {topic} [default: {"sub":"{topic}"}]
    #[arg(long, value_name = "TEXT")]
    pub attack_subscribe: Option<String>,
    /// The message that ends a subscription to {topic} [default: {"unsub":"{topic}"}]
    #[arg(long, value_name = "TEXT")]
    pub attack_unsubscribe: Option<String>,
    /// The message that publishes to {topic} [default: {"pub":"{topic}","data":0}]
    #[arg(long, value_name = "TEXT")]
    pub attack_publish: Option<String>,
    /// The text between the tokens of a topic
    #[arg(long, value_name = "TEXT", default_value = ".")]
    pub attack_separator: String,
    /// The token of a pattern that matches any one token
    #[arg(long, value_name = "TEXT", default_value = "*")]
    pub attack_wildcard: String,
}

/// The help about attacks.
pub(crate) const AFTER_ATTACK: &str = "\
Attacks with packets, over af-xdp, dpdk and memory (rate: packets per second; those with connections also take
connections=N):
  syn-flood,rate=100k       SYNs, each from a new source
  ack-storm, rst-storm      segments of no connection, and (live=50 percent) of the load's connections, with wrong numbers
  malformed,seed=1          frames that are malformed in any layer up to TCP
  tiny-segments, overlap    segments of one byte; segments out of order, overlapping and contradicting each other
  zero-window, slow-reader  clients that request much and do not read, or (interval=1s) read a few bytes at a time
  slow-handshake            half-open connections, silent ones, or one byte of the request every interval=1s
  bad-frames                requests and frames that break RFC 6455

Attacks with messages, over sockets, on any WebSocket server (rate: messages per second; connections=N):
  topics,rate=2k            subscribes to all patterns of {a,*}^16 and publishes to a.a.(...).a; shape=deep: at most three
                            wildcards; shape=wide: two tokens
  deflate,size=1MiB         messages that inflate to size, as text, binary, in fragments, with context takeover
  churn,rate=20k            subscribes and unsubscribes
  subscriptions             subscribes to as many long patterns as the server takes
  unfinished,interval=5s    messages of size=1MiB that are never finished, with a byte every interval
  trickle,read=200          requests echoes of size=1MiB and reads 200 bytes per second on each connection
The load is the bystander. Beside attacks on topics, subscribers of their own count lost publications.

The load checks every reply. The first one that is wrong, missing, duplicated or out of order ends the run with code 1.
Ctrl-C ends the run with the summary; a second Ctrl-C ends the process at once.";
