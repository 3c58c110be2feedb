//! The thread that takes records from the taps' rings and writes the file.

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hioload_lcore::Clock;
use rtrb::Consumer;

use super::{Core, Header, Source, TapOptions, TapReport};
use crate::pcapng::{self, Packet, Statistics};

/// The length of a sleep when all rings are empty.
const PAUSE: Duration = Duration::from_millis(5);

/// The number of bytes that are collected before they are written.
const BATCH: usize = 256 << 10;

/// A source and its counters in this capture.
struct Interface {
    source: Source,
    /// The start of the capture on this interface, in nanoseconds since 1970.
    start: u64,
    written: u64,
    over_limit: u64,
}

pub(super) struct Writer {
    out: Box<dyn Write>,
    core: Arc<Core>,
    /// The number of this capture.
    number: u32,
    options: TapOptions,
    /// The zero of the taps' clock, in nanoseconds since 1970.
    epoch: u64,
    /// Interfaces are only appended: the index is the interface's number in the file.
    interfaces: Vec<Interface>,
    pending: Vec<u8>,
    bytes: Vec<u8>,
    report: TapReport,
    /// The time of the latest frame, in nanoseconds since 1970.
    latest: u64,
    at_limit: bool,
}

impl Writer {
    pub(super) fn new(
        out: Box<dyn Write>,
        core: &Arc<Core>,
        number: u32,
        options: &TapOptions,
        epoch: u64,
    ) -> Self {
        let mut pending = Vec::with_capacity(2 * BATCH);
        let application = concat!("hioload ", env!("CARGO_PKG_VERSION"));
        pcapng::section_header(&mut pending, application);
        Self {
            out,
            core: Arc::clone(core),
            number,
            options: *options,
            epoch,
            interfaces: Vec::new(),
            pending,
            bytes: Vec::new(),
            report: TapReport::default(),
            latest: 0,
            at_limit: false,
        }
    }

    /// Records until the switch is turned off or the file is full.
    pub(super) fn run(&mut self, waiting: &Mutex<Vec<Source>>) -> io::Result<TapReport> {
        loop {
            // Loaded before the rings are read: records that were written while the switch was on are found below.
            let on = self.is_on();
            self.take_sources(waiting);
            let moved = self.drain();
            if self.pending.len() >= BATCH || (!moved && !self.pending.is_empty()) {
                self.write_pending()?;
            }
            if !moved && (!on || self.at_limit) {
                break;
            }
            if self.at_limit {
                // The taps stop copying; the records that are already in the rings are counted.
                let state = self.state();
                let _ = self.core.state.compare_exchange(
                    state,
                    0,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
            if !moved {
                thread::park_timeout(PAUSE);
            }
        }
        self.finish()
    }

    /// The sources for the next capture, without those whose tap was dropped. Discards the records in the rings, because the next
    /// capture would find no room in them until its thread runs.
    pub(super) fn into_sources(self) -> impl Iterator<Item = Source> {
        let sources = self.interfaces.into_iter().map(|one| one.source);
        sources
            .filter(|source| !source.records.is_abandoned())
            .map(|mut source| {
                while let Some(header) = peek(&mut source.records) {
                    skip(&mut source.records, Header::LEN + header.kept as usize);
                }
                source
            })
    }

    fn state(&self) -> u64 {
        u64::from(self.number) << 32 | u64::from(self.options.snaplen)
    }

    fn is_on(&self) -> bool {
        self.core.state.load(Ordering::Relaxed) == self.state()
    }

    fn take_sources(&mut self, waiting: &Mutex<Vec<Source>>) {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let start = match self.options.epoch {
            None => self.epoch.saturating_add(Clock::new().now().as_nanos()),
            Some(_) => self.latest.max(self.epoch),
        };
        for mut source in waiting.drain(..) {
            // A tap may have written records of the last capture after its end.
            self.discard_old(&mut source);
            pcapng::interface(&mut self.pending, &source.name, self.options.snaplen);
            self.interfaces.push(Interface {
                start,
                written: 0,
                over_limit: 0,
                source,
            });
        }
    }

    /// Discards the records of earlier captures.
    fn discard_old(&self, source: &mut Source) {
        while let Some(header) = peek(&mut source.records) {
            if header.capture == self.number {
                break;
            }
            skip(&mut source.records, Header::LEN + header.kept as usize);
        }
    }

    /// Moves records from the rings to `pending`, at most about one batch, with an equal share for each ring. Returns whether there
    /// was a record.
    fn drain(&mut self) -> bool {
        let mut moved = false;
        let share = BATCH / self.interfaces.len().max(1);
        for at in 0..self.interfaces.len() {
            let most = self.pending.len() + share;
            while self.pending.len() < most {
                let records = &mut self.interfaces[at].source.records;
                let Some(header) = peek(records) else { break };
                skip(records, Header::LEN);
                self.bytes.resize(header.kept as usize, 0);
                // A tap writes a record as a whole.
                let whole = records.pop_entire_slice(&mut self.bytes).is_ok();
                moved = true;
                if whole && header.capture == self.number {
                    self.packet(at, &header);
                }
            }
        }
        moved
    }

    fn packet(&mut self, at: usize, header: &Header) {
        let size =
            pcapng::packet_len(self.bytes.len()) + pcapng::STATISTICS_LEN * self.interfaces.len();
        let file = self.report.bytes + (self.pending.len() + size) as u64;
        self.at_limit |= self.options.max_bytes.is_some_and(|most| file > most);
        if self.at_limit {
            self.interfaces[at].over_limit += 1;
            return;
        }
        let time = self.epoch.saturating_add(header.time.as_nanos());
        self.latest = self.latest.max(time);
        self.report.written += 1;
        self.interfaces[at].written += 1;
        pcapng::packet(
            &mut self.pending,
            &Packet {
                interface: at as u32,
                time,
                direction: header.direction,
                length: header.length,
                bytes: &self.bytes,
            },
        );
    }

    fn write_pending(&mut self) -> io::Result<()> {
        self.out.write_all(&self.pending)?;
        self.report.bytes += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<TapReport> {
        let end = match self.options.epoch {
            None => self.epoch.saturating_add(Clock::new().now().as_nanos()),
            Some(_) => self.latest.max(self.epoch),
        };
        for (at, one) in self.interfaces.iter().enumerate() {
            let lost = one.source.counts.dropped_in(self.number);
            self.report.dropped += lost;
            self.report.over_limit += one.over_limit;
            let statistics = Statistics {
                start: one.start,
                end,
                received: one.written + one.over_limit + lost,
                dropped: lost + one.over_limit,
            };
            pcapng::statistics(&mut self.pending, at as u32, &statistics);
        }
        self.write_pending()?;
        self.out.flush()?;
        Ok(self.report)
    }
}

/// Reads the header of the next record, and leaves it in the ring. A tap writes a record as a whole, so the ring never has a part of
/// one.
fn peek(records: &mut Consumer<u8>) -> Option<Header> {
    let chunk = records.read_chunk(Header::LEN).ok()?;
    let (first, second) = chunk.as_slices();
    let mut bytes = [0; Header::LEN];
    bytes[..first.len()].copy_from_slice(first);
    bytes[first.len()..].copy_from_slice(second);
    Some(Header::read(&bytes))
}

fn skip(records: &mut Consumer<u8>, bytes: usize) {
    if let Ok(chunk) = records.read_chunk(bytes) {
        chunk.commit_all();
    }
}
