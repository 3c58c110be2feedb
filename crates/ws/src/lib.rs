//! Sans-IO WebSocket protocol (RFC 6455, RFC 7692): handshake, frames, messages, closing, compression.
//!
//! Nothing here reads a clock, a socket or a global: bytes go in, events and bytes come out. The receiving side is one
//! [`Decoder`] per connection and one [`Assembler`] per lcore. The sending side is [`encode`] and, if permessage-deflate was
//! agreed, one [`Deflation`] per connection and one [`Compressor`] per lcore. The two sides share nothing, so an answer can be
//! compressed while the message that it answers is still borrowed.
//!
//! ```
//! use hioload_ws_proto::{Assembler, AssemblerOptions, Decoder, Event, OpCode, Role, encode};
//!
//! let mut wire = Vec::new();
//! encode::frame_into(&mut wire, OpCode::Text, b"hello", Some([1, 2, 3, 4]));
//!
//! let mut assembler = Assembler::new(AssemblerOptions::default());
//! let mut decoder = Decoder::new(Role::Server);
//! let (used, event) = decoder.decode(&mut assembler, &mut wire)?;
//! assert_eq!(used, 11);
//! let Some(Event::Message(message)) = event else { panic!() };
//! assert_eq!(message.as_text(), Some("hello"));
//! # Ok::<(), hioload_ws_proto::ProtocolError>(())
//! ```

#![deny(unsafe_code)]

pub mod assembler;
mod budget;
pub mod close;
mod code;
pub mod compression;
pub mod decoder;
pub mod deflate;
pub mod encode;
pub mod error;
pub mod event;
pub mod handshake;
pub mod header;
mod inflating;
mod limits;
pub mod mask;
mod partial;
mod rules;
pub mod types;
pub mod utf8;

pub use assembler::{Assembler, AssemblerOptions, AssemblerStats, Limits};
pub use close::{Answer, CloseCode, CloseFrame, Closing};
pub use compression::{Compressor, Deflation, Inflation};
pub use decoder::{Decoded, Decoder};
pub use error::ProtocolError;
pub use event::{Event, Message};
pub use header::{FrameHeader, MAX_CONTROL, MAX_HEADER};
pub use types::{Kind, OpCode, Role};
pub use utf8::Utf8;
