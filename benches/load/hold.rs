//! Many idle connections: the user-space memory that the server uses for each.

use std::error::Error;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde_json::{Value, json};

use crate::conn::{self, Conn};
use crate::process::Memory;
use crate::wire::{Batch, Reply, Shape};

/// Opens `count` connections and reports the server's memory before, after opening, and after one echo on each.
pub(crate) fn run(
    server: SocketAddrV4,
    path: &str,
    count: usize,
    pid: u32,
) -> Result<Value, Box<dyn Error>> {
    // One connection is served first, so that memory that a process sets up once is not counted.
    let mut first = conn::open(server, path, 1)?;
    echo_once(&mut first)?;
    let before = Memory::settled(pid)?;
    let mut conns = conn::open(server, path, count)?;
    let opened = Memory::settled(pid)?;
    // Few at a time, as on a server whose connections are idle most of the time.
    for few in conns.chunks_mut(32) {
        echo_once(few)?;
    }
    let used = Memory::settled(pid)?;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / count as f64;
    Ok(json!({
        "connections": count,
        "rss_before": before.rss,
        "rss_opened": opened.rss,
        "rss_used": used.rss,
        "rss_per_connection": each(opened.rss, before.rss),
        "rss_per_used_connection": each(used.rss, before.rss),
        "private_per_connection": each(opened.private_anonymous, before.private_anonymous),
        "private_per_used_connection": each(used.private_anonymous, before.private_anonymous),
    }))
}

/// One 64-byte message on each connection, and its reply.
fn echo_once(conns: &mut [Conn]) -> Result<(), Box<dyn Error>> {
    let shape = Shape {
        text: false,
        size: 64,
        sent_prefix: "",
        reply_prefix: "",
        suffix: "",
    };
    let (mut batch, mut reply) = (Batch::new(&shape, 1), Reply::new(&shape));
    for conn in &mut *conns {
        conn.send(batch.numbered(conn.sent, 1))?;
        conn.sent += 1;
    }
    let mut received = vec![0; reply.len()];
    for conn in conns {
        while conn.position.next != conn.sent {
            let n = conn.receive_waiting(&mut received, Duration::from_secs(10))?;
            if n == 0 {
                return Err("the server closed a connection".into());
            }
            let mut pongs = Vec::new();
            reply.check(&mut conn.position, &received[..n], &mut pongs)?;
            conn.send(&pongs)?;
        }
    }
    Ok(())
}
