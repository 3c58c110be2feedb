//! Attacks with messages: a thread with connections of its own, over the kernel's sockets.
//!
//! ```text
//! options.rs    what the thread is told: the plan, the server, the texts of its topic protocol
//! frames.rs     frames to send, and a reader of the server's frames that keeps only their beginning
//! peer.rs       one connection: connect, upgrade, write, read
//! bombs.rs      compressed messages that inflate a thousandfold
//! patterns.rs   topics and patterns
//! script.rs     what a connection of each attack sends next
//! squad.rs      the connections of one attack: opened, paced, reopened, counted
//! witness.rs    subscribers that count lost publications
//! driver.rs     the thread
//! ```

mod bombs;
mod driver;
mod frames;
mod options;
mod patterns;
mod peer;
mod script;
mod squad;
mod witness;

pub use driver::MessageAttacks;
pub use options::{MessageOptions, TopicTexts};
pub use witness::Witness;
