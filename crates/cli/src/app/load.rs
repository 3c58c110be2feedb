//! `hioload load`: the load generator.

mod attack;
mod check;
mod compare;
mod display;
mod memory;
mod messages;
mod output;
mod plan;
mod tap;
mod target;

use std::process;
use std::sync::Arc;
use std::time::SystemTime;

use hioload_bypass::Queues;
use hioload_device::Device;
use hioload_loadgen::progress::Progress;
use hioload_loadgen::{Job, RepeatResult, ServerProbe, Stop, machine, run as run_repeat, settings};
use hioload_report::{FORMAT, Report};
use hioload_transport::Transport;
use hioload_ws::{Lcores, Server, ServerOptions};

use self::attack::AttackPart;
use self::tap::Recording;
use super::files;
use super::link::{ClientLink, Work};
use super::time;
use super::tls::ConnectTls;
use crate::Failure;
use crate::cli::load::LoadArgs;
use crate::config::bypass;
use crate::streams;

/// Runs the load, and prints and writes the results.
///
/// # Errors
/// Code 2 if the load cannot run as requested, 1 if it fails.
pub(crate) fn run(arguments: &LoadArgs) -> Result<(), Failure> {
    if let Some(command) = &arguments.command {
        return compare::run(command);
    }
    let setup = plan::plan(arguments)?;
    output::check(&arguments.output)?;
    let probe = probe(arguments)?;
    let mut link = match arguments.link() {
        Some(link) => Some(ClientLink::new(&link)?),
        None => None,
    };
    let tap = Recording::begin(arguments)?;
    let stop = Stop::default();
    let (mut progress, wiper) = display::display(arguments.output.quiet);
    catch_signals(&stop, wiper)?;
    let mut report = Report {
        format: FORMAT,
        hioload: env!("CARGO_PKG_VERSION").to_owned(),
        started: time::rfc3339(SystemTime::now()),
        command: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        machine: machine::detect(),
        plan: setup.plan.clone(),
        runs: Vec::new(),
    };
    let mut failure = None;
    let of = setup.repeat;
    let repeats = Repeats {
        arguments,
        setup: &setup,
        probe: &probe,
        tap: tap.as_ref(),
        stop: &stop,
    };
    'all: for repeat in 1..=of {
        for part in setup.parts() {
            let which = (repeat, of);
            let result = match &part {
                None => repeats.once(&mut link, which, None, &mut *progress)?,
                Some(part) => {
                    let attacks = part.begin()?;
                    let mut progress = part.with_progress(&mut *progress);
                    let mut result = repeats.once(&mut link, which, Some(part), &mut progress)?;
                    part.end(attacks, &mut result)?;
                    result
                }
            };
            report.runs.push(result.run);
            failure = result.failure;
            if failure.is_some() || stop.is_requested() {
                break 'all;
            }
        }
    }
    drop(progress);
    let recorded = tap.map_or(Ok(()), |tap| tap.end(report.runs.last_mut()));
    output::write_all(&arguments.output, &report)?;
    let judged = output::judge(&arguments.output, &report).and(recorded);
    match failure {
        None => judged,
        Some(why) => Err(Failure::run(format!("{}: {why}", setup.name))),
    }
}

/// The parameters that all repeats share.
struct Repeats<'a> {
    arguments: &'a LoadArgs,
    setup: &'a plan::LoadSetup,
    probe: &'a ServerProbe,
    tap: Option<&'a Recording>,
    stop: &'a Stop,
}

impl Repeats<'_> {
    /// Runs one repeat. Without a link, server and generator are connected in memory.
    fn once(
        &self,
        link: &mut Option<ClientLink>,
        which: (usize, usize),
        attack: Option<&AttackPart>,
        progress: &mut dyn Progress,
    ) -> Result<RepeatResult, Failure> {
        let setup = self.setup;
        let job = &setup.job;
        let context = RepeatContext {
            job,
            which,
            progress,
            stop: self.stop,
        };
        let Some(link) = link else {
            return memory::run(setup, attack, self.tap, context);
        };
        // Over queues there is one lcore for each, unless --lcores chooses them.
        let lcores = if self.arguments.transport.is_sockets() || self.arguments.lcores.is_some() {
            setup.lcores.clone()
        } else {
            Lcores::Auto
        };
        let mut sockets = settings::sockets(job);
        sockets.sources = setup.sources.clone();
        let options = ServerOptions::new()
            .lcores(lcores)
            .config(settings::config(job))
            .sockets(sockets);
        let work = NetworkRepeat {
            context,
            probe: self.probe,
            attack,
            tap: self.tap,
            tls: setup.tls.as_ref(),
        };
        link.bypass.more_addresses = attack.map(AttackPart::addresses).unwrap_or_default();
        link.run(options, work)?
    }
}

