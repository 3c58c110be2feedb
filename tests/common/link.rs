//! The byte stream of a client: TCP, or rustls over TCP.
//!
//! Two handles of one link may be used by two threads: one writes, one reads.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::SockRef;

/// The content of a record at most (RFC 8446 §5.1).
const RECORD: usize = 1 << 14;

/// One handle of a stream.
pub enum Link {
    Plain(TcpStream),
    Secured(Arc<Secured>),
}

/// TLS over TCP. The handshake takes place in the first write. Until then a client has said nothing, and reads are those of TCP.
pub struct Secured {
    tcp: TcpStream,
    config: Arc<ClientConfig>,
    tls: Mutex<Option<Speaking>>,
    /// Records that TCP has not taken yet. Whoever writes to TCP holds it, so that records keep their order.
    unsent: Mutex<Vec<u8>>,
}

/// After the handshake.
struct Speaking {
    connection: ClientConnection,
    /// Content that was received and not read.
    content: Vec<u8>,
    end: Option<End>,
}

#[derive(Clone, Copy)]
enum End {
    /// After a close_notify.
    Closed,
    Failed(ErrorKind),
}

impl Link {
    pub fn new(tcp: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Self {
        match tls {
            None => Self::Plain(tcp),
            Some(config) => Self::Secured(Arc::new(Secured {
                tcp,
                config: Arc::clone(config),
                tls: Mutex::new(None),
                unsent: Mutex::new(Vec::new()),
            })),
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Secured(secured) => &secured.tcp,
        }
    }

    pub fn second(&self) -> Self {
        match self {
            Self::Plain(tcp) => Self::Plain(tcp.try_clone().expect("a second handle")),
            Self::Secured(secured) => Self::Secured(Arc::clone(secured)),
        }
    }

    /// Writes some of it. Over TLS that is a whole record, of which a part may wait for the next call.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Secured(secured) => secured.write(bytes),
        }
    }

    pub fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let len = self.write(bytes)?;
            bytes = &bytes[len..];
        }
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secured(secured) => secured.flush(),
        }
    }

    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(into),
            Self::Secured(secured) => secured.read(into),
        }
    }

    /// Whether there is something to read, or the end, without waiting for it.
    pub fn has_news(&self) -> bool {
        let looks = |look: &dyn Fn() -> bool| {
            let tcp = self.tcp();
            tcp.set_nonblocking(true).expect("the option exists");
            let news = look();
            tcp.set_nonblocking(false).expect("the option exists");
            news
        };
        looks(&|| match self {
            Self::Secured(secured) if secured.speaks() => secured.has_news(),
            _ => !is_stuck(self.tcp().peek(&mut [0])),
        })
    }

    /// Ends the sending side.
    pub fn finish(&self) {
        if let Self::Secured(secured) = self {
            secured.say_goodbye().expect("the connection is up");
        }
        let done = self.tcp().shutdown(Shutdown::Write);
        done.expect("the connection is up");
    }

    /// Ends the connection with a TCP reset, when the last handle is dropped.
    pub fn reset(self) {
        SockRef::from(self.tcp())
            .set_linger(Some(Duration::ZERO))
            .expect("the option exists");
        if let Self::Secured(secured) = &self {
            *secured.tls() = None;
            secured.unsent.lock().expect("not poisoned").clear();
        }
    }
}

