//! `hioload connect`: the client role. Sends messages to a server that echoes, checks and times what comes back.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hioload_transport::Transport;
use hioload_ws::deflate::DeflateConfig;
use hioload_ws::{
    Accept, CloseCode, ClosedBy, Closure, Config, Connect, ConnectError, ConnectionId, Context,
    Endpoint, Handler, Idle, Kind, LcoreContext, Message, Peer, Request, Response, SendPolicy,
    Server, ServerOptions, ServerReply, SocketOptions,
};

use super::client::{ClientLink, Work as Job};
use super::histogram::Histogram;
use super::target::Target;
use crate::Failure;
use crate::cli::ConnectArgs;

/// Connects, sends, checks, and tells.
///
/// # Errors
/// Code 2 if the URL is bad, 1 if anything went wrong.
pub(crate) fn run(arguments: &ConnectArgs) -> Result<(), Failure> {
    let target = Target::parse(&arguments.url).map_err(Failure::usage)?;
    let endpoints = target.endpoints().map_err(Failure::run)?;
    let (report, outcome) = mpsc::channel();
    let work = Work {
        count: u64::from(arguments.count.0),
        size: arguments.size.0.0,
        kind: if arguments.text {
            Kind::Text
        } else {
            Kind::Binary
        },
        in_flight: u64::from(arguments.in_flight.0),
    };
    // The endpoint is set at each try.
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
        work,
        progress: 0,
        report,
    };
    let fail = |why: &dyn std::fmt::Display| Failure::run(format!("{}: {why}", arguments.url));

    let options = options(arguments, work);
    ClientLink::new(&arguments.link)?
        .run(options, client)?
        .map_err(|why| fail(&why))?;
    match outcome.try_recv() {
        Ok(Ok(times)) => {
            println!(
                "{} echoes of {} bytes, median {}",
                work.count,
                work.size,
                shown(times.median())
            );
            Ok(())
        }
        Ok(Err(why)) => Err(fail(&why)),
        Err(_) => Err(fail(&"ended without an outcome")),
    }
}

