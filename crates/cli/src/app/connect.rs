//! `hioload connect`: sends messages to an echo server, and checks and times the replies.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hioload_transport::Transport;
use hioload_ws::deflate::DeflateConfig;
use hioload_ws::{
    Accept, CloseCode, ClosedBy, Closure, Config, Connect, ConnectError, ConnectionId, Context,
    Endpoint, Handler, Kind, LcoreContext, Message, Peer, Request, Response, SendPolicy, Server,
    ServerOptions, ServerReply, SocketOptions,
};

use super::histogram::Histogram;
use super::link::{ClientLink, Work};
use super::target::Target;
use super::tls::ConnectTls;
use crate::Failure;
use crate::cli::ConnectArgs;
use crate::streams;

/// Connects, sends, checks, and prints the result.
///
/// # Errors
/// Code 2 if the URL is wrong, 1 if the run fails.
pub(crate) fn run(arguments: &ConnectArgs) -> Result<(), Failure> {
    let target = Target::parse(&arguments.url).map_err(Failure::usage)?;
    let endpoints = target.endpoints().map_err(Failure::run)?;
    let tls = ConnectTls::for_target(&target, &arguments.tls, arguments.timeout())?;
    let (report, result) = mpsc::channel();
    let messages = Messages {
        count: u64::from(arguments.count.0),
        size: arguments.size.0.0,
        kind: if arguments.text {
            Kind::Text
        } else {
            Kind::Binary
        },
        in_flight: u64::from(arguments.in_flight.0),
    };
    // Each try sets the endpoint.
    let mut connect = Connect::new(Endpoint::Unix("".into()))
        .host(target.host)
        .target(target.resource)
        .deflate(arguments.deflate);
    connect.origin = arguments.origin.clone();
    connect.protocols = arguments.protocol.clone();
    let client = Client {
        untried: endpoints.into(),
        connect,
        timeout: arguments.timeout(),
        messages,
        progress: 0,
        sender: report,
        tls,
    };
    let failed = |why: String| Failure::run(why).in_context(arguments.url.clone());

    let options = options(arguments, messages);
    ClientLink::new(&arguments.link)?
        .run(options, client)?
        .map_err(|failure| failure.in_context(arguments.url.clone()))?;
    match result.try_recv() {
        Ok(Ok(times)) => {
            streams::say(&format!(
                "{} echoes of {} bytes, median {}\n",
                messages.count,
                messages.size,
                shown(times.median())
            ));
            Ok(())
        }
        Ok(Err(why)) => Err(failed(why)),
        Err(_) => Err(failed("ended without a result".to_owned())),
    }
}

fn options(arguments: &ConnectArgs, messages: Messages) -> ServerOptions {
    let mut config = Config::default();
    config.executor_threads = 0;
    config.tunables.deflate = arguments.deflate.then(DeflateConfig::default);
    let limits = &mut config.tunables.limits;
    limits.max_connections = 1;
    limits.handshake_timeout = arguments.timeout();
    limits.max_message = limits.max_message.max(messages.size);
    limits.reassembly_memory = limits
        .reassembly_memory
        .max(limits.max_message.saturating_mul(4));
    // The queue has room for all messages in flight. A full queue would stop the reading, and two ends that both wait for the other
    // to read would wait for ever.
    let in_flight_bytes = usize::try_from(messages.in_flight)
        .unwrap_or(usize::MAX)
        .saturating_mul(messages.size.saturating_add(16));
    limits.send_queue = limits.send_queue.max(in_flight_bytes);
    limits.send_policy = SendPolicy::DropNew;
    // `--timeout` bounds the whole, however slow the server is.
    limits.message_timeout = Duration::ZERO;
    limits.send_timeout = Duration::ZERO;
    let mut sockets = SocketOptions::default();
    sockets.tx_chunks = sockets
        .tx_chunks
        .max((in_flight_bytes / sockets.tx_chunk).saturating_mul(4));
    ServerOptions::new()
        .lcores(1)
        .config(config)
        .sockets(sockets)
}

fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 {
        format!("{micros:.1} µs")
    } else {
        format!("{:.2} ms", micros / 1000.0)
    }
}

/// The messages to send.
#[derive(Debug, Clone, Copy)]
struct Messages {
    count: u64,
    size: usize,
    kind: Kind,
    in_flight: u64,
}

