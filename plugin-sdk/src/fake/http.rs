//! The fake host's HTTP servers: what a test lets them answer.

use std::collections::VecDeque;
use std::rc::Rc;

use super::events::Awaited;
use super::{Host, current};
use crate::bindings::host::narthex::plugin::http::{Head, HttpError, Progress, Request};
use crate::{ConfigError, HttpErrorCode};

/// A request as it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub timeout_ms: Option<u64>,
    /// The options of the client, as JSON; none for the client without options.
    pub options: Option<serde_json::Value>,
}

impl Asked {
    /// The first header of this name, however it is written.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Reply {
    delay_ms: u64,
    head: Result<Head, HttpError>,
    pieces: Vec<Vec<u8>>,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Comes,
    StaysOpen,
    Breaks(HttpError),
}

impl Reply {
    /// An answer of this status, without headers and body.
    pub fn new(status: u16) -> Self {
        Reply {
            delay_ms: 0,
            head: Ok(Head {
                status,
                headers: Vec::new(),
                url: String::new(),
            }),
            pieces: Vec::new(),
            end: End::Comes,
        }
    }

    /// A good answer in JSON.
    pub fn json(body: impl AsRef<[u8]>) -> Self {
        Reply::new(200)
            .header("content-type", "application/json")
            .body(body)
    }

    /// No answer at all.
    pub fn fails(code: HttpErrorCode, message: &str) -> Self {
        Reply {
            head: Err(http_error(code, message)),
            ..Reply::new(0)
        }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Ok(head) = &mut self.head {
            head.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Where redirects have led; else the URL that was asked.
    pub fn redirected_to(mut self, url: &str) -> Self {
        if let Ok(head) = &mut self.head {
            url.clone_into(&mut head.url);
        }
        self
    }

    /// Adds a piece of the body; streams give it as one.
    pub fn body(mut self, piece: impl AsRef<[u8]>) -> Self {
        if !piece.as_ref().is_empty() {
            self.pieces.push(piece.as_ref().to_vec());
        }
        self
    }

    /// It takes so long to come.
    pub fn after_ms(mut self, delay_ms: u64) -> Self {
        self.delay_ms = delay_ms;
        self
    }

    /// The body does not end here: see [`Host::push`], [`Host::end`] and [`Host::cut`].
    pub fn stays_open(mut self) -> Self {
        self.end = End::StaysOpen;
        self
    }

    /// The connection breaks in the middle of the body.
    pub fn then_fails(mut self, code: HttpErrorCode, message: &str) -> Self {
        self.end = End::Breaks(http_error(code, message));
        self
    }
}

impl Host {
    /// Lets a server answer requests of this method and URL. A `*` in the URL stands for any run of
    /// characters; a URL without one goes before. Several answers of one URL come one after the
    /// other; the last one stays.
    pub fn answer(&self, method: &str, url: &str, reply: Reply) -> &Self {
        self.edit(|world| {
            let routes = &mut world.servers.routes;
            let same = |route: &&mut Route| route.method == method && route.url == url;
            match routes.iter_mut().find(same) {
                Some(Route {
                    answers: Answers::Script(replies),
                    ..
                }) => replies.push_back(reply),
                _ => routes.insert(
                    0,
                    Route {
                        method: method.to_owned(),
                        url: url.to_owned(),
                        answers: Answers::Script(VecDeque::from([reply])),
                    },
                ),
            }
        })
    }

    /// As [`Host::answer`], with what the answer is left to a function; a later call of either for
    /// the same URL takes its place.
    pub fn answer_with(
        &self,
        method: &str,
        url: &str,
        answer: impl Fn(&Asked) -> Reply + 'static,
    ) -> &Self {
        self.edit(|world| {
            world.servers.routes.insert(
                0,
                Route {
                    method: method.to_owned(),
                    url: url.to_owned(),
                    answers: Answers::Function(Rc::new(answer)),
                },
            );
        })
    }

    /// Forgets what servers answer.
    pub fn forget_answers(&self) -> &Self {
        self.edit(|world| world.servers.routes.clear())
    }

    /// Making clients fails from now on, until this is called with none.
    pub fn fail_clients(&self, error: Option<ConfigError>) -> &Self {
        self.edit(|world| world.servers.clients_fail = error)
    }

    /// Each request so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.borrow().servers.asked.clone()
    }

    /// The URLs of requests whose answers are still open.
    pub fn open_streams(&self) -> Vec<String> {
        let world = self.0.borrow();
        let streams = world.subscriptions.values();
        let urls = streams.filter_map(|awaited| match awaited {
            Awaited::Stream(stream) => Some(stream.url.clone()),
            _ => None,
        });
        urls.collect()
    }

    /// Sends a piece of the body to all open requests of this URL.
    pub fn push(&self, url: &str, piece: impl AsRef<[u8]>) -> &Self {
        let piece = piece.as_ref();
        self.send(url, || Ok(Progress::Body(piece.to_vec())))
    }

    /// Ends the body of all open requests of this URL.
    pub fn end(&self, url: &str) -> &Self {
        self.send(url, || Ok(Progress::End))
    }

    /// Breaks the connection of all open requests of this URL.
    pub fn cut(&self, url: &str, code: HttpErrorCode, message: &str) -> &Self {
        self.send(url, || Err(http_error(code, message)))
    }

    fn send(&self, url: &str, item: impl Fn() -> Result<Progress, HttpError>) -> &Self {
        self.edit(|world| {
            let now_ns = world.monotonic_ns;
            for awaited in world.subscriptions.values_mut() {
                if let Awaited::Stream(stream) = awaited
                    && is_match(url, &stream.url)
                {
                    let last_ns = stream.items.back().map_or(0, |(at_ns, _)| *at_ns);
                    stream.items.push_back((last_ns.max(now_ns), item()));
                }
            }
        })
    }
}

#[derive(Default)]
pub(super) struct Servers {
    /// The newest first.
    routes: Vec<Route>,
    clients: Vec<serde_json::Value>,
    clients_fail: Option<ConfigError>,
    asked: Vec<Asked>,
}

struct Route {
    method: String,
    url: String,
    answers: Answers,
}

enum Answers {
    Script(VecDeque<Reply>),
    Function(Rc<dyn Fn(&Asked) -> Reply>),
}

/// A request whose answer comes piece by piece.
pub(super) struct Stream {
    url: String,
    /// Each with the time from which on it is there.
    items: VecDeque<(u64, Result<Progress, HttpError>)>,
    /// Fired, and not yet found pending again.
    is_told: bool,
}

impl Stream {
    /// Whether it is to be told now.
    pub(super) fn fires(&mut self, now_ns: u64) -> bool {
        let fires = !self.is_told && self.next_at_ns().is_some_and(|at_ns| at_ns <= now_ns);
        self.is_told |= fires;
        fires
    }

