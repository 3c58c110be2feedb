//! The contexts that handlers are called with: the engine and the transport, lent for the time of the call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_mem::Shared;
use hioload_transport::{ConnId, Connections, Peer};
use hioload_ws_proto::{CloseCode, Kind};

use crate::commands::Command;
use crate::core::{Core, TIMER_OF_USER};
use crate::executor::Delivery;
use crate::handler::{
    Busy, ClosedBy, Connect, ConnectionId, Context, LcoreContext, SendError, TimerHandle,
    TopicError,
};
use crate::opening::Opening;
use crate::session::{Phase, SessionFlags, millis};
use crate::timers::UserTimer;
use crate::topics::{is_pattern, most_bytes};
use crate::work::cost;

/// The context of a call without a connection.
pub(crate) struct LcoreCx<'a, C, E> {
    pub(crate) core: &'a mut Core<E>,
    pub(crate) io: &'a mut C,
}

/// The context of a call for one connection.
pub(crate) struct ConnCx<'a, C, E> {
    pub(crate) lcore: LcoreCx<'a, C, E>,
    pub(crate) id: ConnId,
}

impl<'a, C, E> ConnCx<'a, C, E> {
    pub(crate) fn new(core: &'a mut Core<E>, io: &'a mut C, id: ConnId) -> Self {
        Self {
            lcore: LcoreCx { core, io },
            id,
        }
    }
}

impl<C: Connections, E: Send + 'static> LcoreCx<'_, C, E> {
    fn set_timer(&mut self, owner: Option<ConnId>, after: Duration, token: u64) -> TimerHandle {
        let core = &mut *self.core;
        let wheel = core
            .wheel
            .insert(core.now + after, core.timers.next_slot() | TIMER_OF_USER);
        let handle = core.timers.insert(UserTimer {
            owner,
            token,
            wheel,
        });
        if let Some(session) = owner.and_then(|id| core.session(id)) {
            session.extra().timers.push(handle.0 as u32);
        }
        handle
    }

    fn submit(
        &mut self,
        to: Option<ConnId>,
        job: impl FnOnce() -> E + Send + 'static,
    ) -> Result<(), Busy> {
        let poster = self.core.poster.clone();
        let alive = Arc::downgrade(&self.core.alive);
        let job = move || {
            let mut command = Some(match catch_unwind(AssertUnwindSafe(job)) {
                Ok(event) => Command::Event { to, event },
                Err(_) => Command::JobPanicked { to },
            });
            // The mailbox has room again after a turn. Until then the result is kept.
            Box::new(
                move || match command.take().map(|command| poster.post(command)) {
                    None | Some(Ok(())) => true,
                    Some(Err(refused)) => {
                        command = Some(refused);
                        alive.strong_count() == 0
                    }
                },
            ) as Delivery
        };
        self.core
            .executor
            .submit(Box::new(job))
            .inspect_err(|_| self.core.counters.executor_busy.bump())
    }
}

impl<C: Connections, E: Send + 'static> LcoreContext for LcoreCx<'_, C, E> {
    type Event = E;

    fn lcore(&self) -> u16 {
        self.core.lcore
    }

    fn now(&self) -> Time {
        self.core.now
    }

    fn connections(&self) -> usize {
        self.core.open
    }

    fn draining(&self) -> bool {
        self.core.draining()
    }

    fn tls_resumed(&self, id: ConnectionId) -> Option<bool> {
        match id.lcore == self.core.lcore {
            true => self.io.tls_resumed(id.conn),
            false => None,
        }
    }

    fn send_to(&mut self, to: ConnectionId, kind: Kind, payload: &[u8]) -> Result<(), SendError> {
        if to.lcore == self.core.lcore {
            return self.core.send_message(self.io, to.conn, kind, payload);
        }
        let command = Command::Send {
            to: to.conn,
            kind,
            payload: Shared::from_slices(&[payload]),
        };
        self.core.post(to.lcore, command)
    }

    fn send_fragmented(
        &mut self,
        to: ConnectionId,
        kind: Kind,
        payload: &[u8],
        frames: usize,
    ) -> Result<(), SendError> {
        if to.lcore == self.core.lcore {
            return self
                .core
                .send_in_frames(self.io, to.conn, kind, payload, frames);
        }
        self.send_to(to, kind, payload)
    }

    fn ping_to(&mut self, to: ConnectionId, payload: &[u8]) -> Result<(), SendError> {
        if to.lcore == self.core.lcore {
            return self.core.send_ping(self.io, to.conn, payload);
        }
        let command = Command::Ping {
            to: to.conn,
            payload: Shared::from_slices(&[payload]),
        };
        self.core.post(to.lcore, command)
    }

