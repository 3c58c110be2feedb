//! A connection of the client role before it is open: the options of the caller, and the offers of its request.

use std::sync::Arc;

use hioload_ws_proto::deflate::negotiate;
use hioload_ws_proto::handshake::client::ClientRequest;

use crate::config::Tunables;
use crate::handler::Connect;

/// A connection whose opening handshake has not ended.
pub(crate) struct Opening {
    pub(crate) connect: Connect,
    pub(crate) key: [u8; 16],
    extensions: Option<String>,
    /// The tunables that `extensions` were offered under. The current ones may change before the response arrives.
    pub(crate) offered_by: Option<Arc<Tunables>>,
    /// Bytes of informational responses received so far.
    pub(crate) skipped: usize,
}

impl Opening {
    pub(crate) fn new(connect: Connect) -> Self {
        Self {
            connect,
            key: [0; 16],
            extensions: None,
            offered_by: None,
            skipped: 0,
        }
    }

    /// Offers permessage-deflate, if the caller wants it and the configuration has it.
    pub(crate) fn offer(&mut self, tunables: &Arc<Tunables>) {
        if let Some(deflate) = tunables.deflate.as_ref().filter(|_| self.connect.deflate) {
            self.extensions = Some(negotiate::client_offer(deflate).as_str().to_owned());
            self.offered_by = Some(Arc::clone(tunables));
        }
    }

    /// Lends `f` the request.
    pub(crate) fn with_request<R>(&self, f: impl FnOnce(&ClientRequest<'_>) -> R) -> R {
        let connect = &self.connect;
        let protocols: Vec<&str> = connect.protocols.iter().map(String::as_str).collect();
        let headers: Vec<(&str, &str)> = connect
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        let mut request = ClientRequest::new(&connect.host, &connect.target);
        request.origin = connect.origin.as_deref();
        request.protocols = &protocols;
        request.extensions = self.extensions.as_deref();
        request.headers = &headers;
        f(&request)
    }
}
