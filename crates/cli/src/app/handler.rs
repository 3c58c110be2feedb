//! The application of `hioload serve`: echo, topics, the page and the probes.

use std::sync::Arc;

use hioload_certs::ServerTls;
use hioload_ws::{
    Accept, Context, CountersHandle, Handler, Kind, LcoreContext, Message, Peer, Request, Response,
    TopicError, Totals,
};

use super::page;
use super::topics::{self, Action, Refused};
use crate::streams;

/// The handler of one lcore. The engine checks `Origin` and `Host` before it.
pub(super) fn handler<S: Fn() -> usize + 'static>(
    shown: Option<&Shown>,
    stalled: S,
) -> impl Handler<Event = ()> + use<S> {
    App::new(shown.cloned()).stalled(stalled)
}

/// What `/stats` shows.
#[derive(Clone)]
pub(super) struct Shown {
    pub counters: CountersHandle,
    pub tls: Option<Arc<ServerTls>>,
}

/// The application of one lcore.
struct App {
    /// For `/stats`, if it is served.
    shown: Option<Shown>,
    /// Returns the number of lcores that do not finish a turn at present, for `/healthz`.
    stalled: Box<dyn Fn() -> usize>,
    /// The buffer for replies, reused so that a message costs no allocation.
    scratch: Vec<u8>,
}

/// The methods of every resource.
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conn {
    /// The server returns every message.
    Echo,
    /// `hioload.topics.v1`.
    Topics,
}

/// The resource at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// A WebSocket and the page.
    Root,
    /// Only a WebSocket.
    Socket(Conn),
    Health,
    Stats,
    Page,
}

impl App {
    fn new(shown: Option<Shown>) -> Self {
        Self {
            shown,
            stalled: Box::new(|| 0),
            scratch: Vec::new(),
        }
    }

    fn stalled(self, stalled: impl Fn() -> usize + 'static) -> Self {
        Self {
            stalled: Box::new(stalled),
            ..self
        }
    }

    fn route(&self, path: &str) -> Option<Route> {
        match path {
            "/" => Some(Route::Root),
            "/echo" => Some(Route::Socket(Conn::Echo)),
            "/topics" => Some(Route::Socket(Conn::Topics)),
            "/healthz" => Some(Route::Health),
            "/stats" if self.shown.is_some() => Some(Route::Stats),
            path => page::at(path).map(|_| Route::Page),
        }
    }

