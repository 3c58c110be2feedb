//! Mailboxes between lcores whose commands are bounded in number and in bytes.
//!
//! The mesh bounds the number of commands. Here the sender adds the bytes of a command to those of the destination, and the receiver
//! subtracts them when it takes the command. A command without payload costs no atomic operation for this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hioload_lcore::mesh::{Mailbox, Poster};

use crate::commands::Command;

/// A command, and the bytes that it counts for.
pub(crate) struct Mail<E> {
    command: Command<E>,
    bytes: usize,
}

/// The bytes in one lcore's mailbox, on cache lines of their own: the senders write them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Waiting {
    bytes: AtomicUsize,
    /// Commands of other threads that were refused.
    refused: AtomicU64,
}

/// The bytes in the mailboxes of all lcores, and their bound. The counts are exact and order nothing, so that every access is relaxed.
#[derive(Debug)]
pub(crate) struct MailBytes {
    waiting: Box<[Waiting]>,
    bound: AtomicUsize,
}

impl MailBytes {
    pub(crate) fn new(lcores: usize, bound: usize) -> Self {
        Self {
            waiting: (0..lcores).map(|_| Waiting::default()).collect(),
            bound: AtomicUsize::new(bound),
        }
    }

    /// Changes the bound. Commands that wait stay.
    pub(crate) fn set_bound(&self, bound: usize) {
        self.bound.store(bound, Ordering::Relaxed);
    }

    /// Bytes that wait for lcore `at`.
    pub(crate) fn waiting(&self, at: usize) -> usize {
        self.waiting
            .get(at)
            .map_or(0, |waiting| waiting.bytes.load(Ordering::Relaxed))
    }

    /// Commands of other threads to lcore `at` that were refused.
    pub(crate) fn refused(&self, at: usize) -> u64 {
        self.waiting
            .get(at)
            .map_or(0, |waiting| waiting.refused.load(Ordering::Relaxed))
    }

