//! The peer on tokio-tungstenite: `/echo`, and fan-out from `/publish` to `/subscribe`.
//!
//! One single-threaded tokio runtime, TCP_NODELAY. The server flushes only if no further message is ready, as `forward` does in the
//! library's own echo example, but without splitting the stream. The read buffer is smaller than the default of 128 KiB, which is
//! zeroed before each read.

#![forbid(unsafe_code)]

use std::error::Error;

use clap::Parser;
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, error::TryRecvError};
use tokio::task::unconstrained;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{
    Callback, ErrorResponse, Request, Response,
};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Messages that a subscriber may be behind before it misses some. The load client would detect that.
const BACKLOG: usize = 4096;

/// Echo and fan-out on tokio-tungstenite.
#[derive(Parser)]
struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9102")]
    listen: String,
    /// Bytes of each connection's read buffer
    #[arg(long, default_value_t = 16 * 1024)]
    read_buffer: usize,
}

/// Stores the requested path.
struct Path<'a>(&'a mut String);

impl Callback for Path<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(self.0);
        Ok(response)
    }
}

fn main() -> Outcome {
    let options = Options::parse();
    let config = WebSocketConfig::default().read_buffer_size(options.read_buffer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async move {
        let topic = broadcast::channel(BACKLOG).0;
        let listener = TcpListener::bind(&options.listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let topic = topic.clone();
            tokio::spawn(unconstrained(async move {
                // The load client ends a run by resetting its connections.
                drop(serve(stream, config, topic).await);
            }));
        }
    })
}

async fn serve(
    stream: TcpStream,
    config: WebSocketConfig,
    topic: broadcast::Sender<Message>,
) -> Outcome {
    let mut path = String::new();
    let ws = accept_hdr_async_with_config(stream, Path(&mut path), Some(config)).await?;
    match path.as_str() {
        "/publish" => publish(ws, topic).await,
        "/subscribe" => subscribe(ws, topic.subscribe()).await,
        _ => echo(ws).await,
    }
}

async fn echo(mut ws: WebSocketStream<TcpStream>) -> Outcome {
    loop {
        let next = match ws.next().now_or_never() {
            Some(next) => next,
            None => {
                ws.flush().await?;
                ws.next().await
            }
        };
        match next.transpose()? {
            Some(message @ (Message::Text(_) | Message::Binary(_))) => ws.feed(message).await?,
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

async fn publish(mut ws: WebSocketStream<TcpStream>, topic: broadcast::Sender<Message>) -> Outcome {
    while let Some(message) = ws.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            // The clone of a message shares its bytes.
            topic.send(message)?;
        }
    }
    Ok(())
}

/// Sends published messages; those that are available together leave in one write.
async fn subscribe(
    mut ws: WebSocketStream<TcpStream>,
    mut topic: broadcast::Receiver<Message>,
) -> Outcome {
    ws.send(Message::binary(&b"subscribed"[..])).await?;
    loop {
        let message = match topic.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Empty) => {
                ws.flush().await?;
                tokio::select! {
                    biased;
                    message = topic.recv() => message?,
                    incoming = ws.next() => match incoming.transpose()? {
                        Some(_) => continue,
                        None => return Ok(()),
                    },
                }
            }
            Err(error) => return Err(error.into()),
        };
        ws.feed(message).await?;
    }
}
