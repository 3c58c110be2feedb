//! Negotiates the parameters of permessage-deflate in the opening handshake (RFC 7692 §5 and §7.1).

use std::fmt;

use super::{
    DeflateConfig, Deflater, MAX_WINDOW_BITS, MIN_WINDOW_BITS, Sharing, clamp_window_bits,
};
use crate::handshake::grammar::{Extension, Extensions, Value};

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// How one direction of a connection compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// The sender's window is at most `2^window_bits` bytes; 8..=15.
    pub window_bits: u8,
    /// Whether a message may refer to earlier ones.
    pub context_takeover: bool,
}

impl Direction {
    /// The most bytes of history that the receiver of this direction keeps for a connection.
    pub const fn receive_memory(self) -> usize {
        if self.context_takeover {
            1 << self.window_bits
        } else {
            0
        }
    }

    /// Bytes of compressor that the sender of this direction keeps for a connection.
    pub const fn send_memory(self, config: &DeflateConfig) -> usize {
        match config.sharing {
            Sharing::Own => Deflater::memory(self.window_bits, config.mem_level),
            Sharing::Shared => 0,
        }
    }
}

/// The parameters that both ends agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// The direction from the server.
    pub server: Direction,
    /// The direction from the client.
    pub client: Direction,
    /// Whether the response limits the client's window, which is allowed only if the offer names it.
    says_client_window: bool,
    /// Whether the offer had `server_max_window_bits`, which the response has to repeat, even with 15.
    says_server_window: bool,
}

impl Agreed {
    /// The value of the server's `Sec-WebSocket-Extensions` for these parameters.
    // RFC 7692 §5: "To accept the use of an offered PMCE, a server MUST include the extension name of the PMCE in the
    // "Sec-WebSocket-Extensions" header field of its opening handshake".
    pub fn response(&self) -> ExtensionText {
        let mut text = ExtensionText::new();
        if !self.server.context_takeover {
            text.param(SERVER_NO_CONTEXT_TAKEOVER, None);
        }
        if !self.client.context_takeover {
            text.param(CLIENT_NO_CONTEXT_TAKEOVER, None);
        }
        if self.says_server_window {
            text.param(SERVER_MAX_WINDOW_BITS, Some(self.server.window_bits));
        }
        if self.says_client_window {
            text.param(CLIENT_MAX_WINDOW_BITS, Some(self.client.window_bits));
        }
        text
    }
}

/// The value of a `Sec-WebSocket-Extensions` header for this extension, in an inline buffer.
#[derive(Clone, Copy)]
pub struct ExtensionText {
    octets: [u8; 128],
    len: usize,
}

impl ExtensionText {
    fn new() -> Self {
        let mut text = ExtensionText {
            octets: [0; 128],
            len: 0,
        };
        text.push(NAME);
        text
    }

    fn param(&mut self, name: &str, bits: Option<u8>) {
        self.push("; ");
        self.push(name);
        if let Some(bits) = bits {
            self.push("=");
            let digits = [b'0' + bits / 10 % 10, b'0' + bits % 10];
            let digits = if bits < 10 { &digits[1..] } else { &digits[..] };
            self.push(std::str::from_utf8(digits).unwrap_or_default());
        }
    }

    /// All four parameters with two digits each make 126 octets.
    fn push(&mut self, text: &str) {
        let end = self.len + text.len();
        if let Some(space) = self.octets.get_mut(self.len..end) {
            space.copy_from_slice(text.as_bytes());
            self.len = end;
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.len]).unwrap_or_default()
    }
}

impl std::ops::Deref for ExtensionText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for ExtensionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Why a client must not go on with what the server answered (RFC 7692 §7: it "MUST _Fail the WebSocket Connection_").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NegotiationError {
    /// `Sec-WebSocket-Extensions` does not follow the grammar of RFC 6455 §9.1.
    Malformed,
    /// An extension that we did not offer, or ours twice.
    NotOffered,
    /// A parameter that is unknown, occurs twice, or has an invalid value.
    Parameter,
    /// The response does not satisfy the demands of our offer.
    Unacceptable,
}

impl fmt::Display for NegotiationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NegotiationError::Malformed => "the server's Sec-WebSocket-Extensions is malformed",
            NegotiationError::NotOffered => "the server accepted an extension that was not offered",
            NegotiationError::Parameter => "the server's permessage-deflate parameters are invalid",
            NegotiationError::Unacceptable => {
                "the server's permessage-deflate response does not satisfy our offer"
            }
        })
    }
}

impl std::error::Error for NegotiationError {}