    /// Counts a command for lcore `to`, unless the bound is reached. A command of any size is taken below the bound: it could never be
    /// sent otherwise.
    fn charge(&self, to: usize, bytes: usize) -> bool {
        let Some(waiting) = self.waiting.get(to).filter(|_| bytes > 0) else {
            return true;
        };
        let before = waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before < self.bound.load(Ordering::Relaxed);
        if !fits {
            waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }

    fn discharge(&self, at: usize, bytes: usize) {
        if let Some(waiting) = self.waiting.get(at).filter(|_| bytes > 0) {
            waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// What all senders of a group of lcores share: the counts, and how an event is weighed.
pub(crate) struct Scales<E> {
    pub(crate) bytes: Arc<MailBytes>,
    /// [`Handler::event_bytes`](crate::Handler::event_bytes).
    pub(crate) event_bytes: fn(&E) -> usize,
}

impl<E> Clone for Scales<E> {
    fn clone(&self) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            event_bytes: self.event_bytes,
        }
    }
}

impl<E> Scales<E> {
    /// Weighs and counts a command, hands it over, and takes the count back if the mailbox is full.
    fn send(
        &self,
        to: usize,
        command: Command<E>,
        hand_over: impl FnOnce(Mail<E>) -> Result<(), Mail<E>>,
    ) -> Result<(), Command<E>> {
        let bytes = command.bytes(self.event_bytes);
        if !self.bytes.charge(to, bytes) {
            return Err(command);
        }
        hand_over(Mail { command, bytes }).map_err(|mail| {
            self.bytes.discharge(to, mail.bytes);
            mail.command
        })
    }
}

/// The mailbox of an lcore.
pub(crate) struct Post<E> {
    mailbox: Mailbox<Mail<E>>,
    scales: Scales<E>,
}

impl<E> Post<E> {
    pub(crate) fn new(mailbox: Mailbox<Mail<E>>, scales: Scales<E>) -> Self {
        Self { mailbox, scales }
    }

    /// Queues a command for lcore `to`. `ring_doorbells` wakes it.
    ///
    /// # Errors
    /// Returns the command if that mailbox is full, in number or in bytes, or there is no such lcore.
    pub(crate) fn send(&mut self, to: usize, command: Command<E>) -> Result<(), Command<E>> {
        let Self { mailbox, scales } = self;
        scales.send(to, command, |mail| mailbox.send(to, mail))
    }

    /// Takes one command. Sources take turns.
    pub(crate) fn pop(&mut self) -> Option<Command<E>> {
        let (_, Mail { command, bytes }) = self.mailbox.pop()?;
        self.scales.bytes.discharge(self.mailbox.index(), bytes);
        Some(command)
    }

    /// The handle for other threads.
    pub(crate) fn poster(&self) -> MailPoster<E> {
        MailPoster {
            poster: self.mailbox.poster(),
            to: self.mailbox.index(),
            scales: self.scales.clone(),
        }
    }

    /// The counts of all mailboxes.
    pub(crate) fn bytes(&self) -> &MailBytes {
        &self.scales.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mailbox.is_empty()
    }

    pub(crate) fn ring_doorbells(&mut self) {
        self.mailbox.ring_doorbells();
    }

    pub(crate) fn set_waker(&mut self, wake: impl Fn() + Send + Sync + 'static) -> bool {
        self.mailbox.set_waker(wake)
    }

    pub(crate) fn prepare_sleep(&self) -> bool {
        self.mailbox.prepare_sleep()
    }

    pub(crate) fn awake(&self) {
        self.mailbox.awake();
    }
}

/// Posts commands to one lcore, from any thread.
pub(crate) struct MailPoster<E> {
    poster: Poster<Mail<E>>,
    to: usize,
    scales: Scales<E>,
}

impl<E> Clone for MailPoster<E> {
    fn clone(&self) -> Self {
        Self {
            poster: self.poster.clone(),
            to: self.to,
            scales: self.scales.clone(),
        }
    }
}

impl<E> MailPoster<E> {
    /// Queues a command and wakes the lcore if it sleeps.
    ///
    /// # Errors
    /// Returns the command if the mailbox is full, in number or in bytes.
    pub(crate) fn post(&self, command: Command<E>) -> Result<(), Command<E>> {
        self.scales
            .send(self.to, command, |mail| self.poster.post(mail))
    }

    /// The same for a command that is not offered again: a refusal is counted.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub(crate) fn post_once(&self, command: Command<E>) -> Result<(), Command<E>> {
        self.post(command).inspect_err(|_| {
            if let Some(waiting) = self.scales.bytes.waiting.get(self.to) {
                waiting.refused.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hioload_lcore::mesh::mesh;

    fn posts(bound: usize, capacity: usize) -> Vec<Post<Vec<u8>>> {
        let scales = Scales {
            bytes: Arc::new(MailBytes::new(2, bound)),
            event_bytes: |event: &Vec<u8>| event.len(),
        };
        mesh(2, capacity)
            .into_iter()
            .map(|mailbox| Post::new(mailbox, scales.clone()))
            .collect()
    }

    fn event(bytes: usize) -> Command<Vec<u8>> {
        Command::Event {
            to: None,
            event: vec![0; bytes],
        }
    }

    #[test]
    fn a_mailbox_takes_commands_while_fewer_bytes_than_its_bound_wait() {
        let mut posts = posts(100, 64);
        let [a, b] = &mut posts[..] else { panic!() };
        assert!(a.send(1, event(99)).is_ok());
        assert!(a.send(1, event(500)).is_ok(), "one may exceed it");
        assert!(a.send(1, event(1)).is_err());
        assert!(b.poster().post_once(event(1)).is_err(), "of any sender");
        assert!(
            a.send(0, event(1)).is_ok(),
            "each mailbox has its own bound"
        );
        assert!(a.send(1, Command::Drain).is_ok(), "no bytes, no bound");
        assert_eq!((b.bytes().waiting(1), b.bytes().refused(1)), (599, 1));
        assert!(b.pop().is_some() && b.pop().is_some());
        assert_eq!(b.bytes().waiting(1), 0);
        assert!(a.send(1, event(1)).is_ok());
    }

    #[test]
    fn a_mailbox_that_is_full_in_number_counts_no_bytes_of_what_it_refuses() {
        let mut posts = posts(1000, 1);
        let [a, b] = &mut posts[..] else { panic!() };
        assert!(a.send(1, event(10)).is_ok());
        assert!(a.send(1, event(10)).is_err());
        assert!(a.send(7, event(10)).is_err(), "no such lcore");
        assert_eq!(b.bytes().waiting(1), 10);
        b.bytes().set_bound(5);
        assert!(b.pop().is_some());
        assert!(a.send(1, event(10)).is_ok() && a.send(1, event(1)).is_err());
    }
}