    /// When the next thing comes that was not told; none if nothing does.
    pub(super) fn next_at_ns(&self) -> Option<u64> {
        let first = self.items.front().filter(|_| !self.is_told);
        first.map(|(at_ns, _)| *at_ns)
    }
}

fn http_error(code: HttpErrorCode, message: &str) -> HttpError {
    HttpError {
        code,
        message: message.to_owned(),
    }
}

/// A `*` in the pattern stands for any run of characters, and nothing else means more than itself.
fn is_match(pattern: &str, url: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = url.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Notes the request, and finds what is answered, with the URL that answers.
fn ask(request: &Request) -> Reply {
    let host = current();
    let mut world = host.0.borrow_mut();
    let servers = &mut world.servers;
    let client = usize::try_from(request.client).unwrap_or_default();
    let options = client.checked_sub(1).and_then(|at| servers.clients.get(at));
    let asked = Asked {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
        timeout_ms: request.timeout_ms,
        options: options.cloned(),
    };
    servers.asked.push(asked.clone());
    let fits =
        |route: &&mut Route| route.method == asked.method && is_match(&route.url, &asked.url);
    let mut routes: Vec<&mut Route> = servers.routes.iter_mut().filter(fits).collect();
    routes.sort_by_key(|route| route.url != asked.url);
    let mut reply = match routes.into_iter().next().map(|route| &mut route.answers) {
        Some(Answers::Script(replies)) => match replies.len() {
            2.. => replies.pop_front(),
            _ => replies.front().cloned(),
        },
        Some(Answers::Function(answer)) => {
            let answer = answer.clone();
            // The function may ask the world itself.
            drop(world);
            Some(answer(&asked))
        }
        None => None,
    }
    .unwrap_or_else(|| {
        let message = format!(
            "the test has set no answer for {} {}",
            asked.method, asked.url
        );
        Reply::fails(HttpErrorCode::Connection, &message)
    });
    if let Ok(head) = &mut reply.head
        && head.url.is_empty()
    {
        head.url.clone_from(&asked.url);
    }
    reply
}

/// As wit-bindgen writes them for WebAssembly.
pub(crate) mod backend {
    use super::super::current;
    use super::super::events::Awaited;
    use super::{End, Stream, ask, http_error};
    use crate::bindings::host::narthex::plugin::http::{
        ErrorCode, HttpError, Progress, Request, Response,
    };
    use crate::bindings::host::narthex::plugin::plugin::ConfigError;

    pub(crate) fn make_client(options: &str, _base_directory: &str) -> Result<u64, ConfigError> {
        let host = current();
        let servers = &mut host.0.borrow_mut().servers;
        if let Some(error) = &servers.clients_fail {
            return Err(error.clone().into());
        }
        let options = serde_json::from_str(options).map_err(|error| ConfigError {
            field: String::new(),
            message: error.to_string(),
        })?;
        servers.clients.push(options);
        Ok(servers.clients.len() as u64)
    }

    pub(crate) fn fetch(request: &Request) -> Result<Response, HttpError> {
        let reply = ask(request);
        let limit_ms = request.timeout_ms.unwrap_or(u64::MAX);
        let stays_open = matches!(reply.end, End::StaysOpen) && reply.head.is_ok();
        if reply.delay_ms > limit_ms || (stays_open && limit_ms < u64::MAX) {
            current().advance_ms(limit_ms);
            return Err(http_error(ErrorCode::Timeout, "no answer in time"));
        }
        current().advance_ms(reply.delay_ms);
        let head = reply.head?;
        match reply.end {
            End::Comes => Ok(Response {
                head,
                body: reply.pieces.concat(),
            }),
            End::Breaks(error) => Err(error),
            End::StaysOpen => Err(http_error(ErrorCode::Timeout, "the answer never ends")),
        }
    }

    pub(crate) fn start(request: &Request) -> Result<u64, HttpError> {
        let reply = ask(request);
        let host = current();
        let mut world = host.0.borrow_mut();
        let limit_ms = request.timeout_ms.unwrap_or(u64::MAX);
        let at_ns = world.monotonic_ns + reply.delay_ms.min(limit_ms) * 1_000_000;
        let mut items = Vec::new();
        match reply.head {
            _ if reply.delay_ms > limit_ms => {
                items.push(Err(http_error(ErrorCode::Timeout, "no answer in time")));
            }
            Err(error) => items.push(Err(error)),
            Ok(head) => {
                items.push(Ok(Progress::Head(head)));
                items.extend(
                    reply
                        .pieces
                        .into_iter()
                        .map(|piece| Ok(Progress::Body(piece))),
                );
                match reply.end {
                    End::Comes => items.push(Ok(Progress::End)),
                    End::Breaks(error) => items.push(Err(error)),
                    End::StaysOpen => {}
                }
            }
        }
        Ok(world.subscribe(Awaited::Stream(Stream {
            url: request.url.clone(),
            items: items.into_iter().map(|item| (at_ns, item)).collect(),
            is_told: false,
        })))
    }

    pub(crate) fn take(stream: u64) -> Result<Progress, HttpError> {
        let host = current();
        let mut world = host.0.borrow_mut();
        let now_ns = world.monotonic_ns;
        let Some(Awaited::Stream(awaited)) = world.subscriptions.get_mut(&stream) else {
            return Err(http_error(ErrorCode::Invalid, "no stream of this number"));
        };
        let is_there = |(at_ns, _): &mut (u64, _)| *at_ns <= now_ns;
        let Some((_, item)) = awaited.items.pop_front_if(is_there) else {
            awaited.is_told = false;
            return Ok(Progress::Pending);
        };
        if matches!(item, Ok(Progress::End) | Err(_)) {
            world.subscriptions.remove(&stream);
        }
        item
    }
}
