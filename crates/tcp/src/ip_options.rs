//! IPv4 options (RFC 791 §3.1).

/// Whether a host may ignore these options: they are well-formed, and none is a source route. RFC 7126 §4.3 and §4.4 advise to drop
/// packets with a source route, by which a sender leads its packets around filters; this host neither forwards them nor replies
/// along the route.
#[cold]
pub(crate) fn may_be_ignored(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_ROUTE: u8 = 131;
    const STRICT_ROUTE: u8 = 137;
    loop {
        options = match *options {
            [] | [END, ..] => return true,
            [NO_OPERATION, ref rest @ ..] => rest,
            [LOOSE_ROUTE | STRICT_ROUTE, ..] | [_] => return false,
            [_, len, ..] => match options.get(usize::from(len)..) {
                Some(rest) if len >= 2 => rest,
                _ => return false,
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_options_are_ignored_and_source_routes_are_not() {
        let good: [&[u8]; 5] = [
            &[],
            &[1, 1, 1, 1],
            &[0, 131, 3, 4],
            // Record route; router alert; an unknown option.
            &[7, 7, 4, 0, 0, 0, 0, 1],
            &[148, 4, 0, 0, 30, 3, 9, 0],
        ];
        for options in good {
            assert!(may_be_ignored(options), "{options:?}");
        }
        let bad: [&[u8]; 7] = [
            &[131, 7, 4, 10, 0, 0, 1, 0],
            &[137, 7, 4, 10, 0, 0, 1, 0],
            &[1, 1, 131, 3],
            &[131],
            &[7, 1, 0, 0],
            &[7, 0, 0, 0],
            &[7, 5, 0, 0],
        ];
        for options in bad {
            assert!(!may_be_ignored(options), "{options:?}");
        }
    }
}
