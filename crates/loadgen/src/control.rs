//! The control thread of a run: it sends commands to the lcores, collects an interval from each five times a second, and computes the
//! figures.

mod gather;

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hioload_engine::{CountersHandle, Server};
use hioload_transport::Transport;

use crate::bottleneck::bottleneck;
use crate::channel::{Command, CommandSender, Notice, control_link};
use crate::error::RepeatError;
use crate::figures::{Mark, Memory, Moment, latency, tick_of};
use crate::generator::Generator;
use crate::job::{Job, Scenario};
use crate::meter::Interval;
use crate::process;
use crate::progress::{Phase, Progress};
use crate::stop::Stop;
use crate::usage::ServerProbe;
use hioload_report::{Run, Tick, Usage};

/// Between two intervals.
const INTERVAL: Duration = Duration::from_millis(200);
/// Time limit for the lcores to answer and to end.
const GRACE: Duration = Duration::from_secs(15);

/// The result of one repeat.
#[derive(Debug)]
#[non_exhaustive]
pub struct RepeatResult {
    /// The figures, up to the end or the failure.
    pub run: Run,
    /// The reason of the failure, in one line; `None` if the repeat succeeded.
    pub failure: Option<String>,
}

/// Runs one repeat of `job` over `server`, which has no listeners and as many lcores as the job. `which` is the number of the repeat,
/// from 1, and the number of all repeats, for `progress`.
///
/// # Errors
/// If the lcores cannot be started, or one of them fails.
pub fn run<T: Transport + 'static>(
    server: Server<T>,
    job: &Arc<Job>,
    probe: &ServerProbe,
    which: (usize, usize),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<RepeatResult, RepeatError> {
    let lcores = server.lcores();
    let counters = server.counters();
    let (notices, received) = channel();
    let (commands, links): (Vec<CommandSender>, Vec<_>) =
        (0..lcores).map(|_| control_link(notices.clone())).unzip();
    drop(notices);
    let links: Mutex<Vec<Option<_>>> = Mutex::new(links.into_iter().map(Some).collect());
    let for_lcores = Arc::clone(job);
    let others = process::lcore_threads();
    let running = server
        .start(move |lcore| {
            let mut links = links.lock().expect("no lcore panics with it");
            let link = links[usize::from(lcore)].take();
            Generator::new(
                Arc::clone(&for_lcores),
                lcore,
                link.expect("each lcore starts once"),
            )
            .in_real_time()
        })
        .map_err(RepeatError::Start)?;
    let mut threads = process::lcore_threads();
    threads.retain(|thread| !others.contains(thread));
    let mut control = Control {
        threads,
        job,
        commands,
        notices: received,
        counters,
        probe,
        which,
        progress,
        stop,
        spares: Vec::new(),
        peak: Memory::now(probe),
        failure: None,
        first_error: None,
        errors: 0,
        finished: 0,
        drained: 0,
        ready: 0,
    };
    let run = control.steer();
    let failure = control.failure.take();
    running.join().map_err(RepeatError::Lcore)?;
    Ok(RepeatResult { run, failure })
}

struct Control<'a> {
    job: &'a Arc<Job>,
    commands: Vec<CommandSender>,
    notices: Receiver<Notice>,
    counters: CountersHandle,
    threads: Vec<u32>,
    probe: &'a ServerProbe,
    which: (usize, usize),
    progress: &'a mut dyn Progress,
    stop: &'a Stop,
    #[allow(clippy::vec_box, reason = "the boxes travel between the threads")]
    spares: Vec<Box<Interval>>,
    /// The largest memory seen.
    peak: Memory,
    failure: Option<String>,
    first_error: Option<String>,
    errors: u64,
    finished: usize,
    drained: usize,
    ready: usize,
}

