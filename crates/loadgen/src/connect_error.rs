//! The names and the texts of failed connection attempts.

use hioload_engine::ConnectError;

/// The name that an error is counted under, and one line that describes it.
pub(crate) fn describe(error: &ConnectError) -> (String, String) {
    use std::io::ErrorKind;
    let (name, line): (&str, String) = match error {
        // A layer knows more than the kind: such as the alert with which the peer ended TLS.
        ConnectError::Network(error) if error.get_ref().is_some() => ("network", error.to_string()),
        ConnectError::Network(error) => match error.kind() {
            ErrorKind::ConnectionRefused => {
                ("refused", "connection refused: no server listens there".into())
            }
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => (
                "reset",
                "the server reset the connection before it was open".into(),
            ),
            ErrorKind::UnexpectedEof => (
                "ended",
                "the server ended the connection without answering the handshake: does it expect TLS (wss://)?".into(),
            ),
            ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse => (
                "no ports",
                "no local port is left for another connection: add source addresses (--source)".into(),
            ),
            ErrorKind::TimedOut => ("timeout", "the connection timed out".into()),
            // EMFILE and ENFILE.
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => (
                "files",
                "too few file descriptors: raise the limit with ulimit -n".into(),
            ),
            _ => ("network", error.to_string()),
        },
        ConnectError::Refused(status) => {
            return (format!("http {status}"), error.to_string());
        }
        ConnectError::Timeout => ("timeout", "the server did not answer the handshake in time".into()),
        ConnectError::Handshake(_) => ("handshake", format!("{error}: is it a WebSocket server, and does it expect TLS (wss://)?")),
        ConnectError::Request(_) => ("request", error.to_string()),
        _ => ("other", error.to_string()),
    };
    (name.to_owned(), line)
}
