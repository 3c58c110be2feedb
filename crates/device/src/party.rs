//! The party at fault, as the errors of devices name it.

/// The party that has to act on an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Party {
    /// The caller: an option or an argument is wrong.
    Caller,
    /// The machine and its administrator: something is missing, occupied, or not permitted.
    Environment,
}
