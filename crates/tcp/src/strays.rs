//! Frames that reached the wrong lcore.

use hioload_device::Waker;

/// One lcore's end of the rings over which frames are handed to the lcores that own their flows.
pub struct Strays {
    index: usize,
    lcores: usize,
    frame_size: usize,
    waker: Option<Waker>,
}

impl Strays {
    /// Connects `lcores` lcores; end `i` is lcore `i`'s. Frames longer than `frame_size` are not handed over.
    #[must_use]
    pub fn mesh(lcores: usize, frame_size: usize) -> Vec<Self> {
        (0..lcores)
            .map(|index| Self {
                index,
                lcores,
                frame_size,
                waker: None,
            })
            .collect()
    }

    /// Says how to wake this lcore when something was handed to it while it sleeps.
    pub fn set_waker(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    /// The lcore this is the end of.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Lcores connected.
    #[must_use]
    pub fn lcores(&self) -> usize {
        self.lcores
    }

    /// The longest frame handed over.
    #[must_use]
    pub fn frame_size(&self) -> usize {
        self.frame_size
    }
}
