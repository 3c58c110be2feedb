//! The slots of flows: their state beside the socket, the flow table, and their timers.

use std::collections::HashMap;
use std::io;

use hioload_lcore::{Time, TimerWheel};
use smoltcp::socket::tcp::Socket;
use smoltcp::wire::IpAddress;

use crate::FlowId;
use crate::flow_flags::FlowFlags;
use crate::next_hop::{NextHop, NextHopId, NextHopTable};
use crate::recovery::Losses;
use crate::sockets::Sockets;
use crate::table::Table;
use crate::tuple::{Key, Tuple};

/// The fields within `retransmits`.
const RETRANSMITS: u8 = 0x3f;
const RESTING: u8 = 0x40;
const CLOSES: u8 = 0x80;

/// No timer.
const NONE: u32 = u32::MAX;

/// The state of a slot beside its socket. 40 bytes, because there may be a million.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hot {
    pub generation: u32,
    /// The timer's position in the wheel, or `NONE`.
    timer: u32,
    /// The time of the timer in milliseconds, modulo 2^32. In a free slot, the next free slot.
    due: u32,
    next_hop: NextHopId,
    pub flags: FlowFlags,
    /// With [`FlowFlags::QUIET`], the time since which the peer is silent, in units of the user timeout / 64, modulo 256.
    pub quiet: u8,
    /// The estimated resident pages of the rings.
    pub rx_pages: u8,
    pub tx_pages: u8,
    /// The number of retransmissions, up to 63, and above them the bits of [`Hot::is_resting`] and [`Hot::closes_when_sent`].
    retransmits: u8,
    pub losses: Losses,
}

const _: () = assert!(size_of::<Hot>() <= 40);

impl Hot {
    #[inline]
    pub(crate) fn is(&self, flag: FlowFlags) -> bool {
        self.flags.intersects(flag)
    }

    #[inline]
    pub(crate) fn set(&mut self, flags: FlowFlags) {
        self.flags = self.flags | flags;
    }

    #[inline]
    pub(crate) fn clear(&mut self, flags: FlowFlags) {
        self.flags = self.flags & !flags;
    }

    /// Counts a retransmission.
    pub(crate) fn count_retransmit(&mut self) {
        if self.retransmits & RETRANSMITS != RETRANSMITS {
            self.retransmits += 1;
        }
    }

    /// The number of retransmissions; 63 stands for 63 or more.
    pub(crate) fn retransmits(&self) -> u32 {
        u32::from(self.retransmits & RETRANSMITS)
    }

    /// Whether the FIN that the user has requested is delayed until all is acknowledged.
    #[inline]
    pub(crate) fn closes_when_sent(&self) -> bool {
        self.retransmits & CLOSES != 0
    }

    pub(crate) fn set_closes_when_sent(&mut self, yes: bool) {
        self.retransmits = self.retransmits & !CLOSES | if yes { CLOSES } else { 0 };
    }

    /// Nothing is outstanding and nothing is due. If the timer is still set, it has no effect when it fires, and the socket is not
    /// read for that.
    #[inline]
    pub(crate) fn is_resting(&self) -> bool {
        self.retransmits & RESTING != 0
    }

    #[inline]
    pub(crate) fn set_resting(&mut self, yes: bool) {
        self.retransmits = self.retransmits & !RESTING | if yes { RESTING } else { 0 };
    }

    /// The class of the path: an index into the interfaces.
    #[inline]
    pub(crate) fn class(&self) -> usize {
        self.flags.class()
    }

    pub(crate) fn set_class(&mut self, class: usize) {
        self.flags = self.flags.with_class(class);
    }
}

/// All flows of an lcore.
pub(crate) struct Flows {
    pub(crate) sockets: Sockets,
    hot: Vec<Hot>,
    /// The number of slots.
    slots: usize,
    /// The slot freed last, or `NONE`. Free slots form a list.
    free: u32,
    table: Table,
    wheel: TimerWheel<u32>,
    pub(crate) next_hops: NextHopTable,
    /// The ends of flows that have ended but still have a user: smoltcp forgets them.
    names: HashMap<u32, Tuple>,
    key: Key,
}

impl Flows {
    pub(crate) fn new(
        slots: usize,
        rx_ring: usize,
        tx_ring: usize,
        key: Key,
        now: Time,
    ) -> io::Result<Self> {
        let mut hot = Vec::new();
        hot.try_reserve_exact(slots)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        hioload_mem::prefer_huge_pages(hot.as_ptr(), hot.capacity());
        let wheel = TimerWheel::with_capacity(now, slots);
        let (timers, bytes) = wheel.memory();
        hioload_mem::prefer_huge_pages(timers, bytes);
        Ok(Self {
            sockets: Sockets::new(slots, rx_ring, tx_ring)?,
            hot,
            slots,
            free: NONE,
            table: Table::new(slots),
            wheel,
            next_hops: NextHopTable::new(1 << 16),
            names: HashMap::new(),
            key,
        })
    }

