//! `--attack`: each repeat runs without attacks, and then with attacks: with packets on the same devices, or with messages over sockets
//! of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hioload_attack::{AttackControl, AttackOptions, AttackPlan, Attacker, MessageAttacks};
use hioload_device::Device;
use hioload_loadgen::progress::{Phase, Progress};
use hioload_loadgen::{Job, RepeatResult, memory};
use hioload_report::{Run, Tick};
use hioload_tcp::{Cidr, StackConfig};
use hioload_ws::Endpoint;

use super::messages::{self, Messages};
use crate::Failure;
use crate::cli::load::{LoadArgs, LoadTransport};

/// The sources of attacks over devices in memory, where the load uses all ports of its addresses: the network for benchmarks of RFC
/// 2544.
const MEMORY_POOL: &str = "198.18.0.0/24";
/// The lowest port that attacks use.
const FIRST_PORT: u16 = 1024;

/// The attacks beside one part of a repeat, and their target.
#[derive(Debug, Clone)]
pub(super) struct AttackPart {
    options: AttackOptions,
    /// Set if the attacks send messages.
    messages: Option<Messages>,
    control: AttackControl,
    /// Whether this part of the repeat runs them.
    attacks: bool,
}

impl AttackPart {
    /// Reads the command line; `None` without an attack.
    pub(super) fn new(arguments: &LoadArgs, job: &Job) -> Result<Option<Self>, Failure> {
        if arguments.attack.is_empty() {
            if arguments.attack_source.is_some() {
                return Err(Failure::usage("--attack-source needs an --attack"));
            }
            return Ok(None);
        }
        let attacks = arguments.attack.iter().flat_map(AttackPlan::attacks);
        let mut plan = AttackPlan::new(attacks.cloned()).map_err(usage)?;
        fits_transport(&plan, arguments)?;
        let memory = arguments.transport == LoadTransport::Memory;
        let pool = match arguments.attack_source {
            None if memory => Some(MEMORY_POOL.parse::<Cidr>().map_err(usage)?),
            given => given,
        };
        if let Some(pool) = pool {
            plan = plan.with_source(pool);
        }
        let Some(Endpoint::Tcp(target)) = job.endpoints.first() else {
            return Err(Failure::usage("--attack needs a server with an IP address"));
        };
        plan.check_target(*target, memory || arguments.i_own_the_target)
            .map_err(usage)?;
        let control = AttackControl::new(&plan);
        let messages = match plan.is_messages() {
            true => Some(Messages::new(plan.clone(), *target, arguments, job).map_err(usage)?),
            false => None,
        };
        let mut options = AttackOptions::new(plan, *target, []);
        options.path.clone_from(&job.target);
        Ok(Some(Self {
            options,
            messages,
            control,
            attacks: false,
        }))
    }

    /// Sockets of the attacks, besides those of the load.
    pub(super) fn sockets(&self) -> usize {
        self.messages.as_ref().map_or(0, Messages::sockets)
    }

    /// Starts the thread of attacks with messages, and their witness. The attacks themselves begin with the load.
    pub(super) fn begin(&self) -> Result<Option<MessageAttacks>, Failure> {
        let messages = self.messages.as_ref();
        messages.map(|one| one.begin(&self.control)).transpose()
    }

    /// Ends the attacks. Adds to the result which part it is, the counters, and what the witness has seen.
    pub(super) fn end(
        &self,
        attacks: Option<MessageAttacks>,
        result: &mut RepeatResult,
    ) -> Result<(), Failure> {
        self.control.stop();
        if let Some(attacks) = attacks {
            messages::end(attacks, result)?;
        }
        self.note(&mut result.run);
        Ok(())
    }

    /// The text for a report.
    pub(super) fn text(&self) -> String {
        self.options.plan.to_string()
    }

    /// The addresses, besides those of the load, whose packets a port has to receive.
    pub(super) fn addresses(&self) -> Vec<std::net::IpAddr> {
        self.options.plan.addresses()
    }

    /// The attacks for one part of a repeat, with new counters.
    pub(super) fn part(&self, attacks: bool) -> Self {
        Self {
            control: AttackControl::new(&self.options.plan),
            attacks,
            ..self.clone()
        }
    }

