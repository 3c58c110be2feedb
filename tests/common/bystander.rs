//! A well-behaved client, which the other clients must not affect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::wire::{self, BINARY, FIN, TEXT};
use super::{Client, Server, eventually};

/// Sends messages of several sizes and checks every echo, until the test ends it.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    echoes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Connects and has its first echoes before this returns.
    pub fn start(server: &Server) -> Self {
        Self::with(Client::open(server, "/echo"), Duration::from_millis(2))
    }

    /// The same over a connection that is open already, with a pause after each echo.
    pub fn with(mut client: Client, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let echoes = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&echoes));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let turn = counted.load(Ordering::Relaxed);
                one_echo(&mut client, turn);
                counted.store(turn + 1, Ordering::Relaxed);
                thread::sleep(pause);
            }
            client.write(&wire::close(1000, ""));
            client.expect_close(1000);
        });
        let bystander = Self {
            stop,
            echoes,
            thread: Some(thread),
        };
        bystander.is_served();
        bystander
    }

    /// Waits for two more echoes: the second was sent and answered after this was called.
    pub fn is_served(&self) {
        let before = self.echoes.load(Ordering::Relaxed);
        let failed = || self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        eventually("the bystander had its echoes", || {
            self.echoes.load(Ordering::Relaxed) >= before + 2 || failed()
        });
        assert!(!failed(), "the bystander was disturbed");
    }

    /// The number of echoes so far.
    pub fn echoes(&self) -> u64 {
        self.echoes.load(Ordering::Relaxed)
    }

    /// Ends with a proper close; panics if any echo was wrong or missing.
    pub fn finish(mut self) {
        self.is_served();
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("finished once");
        assert!(thread.join().is_ok(), "the bystander was disturbed");
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // the test has failed already: let this one end before the server does
        }
    }
}

fn one_echo(client: &mut Client, turn: u64) {
    const SIZES: [usize; 6] = [0, 5, 125, 126, 1000, 5000];
    let payload = wire::noise(turn, SIZES[turn as usize % SIZES.len()]);
    if turn.is_multiple_of(2) {
        client.write(&wire::frame(FIN | BINARY, &payload));
        assert_eq!(client.message(), payload, "echo {turn} differs");
    } else {
        let text: Vec<u8> = payload.iter().map(|byte| b'a' + byte % 26).collect();
        client.write(&wire::frame(FIN | TEXT, &text));
        assert_eq!(client.message(), text, "echo {turn} differs");
    }
}
