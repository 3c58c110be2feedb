//! Middleware around a handler.

use super::*;
use crate::middleware::{HandlerExt, Layer, Verdict};

/// Drops messages that contain a word, and logs their number when the connection ends.
struct Censor(&'static str, Rc<RefCell<Vec<String>>>);

impl Layer for Censor {
    type Conn = u32;

    fn on_open(&mut self, _: Peer, request: &Request<'_>) -> Result<u32, Response> {
        if request.path().contains(self.0) {
            return Err(Response::text(451, "no\n"));
        }
        Ok(0)
    }

    fn on_connect(&mut self, _: u64, _: &ServerReply<'_>) -> u32 {
        0
    }

    fn on_http(&mut self, _: Peer, request: &Request<'_>) -> Option<Response> {
        (request.path() == "/censor").then(|| Response::text(200, self.0))
    }

    fn on_message(
        &mut self,
        dropped: &mut u32,
        _: &mut impl Context,
        message: &Message<'_>,
    ) -> Verdict {
        if message.as_text().is_some_and(|text| text.contains(self.0)) {
            *dropped += 1;
            return Verdict::Drop;
        }
        Verdict::Pass
    }

    fn on_close(&mut self, dropped: u32, _: &mut impl LcoreContext, _: &Closure<'_>) {
        self.1
            .borrow_mut()
            .push(format!("{} dropped for {}", dropped, self.0));
    }
}

#[test]
fn layers_refuse_upgrades_answer_requests_drop_messages_and_keep_state() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut lab = Lab::around(Config::default(), |probe| {
        probe
            .layer(Censor("foo", Rc::clone(&log)))
            .layer(Censor("bar", Rc::clone(&log)))
    });
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    for path in ["/foo", "/bar"] {
        let id = lab.dial(request.replace("/chat", path).as_bytes());
        assert!(lab.text(id).starts_with("HTTP/1.1 451"), "{path}");
    }
    let id = lab.dial(b"GET /censor HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        lab.text(id).ends_with("bar"),
        "the last layer added is called first"
    );
    let id = lab.open();
    for text in ["foo", "bar", "a foo", "fine"] {
        lab.say(id, text);
    }
    assert_eq!(lab.frames(id), ["text fine"]);
    lab.io().reset(id);
    lab.turn();
    assert_eq!(*log.borrow(), ["1 dropped for bar", "2 dropped for foo"]);
}
