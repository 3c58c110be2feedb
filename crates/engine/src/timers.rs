//! The application's timers: a slot holds the owner, the token and the wheel entry of a timer.

use hioload_lcore::TimerId;
use hioload_transport::ConnId;

use crate::handler::TimerHandle;

/// One timer of a connection, or of the lcore if `owner` is `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserTimer {
    pub(crate) owner: Option<ConnId>,
    pub(crate) token: u64,
    pub(crate) wheel: TimerId,
}

/// Slots with generations, so that the handle of a timer that has fired cannot cancel another timer.
#[derive(Debug, Default)]
pub(crate) struct UserTimers {
    slots: Vec<(u32, Option<UserTimer>)>,
    free: Vec<u32>,
}

impl UserTimers {
    /// The slot that the next [`UserTimers::insert`] will take.
    pub(crate) fn next_slot(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.slots.len() as u32)
    }

    pub(crate) fn insert(&mut self, timer: UserTimer) -> TimerHandle {
        let slot = self.next_slot();
        match self.free.pop() {
            Some(slot) => self.slots[slot as usize].1 = Some(timer),
            None => self.slots.push((0, Some(timer))),
        }
        let generation = self.slots[slot as usize].0;
        TimerHandle(u64::from(generation) << 32 | u64::from(slot))
    }

    /// Takes the timer out of its slot.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<UserTimer> {
        let (generation, timer) = self.slots.get_mut(slot as usize)?;
        let timer = timer.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(slot);
        Some(timer)
    }

    /// The owner of the timer in a slot.
    pub(crate) fn owner(&self, slot: u32) -> Option<ConnId> {
        self.slots.get(slot as usize)?.1?.owner
    }

    /// The slot of a handle, if its timer has neither fired nor been cancelled.
    pub(crate) fn slot_of(&self, handle: TimerHandle) -> Option<u32> {
        let (slot, generation) = (handle.0 as u32, (handle.0 >> 32) as u32);
        let (current, timer) = self.slots.get(slot as usize)?;
        (*current == generation && timer.is_some()).then_some(slot)
    }
}