    /// The number of slots that have been used so far, including those that are free again.
    pub(crate) fn len(&self) -> usize {
        self.hot.len()
    }

    /// The number of slots.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    #[inline]
    pub(crate) fn hot(&self, slot: u32) -> &Hot {
        &self.hot[slot as usize]
    }

    #[inline]
    pub(crate) fn hot_mut(&mut self, slot: u32) -> &mut Hot {
        &mut self.hot[slot as usize]
    }

    /// All slots in use.
    pub(crate) fn used(&self) -> impl Iterator<Item = u32> + '_ {
        (0_u32..)
            .zip(&self.hot)
            .filter_map(|(slot, hot)| hot.is(FlowFlags::USED).then_some(slot))
    }

    /// The flow of a slot, if it has one.
    pub(crate) fn at(&self, slot: u32) -> Option<FlowId> {
        let used = self.hot.get(slot as usize)?.is(FlowFlags::USED);
        used.then(|| self.id(slot))
    }

    /// The id of a slot's flow.
    #[inline]
    pub(crate) fn id(&self, slot: u32) -> FlowId {
        FlowId {
            index: slot,
            generation: self.hot(slot).generation,
        }
    }

    /// The slot of a flow, if the id is its user's and not stale.
    #[inline]
    pub(crate) fn owned(&self, id: FlowId) -> Option<u32> {
        let hot = self.hot.get(id.index as usize)?;
        (hot.generation == id.generation && hot.is(FlowFlags::OWNED)).then_some(id.index)
    }

    /// The slot of a flow, if the id is not stale.
    pub(crate) fn current(&self, id: FlowId) -> Option<u32> {
        let hot = self.hot.get(id.index as usize)?;
        (hot.generation == id.generation && hot.is(FlowFlags::USED)).then_some(id.index)
    }

    #[inline]
    pub(crate) fn hash(&self, tuple: &Tuple) -> u32 {
        tuple.hash(&self.key)
    }

    #[inline]
    pub(crate) fn prefetch_bucket(&self, hash: u32) {
        self.table.prefetch(hash);
    }

    /// The first slot that `hash` may lead to. The slot is not read.
    #[inline]
    pub(crate) fn guess(&self, hash: u32) -> Option<u32> {
        self.table.find(hash, |_| true)
    }

    /// Prefetches the state of a slot and its socket.
    #[inline]
    pub(crate) fn prefetch(&mut self, slot: u32) {
        hioload_mem::prefetch::item(self.hot.as_ptr().wrapping_add(slot as usize));
        self.sockets.prefetch(slot);
    }

    /// The slot of the flow with these ends.
    #[inline]
    pub(crate) fn find(&self, hash: u32, tuple: &Tuple) -> Option<u32> {
        self.table.find(hash, |slot| {
            let same = self
                .sockets
                .with(slot, |socket| tuple_of(socket).as_ref() == Some(tuple));
            same == Some(true)
        })
    }

    /// Takes a free slot and makes a socket in it. It is not in the flow table yet.
    pub(crate) fn take(
        &mut self,
        next_hop: NextHop,
        flags: FlowFlags,
        set_up: impl for<'a> FnOnce(&mut Socket<'a>),
    ) -> Option<u32> {
        let slot = if self.free == NONE {
            (self.hot.len() < self.slots).then_some(self.hot.len() as u32)?
        } else {
            self.free
        };
        let next_hop = self.next_hops.intern(next_hop)?;
        if !self.sockets.open(slot, set_up) {
            self.next_hops.release(next_hop);
            return None;
        }
        let mut hot = Hot {
            generation: 0,
            timer: NONE,
            due: 0,
            next_hop,
            flags: flags | FlowFlags::USED,
            quiet: 0,
            rx_pages: 0,
            tx_pages: 0,
            retransmits: 0,
            losses: Losses::NONE,
        };
        if let Some(old) = self.hot.get_mut(slot as usize) {
            self.free = old.due;
            // The pages of the slot's rings are still resident.
            (hot.generation, hot.rx_pages, hot.tx_pages) =
                (old.generation, old.rx_pages, old.tx_pages);
            *old = hot;
        } else {
            self.hot.push(hot);
        }
        Some(slot)
    }

    /// Makes the ids of the slot's flow stale.
    pub(crate) fn rename(&mut self, slot: u32) {
        let hot = self.hot_mut(slot);
        hot.generation = hot.generation.wrapping_add(1);
    }

    /// Frees a slot: drops its socket and makes its ids stale.
    pub(crate) fn put(&mut self, slot: u32) {
        debug_assert!(!self.hot(slot).is(FlowFlags::LISTED));
        self.disarm(slot);
        self.sockets.close(slot);
        if !self.names.is_empty() {
            self.names.remove(&slot);
        }
        let free = self.free;
        let hot = self.hot_mut(slot);
        hot.generation = hot.generation.wrapping_add(1);
        hot.flags = hot.flags & FlowFlags::ACTIVE;
        hot.due = free;
        let next_hop = hot.next_hop;
        self.free = slot;
        self.next_hops.release(next_hop);
    }

    /// Adds a slot to the flow table.
    pub(crate) fn list(&mut self, slot: u32, hash: u32) {
        self.table.insert(hash, slot);
        self.hot_mut(slot).set(FlowFlags::LISTED);
    }

    /// Removes a slot from the flow table, to which it was added with this hash.
    pub(crate) fn unlist(&mut self, slot: u32, hash: u32) {
        if self.hot(slot).is(FlowFlags::LISTED) {
            self.hot_mut(slot).clear(FlowFlags::LISTED);
            self.table.remove(hash, slot);
        }
    }

    /// The ends of a flow, if its socket has them or they are remembered.
    pub(crate) fn tuple(&self, slot: u32) -> Option<Tuple> {
        let known = self.sockets.with(slot, tuple_of).flatten();
        known.or_else(|| self.names.get(&slot).copied())
    }

    /// Remembers the ends of the slot's flow until the slot is freed.
    pub(crate) fn remember(&mut self, slot: u32, tuple: Tuple) {
        self.names.insert(slot, tuple);
    }

    /// The next hop of its frames.
    #[inline]
    pub(crate) fn next_hop(&self, slot: u32) -> NextHop {
        self.next_hops
            .get(self.hot(slot).next_hop)
            .unwrap_or(NextHop::UNRESOLVED)
    }

    /// The id of the next hop.
    pub(crate) fn next_hop_id(&self, slot: u32) -> NextHopId {
        self.hot(slot).next_hop
    }

    /// Notes that the flow was established through its next hop.
    pub(crate) fn prove_next_hop(&mut self, slot: u32) {
        self.next_hops.prove(self.hot(slot).next_hop);
    }

    /// Sets the next hop. Without a free id it stays as it is.
    pub(crate) fn set_next_hop(&mut self, slot: u32, next_hop: NextHop) {
        if let Some(new) = self.next_hops.intern(next_hop) {
            let old = std::mem::replace(&mut self.hot_mut(slot).next_hop, new);
            self.next_hops.release(old);
        }
    }

    /// The milliseconds until the slot's timer fires, if it is set; 0 if it is due.
    #[inline]
    pub(crate) fn armed(&self, slot: u32, now: Time) -> Option<u32> {
        let hot = self.hot(slot);
        let left = hot.due.wrapping_sub(now.as_millis() as u32) as i32;
        (hot.timer != NONE).then_some(left.max(0) as u32)
    }

    /// Sets the slot's timer, unless it is set already for the same time or earlier.
    pub(crate) fn arm(&mut self, slot: u32, at: Time, now: Time) {
        let in_ms = at.saturating_sub(now).as_nanos().div_ceil(1_000_000);
        // The difference has to fit into 32 bits. A timer that is further away fires early, and is set again.
        let in_ms = in_ms.min(1 << 30) as u32;
        if self.armed(slot, now).is_some_and(|left| left <= in_ms) {
            return;
        }
        self.disarm(slot);
        let now_ms = now.as_millis();
        let timer = self
            .wheel
            .insert(Time::from_millis(now_ms + u64::from(in_ms)), slot);
        let hot = self.hot_mut(slot);
        hot.timer = timer.place();
        hot.due = (now_ms as u32).wrapping_add(in_ms);
    }

    /// Cancels the slot's timer.
    pub(crate) fn disarm(&mut self, slot: u32) {
        let place = std::mem::replace(&mut self.hot_mut(slot).timer, NONE);
        if place != NONE
            && let Some(id) = self.wheel.set_in(place)
        {
            self.wheel.cancel(id);
        }
    }

    /// The next slot whose timer has fired.
    #[inline]
    pub(crate) fn fired(&mut self, now: Time) -> Option<u32> {
        let slot = self.wheel.poll(now)?;
        self.hot_mut(slot).timer = NONE;
        Some(slot)
    }

    /// The time of the next timer.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        self.wheel.next_deadline()
    }
}

/// The ends of a socket.
#[inline]
pub(crate) fn tuple_of(socket: &Socket<'_>) -> Option<Tuple> {
    let (here, there) = (socket.local_endpoint()?, socket.remote_endpoint()?);
    match (here.addr, there.addr) {
        (IpAddress::Ipv4(local), IpAddress::Ipv4(remote)) => Some(Tuple::v4(
            local.octets(),
            here.port,
            remote.octets(),
            there.port,
        )),
        (IpAddress::Ipv6(local), IpAddress::Ipv6(remote)) => Some(Tuple::v6(
            local.octets(),
            here.port,
            remote.octets(),
            there.port,
        )),
        _ => None,
    }
}
