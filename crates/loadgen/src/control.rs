//! The thread that steers a run: gives the lcores their commands, gathers an interval from each five times a second, and reckons.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hioload_engine::{CountersHandle, Server};
use hioload_transport::Transport;

use crate::generator::{Command, CommandSender, Generator, Notice, control_link};
use crate::job::{Job, Scenario};
use crate::meter::{Interval, Times};
use crate::process;
use crate::progress::{Phase, Progress};
use crate::verdict;
use hioload_report::{Latency, Run, Tick, Usage};

/// Between two intervals.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long lcores may take to answer and to end.
const GRACE: Duration = Duration::from_secs(15);

/// How often the run was asked to stop, by a signal for example.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// Asks; gives how often it was asked before.
    pub fn ask(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether it was.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// How one knows what the server uses.
#[derive(Debug, Clone)]
pub enum ServerProbe {
    /// One does not.
    Unknown,
    /// It is a process of this machine.
    Process(u32),
    /// Its lcores are in this process: their counters tell time with work from time without.
    Lcores {
        /// The counters.
        counters: CountersHandle,
        /// Their threads.
        threads: Vec<u32>,
    },
}

/// What came of a repeat.
#[derive(Debug)]
pub struct Outcome {
    /// The figures, as far as it came.
    pub run: Run,
    /// Why it failed, in one line.
    pub failure: Option<String>,
}

/// Runs one repeat over `server`, which has no listeners and as many lcores as the job says. `which` is the repeat and their
/// number, for `progress`.
///
/// # Errors
/// The lcores could not be started, or did not end as they should.
pub fn run<T: Transport + 'static>(
    server: Server<T>,
    job: &Arc<Job>,
    probe: &ServerProbe,
    which: (usize, usize),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Outcome, String> {
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
        .map_err(|why| why.to_string())?;
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
        failure: None,
        first_error: None,
        errors: 0,
        finished: 0,
        drained: 0,
        ready: 0,
    };
    let run = control.steer();
    let failure = control.failure.take();
    running.join().map_err(|why| why.to_string())?;
    Ok(Outcome { run, failure })
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
    #[allow(clippy::vec_box, reason = "they go back and forth in their boxes")]
    spares: Vec<Box<Interval>>,
    failure: Option<String>,
    first_error: Option<String>,
    errors: u64,
    finished: usize,
    drained: usize,
    ready: usize,
}

/// What both ends have used up to a moment.
#[derive(Clone)]
struct Mark {
    at: Instant,
    own: verdict::Lcores,
    server: Option<verdict::Server>,
}

/// One gathered moment.
struct Moment {
    interval: Interval,
    open: usize,
    mark: Mark,
}

