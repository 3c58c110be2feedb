//! The parts of HTTP's grammar that the handshake uses: tokens, lists of tokens, lists of extensions.
//!
//! Everything borrows the octets of a header's value and allocates nothing.

/// A header's value does not follow its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Whether `b` may be part of a token (RFC 9110 §5.6.2).
pub const fn is_token_octet(b: u8) -> bool {
    matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'z' | b'|' | b'~')
        || b.is_ascii_alphanumeric()
}

/// Whether `text` is a token: at least one octet, all of them token octets.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_token_octet(b))
}

/// Strips the optional white space (SP, HTAB) that HTTP allows around a value.
pub fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Whether a value has control octets other than HTAB, which must not be copied into a head.
pub fn has_controls(text: &[u8]) -> bool {
    text.iter().any(|&b| (b < b' ' && b != b'\t') || b == 0x7f)
}

/// The tokens of a comma-separated list; empty elements are skipped (RFC 9110 §5.6.1.2).
#[derive(Debug, Clone)]
pub struct Tokens<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Tokens<'a> {
    /// Reads the value of one header.
    pub fn new(value: &'a [u8]) -> Self {
        Tokens { rest: Some(value) }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<&'a str, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let (element, after) = match rest.iter().position(|&b| b == b',') {
                Some(comma) => (&rest[..comma], Some(&rest[comma + 1..])),
                None => (rest, None),
            };
            self.rest = after;
            let element = trim_ows(element);
            if !element.is_empty() {
                let token = if is_token(element) {
                    as_text(element)
                } else {
                    None
                };
                return Some(token.ok_or(Malformed));
            }
        }
    }
}

/// Whether one of the headers' lists has `token`, in any case. Elements that are not tokens are ignored.
pub fn list_contains<'a>(values: impl Iterator<Item = &'a [u8]>, token: &str) -> bool {
    values
        .flat_map(Tokens::new)
        .flatten()
        .any(|t| t.eq_ignore_ascii_case(token))
}

/// One element of `Sec-WebSocket-Extensions`: a name and its parameters (RFC 6455 §9.1).
#[derive(Debug, Clone, Copy)]
pub struct Extension<'a> {
    name: &'a str,
    params: &'a [u8],
}

impl<'a> Extension<'a> {
    /// The extension's name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Its parameters in order, including duplicates.
    pub fn params(&self) -> Params<'a> {
        Params {
            cursor: Cursor { rest: self.params },
        }
    }
}

/// The value of a parameter: a token, which may be written as a quoted string.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// The octets, unescaped.
    pub fn octets(&self) -> impl Iterator<Item = u8> + use<'a> {
        // A token has no backslash, so that unescaping does not change it.
        let mut raw = self.raw.iter().copied();
        std::iter::from_fn(move || match raw.next() {
            Some(b'\\') => raw.next(),
            other => other,
        })
    }

    /// The value as a decimal number without a sign or leading zeroes.
    pub fn decimal(&self) -> Option<u32> {
        let mut number: Option<u32> = None;
        for octet in self.octets() {
            if !octet.is_ascii_digit() || number == Some(0) {
                return None;
            }
            let digit = u32::from(octet - b'0');
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
        }
        number
    }
}

/// The parameters of an [`Extension`]: names, with values if they have one.
#[derive(Debug, Clone)]
pub struct Params<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a str, Option<Value<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        // `param` has accepted the text when the extension was read, so it cannot fail now.
        self.cursor.param().ok().flatten()
    }
}

/// The elements of one `Sec-WebSocket-Extensions` header; ends after the first malformed one.
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    cursor: Cursor<'a>,
    failed: bool,
}

impl<'a> Extensions<'a> {
    /// Reads the value of one header.
    pub fn new(value: &'a [u8]) -> Self {
        Extensions {
            cursor: Cursor { rest: value },
            failed: false,
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Result<Extension<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.cursor.extension();
        self.failed = next.is_err();
        next.transpose()
    }
}

#[derive(Debug, Clone)]
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn skip_ows(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// Takes `octet` if it is next, and the white space before it.
    fn take(&mut self, octet: u8) -> bool {
        self.skip_ows();
        match self.rest {
            [first, rest @ ..] if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_ows();
        let end = self
            .rest
            .iter()
            .position(|&b| !is_token_octet(b))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        as_text(token).filter(|t| !t.is_empty()).ok_or(Malformed)
    }

    /// The contents of a quoted string, with escapes, without quotes. The opening quote has been taken.
    fn quoted(&mut self) -> Result<&'a [u8], Malformed> {
        let text = self.rest;
        let mut at = 0;
        loop {
            match *text.get(at).ok_or(Malformed)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.rest = &text[at + 1..];
        Ok(&text[..at])
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        if !self.take(b'"') {
            return Ok(Value {
                raw: self.token()?.as_bytes(),
            });
        }
        let value = Value {
            raw: self.quoted()?,
        };
        // RFC 6455 §4.3 and §9.1: "When using the quoted-string syntax variant, the value after quoted-string
        // unescaping MUST conform to the 'token' ABNF."
        let token = value.octets().next().is_some() && value.octets().all(is_token_octet);
        if token { Ok(value) } else { Err(Malformed) }
    }

    /// The next `; name [= value]`, or `None` at the end of the element.
    fn param(&mut self) -> Result<Option<(&'a str, Option<Value<'a>>)>, Malformed> {
        if !self.take(b';') {
            return Ok(None);
        }
        let name = self.token()?;
        let value = if self.take(b'=') {
            Some(self.value()?)
        } else {
            None
        };
        Ok(Some((name, value)))
    }

    /// The next element of the list, or `None` at its end.
    fn extension(&mut self) -> Result<Option<Extension<'a>>, Malformed> {
        while self.take(b',') {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let name = self.token()?;
        let params = self.rest;
        while self.param()?.is_some() {}
        let length = params.len() - self.rest.len();
        self.skip_ows();
        match self.rest.first() {
            None | Some(b',') => Ok(Some(Extension {
                name,
                params: &params[..length],
            })),
            Some(_) => Err(Malformed),
        }
    }
}

/// Token octets are ASCII.
fn as_text(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok()
}