    /// A function that wraps an attacker around each device of `lcores` lcores with this TCP stack.
    pub(super) fn wrap<D: Device>(
        &self,
        stack: &StackConfig,
        lcores: usize,
    ) -> Result<impl Fn(D) -> Attacker<D> + Clone + Send + 'static + use<D>, Failure> {
        let mut options = self.options.clone();
        options.own = stack.addresses.iter().map(|own| own.addr()).collect();
        options.ports = FIRST_PORT..=stack.source_ports.start().saturating_sub(1);
        options.lcores = lcores;
        options.check().map_err(usage)?;
        let control = self.control.clone();
        let next = Arc::new(AtomicUsize::new(0));
        Ok(move |device| {
            let mut options = options.clone();
            options.lcore = next.fetch_add(1, Ordering::Relaxed) % lcores;
            Attacker::new(device, &options, &control).expect("the options were checked")
        })
    }

    /// A function that wraps devices in memory.
    pub(super) fn wrap_memory<D: Device>(
        &self,
        lcores: usize,
    ) -> Result<impl Fn(D, usize) -> Attacker<D> + Clone + Send + 'static + use<D>, Failure> {
        debug_assert_eq!(self.options.target, memory::SERVER);
        let wrap = self.wrap(&StackConfig::default(), lcores)?;
        Ok(move |device, _| wrap(device))
    }

    /// Reports progress, and starts and stops the attacks with the measurement.
    pub(super) fn with_progress<'a>(
        &'a self,
        progress: &'a mut dyn Progress,
    ) -> impl Progress + 'a {
        AttackProgress {
            attack: self,
            progress,
        }
    }

    /// Adds to a run which part it is, and the counters of the attacks.
    fn note(&self, run: &mut Run) {
        run.part = if self.attacks { "attacked" } else { "quiet" }.to_owned();
        if self.attacks {
            let counters = self.control.counters();
            run.extra
                .extend(counters.iter().map(|(name, n)| (name, n as f64)));
        }
    }
}

/// Checks that the transport can carry the attacks.
fn fits_transport(plan: &AttackPlan, arguments: &LoadArgs) -> Result<(), Failure> {
    let kinds: Vec<_> = plan.attacks().iter().map(|one| one.kind.name()).collect();
    let kinds = kinds.join(" and ");
    if plan.is_messages() && !arguments.transport.is_sockets() {
        return Err(Failure::usage(format!(
            "--attack {kinds} sends messages over sockets: it needs --transport sockets"
        )));
    }
    if plan.is_messages() && arguments.attack_source.is_some() {
        return Err(Failure::usage(format!(
            "--attack {kinds} connects from the addresses of this machine: it takes no --attack-source"
        )));
    }
    if !plan.is_messages() && arguments.transport.is_sockets() {
        return Err(Failure::usage(format!(
            "--attack {kinds} creates packets and needs --transport af-xdp, dpdk or memory"
        )));
    }
    Ok(())
}

fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::usage(why.to_string())
}

struct AttackProgress<'a> {
    attack: &'a AttackPart,
    progress: &'a mut dyn Progress,
}

impl Progress for AttackProgress<'_> {
    fn phase(&mut self, run: usize, of: usize, phase: Phase, total: Option<f64>) {
        match phase {
            // The handshakes of the load are not measured.
            Phase::Opening => {}
            Phase::Warmup | Phase::Measuring if self.attack.attacks => {
                self.attack.control.start();
            }
            Phase::Warmup | Phase::Measuring => {}
            Phase::Ending => self.attack.control.stop(),
        }
        self.progress.phase(run, of, phase, total);
    }

    fn tick(&mut self, tick: &Tick, elapsed: f64) {
        self.progress.tick(tick, elapsed);
    }

    fn connections(&mut self, open: usize, of: usize) {
        self.progress.connections(open, of);
    }

    fn note(&mut self, line: &str) {
        self.progress.note(line);
    }

    fn done(&mut self, run: &Run) {
        self.progress.done(run);
    }
}
