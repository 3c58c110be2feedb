//! From the values of an operator to fields of options.

use std::time::Duration;

use super::values::{Size, Span, Within};

/// Sets each target whose source holds a value.
macro_rules! set {
    ($($target:expr => $source:expr;)*) => {
        $(if let Some(value) = $source { $target = value; })*
    };
}
pub(super) use set;

pub(super) fn bytes<const A: u64, const B: u64>(size: Option<Within<Size, A, B>>) -> Option<usize> {
    size.map(|size| size.0.0)
}

pub(super) fn within<T, const A: u64, const B: u64>(value: Option<Within<T, A, B>>) -> Option<T> {
    value.map(|value| value.0)
}

pub(super) fn span(span: Option<Span>) -> Option<Duration> {
    span.map(|span| span.0)
}