impl Messages {
    /// The payload of the `n`th message: reproducible, and different for each.
    fn payload(&self, n: u64, out: &mut Vec<u8>) {
        out.clear();
        let mut state = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while out.len() < self.size {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let eight = state.to_le_bytes();
            let take = eight.len().min(self.size - out.len());
            match self.kind {
                Kind::Binary => out.extend_from_slice(&eight[..take]),
                Kind::Text => out.extend(eight[..take].iter().map(|byte| b' ' + byte % 95)),
            }
        }
    }
}

/// The open connection.
struct Run {
    sent: u64,
    back: u64,
    /// The time at which each message in flight was sent.
    sent_at: VecDeque<Instant>,
    times: Histogram,
    scratch: Vec<u8>,
}

impl Run {
    /// Sends until enough messages are in flight.
    fn fill(&mut self, messages: &Messages, cx: &mut impl Context<Event = ()>) {
        while self.sent < messages.count && self.sent - self.back < messages.in_flight {
            messages.payload(self.sent, &mut self.scratch);
            if cx.send(messages.kind, &self.scratch).is_err() {
                break;
            }
            self.sent += 1;
            self.sent_at.push_back(Instant::now());
        }
    }

    /// Checks an echo.
    fn check(&mut self, messages: &Messages, message: Message<'_>) -> Result<(), String> {
        let Some(sent_at) = self.sent_at.pop_front() else {
            return Err("the server sent a message that is no reply".to_owned());
        };
        self.times.record(sent_at.elapsed());
        messages.payload(self.back, &mut self.scratch);
        self.back += 1;
        let n = self.back;
        if message.kind() != messages.kind {
            return Err(format!("reply {n} has the type {:?}", message.kind()));
        }
        let (came, sent) = (message.as_bytes(), self.scratch.as_slice());
        if came == sent {
            return Ok(());
        }
        match came.iter().zip(sent).position(|(came, sent)| came != sent) {
            Some(at) if came.len() == sent.len() => Err(format!("reply {n} differs at byte {at}")),
            _ => Err(format!(
                "reply {n} has {} bytes instead of {}",
                came.len(),
                sent.len()
            )),
        }
    }
}

/// The handler of the one lcore.
#[derive(Clone)]
struct Client {
    untried: VecDeque<Endpoint>,
    connect: Connect,
    timeout: Duration,
    messages: Messages,
    /// Replies so far.
    progress: u64,
    sender: mpsc::Sender<Result<Histogram, String>>,
    tls: Option<ConnectTls>,
}

impl Client {
    /// Reports the result; only the first one counts.
    fn report(&self, result: Result<Histogram, String>) {
        // `run` reads it at the end.
        let _ = self.sender.send(result);
    }

    fn run_on<T: Transport + 'static>(self, engine: Server<T>) -> Result<(), Failure> {
        let running = engine.start(move |_| self.clone()).map_err(Failure::run)?;
        running.join().map(drop).map_err(Failure::run)
    }

    /// Connects to the next endpoint; `last` is the error of the one before.
    fn try_next(&mut self, cx: &mut impl LcoreContext<Event = ()>, mut last: String) {
        while let Some(endpoint) = self.untried.pop_front() {
            let mut connect = self.connect.clone();
            connect.endpoint = endpoint.clone();
            match cx.connect(connect) {
                Ok(_) => return,
                Err(why) => last = why.to_string(),
            }
        }
        self.report(Err(last));
        cx.stop();
    }
}

impl Work for Client {
    type Output = Result<(), Failure>;

    fn run<T: Transport + 'static>(self, engine: Server<T>) -> Result<(), Failure> {
        match self.tls.as_ref().map(ConnectTls::layer) {
            Some(layer) => self.run_on(engine.layered(layer)),
            None => self.run_on(engine),
        }
    }
}

