//! Encoded messages that many connections send.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

/// Immutable bytes, shared between lcores by an atomic reference count. One allocation holds the count and the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shared(Arc<[u8]>);

impl Shared {
    /// Copies `parts` in order into one payload.
    #[must_use]
    pub fn from_slices(parts: &[&[u8]]) -> Self {
        let total = parts.iter().map(|part| part.len()).sum();
        // An iterator of known length is collected into a single allocation.
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, total).collect();
        if let Some(mut rest) = Arc::get_mut(&mut bytes) {
            for part in parts {
                let (here, after) = rest.split_at_mut(part.len());
                here.copy_from_slice(part);
                rest = after;
            }
        }
        Self(bytes)
    }

    /// Makes it a payload of this lcore, whose clones cost no atomic.
    #[must_use]
    pub fn local(self) -> LocalShared {
        self.counted(None)
    }

    /// The same, and `held` counts its bytes until the last clone is dropped.
    #[must_use]
    pub fn local_in(self, held: &Held) -> LocalShared {
        held.0.set(held.0.get() + self.len());
        self.counted(Some(held.clone()))
    }

    fn counted(self, held: Option<Held>) -> LocalShared {
        LocalShared(Rc::new(Counted { shared: self, held }))
    }

    /// The number of owners on all threads. Only a test can rely on it: other threads may change it at any time.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl From<Vec<u8>> for Shared {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Shared {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({} bytes)", self.len())
    }
}

/// A [`Shared`] held by one lcore. Its clones are counted without an atomic, and together they hold one count of the
/// `Shared`.
#[derive(Clone)]
pub struct LocalShared(Rc<Counted>);

struct Counted {
    shared: Shared,
    held: Option<Held>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            held.0.set(held.0.get() - self.shared.len());
        }
    }
}

/// The bytes of payloads that one lcore holds. Each payload counts once, however many clones wait to be sent.
#[derive(Clone, Default, Debug)]
pub struct Held(Rc<Cell<usize>>);

impl Held {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.get()
    }
}

impl LocalShared {
    /// The payload, to pass on to another lcore.
    #[must_use]
    pub fn shared(&self) -> Shared {
        self.0.shared.clone()
    }

    /// The number of owners within this lcore.
    #[must_use]
    pub fn strong_count(&self) -> usize {
        Rc::strong_count(&self.0)
    }
}

impl From<Shared> for LocalShared {
    fn from(shared: Shared) -> Self {
        shared.local()
    }
}

impl Deref for LocalShared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0.shared
    }
}

impl AsRef<[u8]> for LocalShared {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for LocalShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalShared({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_slices_in_order() {
        assert_eq!(&*Shared::from_slices(&[b"he", b"", b"llo"]), b"hello");
        assert!(Shared::from_slices(&[]).is_empty());
        assert_eq!(Shared::from(b"ab".to_vec()), Shared::from(&b"ab"[..]));
    }

    #[test]
    fn a_payload_counts_once_until_its_last_clone_is_dropped() {
        let held = Held::default();
        let a = Shared::from_slices(&[b"12345"]).local_in(&held);
        let b = Shared::from_slices(&[b"678"]).local_in(&held);
        let more = [a.clone(), a.clone()];
        drop(a);
        assert_eq!(held.bytes(), 8);
        drop(b);
        assert_eq!(held.bytes(), 5);
        drop(more);
        assert_eq!(held.bytes(), 0);
    }

    #[test]
    fn local_clones_count_once_in_the_shared_payload() {
        let shared = Shared::from_slices(&[b"x"]);
        let local = shared.clone().local();
        let more: Vec<_> = (0..10).map(|_| local.clone()).collect();
        assert_eq!(local.strong_count(), 11);
        assert_eq!(shared.strong_count(), 2);
        let elsewhere = local.shared();
        assert_eq!(shared.strong_count(), 3);
        assert_eq!(
            std::thread::spawn(move || elsewhere.to_vec()).join().ok(),
            Some(b"x".to_vec())
        );
        drop((more, local));
        assert_eq!(shared.strong_count(), 1);
    }
}
