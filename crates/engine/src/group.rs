//! Lcores that share a mesh, admission and counters. A server runs them on threads; a test turns them by hand.

use std::fmt;
use std::sync::Arc;

use hioload_lcore::Time;
use hioload_lcore::mesh::mesh;
use hioload_transport::Transport;

use crate::admission::Admission;
use crate::commands::Pending;
use crate::config::Config;
use crate::core::LcoreInit;
use crate::counters::CountersHandle;
use crate::executor::{Executor, Jobs};
use crate::handler::Handler;
use crate::lcore::Lcore;
use crate::mail::{MailBytes, Post, Scales};
use crate::remote::Remote;
use crate::topics::Table;

/// The arguments of the start of each lcore of a group, and the handle on all of them. `event_bytes` is that of their handlers.
pub(crate) fn prepare<E: Send>(
    config: &Arc<Config>,
    counters: &CountersHandle,
    executor: &Executor,
    event_bytes: fn(&E) -> usize,
) -> (Vec<LcoreInit<E>>, Remote<E>) {
    let lcores = counters.lcores();
    let limits = &config.tunables.limits;
    let admission = Admission::new(limits);
    let admission = Arc::new(admission.of_lcores(lcores));
    let scales = Scales {
        bytes: Arc::new(MailBytes::new(lcores, limits.mailbox_bytes)),
        event_bytes,
    };
    let mailboxes: Vec<_> = mesh(lcores, config.mailbox)
        .into_iter()
        .map(|mailbox| Post::new(mailbox, scales.clone()))
        .collect();
    let interest = (lcores > 1).then(|| Arc::new(Table::new(lcores)));
    let pending: Box<[_]> = (0..lcores).map(|_| Arc::new(Pending::new())).collect();
    let remote = Remote::new(
        mailboxes.iter().map(Post::poster).collect(),
        pending.clone(),
        counters.clone(),
        Arc::clone(config),
    );
    let inits = mailboxes
        .into_iter()
        .enumerate()
        .map(|(n, mailbox)| LcoreInit {
            lcore: n as u16,
            lcores: lcores as u16,
            config: Arc::clone(config),
            pending: Arc::clone(&pending[n]),
            mailbox,
            counters: counters.of(n),
            admission: Arc::clone(&admission),
            interest: interest.clone(),
            executor: executor.clone(),
        });
    (inits.collect(), remote)
}

/// Lcores on the caller's thread: for tests, simulation and fuzzing. They share a mesh, admission and counters as those of a
/// [`Server`](crate::Server) do. The caller turns each one at a time of its choice, and runs their jobs.
///
/// ```
/// use std::time::Duration;
/// use hioload_engine::{Config, Context, Handler, Lcore};
/// use hioload_lcore::Time;
/// use hioload_transport::{Peer, Transport, fake::{Fake, FakeOptions}};
/// use hioload_ws_proto::Message;
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Conn = ();
///     type Event = ();
///     fn new_conn(&mut self) {}
///     fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
///         let _ = cx.send(message.kind(), message.as_bytes());
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let fakes = [Fake::new(&FakeOptions::default())?, Fake::new(&FakeOptions::default())?];
/// let mut now = Time::from_millis(1);
/// let mut group = Lcore::group(fakes, |_lcore| Echo, Config::default(), now);
/// let id = group.lcores[1].transport().accept(Peer::Unix);
/// group.lcores[1].transport().deliver(id, b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
/// now += Duration::from_millis(1);
/// // The connection is accepted in the first turn, and its request read in the second.
/// for _ in 0..2 {
///     for lcore in &mut group.lcores {
///         lcore.transport().wait(Some(Duration::ZERO))?;
///         lcore.turn(now);
///     }
/// }
/// assert!(group.lcores[1].transport().sent(id).starts_with(b"HTTP/1.1 101"));
/// assert_eq!(group.remote.counters().opened, 1);
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub struct Group<T: Transport, H: Handler> {
    /// The lcores, by number. The caller removes and [finishes](Lcore::finish) an lcore that [`is_done`](Lcore::is_done).
    pub lcores: Vec<Lcore<T, H>>,
    /// The handle that other threads of a server use.
    pub remote: Remote<H::Event>,
    /// The executor. It runs jobs when the caller calls [`Jobs::run`].
    pub jobs: Jobs,
}

impl<T: Transport, H: Handler> fmt::Debug for Group<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("lcores", &self.lcores)
            .finish_non_exhaustive()
    }
}

impl<T: Transport, H: Handler> Lcore<T, H> {
    /// A single lcore without an executor, so that [`LcoreContext::spawn_lcore`] is always busy.
    /// [`group`](Self::group) makes several.
    ///
    /// [`LcoreContext::spawn_lcore`]: crate::LcoreContext::spawn_lcore
    pub fn alone(io: T, handler: H, config: Config, now: Time) -> Self {
        let (mut inits, _) = prepare(
            &Arc::new(config),
            &CountersHandle::new::<T>(1),
            &Executor::none(),
            H::event_bytes,
        );
        let init = inits.pop().expect("a group of one has one lcore");
        Self::new(io, handler, init, now)
    }

    /// An lcore for each of `transports`, with the handlers that `make` builds, all at the time `now`. Of the configuration,
    /// `executor_threads` counts only if it is 0: then every job is refused.
    pub fn group(
        transports: impl IntoIterator<Item = T>,
        mut make: impl FnMut(u16) -> H,
        config: Config,
        now: Time,
    ) -> Group<T, H> {
        let transports: Vec<T> = transports.into_iter().collect();
        let counters = CountersHandle::new::<T>(transports.len());
        let (executor, jobs) = Executor::by_hand(config.executor_threads, config.executor_queue);
        let (inits, remote) = prepare(&Arc::new(config), &counters, &executor, H::event_bytes);
        let lcores = transports.into_iter().zip(inits);
        let lcores = lcores.map(|(io, init)| Self::new(io, make(init.lcore), init, now));
        Group {
            lcores: lcores.collect(),
            remote,
            jobs,
        }
    }
}
