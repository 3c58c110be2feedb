//! The options of the transport over sockets.

use std::net::IpAddr;

use hioload_mem::HugePages;

use crate::setters::setters;

/// Sizes and socket options of one lcore's sockets.
///
/// All fields have defaults, and can be assigned or set:
///
/// ```
/// # use hioload_transport::sockets::SocketOptions;
/// let options = SocketOptions::default()
///     .max_connections(1000)
///     .nodelay(false);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketOptions {
    /// The most connections at once. A slot uses memory from its first connection on.
    pub max_connections: usize,
    /// Bytes of the lcore's receive buffer: the most that one connection receives before the next is visited.
    pub rx_buffer: usize,
    /// Bytes of a send chunk.
    pub tx_chunk: usize,
    /// Send chunks of the lcore. A chunk uses memory from its first use on. The last quarter is for connections that are not
    /// blocked and hold at most four; of the rest, a connection may hold half as many as are left.
    pub tx_chunks: usize,
    /// The most bytes queued for one connection.
    pub send_queue: usize,
    /// The backlog of a listener: connections that the kernel holds until they are accepted.
    pub backlog: i32,
    /// TCP_NODELAY: a reply is not delayed until earlier ones are acknowledged.
    pub nodelay: bool,
    /// Pages of the send chunks.
    pub huge_pages: HugePages,
    /// NUMA node of the send chunks.
    pub node: Option<u32>,
    /// The permission bits of the files of Unix sockets; `None`: 0660 with a group, and as the umask leaves them without one.
    pub unix_mode: Option<u32>,
    /// The group of these files, by number; `None`: that of the process.
    pub unix_group: Option<u32>,
    /// SO_RCVBUF; `None`: the kernel tunes the buffer.
    pub recv_buffer: Option<usize>,
    /// SO_SNDBUF; `None`: the kernel tunes the buffer.
    pub send_buffer: Option<usize>,
    /// Source addresses of the connections that we open, used in turn; those of the other family are skipped. Empty: the
    /// system chooses. Each can have as many connections to one destination as there are ephemeral ports.
    pub sources: Vec<IpAddr>,
}

impl SocketOptions {
    setters! {
        max_connections: usize,
        rx_buffer: usize,
        tx_chunk: usize,
        tx_chunks: usize,
        send_queue: usize,
        backlog: i32,
        nodelay: bool,
        huge_pages: HugePages,
        node: Option<u32>,
        unix_mode: Option<u32>,
        unix_group: Option<u32>,
        recv_buffer: Option<usize>,
        send_buffer: Option<usize>,
        sources: Vec<IpAddr>,
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            max_connections: 65536,
            rx_buffer: 64 << 10,
            tx_chunk: 16 << 10,
            tx_chunks: 16384,
            send_queue: 1 << 20,
            backlog: 4096,
            nodelay: true,
            huge_pages: HugePages::Off,
            node: None,
            unix_mode: None,
            unix_group: None,
            recv_buffer: None,
            send_buffer: None,
            sources: Vec::new(),
        }
    }
}