fn options(arguments: &ConnectArgs, work: Work) -> ServerOptions {
    let mut config = Config {
        idle: Idle::Adaptive,
        executor_threads: 0,
        ..Config::default()
    };
    config.deflate = arguments.deflate.then(DeflateConfig::default);
    let limits = &mut config.limits;
    limits.max_connections = 1;
    limits.handshake_timeout = arguments.timeout();
    limits.max_message = limits.max_message.max(work.size);
    limits.reassembly_memory = limits
        .reassembly_memory
        .max(limits.max_message.saturating_mul(2));
    // All that is under way has room. A full queue would stop the reading, and two ends that both wait for the other to
    // read would wait for ever.
    let under_way = usize::try_from(work.in_flight)
        .unwrap_or(usize::MAX)
        .saturating_mul(work.size.saturating_add(16));
    limits.send_queue = limits.send_queue.max(under_way);
    limits.send_policy = SendPolicy::DropNew;
    let mut sockets = SocketOptions::default();
    sockets.tx_chunks = sockets
        .tx_chunks
        .max((under_way / sockets.tx_chunk).saturating_mul(2));
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

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
struct Work {
    count: u64,
    size: usize,
    kind: Kind,
    in_flight: u64,
}

impl Work {
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
    /// When each message under way was sent.
    sent_at: VecDeque<Instant>,
    times: Histogram,
    scratch: Vec<u8>,
}

impl Run {
    /// Sends until enough is under way.
    fn fill(&mut self, work: &Work, cx: &mut impl Context<Event = ()>) {
        while self.sent < work.count && self.sent - self.back < work.in_flight {
            work.payload(self.sent, &mut self.scratch);
            if cx.send(work.kind, &self.scratch).is_err() {
                break;
            }
            self.sent += 1;
            self.sent_at.push_back(Instant::now());
        }
    }

    /// Checks an echo.
    fn check(&mut self, work: &Work, message: Message<'_>) -> Result<(), String> {
        let Some(sent_at) = self.sent_at.pop_front() else {
            return Err("the server sent a message that nobody asked for".to_owned());
        };
        self.times.record(sent_at.elapsed());
        work.payload(self.back, &mut self.scratch);
        self.back += 1;
        let n = self.back;
        if message.kind() != work.kind {
            return Err(format!("message {n} came back as {:?}", message.kind()));
        }
        let (came, sent) = (message.as_bytes(), self.scratch.as_slice());
        if came == sent {
            return Ok(());
        }
        match came.iter().zip(sent).position(|(came, sent)| came != sent) {
            Some(at) if came.len() == sent.len() => {
                Err(format!("message {n} came back changed at byte {at}"))
            }
            _ => Err(format!(
                "message {n} of {} bytes came back as {}",
                sent.len(),
                came.len()
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
    work: Work,
    /// Echoes that have come back.
    progress: u64,
    report: mpsc::Sender<Result<Histogram, String>>,
}

impl Client {
    /// Tells the outcome; the first one counts.
    fn tell(&self, outcome: Result<Histogram, String>) {
        // `run` waits for it.
        let _ = self.report.send(outcome);
    }

    /// Connects to the next endpoint; `last` says why the one before was not to be had.
    fn try_next(&mut self, cx: &mut impl LcoreContext<Event = ()>, mut last: String) {
        while let Some(endpoint) = self.untried.pop_front() {
            let mut connect = self.connect.clone();
            connect.endpoint = endpoint.clone();
            match cx.connect(connect) {
                Ok(_) => return,
                Err(why) => last = why.to_string(),
            }
        }
        self.tell(Err(last));
        cx.stop();
    }
}

impl Job for Client {
    type Output = Result<(), String>;

    fn run<T: Transport + 'static>(self, engine: Server<T>) -> Result<(), String> {
        let running = engine
            .start(move |_| self.clone())
            .map_err(|why| why.to_string())?;
        running.join().map_err(|why| why.to_string())?;
        Ok(())
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
                scratch: Vec::with_capacity(self.work.size),
            }),
            Err(why @ ConnectError::Network(_)) => {
                self.try_next(cx, why.to_string());
                None
            }
            Err(why) => {
                self.tell(Err(why.to_string()));
                cx.stop();
                None
            }
        }
    }

    fn on_ready(&mut self, run: &mut Run, cx: &mut impl Context<Event = ()>) {
        run.fill(&self.work, cx);
    }

    fn on_message(
        &mut self,
        run: &mut Run,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        if let Err(why) = run.check(&self.work, message) {
            self.tell(Err(why));
            cx.close(CloseCode::POLICY_VIOLATION, "not an echo");
            return;
        }
        self.progress = run.back;
        if run.back == self.work.count {
            self.tell(Ok(std::mem::replace(&mut run.times, Histogram::new())));
            cx.close(CloseCode::NORMAL, "");
        } else {
            run.fill(&self.work, cx);
        }
    }

    fn on_writable(&mut self, run: &mut Run, cx: &mut impl Context<Event = ()>) {
        run.fill(&self.work, cx);
    }

    fn on_close(&mut self, run: Run, cx: &mut impl LcoreContext<Event = ()>, closure: Closure<'_>) {
        // Counts only if nothing was told before.
        let who = match closure.by {
            ClosedBy::Network => "the connection was lost".to_owned(),
            _ if closure.reason.is_empty() => format!("closed with {}", closure.code),
            _ => format!("closed with {}: {:?}", closure.code, closure.reason),
        };
        self.tell(Err(format!(
            "{who}, after {} of {} echoes",
            run.back, self.work.count
        )));
        cx.stop();
    }

    fn on_lcore_timer(&mut self, cx: &mut impl LcoreContext<Event = ()>, _: u64) {
        let (back, count) = (self.progress, self.work.count);
        self.tell(Err(format!(
            "timed out after {:?}, with {back} of {count} echoes",
            self.timeout
        )));
        cx.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(size: usize, kind: Kind) -> Work {
        Work {
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
                work(size, kind).payload(0, &mut first);
                work(size, kind).payload(1, &mut second);
                work(size, kind).payload(0, &mut again);
                assert_eq!((first.len(), &first), (size, &again));
                assert!(size < 8 || first != second);
                assert!(
                    kind == Kind::Binary || first.iter().all(|byte| (b' '..=b'~').contains(byte))
                );
            }
        }
    }

    #[test]
    fn what_comes_back_is_checked() {
        let work = work(9, Kind::Binary);
        let mut payload = Vec::new();
        work.payload(0, &mut payload);
        assert_eq!(run().check(&work, Message::binary(&payload)), Ok(()));
        payload[8] ^= 1;
        assert_eq!(
            run().check(&work, Message::binary(&payload)),
            Err("message 1 came back changed at byte 8".into())
        );
        assert_eq!(
            run().check(&work, Message::binary(&payload[..8])),
            Err("message 1 of 9 bytes came back as 8".into())
        );
        assert_eq!(
            run().check(&work, Message::text("123456789")),
            Err("message 1 came back as Text".into())
        );
        let mut unasked = Run {
            sent_at: VecDeque::new(),
            ..run()
        };
        assert!(unasked.check(&work, Message::binary(&payload)).is_err());
    }

    #[test]
    fn times_are_shown_in_fitting_units() {
        assert_eq!(shown(Duration::from_nanos(12_345)), "12.3 µs");
        assert_eq!(shown(Duration::from_micros(12_345)), "12.35 ms");
    }
}