impl Control<'_> {
    fn steer(&mut self) -> Run {
        let mut run = Run::default();
        let before = Memory::now(self.probe);
        self.phase(Phase::Opening, None);
        self.command(|| Command::Open);
        let mut total = Interval::empty();
        self.open(&mut total);
        if !self.over() {
            self.load(&mut run, &mut total);
        }
        self.finish(run, &total, &before)
    }

    /// Waits until everything is open.
    fn open(&mut self, total: &mut Interval) {
        let mut next = Instant::now() + INTERVAL;
        let wanted = self.job.connections;
        while self.ready < self.commands.len() && !self.over() {
            self.listen(next.saturating_duration_since(Instant::now()), &mut |_| {});
            if Instant::now() >= next {
                next += INTERVAL;
                let Some(moment) = self.gather() else { break };
                total.add(&moment.interval);
                self.progress.connections(moment.open.min(wanted), wanted);
            }
        }
        // What the opening brought are handshakes, and errors.
        if let Some(moment) = self.gather() {
            total.add(&moment.interval);
        }
        (total.sent, total.done, total.bytes) = (0, 0, 0);
        total.times.reset();
    }

    /// The load, from its first message to its last.
    fn load(&mut self, run: &mut Run, total: &mut Interval) {
        let opens = matches!(self.job.scenario, Scenario::Ramp);
        let (warmup, duration) = (self.job.warmup, self.job.duration);
        self.command(|| Command::Go);
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
            // It counts for nothing, but for what went wrong.
            let errors = std::mem::take(&mut total.errors);
            let handshakes = std::mem::replace(&mut total.handshakes, crate::meter::times());
            total.clear();
            total.errors = errors;
            if !matches!(self.job.scenario, Scenario::Churn) {
                total.handshakes = handshakes;
            }
            run.series = series;
        }
        if self.over() {
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

    /// Gathers intervals for `length`.
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
            let over =
                start.elapsed() >= length || self.over() || self.finished >= self.commands.len();
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

    /// Waits for what is under way. In an open loop its times belong to what is measured: they count from when it was due.
    fn drain(&mut self, total: &mut Interval) {
        self.phase(Phase::Ending, None);
        self.command(|| Command::Halt);
        let end = Instant::now() + self.job.timeout + GRACE;
        while self.drained < self.commands.len() && self.failure.is_none() && Instant::now() < end {
            if self.stop.0.load(Ordering::SeqCst) > 1 {
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
        self.counted(&mut run);
        let after = Memory::now(self.probe);
        after.write(before, &mut run, self.job, self.probe);
        // Errors that are allowed are none that fail the run.
        if self.failure.is_none() && self.errors > self.job.max_errors {
            let what = self
                .first_error
                .take()
                .unwrap_or_else(|| "errors".to_owned());
            self.failure = Some(match self.errors {
                1 => what,
                n => format!("{what} ({n} errors)"),
            });
        }
        self.phase(Phase::Ending, None);
        self.command(|| Command::Close);
        // They end by themselves, and say nothing more.
        let end = Instant::now() + GRACE;
        while Instant::now() < end && self.stop.0.load(Ordering::SeqCst) < 2 {
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
        run.bottleneck = Some(verdict::bottleneck(run, self.job).to_owned());
    }

    /// What TCP of our own has counted, on either side that is known.
    fn counted(&self, run: &mut Run) {
        let mut note = |side: &str, counters: &CountersHandle| {
            let all = counters.totals();
            let telling = |name: &str| name.starts_with("tcp_") || name.starts_with("rx_bytes_");
            for (name, n) in all.iter().filter(|(name, n)| telling(name) && *n > 0) {
                run.extra.insert(format!("{side}_{name}"), n as f64);
            }
        };
        note("generator", &self.counters);
        if let ServerProbe::Lcores { counters, .. } = self.probe {
            note("server", counters);
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            at: Instant::now(),
            own: verdict::Lcores::now(&self.counters, &self.threads),
            server: verdict::Server::now(self.probe),
        }
    }

    /// Whether it makes no sense to go on.
    fn over(&self) -> bool {
        self.failure.is_some() || self.stop.is_asked() || self.errors > self.job.max_errors
    }

    /// An interval of all lcores; `None` if they do not answer.
    fn gather(&mut self) -> Option<Moment> {
        let lcores = self.commands.len();
        for lcore in 0..lcores {
            let spare = self.spares.pop();
            let spare = spare.unwrap_or_else(|| Box::new(Interval::empty()));
            self.commands[lcore].send(Command::Report(spare));
        }
        let mut sum = Interval::empty();
        let (mut open, mut answers) = (0, 0);
        let end = Instant::now() + GRACE;
        while answers < lcores && Instant::now() < end {
            let mut spares = Vec::new();
            let alive = self.listen(Duration::from_millis(100), &mut |notice| {
                if let Notice::Interval {
                    open: here,
                    mut interval,
                    ..
                } = notice
                {
                    answers += 1;
                    open += here;
                    sum.add(&interval);
                    interval.clear();
                    spares.push(interval);
                }
            });
            self.spares.append(&mut spares);
            if !alive {
                return None;
            }
        }
        self.errors += sum.error_count();
        (answers == lcores).then(|| Moment {
            interval: sum,
            open,
            mark: self.mark(),
        })
    }

    /// Waits, and listens to what the lcores have to say.
    fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.failure.is_some() || self.finished >= self.commands.len() {
                return;
            }
            if self.stop.is_asked() {
                return;
            }
            self.listen(left.min(Duration::from_millis(50)), &mut |_| {});
        }
    }

    /// Takes one notice if there is one; intervals are handed to `intervals`. `false` if all lcores have ended.
    fn listen(&mut self, time: Duration, intervals: &mut dyn FnMut(Notice)) -> bool {
        match self.notices.recv_timeout(time) {
            Ok(Notice::Ready) => self.ready += 1,
            Ok(Notice::Finished) => self.finished += 1,
            Ok(Notice::Drained) => self.drained += 1,
            Ok(Notice::Error(line)) => {
                self.progress.note(&line);
                self.first_error.get_or_insert(line);
            }
            Ok(Notice::Failed(line)) => {
                self.failure.get_or_insert(line);
            }
            Ok(interval @ Notice::Interval { .. }) => intervals(interval),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                self.failure
                    .get_or_insert_with(|| "the generator's lcores have ended".to_owned());
                return false;
            }
        }
        true
    }

    fn command(&self, command: impl Fn() -> Command) {
        for lcore in &self.commands {
            lcore.send(command());
        }
    }

    fn phase(&mut self, phase: Phase, total: Option<f64>) {
        let (run, of) = self.which;
        self.progress.phase(run, of, phase, total);
    }
}