    fn close_to(&mut self, to: ConnectionId, code: CloseCode, reason: &str) {
        if to.lcore == self.core.lcore {
            self.core
                .begin_close(self.io, to.conn, code, reason, ClosedBy::Application);
        } else {
            // A full mailbox is counted. For the caller it has the effect of a peer that does not close.
            let _ = self.core.post(
                to.lcore,
                Command::Close {
                    to: to.conn,
                    code,
                    reason: reason.into(),
                },
            );
        }
    }

    fn publish(&mut self, topic: &str, kind: Kind, payload: &[u8]) -> Result<usize, TopicError> {
        self.core.publish(self.io, topic, kind, payload)
    }

    fn set_lcore_timer(&mut self, after: Duration, token: u64) -> TimerHandle {
        self.set_timer(None, after, token)
    }

    fn cancel_timer(&mut self, timer: TimerHandle) {
        if let Some(slot) = self.core.timers.slot_of(timer) {
            self.core.cancel_user_timer(slot);
        }
    }

    fn connect(&mut self, connect: Connect) -> std::io::Result<ConnectionId> {
        let id = self.io.connect(&connect.endpoint)?;
        let session = self.core.start(id, Phase::Connecting);
        session.set(SessionFlags::CLIENT);
        session.extra().opening = Some(Box::new(Opening::new(connect)));
        Ok(ConnectionId {
            lcore: self.core.lcore,
            conn: id,
        })
    }

    fn spawn_lcore(&mut self, job: impl FnOnce() -> E + Send + 'static) -> Result<(), Busy> {
        self.submit(None, job)
    }

    fn stop(&mut self) {
        self.core.stopping = true;
    }
}

/// Forwards the calls that need no connection to the lcore's context.
macro_rules! delegate {
    ($($name:ident(&mut self $(, $arg:ident: $ty:ty)*) $(-> $ret:ty)?;)*) => {
        $(fn $name(&mut self $(, $arg: $ty)*) $(-> $ret)? { self.lcore.$name($($arg),*) })*
    };
}

impl<C: Connections, E: Send + 'static> LcoreContext for ConnCx<'_, C, E> {
    type Event = E;

    fn lcore(&self) -> u16 {
        self.lcore.lcore()
    }
    fn now(&self) -> Time {
        self.lcore.now()
    }
    fn connections(&self) -> usize {
        self.lcore.connections()
    }
    fn draining(&self) -> bool {
        self.lcore.draining()
    }
    fn tls_resumed(&self, id: ConnectionId) -> Option<bool> {
        self.lcore.tls_resumed(id)
    }
    fn publish(&mut self, topic: &str, kind: Kind, payload: &[u8]) -> Result<usize, TopicError> {
        let reached = self.lcore.publish(topic, kind, payload)?;
        let core = &mut *self.lcore.core;
        if reached > 0
            && let Some(session) = core.session(self.id)
        {
            session.set(SessionFlags::PUBLISHES);
            if core.fan_out_is_full() {
                core.work.end_visit();
            }
        }
        Ok(reached)
    }
    delegate! {
        send_to(&mut self, to: ConnectionId, kind: Kind, payload: &[u8]) -> Result<(), SendError>;
        send_fragmented(&mut self, to: ConnectionId, kind: Kind, payload: &[u8], frames: usize) -> Result<(), SendError>;
        ping_to(&mut self, to: ConnectionId, payload: &[u8]) -> Result<(), SendError>;
        close_to(&mut self, to: ConnectionId, code: CloseCode, reason: &str);
        set_lcore_timer(&mut self, after: Duration, token: u64) -> TimerHandle;
        cancel_timer(&mut self, timer: TimerHandle);
        connect(&mut self, connect: Connect) -> std::io::Result<ConnectionId>;
        spawn_lcore(&mut self, job: impl FnOnce() -> E + Send + 'static) -> Result<(), Busy>;
        stop(&mut self);
    }
}

impl<C: Connections, E: Send + 'static> Context for ConnCx<'_, C, E> {
    fn id(&self) -> ConnectionId {
        ConnectionId {
            lcore: self.lcore.core.lcore,
            conn: self.id,
        }
    }

    fn peer(&self) -> Peer {
        self.lcore.core.peer(&*self.lcore.io, self.id)
    }

    fn proxy(&self) -> Option<Peer> {
        self.lcore.core.proxy(&*self.lcore.io, self.id)
    }

    #[inline]
    fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), SendError> {
        self.lcore
            .core
            .send_message(self.lcore.io, self.id, kind, payload)
    }

    fn ping(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.lcore.core.send_ping(self.lcore.io, self.id, payload)
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        self.lcore
            .core
            .begin_close(self.lcore.io, self.id, code, reason, ClosedBy::Application);
    }

    fn queued(&self) -> usize {
        self.lcore.io.queued(self.id)
    }

    fn pause(&mut self) {
        let LcoreCx { core, io } = &mut self.lcore;
        if let Some(session) = core.session(self.id).filter(|s| s.phase == Phase::Open) {
            session.set(SessionFlags::PAUSED);
            io.pause(self.id);
        }
    }