impl Secured {
    fn tls(&self) -> MutexGuard<'_, Option<Speaking>> {
        self.tls.lock().expect("not poisoned")
    }

    fn speaks(&self) -> bool {
        self.tls().is_some()
    }

    /// The handshake, if there was none.
    fn begin(&self) -> io::Result<()> {
        let mut tls = self.tls();
        if tls.is_none() {
            let name = ServerName::try_from("localhost").expect("a name");
            let made = ClientConnection::new(Arc::clone(&self.config), name);
            let mut connection = made.expect("a configuration that fits");
            while connection.is_handshaking() {
                connection.complete_io(&mut &self.tcp)?;
            }
            let mut speaking = Speaking {
                connection,
                content: Vec::new(),
                end: None,
            };
            speaking.take_content();
            *tls = Some(speaking);
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        let mut unsent = self.unsent.lock().expect("not poisoned");
        send(&self.tcp, &mut unsent)?;
        let content = &bytes[..bytes.len().min(RECORD)];
        if let Some(speaking) = self.tls().as_mut() {
            speaking.connection.writer().write_all(content)?;
            speaking.take_records(&mut unsent)?;
        }
        match send(&self.tcp, &mut unsent) {
            Err(error) if !stuck(&error) => Err(error),
            _ => Ok(content.len()),
        }
    }

    fn flush(&self) -> io::Result<()> {
        send(&self.tcp, &mut self.unsent.lock().expect("not poisoned"))
    }

    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls().as_mut() {
                None => {}
                Some(speaking) if !speaking.content.is_empty() => {
                    let len = speaking.content.len().min(into.len());
                    into[..len].copy_from_slice(&speaking.content[..len]);
                    speaking.content.drain(..len);
                    return Ok(len);
                }
                Some(speaking) => match speaking.end {
                    Some(End::Closed) => return Ok(0),
                    Some(End::Failed(kind)) => return Err(kind.into()),
                    None => {}
                },
            }
            if !self.speaks() {
                return (&self.tcp).read(into);
            }
            self.receive()?;
        }
    }

    /// Reads from TCP once. How it ended is remembered; an error is that nothing arrived in time.
    fn receive(&self) -> io::Result<()> {
        let mut piece = [0; 1 << 16];
        let read = (&self.tcp).read(&mut piece);
        let mut tls = self.tls();
        let Some(speaking) = tls.as_mut() else {
            return Ok(());
        };
        speaking.end = match read {
            Err(error) if error.kind() == ErrorKind::Interrupted => None,
            Err(error) if stuck(&error) => return Err(error),
            Err(error) => Some(End::Failed(error.kind())),
            Ok(0) => Some(speaking.tcp_has_ended()),
            Ok(len) => {
                speaking.open(&piece[..len]);
                self.answer(speaking)
                    .err()
                    .map(|error| End::Failed(error.kind()))
            }
        };
        Ok(())
    }

    /// Sends what TLS answers, as to a KeyUpdate. If another thread is writing, it sends that with its own.
    fn answer(&self, speaking: &mut Speaking) -> io::Result<()> {
        if !speaking.connection.wants_write() {
            return Ok(());
        }
        let Ok(mut unsent) = self.unsent.try_lock() else {
            return Ok(());
        };
        speaking.take_records(&mut unsent)?;
        match send(&self.tcp, &mut unsent) {
            Err(error) if !stuck(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn has_news(&self) -> bool {
        let _ = self.receive();
        self.tls()
            .as_ref()
            .is_some_and(|speaking| !speaking.content.is_empty() || speaking.end.is_some())
    }

    fn say_goodbye(&self) -> io::Result<()> {
        let mut unsent = self.unsent.lock().expect("not poisoned");
        if let Some(speaking) = self.tls().as_mut() {
            speaking.connection.send_close_notify();
            speaking.take_records(&mut unsent)?;
        }
        send(&self.tcp, &mut unsent)
    }
}

impl Speaking {
    fn open(&mut self, mut records: &[u8]) {
        while !records.is_empty() {
            let read = self.connection.read_tls(&mut records);
            read.expect("the content was taken");
            if let Err(error) = self.connection.process_new_packets() {
                panic!("the server broke TLS: {error}");
            }
            self.take_content();
        }
    }

    fn take_content(&mut self) {
        // "Nothing now" and "nothing more" are the same here: the end is that of TCP.
        let _ = self.connection.reader().read_to_end(&mut self.content);
    }

    fn take_records(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(into)?;
        }
        Ok(())
    }

    /// RFC 8446 §6.1: the end of TCP has to follow a close_notify.
    fn tcp_has_ended(&mut self) -> End {
        let state = self.connection.process_new_packets();
        let closed = state.is_ok_and(|state| state.peer_has_closed());
        assert!(closed, "the server ended TCP without a close_notify");
        End::Closed
    }
}

impl Drop for Secured {
    /// The end of an orderly client, unless the connection was reset.
    fn drop(&mut self) {
        let _ = self.tcp.set_nonblocking(true);
        let _ = self.say_goodbye();
    }
}

/// Sends all of it, or as much as goes; the rest stays.
fn send(mut tcp: &TcpStream, unsent: &mut Vec<u8>) -> io::Result<()> {
    while !unsent.is_empty() {
        match tcp.write(unsent) {
            Ok(len) => drop(unsent.drain(..len)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an operation got nowhere in the time that it had.
pub fn stuck(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn is_stuck<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| stuck(&error))
}
