//! The peer on fastwebsockets: `/echo`, and fan-out from `/publish` to `/subscribe`.
//!
//! It is the library's own echo server with TCP_NODELAY: hyper upgrades the connection; one single-threaded tokio runtime,
//! unconstrained tasks, `FragmentCollector`, vectored writes. Two options go beyond the library's documentation. With `--bare` the
//! WebSocket runs on the TCP stream itself, not on hyper's boxed `Upgraded`. With `--batch` it does as well, and replies are
//! gathered in a `BufWriter` while more frames are buffered. With a certificate, tokio-rustls is below hyper.

#![forbid(unsafe_code)]

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use clap::Parser;
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket,
    WebSocketError, after_handshake_split, upgrade,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{self, error::TryRecvError};
use tokio::task::unconstrained;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Messages that a subscriber may be behind before it misses some. The load client would detect that.
const BACKLOG: usize = 4096;

/// Echo and fan-out on fastwebsockets.
#[derive(Parser)]
struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9101")]
    listen: String,
    /// Gather the replies to frames that arrived together into one write
    #[arg(long)]
    batch: bool,
    /// Run on the TCP stream, not on hyper's `Upgraded`
    #[arg(long)]
    bare: bool,
    /// Speak TLS with this certificate
    #[arg(long, requires = "key", conflicts_with_all = ["batch", "bare"])]
    certificate: Option<PathBuf>,
    /// The key of the certificate
    #[arg(long)]
    key: Option<PathBuf>,
}

#[derive(Clone)]
struct Service {
    topic: broadcast::Sender<Bytes>,
    echo: Echo,
}

#[derive(Clone, Copy)]
enum Echo {
    Documented,
    Bare,
    Batched,
}

fn main() -> Outcome {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async move {
        let service = Service {
            topic: broadcast::channel(BACKLOG).0,
            echo: match (options.batch, options.bare) {
                (true, _) => Echo::Batched,
                (false, true) => Echo::Bare,
                (false, false) => Echo::Documented,
            },
        };
        let tls = match (&options.certificate, &options.key) {
            (Some(certificate), Some(key)) => Some(acceptor(certificate, key)?),
            _ => None,
        };
        let listener = TcpListener::bind(&options.listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (service, tls) = (service.clone(), tls.clone());
            tokio::spawn(async move {
                let Some(tls) = tls else {
                    return serve(stream, service).await;
                };
                match tls.accept(stream).await {
                    Ok(stream) => serve(stream, service).await,
                    Err(error) => eprintln!("tls: {error}"),
                }
            });
        }
    })
}

fn acceptor(
    certificate: &PathBuf,
    key: &PathBuf,
) -> Result<TlsAcceptor, Box<dyn Error + Send + Sync>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, service: Service) {
    let answer = service_fn(move |request| answer(request, service.clone()));
    let upgraded = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    if let Err(error) = upgraded.await {
        eprintln!("http: {error}");
    }
}

/// Answers the upgrade and serves the connection by its path.
async fn answer(
    mut request: Request<Incoming>,
    service: Service,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    let path = request.uri().path().to_owned();
    tokio::spawn(unconstrained(async move {
        let outcome = match (path.as_str(), service.echo) {
            ("/publish", _) => publish(upgrade, service.topic).await,
            ("/subscribe", _) => subscribe(upgrade, service.topic.subscribe()).await,
            (_, Echo::Documented) => match upgrade.await {
                Ok(ws) => echo(FragmentCollector::new(ws)).await,
                Err(error) => Err(error.into()),
            },
            (_, Echo::Bare) => match tcp(upgrade).await {
                Ok(tcp) => {
                    let ws = WebSocket::after_handshake(tcp, Role::Server);
                    echo(FragmentCollector::new(ws)).await
                }
                Err(error) => Err(error),
            },
            (_, Echo::Batched) => echo_batched(upgrade).await,
        };
        // The load client ends a run by resetting its connections.
        drop(outcome);
    }));
    Ok(response)
}

/// Returns the bare TCP stream of an upgraded connection.
async fn tcp(upgrade: upgrade::UpgradeFut) -> Result<TcpStream, Box<dyn Error + Send + Sync>> {
    let upgraded = upgrade.await?.into_inner().into_inner();
    let parts = upgraded
        .downcast::<TokioIo<TcpStream>>()
        .map_err(|_| "hyper's connection is not the TCP stream it was given")?;
    if !parts.read_buf.is_empty() {
        return Err("the client sent frames before it had the answer to its upgrade".into());
    }
    Ok(parts.io.into_inner())
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: FragmentCollector<S>) -> Outcome {
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

/// Echoes, and flushes only if the next frame has not arrived yet.
async fn echo_batched(upgrade: upgrade::UpgradeFut) -> Outcome {
    let (reader, writer) = tcp(upgrade).await?.into_split();
    let writer = BufWriter::with_capacity(64 * 1024, writer);
    let (reader, mut writer) = after_handshake_split(reader, writer, Role::Server);
    let mut reader = FragmentCollectorRead::new(reader);
    loop {
        let frame = {
            let mut answer = refuse;
            let mut next = pin!(reader.read_frame(&mut answer));
            match ready_now(next.as_mut()).await {
                Some(frame) => frame?,
                None => {
                    writer.flush().await?;
                    next.await?
                }
            }
        };
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => writer.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn publish(upgrade: upgrade::UpgradeFut, topic: broadcast::Sender<Bytes>) -> Outcome {
    let stream = tcp(upgrade).await?;
    let mut ws = FragmentCollector::new(WebSocket::after_handshake(stream, Role::Server));
    loop {
        let frame = ws.read_frame().await?;
        match (frame.opcode, frame.payload) {
            (OpCode::Close, _) => return Ok(()),
            // All subscribers share the payload.
            (OpCode::Text | OpCode::Binary, Payload::Bytes(payload)) => {
                topic.send(payload.freeze())?;
            }
            (OpCode::Text | OpCode::Binary, payload) => {
                topic.send(Bytes::from(Vec::from(payload)))?;
            }
            _ => {}
        }
    }
}

/// Sends published messages; those that are available together leave in one write.
async fn subscribe(upgrade: upgrade::UpgradeFut, mut topic: broadcast::Receiver<Bytes>) -> Outcome {
    let (reader, writer) = tcp(upgrade).await?.into_split();
    let writer = BufWriter::with_capacity(16 * 1024, writer);
    let (reader, mut writer) = after_handshake_split(reader, writer, Role::Server);
    let mut reader = FragmentCollectorRead::new(reader);
    let until_closed = tokio::spawn(async move {
        while let Ok(frame) = reader.read_frame(&mut refuse).await {
            if frame.opcode == OpCode::Close {
                break;
            }
        }
    });
    writer
        .write_frame(Frame::binary(Payload::Borrowed(b"subscribed")))
        .await?;
    while !until_closed.is_finished() {
        let message = match topic.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Empty) => {
                writer.flush().await?;
                topic.recv().await?
            }
            Err(error) => return Err(error.into()),
        };
        writer
            .write_frame(Frame::binary(Payload::Borrowed(&message)))
            .await?;
    }
    Ok(())
}

/// Answers to control frames: the load client sends none to this peer.
fn refuse(_: Frame<'_>) -> impl Future<Output = Result<(), WebSocketError>> + use<> {
    std::future::ready(Err(WebSocketError::ConnectionClosed))
}

/// Polls a future once.
async fn ready_now<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