/// The parameters of one offer or response.
#[derive(Default)]
struct Parameters {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// The inner `None` means without a value, which only an offer may have.
    client_max_window_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` if any parameter is unknown, occurs twice, or has an invalid value.
    // RFC 7692 §7: "A server MUST decline an extension negotiation offer for this extension if any of the following
    // conditions are met": "The negotiation offer contains an extension parameter not defined for use in an offer.",
    // "[...] with an invalid value.", "[...] multiple extension parameters with the same name." And the same of a
    // response: "A client MUST _Fail the WebSocket Connection_ if the peer server accepted an extension negotiation
    // offer for this extension with an extension negotiation response meeting any of the following conditions".
    fn read(extension: &Extension<'_>) -> Option<Self> {
        let mut read = Parameters::default();
        for (name, value) in extension.params() {
            match name {
                SERVER_NO_CONTEXT_TAKEOVER if !read.server_no_context_takeover => {
                    read.server_no_context_takeover = value.is_none();
                    value.is_none().then_some(())?;
                }
                CLIENT_NO_CONTEXT_TAKEOVER if !read.client_no_context_takeover => {
                    read.client_no_context_takeover = value.is_none();
                    value.is_none().then_some(())?;
                }
                SERVER_MAX_WINDOW_BITS if read.server_max_window_bits.is_none() => {
                    read.server_max_window_bits = Some(window_bits(value?)?);
                }
                CLIENT_MAX_WINDOW_BITS if read.client_max_window_bits.is_none() => {
                    let bits = value.map(|value| window_bits(value).ok_or(())).transpose();
                    read.client_max_window_bits = Some(bits.ok()?);
                }
                _ => return None,
            }
        }
        Some(read)
    }
}

/// RFC 7692 §7.1.2.1, of an offer and of a response: "a decimal integer value without leading zeroes between 8 to 15,
/// inclusive, indicating the base-2 logarithm of the LZ77 sliding window size, and MUST conform to the ABNF below."
/// §7.1.2.2, of an offer: "If a value is specified for this parameter, the value MUST conform to the ABNF below."; of a
/// response: "indicating the base-2 logarithm of the LZ77 sliding window size and MUST conform to the ABNF below."
fn window_bits(value: Value<'_>) -> Option<u8> {
    let bits = u8::try_from(value.decimal()?).ok()?;
    (MIN_WINDOW_BITS..=MAX_WINDOW_BITS)
        .contains(&bits)
        .then_some(bits)
}

/// Chooses among a client's offers: `offers` are the values of its `Sec-WebSocket-Extensions` headers in order.
/// The first acceptable offer wins (RFC 7692 §5: the order "specifies the client's preference"); `None` declines
/// them all, which is no error: the connection goes on uncompressed.
// RFC 6455 §4.2.2: "If the server supports multiple extensions, then the value MUST be derived from the client's
// handshake, specifically by selecting one or more of the values from the |Sec-WebSocket-Extensions| field."
// "Extensions not listed by the client MUST NOT be listed." RFC 7692 §5: "The element MUST represent a PMCE that is
// fully supported by the server." "A server declining all offered PMCEs MUST NOT include any element with PMCE names."
pub fn server<'a>(
    config: &DeflateConfig,
    offers: impl IntoIterator<Item = &'a [u8]>,
) -> Option<Agreed> {
    offers
        .into_iter()
        .flat_map(Extensions::new)
        .flatten()
        .filter(|offer| offer.name() == NAME)
        .find_map(|offer| Some(accept(config, &Parameters::read(&offer)?)))
}

/// A server's response to a valid offer. It can serve any offer.
fn accept(config: &DeflateConfig, offer: &Parameters) -> Agreed {
    // RFC 7692 §7.1.1.1: "A server accepts an extension negotiation offer that includes the
    // "server_no_context_takeover" extension parameter by including [it] in the [...] response"; it may also do so
    // unasked.
    let server_forgets = offer.server_no_context_takeover
        || config.server_no_context_takeover
        || config.sharing == Sharing::Shared;

    // §7.1.2.1: accepted by including the parameter "with the same or smaller value as the offer"; a server may
    // include it unasked as well.
    let server_limit = clamp_window_bits(config.server_max_window_bits);
    let server_bits = offer
        .server_max_window_bits
        .unwrap_or(MAX_WINDOW_BITS)
        .min(server_limit);

    // §7.1.2.2: "If a received extension negotiation offer doesn't have the "client_max_window_bits" extension
    // parameter, the corresponding extension negotiation response to the offer MUST NOT include the
    // "client_max_window_bits" extension parameter." Then a client's window cannot be limited, but what we keep of it
    // can: nothing.
    let client_limit = clamp_window_bits(config.client_max_window_bits);
    let client_bits = match offer.client_max_window_bits {
        Some(hint) => hint.unwrap_or(MAX_WINDOW_BITS).min(client_limit),
        None => MAX_WINDOW_BITS,
    };
    let client_forgets = offer.client_no_context_takeover
        || config.client_no_context_takeover
        || client_bits > client_limit;

    Agreed {
        server: Direction {
            window_bits: server_bits,
            context_takeover: !server_forgets,
        },
        client: Direction {
            window_bits: client_bits,
            context_takeover: !client_forgets,
        },
        says_server_window: offer.server_max_window_bits.is_some() || server_bits < MAX_WINDOW_BITS,
        says_client_window: client_bits < MAX_WINDOW_BITS,
    }
}

/// The value of a client's `Sec-WebSocket-Extensions`: one offer.
// RFC 7692 §5: "To offer use of a PMCE, a client MUST include the extension name of the PMCE in the
// "Sec-WebSocket-Extensions" header field of its opening handshake". "In a PMCE negotiation offer, the client MUST
// inform the server of its LZ77 window size so that the server uses an LZ77 window size that is not greater".
pub fn client_offer(config: &DeflateConfig) -> ExtensionText {
    let mut text = ExtensionText::new();
    if config.server_no_context_takeover {
        text.param(SERVER_NO_CONTEXT_TAKEOVER, None);
    }
    if client_forgets(config) {
        text.param(CLIENT_NO_CONTEXT_TAKEOVER, None);
    }
    let server_bits = clamp_window_bits(config.server_max_window_bits);
    if server_bits < MAX_WINDOW_BITS {
        text.param(SERVER_MAX_WINDOW_BITS, Some(server_bits));
    }
    // It is always present, so that a server may limit our window, and has a value if ours is below the maximum.
    let client_bits = clamp_window_bits(config.client_max_window_bits);
    text.param(
        CLIENT_MAX_WINDOW_BITS,
        (client_bits < MAX_WINDOW_BITS).then_some(client_bits),
    );
    text
}

/// Checks a server's answer to [`client_offer`]: `responses` are the values of its `Sec-WebSocket-Extensions`
/// headers. `None` if the server declined: the connection continues uncompressed.
///
/// # Errors
/// [`NegotiationError`]: the connection must be failed.
pub fn client_accept<'a>(
    config: &DeflateConfig,
    responses: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Option<Agreed>, NegotiationError> {
    let mut agreed = None;
    for extension in responses.into_iter().flat_map(Extensions::new) {
        let extension = extension.map_err(|_| NegotiationError::Malformed)?;
        // RFC 6455 §4.1: an extension "that was not present in the client's handshake" fails the connection. RFC 7692
        // §5: "If a server gives an invalid response, such as accepting a PMCE that the client did not offer, the
        // client MUST _Fail the WebSocket Connection_." Of an extension that has a use for RSV1 too: "A client that
        // received a response accepting a PMCE extension negotiation offer together with such an extension MUST _Fail
        // the WebSocket Connection_." Of one whose frames or bits compression would spoil: "A client that receives a
        // response accepting a PMCE extension negotiation offer together with such an extension MUST _Fail the
        // WebSocket Connection_."
        if extension.name() != NAME || agreed.is_some() {
            return Err(NegotiationError::NotOffered);
        }
        agreed = Some(confirm(config, &extension)?);
    }
    Ok(agreed)
}

fn confirm(config: &DeflateConfig, extension: &Extension<'_>) -> Result<Agreed, NegotiationError> {
    let response = Parameters::read(extension).ok_or(NegotiationError::Parameter)?;
    let server_limit = clamp_window_bits(config.server_max_window_bits);
    let server_bits = response.server_max_window_bits.unwrap_or(MAX_WINDOW_BITS);
    // RFC 7692 §7.1.1.1 and §7.1.2.1: a server that accepts the offer includes these, the window not larger than
    // offered.
    if server_bits > server_limit
        || (config.server_no_context_takeover && !response.server_no_context_takeover)
    {
        return Err(NegotiationError::Unacceptable);
    }
    let client_limit = clamp_window_bits(config.client_max_window_bits);
    // §7.2.2: "[...] the client MUST use an LZ77 sliding window of a size that conforms the "agreed parameters" to
    // compress messages to send."
    let client_bits = match response.client_max_window_bits {
        // §7.1.2.2: in a response the parameter has a value.
        Some(None) => return Err(NegotiationError::Parameter),
        Some(Some(bits)) => bits.min(client_limit),
        None => client_limit,
    };
    // §7.1.1.2: "A client MUST support the "client_no_context_takeover" extension parameter in an extension negotiation
    // response.", asked or not.
    let client_forgets = client_forgets(config) || response.client_no_context_takeover;
    Ok(Agreed {
        server: Direction {
            window_bits: server_bits,
            context_takeover: !response.server_no_context_takeover,
        },
        client: Direction {
            window_bits: client_bits,
            context_takeover: !client_forgets,
        },
        says_server_window: response.server_max_window_bits.is_some(),
        says_client_window: response.client_max_window_bits.is_some(),
    })
}

/// Whether we as a client keep no context. §7.1.1.2 lets the offer say so without asking for anything.
fn client_forgets(config: &DeflateConfig) -> bool {
    config.client_no_context_takeover || config.sharing == Sharing::Shared
}