impl Control<'_> {
    fn steer(&mut self) -> Run {
        let mut run = Run::default();
        let before = Memory::now(self.probe);
        self.phase(Phase::Opening, None);
        self.send_all(|| Command::Open);
        let mut total = Interval::empty();
        self.open(&mut total);
        if !self.must_end() {
            self.load(&mut run, &mut total);
        }
        self.finish(run, &total, &before)
    }

    /// Waits until all connections are open.
    fn open(&mut self, total: &mut Interval) {
        let mut next = Instant::now() + INTERVAL;
        let wanted = self.job.connections;
        while self.ready < self.commands.len() && !self.must_end() {
            self.listen(next.saturating_duration_since(Instant::now()), &mut |_| {});
            if Instant::now() >= next {
                next += INTERVAL;
                let Some(moment) = self.gather() else { break };
                total.add(&moment.interval);
                self.progress.connections(moment.open.min(wanted), wanted);
            }
        }
        // Only handshakes and errors count in this phase.
        if let Some(moment) = self.gather() {
            total.add(&moment.interval);
        }
        (total.sent, total.done, total.bytes) = (0, 0, 0);
        total.times.reset();
    }

    /// Runs the load from its first message to its last.
    fn load(&mut self, run: &mut Run, total: &mut Interval) {
        let opens = matches!(self.job.scenario, Scenario::Ramp);
        let (warmup, duration) = (self.job.warmup, self.job.duration);
        self.send_all(|| Command::Go);
        if !warmup.is_zero() && !opens {
            self.phase(Phase::Warmup, Some(warmup.as_secs_f64()));
            let mut before = self.mark();
            let mut series = Vec::new();
            self.measure(
                warmup,
                &mut before,
                total,
                &mut series,
                -warmup.as_secs_f64(),
            );
            // Of the warm-up only errors count, and handshakes unless the scenario measures them.
            let errors = std::mem::take(&mut total.errors);
            let handshakes = std::mem::replace(&mut total.handshakes, crate::meter::times());
            let of_tls = (total.full.take(), total.resumed.take());
            total.clear();
            total.errors = errors;
            if !matches!(self.job.scenario, Scenario::Churn) {
                total.handshakes = handshakes;
                (total.full, total.resumed) = of_tls;
            }
            run.series = series;
        }
        if self.must_end() {
            return;
        }
        self.phase(Phase::Measuring, Some(duration.as_secs_f64()));
        let mut last = self.mark();
        let first = last.clone();
        let mut series = Vec::new();
        self.measure(duration, &mut last, total, &mut series, 0.0);
        run.series.append(&mut series);
        let seconds = (last.at - first.at).as_secs_f64().max(1e-9);
        run.seconds = seconds;
        run.sent = total.sent;
        run.done = total.done;
        run.rate = total.done as f64 / seconds;
        run.bytes_rate = total.bytes as f64 / seconds;
        self.usage(run, &first, &last);
        if self.failure.is_none() {
            self.drain(total);
        }
    }

    /// Collects intervals for `length`.
    fn measure(
        &mut self,
        length: Duration,
        last: &mut Mark,
        total: &mut Interval,
        series: &mut Vec<Tick>,
        offset: f64,
    ) {
        let start = last.at;
        let mut second = Interval::empty();
        let mut second_from = last.clone();
        loop {
            let left = length.saturating_sub(start.elapsed());
            self.wait(INTERVAL.min(left));
            let Some(moment) = self.gather() else {
                break;
            };
            let tick = tick_of(&moment, last, start, offset);
            self.progress
                .tick(&tick, (moment.mark.at - start).as_secs_f64());
            total.add(&moment.interval);
            second.add(&moment.interval);
            *last = moment.mark.clone();
            let over = start.elapsed() >= length
                || self.must_end()
                || self.finished >= self.commands.len();
            let span = (moment.mark.at - second_from.at).as_secs_f64();
            if span >= 0.95 || over {
                let gathered = Moment {
                    interval: std::mem::replace(&mut second, Interval::empty()),
                    ..moment
                };
                series.push(tick_of(&gathered, &second_from, start, offset));
                second_from = last.clone();
            }
            if over {
                break;
            }
        }
    }

    /// Waits for the answers in flight. In an open loop their latencies count, since the messages were due during the measurement.
    fn drain(&mut self, total: &mut Interval) {
        self.phase(Phase::Ending, None);
        self.send_all(|| Command::Halt);
        let end = Instant::now() + self.job.timeout + GRACE;
        while self.drained < self.commands.len() && self.failure.is_none() && Instant::now() < end {
            if self.stop.is_urgent() {
                return;
            }
            self.listen(Duration::from_millis(50), &mut |_| {});
        }
        if let Some(moment) = self.gather() {
            if self.job.scenario == Scenario::Rate {
                let _ = total.times.add(&*moment.interval.times);
            }
            for (name, n) in &moment.interval.errors {
                *total.errors.entry(name.clone()).or_default() += n;
            }
        }
    }

    fn finish(&mut self, mut run: Run, total: &Interval, before: &Memory) -> Run {
        run.errors.clone_from(&total.errors);
        let from_due = self.job.rate.is_some()
            && matches!(self.job.scenario, Scenario::Rate | Scenario::Fanout);
        run.latency = latency(&total.times, from_due);
        run.handshake = latency(&total.handshakes, false);
        let of_tls =
            |times: &Option<Box<_>>| times.as_ref().and_then(|times| latency(times, false));
        run.full_handshake = of_tls(&total.full);
        run.resumed_handshake = of_tls(&total.resumed);
        self.add_tcp_counters(&mut run);
        let after = Memory::now(self.probe);
        after.write(before, &self.peak, &mut run, self.job, self.probe);
        // Up to `max_errors` errors do not fail the run.
        if self.failure.is_none() && self.errors > self.job.max_errors {
            let first = self
                .first_error
                .take()
                .unwrap_or_else(|| "errors".to_owned());
            self.failure = Some(match self.errors {
                1 => first,
                n => format!("{first} ({n} errors)"),
            });
        }
        self.phase(Phase::Ending, None);
        self.send_all(|| Command::Close);
        // The channel closes when the last lcore has ended.
        let end = Instant::now() + GRACE;
        while Instant::now() < end && !self.stop.is_urgent() {
            match self.notices.recv_timeout(Duration::from_millis(50)) {
                Err(RecvTimeoutError::Disconnected) => break,
                _ => continue,
            }
        }
        self.progress.done(&run);
        run
    }

    fn usage(&self, run: &mut Run, first: &Mark, last: &Mark) {
        let wall = (last.at - first.at).as_nanos() as f64;
        let (cores, busiest) = last.own.since(&first.own, wall);
        let usage = |cores: f64, busiest: f64| Usage {
            cores,
            cpu_per_done: cores * wall / (run.done as f64).max(1.0),
            headroom: Some((1.0 - busiest).max(0.0)),
            ..Usage::default()
        };
        run.generator = usage(cores, busiest);
        if let (Some(first), Some(last)) = (&first.server, &last.server) {
            let (cores, busiest) = last.since(first, wall);
            run.server = Some(usage(cores, busiest));
        }
        run.bottleneck = Some(bottleneck(run, self.job).to_owned());
    }

    /// Adds the counters of TLS and of the user-space TCP of both sides, where they are known.
    fn add_tcp_counters(&self, run: &mut Run) {
        let mut note = |side: &str, counters: &CountersHandle| {
            let all = counters.totals();
            let reported = |name: &str| {
                name.starts_with("tcp_")
                    || name.starts_with("tls_")
                    || name.starts_with("rx_bytes_")
            };
            for (meta, n) in all.iter().filter(|(meta, n)| reported(meta.name) && *n > 0) {
                run.extra.insert(format!("{side}_{}", meta.name), n as f64);
            }
        };
        note("generator", &self.counters);
        if let ServerProbe::Lcores { counters, .. } = self.probe {
            note("server", counters);
        }
        // A full and a resumed handshake differ in their costs, so a report has the number of each.
        let made = |name: &str| run.extra.get(&format!("generator_tls_{name}")).copied();
        if let Some(all) = made("handshakes") {
            let resumed = made("resumed").unwrap_or(0.0);
            run.extra
                .insert("generator_tls_full_handshakes".to_owned(), all - resumed);
            run.extra
                .insert("generator_tls_resumed".to_owned(), resumed);
        }
    }
}