    /// The answer to a WebSocket upgrade.
    fn upgrade<'a>(
        &self,
        path: &str,
        offered: impl Iterator<Item = &'a str>,
    ) -> Result<Accept<Conn>, Response> {
        let conn = match self.route(path) {
            Some(Route::Root) => Conn::Echo,
            Some(Route::Socket(conn)) => conn,
            Some(Route::Health | Route::Stats | Route::Page) | None => {
                return Err(Response::not_found());
            }
        };
        match conn {
            Conn::Echo => Ok(Accept::new(conn)),
            Conn::Topics => {
                let mut offered = offered.peekable();
                if offered.peek().is_none() {
                    return Ok(Accept::new(conn));
                }
                // RFC 6455 §4.2.2: "The value chosen MUST be derived from the client's handshake, specifically by
                // selecting one of the values from the |Sec-WebSocket-Protocol| field that the server is willing to
                // use".
                if offered.any(|protocol| protocol == topics::PROTOCOL) {
                    return Ok(Accept::new(conn).protocol(topics::PROTOCOL));
                }
                Err(Response::text(
                    400,
                    "this path requires the subprotocol hioload.topics.v1\n",
                ))
            }
        }
    }

    /// The answer to a plain HTTP request.
    fn answer(&self, method: &str, path: &str, draining: bool) -> Response {
        // The bare checks of load balancers: of the server as a whole, or of its root.
        if (method, path) == ("OPTIONS", "*") {
            return self.health(draining).header("Allow", METHODS);
        }
        let Some(route) = self.route(path) else {
            return Response::not_found();
        };
        match method {
            "GET" | "HEAD" => self.show(route, path, draining),
            "OPTIONS" => match route {
                Route::Health | Route::Root => self.health(draining).header("Allow", METHODS),
                _ => Response::text(204, "").header("Allow", METHODS),
            },
            _ => Response::text(405, "only GET, HEAD and OPTIONS\n").header("Allow", METHODS),
        }
    }

    /// Whether the server is to get traffic, as an answer to a health check.
    fn health(&self, draining: bool) -> Response {
        if draining {
            Response::text(503, "draining\n")
        } else if (self.stalled)() > 0 {
            Response::text(503, "an lcore is stalled\n")
        } else {
            Response::text(200, "ok\n")
        }
    }

    fn show(&self, route: Route, path: &str, draining: bool) -> Response {
        match route {
            Route::Root | Route::Page => page::at(path).unwrap_or_else(Response::not_found),
            Route::Socket(_) => {
                Response::text(426, "this path is a WebSocket\n").header("Upgrade", "websocket")
            }
            Route::Health => self.health(draining),
            Route::Stats => match &self.shown {
                Some(Shown { counters, tls }) => stats(&counters.totals(), tls.as_deref()),
                None => Response::not_found(),
            },
        }
    }

    /// Executes a command of `hioload.topics.v1` and replies to it.
    fn command(&mut self, cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        let command = match message.as_text() {
            Some(text) => topics::parse(text),
            None => Err(topics::NOT_TEXT),
        };
        let done = command.and_then(|command| match self.act(cx, &command.action) {
            Ok(()) => Ok(command.id),
            Err(error) => Err(Refused {
                why: explain(error),
                id: command.id,
            }),
        });
        match &done {
            Ok(None) => return,
            Ok(Some(id)) => topics::write_ok(&mut self.scratch, id),
            Err(refused) => topics::write_error(&mut self.scratch, refused),
        }
        // The send policy handles a full queue.
        let _ = cx.send(Kind::Text, &self.scratch);
    }

    fn act(
        &mut self,
        cx: &mut impl Context<Event = ()>,
        action: &Action<'_>,
    ) -> Result<(), TopicError> {
        match action {
            Action::Subscribe(pattern) => cx.subscribe(pattern).map(drop),
            Action::Unsubscribe(pattern) => cx.unsubscribe(pattern).map(drop),
            Action::Publish { topic, data } => {
                topics::write_message(&mut self.scratch, topic, data);
                cx.publish(topic, Kind::Text, &self.scratch).map(drop)
            }
        }
    }
}

fn explain(error: TopicError) -> &'static str {
    match error {
        TopicError::Invalid => "invalid topic",
        TopicError::TooMany => "too many subscriptions",
        TopicError::TooLarge => "message is too large for subscribers",
        _ => "not possible",
    }
}

/// All counters and the number of open connections, as one JSON object.
fn stats(totals: &Totals, tls: Option<&ServerTls>) -> Response {
    let mut all = serde_json::Map::new();
    all.insert(
        "open".to_owned(),
        totals.opened.saturating_sub(totals.closed).into(),
    );
    all.extend(
        totals
            .iter()
            .map(|(meta, value)| (meta.name.to_owned(), value.into())),
    );
    all.insert("log_lost".to_owned(), streams::lost().into());
    if let Some(tls) = tls {
        all.insert("tls_certificate_days".to_owned(), tls.days_left().into());
        all.insert("tls_reloads".to_owned(), tls.reloads().into());
        let failures = tls.reload_failures();
        all.insert("tls_reload_failures".to_owned(), failures.into());
    }
    let mut body = serde_json::Value::Object(all).to_string().into_bytes();
    body.push(b'\n');
    Response::new(200, "application/json", body).header("Cache-Control", "no-store")
}