    fn resume(&mut self) {
        let LcoreCx { core, io } = &mut self.lcore;
        let now = millis(core.now);
        if let Some(session) = core.session(self.id) {
            if session.has(SessionFlags::PAUSED) {
                session.message_since = now;
            }
            session.clear(SessionFlags::PAUSED);
            if !session.has(SessionFlags::THROTTLED) {
                io.resume(self.id);
            }
        }
    }

    fn subscribe(&mut self, pattern: &str) -> Result<bool, TopicError> {
        if !is_pattern(pattern) {
            return Err(TopicError::Invalid);
        }
        self.lcore.core.subscribe(self.id, pattern)
    }

    fn unsubscribe(&mut self, pattern: &str) -> Result<bool, TopicError> {
        if !is_pattern(pattern) {
            return Err(TopicError::Invalid);
        }
        Ok(self.lcore.core.unsubscribe(self.id, pattern))
    }

    fn set_timer(&mut self, after: Duration, token: u64) -> TimerHandle {
        self.lcore.set_timer(Some(self.id), after, token)
    }

    fn spawn(&mut self, job: impl FnOnce() -> E + Send + 'static) -> Result<(), Busy> {
        self.lcore.submit(Some(self.id), job)
    }
}

impl<E: Send + 'static> Core<E> {
    pub(crate) fn post(&mut self, lcore: u16, command: Command<E>) -> Result<(), SendError> {
        if lcore >= self.lcores {
            return Err(SendError::Closed);
        }
        self.mailbox.send(usize::from(lcore), command).map_err(|_| {
            self.counters.commands_dropped.bump();
            SendError::Full
        })
    }

    fn subscribe(&mut self, id: ConnId, pattern: &str) -> Result<bool, TopicError> {
        if self.session(id).is_none() {
            return Ok(false);
        }
        let held = self.sessions[id.index as usize].extra.as_ref();
        let (count, bytes) = held.map_or((0, 0), |extra| {
            (extra.subscriptions.len(), extra.subscription_bytes)
        });
        let cost = most_bytes(pattern);
        let limits = &self.tunables.limits;
        if count >= limits.max_subscriptions as usize || bytes + cost > limits.subscription_bytes {
            // A subscription that exists already needs no room.
            if self.topics.contains(pattern, id.index) {
                return Ok(false);
            }
            self.counters.subscriptions_refused.bump();
            return Err(TopicError::TooMany);
        }
        let set = match self.topics.subscribe(pattern, id.index) {
            Ok(Some(set)) => set,
            Ok(None) => return Ok(false),
            Err(_) => {
                self.counters.subscriptions_refused.bump();
                return Err(TopicError::NoMemory);
            }
        };
        let extra = self.sessions[id.index as usize].extra();
        extra.subscriptions.push(set);
        extra.subscription_bytes += cost;
        if let Some(interest) = &mut self.interest {
            interest.add(pattern);
        }
        self.count_subscription_bytes();
        Ok(true)
    }

    fn unsubscribe(&mut self, id: ConnId, pattern: &str) -> bool {
        if self.session(id).is_none() || !is_pattern(pattern) {
            return false;
        }
        let Some(set) = self.topics.unsubscribe(pattern, id.index) else {
            return false;
        };
        if let Some(extra) = &mut self.sessions[id.index as usize].extra {
            extra.subscriptions.retain(|held| *held != set);
            extra.subscription_bytes -= most_bytes(pattern);
        }
        if let Some(interest) = &mut self.interest {
            interest.remove(pattern);
        }
        self.count_subscription_bytes();
        true
    }

    fn count_subscription_bytes(&self) {
        let bytes = self.topics.bytes() as u64;
        self.counters.subscription_bytes.set(bytes);
    }

    /// Ends the subscriptions and timers of a connection.
    pub(crate) fn release_extra(&mut self, index: u32) {
        let Some(extra) = self.sessions[index as usize].extra.take() else {
            return;
        };
        self.work
            .add(extra.subscriptions.len() as u64 * cost::SUBSCRIPTION);
        for set in extra.subscriptions {
            if let Some(interest) = &mut self.interest {
                interest.remove(&self.topics.pattern(set));
            }
            self.topics.remove(set, index);
        }
        self.count_subscription_bytes();
        for slot in extra.timers {
            if self
                .timers
                .owner(slot)
                .is_some_and(|owner| owner.index == index)
            {
                self.cancel_user_timer(slot);
            }
        }
    }

    pub(crate) fn cancel_user_timer(&mut self, slot: u32) {
        let Some(timer) = self.timers.remove(slot) else {
            return;
        };
        self.wheel.cancel(timer.wheel);
        if let Some(extra) = timer
            .owner
            .and_then(|id| self.session(id))
            .and_then(|session| session.extra.as_mut())
        {
            extra.timers.retain(|s| *s != slot);
        }
    }
}