/// The parameters of one repeat.
struct RepeatContext<'a> {
    job: &'a Arc<Job>,
    which: (usize, usize),
    progress: &'a mut dyn Progress,
    stop: &'a Stop,
}

impl RepeatContext<'_> {
    fn run_on<T: Transport + 'static>(
        self,
        engine: Server<T>,
        probe: &ServerProbe,
    ) -> Result<RepeatResult, Failure> {
        let Self {
            job,
            which,
            progress,
            stop,
        } = self;
        // Over queues, the number of lcores is known only now.
        let mut job = Job::clone(job);
        job.lcores = engine.lcores();
        let job = Arc::new(job);
        run_repeat(engine, &job, probe, which, progress, stop).map_err(Failure::run)
    }
}

/// A run over a network.
struct NetworkRepeat<'a> {
    context: RepeatContext<'a>,
    probe: &'a ServerProbe,
    attack: Option<&'a AttackPart>,
    tap: Option<&'a Recording>,
    tls: Option<&'a ConnectTls>,
}

impl Work for NetworkRepeat<'_> {
    type Output = Result<RepeatResult, Failure>;

    fn run<T: Transport + 'static>(self, engine: Server<T>) -> Self::Output {
        match self.tls.map(ConnectTls::layer) {
            Some(layer) => self.context.run_on(engine.layered(layer), self.probe),
            None => self.context.run_on(engine, self.probe),
        }
    }

    fn run_over<D: Device + 'static>(
        self,
        queues: Queues<D>,
        options: ServerOptions,
    ) -> Result<Self::Output, Failure> {
        if let Some(tap) = self.tap.cloned() {
            let queues = queues.wrap(move |device, name| tap.around(device, name));
            return Ok(self.run(queues.server(options).map_err(bypass::failure)?));
        }
        let Some(attack) = self.attack else {
            return Ok(self.run(queues.server(options).map_err(bypass::failure)?));
        };
        let wrap = attack.wrap(queues.stack(), queues.count())?;
        let queues = queues.wrap(move |device, _| wrap(device));
        Ok(self.run(queues.server(options).map_err(bypass::failure)?))
    }
}

/// The source of the server's CPU time and memory.
fn probe(arguments: &LoadArgs) -> Result<ServerProbe, Failure> {
    let Some(pid) = arguments.server_pid else {
        return Ok(ServerProbe::Unknown);
    };
    if hioload_loadgen::process::rss(pid).is_none() {
        return Err(Failure::usage(format!(
            "--server-pid {pid}: this machine has no such process"
        )));
    }
    Ok(ServerProbe::Process(pid))
}

/// The first signal ends the run, the second one the process.
fn catch_signals(stop: &Stop, wiper: display::Wiper) -> Result<(), Failure> {
    let wrong = |why: std::io::Error| Failure::run(why).in_context("cannot catch signals");
    let signals = super::signals::Signals::catch().map_err(wrong)?;
    let stop = stop.clone();
    signals
        .each(move || {
            if stop.request() > 0 {
                wiper.wipe();
                streams::flush();
                process::exit(1);
            }
        })
        .map_err(wrong)
}

/// Checks that the connections fit under the limit on open files.
fn fit_open_files(connections: usize, lcores: usize) -> Result<(), Failure> {
    let Some(limit) = files::raise_limit() else {
        return Ok(());
    };
    if connections <= files::room_for_connections(limit, lcores, 0) {
        return Ok(());
    }
    let wanted = connections + files::reserve(lcores, 0);
    Err(Failure::usage(format!(
        "too few file descriptors: {connections} connections need {wanted}, the limit is {limit} (raise it with ulimit -n {wanted})"
    )))
}

/// The CPUs of the generator's lcores: those that are wanted, or the last ones, because servers take the first ones.
fn place(wanted: Option<&Lcores>) -> Lcores {
    let cpus = hioload_lcore::Topology::detect().placement();
    match wanted {
        Some(Lcores::Auto) => Lcores::Cpus(cpus),
        Some(Lcores::Cpus(cpus)) => Lcores::Cpus(cpus.clone()),
        Some(Lcores::Count(n)) if *n > cpus.len() => Lcores::Count(*n),
        Some(Lcores::Count(n)) => Lcores::Cpus(cpus[cpus.len() - n..].to_vec()),
        None => Lcores::Cpus(cpus[cpus.len() - 1..].to_vec()),
    }
}
