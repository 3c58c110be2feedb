//! The thread of the attacks.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token};

use super::options::MessageOptions;
use super::squad::Squad;
use super::witness::{Witness, WitnessPeers};
use crate::control::AttackControl;

/// The longest sleep of the thread: the rate of an attack is kept in steps of this.
const NAP: Duration = Duration::from_millis(1);
/// Time in which the witness has to see its first publications.
const READY: Duration = Duration::from_secs(10);
/// Time in which its last publications have to arrive after the attack.
const SETTLE: Duration = Duration::from_secs(5);
/// Bits of a token that give the place within a squad.
const PLACE_BITS: u32 = 20;
/// Bytes read at once.
const SCRATCH: usize = 64 << 10;

/// The running thread of attacks with messages. It attacks while its [`AttackControl`] is started.
#[derive(Debug)]
pub struct MessageAttacks {
    thread: JoinHandle<io::Result<Option<Witness>>>,
    ending: Arc<AtomicBool>,
}

impl MessageAttacks {
    /// Starts the thread. Beside attacks that need topics a witness begins to publish, and this waits up to 10 s until all of its
    /// subscribers receive it. The attacks begin with [`AttackControl::start`].
    ///
    /// # Errors
    /// If the thread or its poller cannot be made, the server cannot be reached, or it does not deliver the publications of the
    /// witness.
    ///
    /// # Panics
    /// If `options` do not pass [`MessageOptions::check`].
    pub fn start(options: MessageOptions, control: AttackControl) -> io::Result<Self> {
        assert!(options.check().is_ok(), "the options were not checked");
        let mut driver = Driver::new(options, control)?;
        driver.await_witness()?;
        let ending = Arc::clone(&driver.ending);
        let thread = thread::Builder::new()
            .name("attack".to_owned())
            .spawn(move || driver.run())?;
        Ok(Self { thread, ending })
    }

    /// Ends the attacks and returns what the witness has seen; `None` without a witness. It waits up to 5 s for deliveries that are
    /// missing.
    ///
    /// # Errors
    /// If the poller has failed.
    pub fn end(self) -> io::Result<Option<Witness>> {
        // Pairs with the load in `Driver::run`; no other data depends on it.
        self.ending.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread of the attack has panicked")))
    }
}

struct Driver {
    options: MessageOptions,
    control: AttackControl,
    poll: Poll,
    squads: Vec<Squad>,
    witness: Option<WitnessPeers>,
    running: bool,
    start: Instant,
    ending: Arc<AtomicBool>,
    scratch: Vec<u8>,
}

fn token(squad: usize, place: usize) -> Token {
    Token(squad << PLACE_BITS | place)
}

impl Driver {
    fn new(options: MessageOptions, control: AttackControl) -> io::Result<Self> {
        let poll = Poll::new()?;
        let attacks = options.plan.attacks().iter().enumerate();
        let squads = attacks.map(|(n, attack)| Squad::new(attack, &options, control.tally(n)));
        let squads: Vec<Squad> = squads.collect();
        let witness = if options.needs_topics() {
            let index = squads.len();
            let registry = poll.registry();
            let witness = WitnessPeers::connect(&options, registry, |n| token(index, n))?;
            Some(witness)
        } else {
            None
        };
        Ok(Self {
            options,
            control,
            poll,
            squads,
            witness,
            running: false,
            start: Instant::now(),
            ending: Arc::default(),
            scratch: vec![0; SCRATCH],
        })
    }

    /// Waits until the witness is ready.
    fn await_witness(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        while self.witness.as_ref().is_some_and(|one| !one.is_ready()) {
            self.turn(&mut events)?;
            if self.start.elapsed() > READY {
                let why = format!(
                    "{}: the server does not deliver publications to its subscribers, so an attack on topics has no effect",
                    self.options.topics_path
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
        }
        Ok(())
    }

    fn run(mut self) -> io::Result<Option<Witness>> {
        let mut events = Events::with_capacity(1024);
        while !self.ending.load(Ordering::Relaxed) {
            self.turn(&mut events)?;
        }
        self.stop();
        if let Some(witness) = &mut self.witness {
            witness.end();
        }
        let end = Instant::now() + SETTLE;
        while self.witness.as_ref().is_some_and(|one| !one.is_complete()) && Instant::now() < end {
            self.turn(&mut events)?;
        }
        Ok(self.witness.as_ref().map(WitnessPeers::report))
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        match self.poll.poll(events, Some(NAP)) {
            Err(why) if why.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let now = self.now();
        for event in events.iter() {
            let Token(token) = event.token();
            let (squad, place) = (token >> PLACE_BITS, token & ((1 << PLACE_BITS) - 1));
            match self.squads.get_mut(squad) {
                Some(squad) => squad.ready(place, &mut self.scratch, now),
                None => {
                    if let Some(witness) = &mut self.witness {
                        witness.ready(place, &mut self.scratch);
                    }
                }
            }
        }
        if let Some(witness) = &mut self.witness {
            witness.turn(now);
        }
        let wanted = self.control.is_running() && !self.ending.load(Ordering::Relaxed);
        match (wanted, self.running) {
            (true, _) => self.attack(now),
            (false, true) => self.stop(),
            (false, false) => {}
        }
        Ok(())
    }

    fn attack(&mut self, now: u64) {
        let begins = !std::mem::replace(&mut self.running, true);
        let registry: &Registry = self.poll.registry();
        for (index, squad) in self.squads.iter_mut().enumerate() {
            if begins {
                squad.start(now);
            }
            squad.open(&self.options, registry, |n| token(index, n), now);
            squad.read_on(&mut self.scratch, now);
            squad.send(now);
            squad.publish();
        }
    }

    fn stop(&mut self) {
        self.running = false;
        self.squads.iter_mut().for_each(Squad::stop);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
