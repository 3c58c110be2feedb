//! TCP in user space.
