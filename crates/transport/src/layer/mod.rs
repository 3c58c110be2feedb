//! Layers between a transport and its driver: TLS is one, in the crate `hioload-tls`.
//!
//! A [`Layered`] is a transport made of a transport and a [`Layer`]. The engine takes it as it takes any other
//! [`Transport`](crate::Transport):
//!
//! ```text
//!             engine (Driver)
//!      on_data ▲          │ send_space, commit, close, ...
//!              │          ▼
//!             View = layer + transport below (Connections)
//!      on_data ▲          │
//!              │          ▼
//!             sockets, bypass, fake (Transport)
//! ```
//!
//! While the transport below dispatches or flushes, its driver is an adapter that passes each callback to the layer. The
//! layer passes the callback on and lends the upper driver a [`View`], which is the layer and the transport below together.
//! So a reply that the engine writes from within `on_data` goes through the layer as well. Outside of a dispatch the
//! [`Layered`] itself does the same. Everything is generic: a layer that changes nothing compiles to the calls below it,
//! and the `dataplane` benchmark measures that ([`PassThrough`]).
//!
//! # How to write a layer
//!
//! Implement [`Layer`]. Every method has a default that passes the call through, so a layer contains only what it changes.
//! [`PassThrough`] is the smallest complete one; copy it. A TLS layer changes the following.
//!
//! **State of a connection.** Keep it in a [`BySlot`]. Make it in [`on_accept`](Layer::on_accept) (server) and in
//! [`connect`](Layer::connect) (client), and drop it in [`on_closed`](Layer::on_closed) or in a failed
//! [`on_connect`](Layer::on_connect). Between these two a connection is exactly one handshake and one record layer.
//!
//! **Handshake.** It runs inside [`on_data`](Layer::on_data), which has everything it needs: the bytes, the transport below
//! to answer through, and the upper driver. A server may call the upper `on_accept` at once and present no data until the
//! handshake ends. A client holds `on_connect` back, starts the handshake in the `on_connect` of the transport below, and
//! calls the upper `on_connect` from the `on_data` that completes it. If the handshake fails, it calls `abort` below and
//! turns the `on_closed` that follows into the upper `on_connect` with the error. The contract says that the id is stale
//! by then, so the layer removes its state first, and its [`peer`](Layer::peer) gives `None` for a connection without state.
//!
//! **Received records.** [`on_data`](Layer::on_data) gets bytes that it may change in place, always from the first one that
//! it has not consumed. It takes whole records only and leaves a partial one as [`Rest::NeedsMore`](crate::Rest::NeedsMore):
//! the transport below keeps it and presents it again, unchanged and contiguous. It decrypts a whole record in place and
//! lends the upper driver the plaintext, a subslice of the same memory. The record counts as consumed below from then on.
//! Plaintext that the upper driver leaves has to be copied into the layer's state, because bytes that are left below must
//! be unmodified. The layer presents this copy again, contiguous with the plaintext that follows it:
//!
//! - left as `NeedsMore`: together with the next record, within `on_data`;
//! - left as `Later`: in the layer's [`dispatch`](Layer::dispatch) of the next turn, from a list of connections. While that
//!   list is not empty, [`has_work`](Layer::has_work) is true and no `wait` sleeps;
//! - on a paused connection: after [`resume`](Layer::resume), which puts it on that list.
//!
//! [`on_end`](Layer::on_end) waits until such plaintext has been presented. A FIN without a `close_notify` before it is a
//! truncation (RFC 8446 §6.1) and is reported as an error, not as an end.
//!
//! **Sending.** [`send_space`](Layer::send_space) lends space in an open record of the connection, and [`commit`](Layer::commit)
//! adds to its content, so that the replies of a turn share a record. The record is sealed from there into the space of the
//! transport below when it is full, when something else has to follow it, or in the next flush.
//! [`send_room`](Layer::send_room) subtracts the overhead of the records, and the engine never leaves half a frame.
//! [`send_shared`](Layer::send_shared) has to copy: a payload that many connections share is sealed for each of them into
//! space below. A droppable payload stays in the layer's state until [`flush`](Layer::flush), so that
//! [`drop_oldest`](Layer::drop_oldest) can still take it back: a sealed record has a sequence number and cannot be removed.
//! Bytes that a layer holds back count in [`queued`](Layer::queued).
//!
//! **Flush.** The layer's [`flush`](Layer::flush) runs before that of the transport below and emits the bytes that the layer
//! holds back. It may leave bytes of shared payloads to the next flush, and says so in [`has_unflushed`](Layer::has_unflushed)
//! and [`flush_rounds`](Layer::flush_rounds). During the flush below, `on_writable` may write more; the layer seals this before it returns from
//! [`on_writable`](Layer::on_writable), and the same flush sends it.
//!
//! **Closing.** [`finish`](Layer::finish) and [`close`](Layer::close) seal a `close_notify`, then make the same call below,
//! which sends the queued bytes first. [`abort`](Layer::abort) sends nothing.
//!
//! Two rules of [`Transport`](crate::Transport) hold for a layer too: a call from above never calls the driver (its
//! effects are reported by the next `dispatch` or `flush`), and a call with a stale id does nothing.

mod by_slot;
mod hooks;
mod layered;
mod pass_through;

pub use by_slot::BySlot;
pub use hooks::{Layer, View};
pub use layered::Layered;
pub use pass_through::{Bytes, PassThrough};
