//! A server of this project, a regular load and an attacker below it, connected by a memory pair: on one thread, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hioload_attack::{AttackControl, AttackCounters, AttackOptions, AttackPlan, Attacker};
use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_engine::{
    Accept, Closure, Config, Connect, ConnectError, ConnectionId, Context, Handler, Lcore,
    LcoreContext, Limits, Response,
};
use hioload_lcore::{Clock, Time};
use hioload_tcp::{StackConfig, StackStats};
pub use hioload_testkit::Echo;
use hioload_testkit::links;
use hioload_transport::bypass::Bypass;
use hioload_transport::{Endpoint, Peer, Transport};
use hioload_ws_proto::handshake::client::Response as ServerReply;
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{Kind, Message};

/// Connections of the load, and messages in flight on each.
pub const TALKERS: u64 = 4;
const IN_FLIGHT: u32 = 2;
/// Payload of its messages.
const SIZE: usize = 100;

/// The state of the load.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub open: u64,
    pub echoes: u64,
    /// The first fault.
    pub wrong: Option<String>,
}

/// Sends numbered messages and compares the echoes.
pub struct Bystander {
    load: Rc<RefCell<Load>>,
    endpoint: Endpoint,
}

pub struct Talk {
    number: u64,
    sent: u32,
    came: u32,
}

fn payload(talker: u64, message: u32) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (talker as usize * 7 + message as usize * 13 + i) as u8;
    }
    bytes
}

impl Bystander {
    fn fail(&self, what: String) {
        self.load.borrow_mut().wrong.get_or_insert(what);
    }
}

impl Handler for Bystander {
    type Conn = Talk;
    type Event = ();

    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        for token in 0..TALKERS {
            let connect = Connect::new(self.endpoint.clone())
                .host("server")
                .token(token);
            cx.connect(connect).expect("it begins");
        }
    }

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<Talk>, Response> {
        Err(Response::not_found())
    }

    fn on_connect(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        number: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<Talk> {
        if let Err(error) = outcome {
            self.fail(format!("talker {number} is not connected: {error}"));
            return None;
        }
        self.load.borrow_mut().open += 1;
        Some(Talk {
            number,
            sent: 0,
            came: 0,
        })
    }

    fn on_ready(&mut self, talk: &mut Talk, cx: &mut impl Context<Event = ()>) {
        for _ in 0..IN_FLIGHT {
            let _ = cx.send(Kind::Binary, &payload(talk.number, talk.sent));
            talk.sent += 1;
        }
    }

    fn on_message(
        &mut self,
        talk: &mut Talk,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        if message.as_bytes() != payload(talk.number, talk.came) {
            self.fail(format!(
                "talker {}: echo {} is wrong",
                talk.number, talk.came
            ));
        }
        talk.came += 1;
        self.load.borrow_mut().echoes += 1;
        let _ = cx.send(Kind::Binary, &payload(talk.number, talk.sent));
        talk.sent += 1;
    }

    fn on_close(
        &mut self,
        talk: Talk,
        _: &mut impl LcoreContext<Event = ()>,
        closure: Closure<'_>,
    ) {
        self.fail(format!(
            "talker {} has lost its connection: {closure:?}",
            talk.number
        ));
    }
}

/// The parameters of the lab.
pub struct Setup {
    pub plan: &'static str,
    pub v6: bool,
    pub vlan: Option<u16>,
    /// `--attack-source`.
    pub pool: Option<&'static str>,
    pub limits: Limits,
    /// Time of a turn.
    pub turn: Duration,
}

impl Setup {
    pub fn new(plan: &'static str) -> Self {
        let mut limits = Limits::default();
        limits.ping_interval = Duration::ZERO;
        limits.idle_timeout = Duration::ZERO;
        Self {
            plan,
            v6: false,
            vlan: None,
            pool: None,
            limits,
            turn: Duration::from_micros(100),
        }
    }
}

pub struct Lab {
    pub server: Lcore<Bypass<MemoryDevice>, Echo>,
    pub client: Lcore<Bypass<Attacker<MemoryDevice>>, Bystander>,
    pub control: AttackControl,
    pub load: Rc<RefCell<Load>>,
    pub now: Time,
    turn: Duration,
}

impl Lab {
    pub fn new(setup: &Setup) -> Self {
        let mut plan: AttackPlan = setup.plan.parse().expect("a plan");
        if let Some(pool) = setup.pool {
            plan = plan.with_source(pool.parse().expect("a network"));
        }
        let (near, far) = if setup.v6 {
            ("fd77::1/64", "fd77::2/64")
        } else {
            ("10.77.0.1/24", "10.77.0.2/24")
        };
        let (near, far): (hioload_tcp::Cidr, hioload_tcp::Cidr) =
            (near.parse().expect("one"), far.parse().expect("one"));
        let target = std::net::SocketAddr::new(far.addr(), 9001);
        plan.check_target(target, false).expect("it may");
        let control = AttackControl::new(&plan);
        let options = AttackOptions::new(plan, target, [near.addr()]);

        let (a, b) = pair(&PairOptions::default()).expect("a pair");
        let attacker = Attacker::new(b.open(), &options, &control).expect("an attacker");
        let now = Clock::new().now();
        let config = |own, listen| {
            let mut config = StackConfig::new([own]);
            config.listen = listen;
            config.vlan = setup.vlan;
            config.max_flows = 4096;
            config.secret = *b"secret of a test";
            config
        };
        let server = links::bypass(a.open(), config(far, vec![target]), now);
        let client = links::bypass(attacker, config(near, Vec::new()), now);
        let load = Rc::new(RefCell::new(Load::default()));
        let bystander = Bystander {
            load: Rc::clone(&load),
            endpoint: Endpoint::Tcp(target),
        };
        let mut config = Config::default();
        config.tunables.limits = setup.limits.clone();
        Self {
            server: Lcore::alone(server, Echo, config.clone(), now),
            client: Lcore::alone(client, bystander, config, now),
            control,
            load,
            now,
            turn: setup.turn,
        }
    }

    pub fn turn(&mut self) {
        self.now += self.turn;
        let now = self.now;
        let _ = self.client.transport().wait(Some(Duration::ZERO));
        self.client.transport().stack().device().set_now(now);
        self.client.turn(now);
        let _ = self.server.transport().wait(Some(Duration::ZERO));
        self.server.turn(now);
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.turn();
        }
    }

    /// Runs until all connections of the load are open.
    pub fn open(&mut self) {
        for _ in 0..100_000 {
            self.turn();
            if self.load.borrow().open == TALKERS {
                return;
            }
        }
        panic!("the load does not open: {:?}", self.load.borrow());
    }

    /// Runs the attack for `time`. Returns the echoes of the load in it.
    pub fn attacked(&mut self, time: Duration) -> u64 {
        let before = self.load.borrow().echoes;
        self.control.start();
        self.pass(time);
        self.control.stop();
        self.load.borrow().echoes - before
    }

    pub fn counters(&self) -> AttackCounters {
        self.control.counters()
    }

    pub fn server_stats(&mut self) -> StackStats {
        self.server.transport().stack().stats()
    }

    /// Checks that every connection of the load is open, every echo was correct, and echoes continue.
    pub fn assert_unharmed(&mut self) {
        let before = self.load.borrow().echoes;
        for _ in 0..1000 {
            self.turn();
        }
        let load = self.load.borrow();
        assert_eq!(load.wrong, None);
        assert_eq!(load.open, TALKERS);
        assert!(load.echoes > before + 500, "{load:?}, {before}");
    }
}
