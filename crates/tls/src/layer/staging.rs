//! Records that are being written: the replies of a turn to one connection go into one record.

use hioload_transport::ConnId;

use crate::record::MAX_CONTENT;

/// Records that are open at once. Another one makes the layer seal the one that was opened first.
const RECORDS: usize = 64;

/// Content that is sealed when the record is full, when something else has to follow, or in the next flush.
pub(super) struct Record {
    pub(super) id: ConnId,
    pub(super) content: Vec<u8>,
    pub(super) used: usize,
    /// Bytes of content that it may have.
    pub(super) most: usize,
    in_use: bool,
}

/// The open records of an lcore. Their buffers are used again.
#[derive(Default)]
pub(super) struct Staging {
    records: Vec<Record>,
    next: usize,
    open: usize,
}

impl Staging {
    /// Opens a record. Returns its index plus one; `None` if all are open: then [`oldest`](Self::oldest) has to be sealed first.
    pub(super) fn open(&mut self, id: ConnId, most: usize) -> Option<u16> {
        if self.open == RECORDS {
            return None;
        }
        let at = match self.records.iter().position(|record| !record.in_use) {
            Some(at) => at,
            None => {
                self.records.push(Record {
                    id,
                    // What is not used is not touched.
                    content: Vec::with_capacity(MAX_CONTENT),
                    used: 0,
                    most: 0,
                    in_use: false,
                });
                self.records.len() - 1
            }
        };
        self.open += 1;
        let record = &mut self.records[at];
        (record.id, record.used, record.most, record.in_use) = (id, 0, most, true);
        if record.content.len() < most {
            record.content.resize(most, 0);
        }
        // At most RECORDS.
        Some(at as u16 + 1)
    }

    #[inline]
    pub(super) fn get(&self, staged: u16) -> Option<&Record> {
        self.records.get(usize::from(staged).checked_sub(1)?)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, staged: u16) -> Option<&mut Record> {
        self.records.get_mut(usize::from(staged).checked_sub(1)?)
    }

    /// Bytes that a record holds.
    #[inline]
    pub(super) fn used(&self, staged: u16) -> usize {
        self.get(staged).map_or(0, |record| record.used)
    }

    pub(super) fn free(&mut self, staged: u16) {
        if let Some(record) = self.get_mut(staged)
            && std::mem::replace(&mut record.in_use, false)
        {
            record.used = 0;
            self.open -= 1;
        }
    }

    /// The connection of the record to seal next when all are open.
    pub(super) fn oldest(&mut self) -> Option<ConnId> {
        self.next = (self.next + 1) % RECORDS;
        self.records
            .get(self.next)
            .filter(|record| record.in_use)
            .map(|record| record.id)
    }

    /// The connection of open record `at`, counted from 0.
    pub(super) fn at(&self, at: usize) -> Option<ConnId> {
        self.records
            .get(at)
            .filter(|record| record.in_use)
            .map(|record| record.id)
    }

    /// Records that were ever open at once.
    pub(super) fn len(&self) -> usize {
        if self.open == 0 {
            return 0;
        }
        self.records.len()
    }
}