impl Handler for Client {
    type Conn = Run;
    type Event = ();

    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        cx.set_lcore_timer(self.timeout, 0);
        self.try_next(cx, "no address".to_owned());
    }

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<Run>, Response> {
        // There are no listeners.
        Err(Response::not_found())
    }

    fn on_connect(
        &mut self,
        cx: &mut impl LcoreContext<Event = ()>,
        _: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<Run> {
        match outcome {
            Ok(_) => Some(Run {
                sent: 0,
                back: 0,
                sent_at: VecDeque::new(),
                times: Histogram::new(),
                scratch: Vec::with_capacity(self.messages.size),
            }),
            Err(why @ ConnectError::Network(_)) => {
                self.try_next(cx, why.to_string());
                None
            }
            Err(why) => {
                self.report(Err(why.to_string()));
                cx.stop();
                None
            }
        }
    }

    fn on_ready(&mut self, run: &mut Run, cx: &mut impl Context<Event = ()>) {
        run.fill(&self.messages, cx);
    }

    fn on_message(
        &mut self,
        run: &mut Run,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        if let Err(why) = run.check(&self.messages, message) {
            self.report(Err(why));
            cx.close(CloseCode::POLICY_VIOLATION, "not an echo");
            return;
        }
        self.progress = run.back;
        if run.back == self.messages.count {
            self.report(Ok(std::mem::replace(&mut run.times, Histogram::new())));
            cx.close(CloseCode::NORMAL, "");
        } else {
            run.fill(&self.messages, cx);
        }
    }

    fn on_writable(&mut self, run: &mut Run, cx: &mut impl Context<Event = ()>) {
        run.fill(&self.messages, cx);
    }

    fn on_close(&mut self, run: Run, cx: &mut impl LcoreContext<Event = ()>, closure: Closure<'_>) {
        // It counts only if nothing has been reported.
        let end = match closure.by {
            ClosedBy::Network => "the connection was lost".to_owned(),
            _ if closure.reason.is_empty() => format!("closed with {}", closure.code),
            _ => format!("closed with {}: {:?}", closure.code, closure.reason),
        };
        self.report(Err(format!(
            "{end}, after {} of {} echoes",
            run.back, self.messages.count
        )));
        cx.stop();
    }

    fn on_lcore_timer(&mut self, cx: &mut impl LcoreContext<Event = ()>, _: u64) {
        let (back, count) = (self.progress, self.messages.count);
        self.report(Err(format!(
            "timed out after {:?}, with {back} of {count} echoes",
            self.timeout
        )));
        cx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(size: usize, kind: Kind) -> Messages {
        Messages {
            count: 2,
            size,
            kind,
            in_flight: 1,
        }
    }

    fn run() -> Run {
        let sent_at = VecDeque::from([Instant::now(), Instant::now()]);
        Run {
            sent: 2,
            back: 0,
            sent_at,
            times: Histogram::new(),
            scratch: Vec::new(),
        }
    }

    #[test]
    fn payloads_have_their_size_and_differ() {
        for size in [0, 1, 7, 8, 9, 1000] {
            for kind in [Kind::Text, Kind::Binary] {
                let (mut first, mut second, mut again) = (Vec::new(), Vec::new(), Vec::new());
                messages(size, kind).payload(0, &mut first);
                messages(size, kind).payload(1, &mut second);
                messages(size, kind).payload(0, &mut again);
                assert_eq!((first.len(), &first), (size, &again));
                assert!(size < 8 || first != second);
                assert!(
                    kind == Kind::Binary || first.iter().all(|byte| (b' '..=b'~').contains(byte))
                );
            }
        }
    }

    #[test]
    fn a_wrong_reply_is_reported() {
        let messages = messages(9, Kind::Binary);
        let mut payload = Vec::new();
        messages.payload(0, &mut payload);
        assert_eq!(run().check(&messages, Message::binary(&payload)), Ok(()));
        payload[8] ^= 1;
        assert_eq!(
            run().check(&messages, Message::binary(&payload)),
            Err("reply 1 differs at byte 8".into())
        );
        assert_eq!(
            run().check(&messages, Message::binary(&payload[..8])),
            Err("reply 1 has 8 bytes instead of 9".into())
        );
        assert_eq!(
            run().check(&messages, Message::text("123456789")),
            Err("reply 1 has the type Text".into())
        );
        let mut unasked = Run {
            sent_at: VecDeque::new(),
            ..run()
        };
        assert!(unasked.check(&messages, Message::binary(&payload)).is_err());
    }

    #[test]
    fn times_are_shown_in_fitting_units() {
        assert_eq!(shown(Duration::from_nanos(12_345)), "12.3 µs");
        assert_eq!(shown(Duration::from_micros(12_345)), "12.35 ms");
    }
}