impl Handler for App {
    type Conn = Conn;
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        request: &Request<'_>,
    ) -> Result<Accept<Conn>, Response> {
        self.upgrade(request.path(), request.protocols())
    }

    fn on_http(
        &mut self,
        cx: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        request: &Request<'_>,
    ) -> Response {
        self.answer(request.method, request.path(), cx.draining())
            // Pages of other origins cannot read a response without CORS fields; this keeps them from embedding it too.
            .header("Cross-Origin-Resource-Policy", "same-origin")
            .header("X-Content-Type-Options", "nosniff")
    }

    fn on_message(
        &mut self,
        conn: &mut Conn,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        match conn {
            // The send policy handles a full queue.
            Conn::Echo => drop(cx.send(message.kind(), message.as_bytes())),
            Conn::Topics => self.command(cx, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade(app: &App, path: &str, offered: &[&str]) -> Result<(Conn, Option<String>), u16> {
        match app.upgrade(path, offered.iter().copied()) {
            Ok(accept) => Ok((accept.conn, accept.protocol.map(Into::into))),
            Err(response) => Err(response.status),
        }
    }

    #[test]
    fn upgrades() {
        let app = App::new(None);
        let protocol = Some(topics::PROTOCOL.to_owned());
        assert_eq!(upgrade(&app, "/", &[]), Ok((Conn::Echo, None)));
        assert_eq!(upgrade(&app, "/echo", &["chat"]), Ok((Conn::Echo, None)));
        assert_eq!(upgrade(&app, "/topics", &[]), Ok((Conn::Topics, None)));
        assert_eq!(
            upgrade(&app, "/topics", &["x", topics::PROTOCOL]),
            Ok((Conn::Topics, protocol))
        );
        assert_eq!(upgrade(&app, "/topics", &["x", "y"]), Err(400));
        for path in ["/nothing", "/healthz", "/app.js", "/stats", "/echo/"] {
            assert_eq!(upgrade(&app, path, &[]), Err(404), "{path}");
        }
    }

    #[test]
    fn plain_requests() {
        let app = App::new(None);
        for (method, path, status) in [
            ("GET", "/", 200),
            ("HEAD", "/", 200),
            ("GET", "/app.js", 200),
            ("GET", "/healthz", 200),
            ("HEAD", "/healthz", 200),
            ("GET", "/echo", 426),
            ("GET", "/topics", 426),
            ("GET", "/nothing", 404),
            ("POST", "/nothing", 404),
            ("GET", "/stats", 404),
            ("POST", "/", 405),
            ("DELETE", "/healthz", 405),
            ("OPTIONS", "/healthz", 200),
            ("OPTIONS", "/", 200),
            ("OPTIONS", "*", 200),
            ("GET", "*", 404),
            ("OPTIONS", "/app.css", 204),
            ("OPTIONS", "/echo", 204),
            ("OPTIONS", "/nothing", 404),
            ("OPTIONS", "/stats", 404),
        ] {
            let response = app.answer(method, path, false);
            assert_eq!(response.status, status, "{method} {path}");
            let allow = response
                .headers
                .iter()
                .find(|(name, _)| name == "Allow")
                .map(|(_, value)| value.as_ref());
            // RFC 9110 §15.5.6 and §9.3.7.
            let has_allow = status == 405 || (method == "OPTIONS" && status < 300);
            assert_eq!(allow, has_allow.then_some(METHODS), "{method} {path}");
        }
    }

    #[test]
    fn health_is_503_while_draining() {
        let app = App::new(None);
        assert_eq!(
            (app.answer("GET", "/healthz", false).body.as_ref()),
            b"ok\n"
        );
        let draining = app.answer("GET", "/healthz", true);
        assert_eq!(
            (draining.status, draining.body.as_ref()),
            (503, b"draining\n".as_slice())
        );
        for path in ["/healthz", "/", "*"] {
            assert_eq!(app.answer("OPTIONS", path, true).status, 503, "{path}");
        }
        assert_eq!(app.answer("HEAD", "/healthz", true).status, 503);
        assert_eq!(app.answer("GET", "/", true).status, 200);
    }

    #[test]
    fn health_is_503_while_an_lcore_is_stalled() {
        let stalled = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = std::rc::Rc::clone(&stalled);
        let app = App::new(None).stalled(move || seen.get());
        let status = || app.answer("GET", "/healthz", false).status;
        assert_eq!(status(), 200);
        stalled.set(1);
        assert_eq!(status(), 503);
        stalled.set(0);
        assert_eq!(status(), 200);
    }

    #[test]
    fn stats_are_json() {
        let mut totals = Totals::default();
        (totals.opened, totals.closed) = (5, 2);
        let response = stats(&totals, None);
        let value: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(
            (&value["open"], &value["opened"], &value["bytes_in"]),
            (&3.into(), &5.into(), &0.into())
        );
    }
}