/// What a moment looked like.
fn tick_of(moment: &Moment, last: &Mark, start: Instant, offset: f64) -> Tick {
    let Moment {
        interval,
        open,
        mark,
    } = moment;
    let span = (mark.at - last.at).as_secs_f64();
    let wall = span * 1e9;
    let at = |quantile| match interval.times.len() {
        0 => 0,
        _ => interval.times.value_at_quantile(quantile),
    };
    Tick {
        at: (last.at - start).as_secs_f64() + offset,
        span,
        done: interval.done,
        errors: interval.error_count(),
        open: *open as u64,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        generator_cpu: mark.own.since(&last.own, wall).0,
        server_cpu: last
            .server
            .as_ref()
            .zip(mark.server.as_ref())
            .map(|(last, now)| now.since(last, wall).0),
    }
}

/// A distribution as it is reported; `None` if nothing was recorded.
fn latency(times: &Times, from_due: bool) -> Option<Latency> {
    (!times.is_empty()).then(|| Latency::of(times, from_due))
}

/// Resident memory of both ends.
struct Memory {
    own: u64,
    server: Option<u64>,
}

impl Memory {
    fn now(probe: &ServerProbe) -> Self {
        Self {
            own: process::rss(std::process::id()).unwrap_or(0),
            server: match probe {
                ServerProbe::Process(pid) => process::rss(*pid),
                _ => None,
            },
        }
    }

    /// Writes it into the figures.
    fn write(&self, before: &Self, run: &mut Run, job: &Job, probe: &ServerProbe) {
        let connections = job.connections.max(1) as f64;
        let each = |after: u64, before: u64| (after as f64 - before as f64) / connections;
        let holds = matches!(job.scenario, Scenario::Hold | Scenario::Ramp);
        run.generator.rss = self.own;
        let both = matches!(probe, ServerProbe::Lcores { .. });
        if holds {
            let own = each(self.own, before.own);
            if both {
                run.extra
                    .insert("rss_per_connection_both_ends".to_owned(), own);
            } else {
                run.generator.rss_per_connection = Some(own);
            }
        }
        if let Some(rss) = self.server {
            let usage = run.server.get_or_insert_default();
            usage.rss = rss;
            if let (true, Some(before)) = (holds, before.server) {
                usage.rss_per_connection = Some(each(rss, before));
            }
        }
    }
}
