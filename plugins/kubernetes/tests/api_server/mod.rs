//! An API server to test against: lists in parts, watches, bookmarks, versions that are forgotten,
//! over real HTTP on a free port of this machine. What it has, tests put into it; and it can be told
//! to be slow, to break off, to say no.
//!
//! Of selectors it knows labels that equal a value. Forms of answers other than JSON of whole objects
//! it does not know.

mod http;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use http::{Asked, Body};
pub(crate) use world::Mood;
use world::{Next, World};

/// Runs until it is dropped.
pub(crate) struct ApiServer {
    address: SocketAddr,
    world: Arc<World>,
}

impl ApiServer {
    pub(crate) fn start() -> io::Result<ApiServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let world = Arc::new(World::default());
        let served = world.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if served.is_over() {
                    return;
                }
                let world = served.clone();
                // A connection that breaks is the test's own doing.
                thread::spawn(move || serve(&world, &stream).unwrap_or_default());
            }
        });
        Ok(ApiServer { address, world })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds an object, or puts it in the place of the one of its name. `resource` is as in URLs:
    /// `pods`.
    pub(crate) fn put(&self, resource: &str, object: Value) {
        self.world.edit(|state| state.put(resource, object));
    }

    pub(crate) fn remove(&self, resource: &str, namespace: &str, name: &str) {
        self.world
            .edit(|state| state.remove(resource, namespace, name));
    }

    /// Tells all watches which version there is.
    pub(crate) fn bookmark(&self) {
        self.world.edit(world::State::bookmark);
    }

    /// Forgets all changes so far, and the rest of lists that were begun: who asks for them later is
    /// told that they are gone.
    pub(crate) fn forget(&self) {
        self.world.edit(world::State::forget);
    }

    /// Breaks all connections that are open.
    pub(crate) fn cut(&self) {
        self.world.edit(|state| state.cuts += 1);
    }

    /// The next request is met like this.
    pub(crate) fn next(&self, mood: Mood) {
        self.world.edit(|state| state.moods.push_back(mood));
    }

    /// From now on, only who has this token is answered.
    pub(crate) fn require_token(&self, token: &str) {
        self.world
            .edit(|state| state.token = Some(token.to_owned()));
    }

    /// The path and query of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.world.edit(|state| state.requests.clone())
    }

    pub(crate) fn open_watches(&self) -> usize {
        self.world.edit(|state| state.open_watches)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.world.edit(|state| state.is_over = true);
        // So that the listener looks.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(world: &World, stream: &TcpStream) -> io::Result<()> {
    let asked = Asked::read(stream)?;
    let mood = world.edit(|state| {
        state.requests.push(asked.target.clone());
        match state.token.as_ref() {
            Some(token) if asked.token.as_ref() != Some(token) => Some(Mood::Refuse(
                401,
                "Unauthorized".to_owned(),
                "Unauthorized".to_owned(),
            )),
            _ => state.moods.pop_front(),
        }
    });
    match mood {
        Some(Mood::Refuse(code, reason, message)) => {
            return http::answer(stream, code, &status(code, &reason, &message).to_string());
        }
        Some(Mood::Say(code, body)) => return http::answer(stream, code, &body),
        Some(Mood::BreakOff) if !asked.is_watch() => {
            let (_, body) = list(world, &asked);
            return http::part_of_answer(stream, 200, &body.to_string());
        }
        Some(Mood::BreakOff) => return Ok(()),
        Some(Mood::Wait(time)) => thread::sleep(time),
        None => {}
    }
    if asked.is_watch() {
        return watch(world, &asked, stream);
    }
    let (code, body) = list(world, &asked);
    http::answer(stream, code, &body.to_string())
}

fn list(world: &World, asked: &Asked) -> (u16, Value) {
    let limit = asked.query("limit").and_then(|limit| limit.parse().ok());
    let part = world.edit(|state| match asked.query("continue") {
        Some(token) => state.go_on(token, limit),
        None => Some(state.list(asked, limit)),
    });
    match part {
        Some(part) => (
            200,
            json!({
                "kind": "List",
                "apiVersion": "v1",
                "metadata": { "resourceVersion": part.version.to_string(), "continue": part.next },
                "items": part.items,
            }),
        ),
        None => (410, gone()),
    }
}

fn watch(world: &World, asked: &Asked, stream: &TcpStream) -> io::Result<()> {
    let seconds = asked
        .query("timeoutSeconds")
        .and_then(|seconds| seconds.parse().ok());
    let end = std::time::Instant::now() + Duration::from_secs(seconds.unwrap_or(300));
    let from = asked
        .query("resourceVersion")
        .and_then(|version| version.parse().ok());
    let mut body = Body::start(stream)?;
    let mut place = world.edit(|state| {
        state.open_watches += 1;
        state.begin_watch(asked, from.unwrap_or(0))
    });
    let result = loop {
        match world.next(&mut place, asked, end) {
            Next::Events(lines) => {
                if let Err(error) = body.write(&lines) {
                    break Err(error);
                }
            }
            Next::Gone => {
                let line = format!("{}\n", json!({ "type": "ERROR", "object": gone() }));
                break body.write(&line).and_then(|()| body.end());
            }
            Next::End => break body.end(),
            Next::Cut => break stream.shutdown(std::net::Shutdown::Both),
        }
    };
    world.edit(|state| state.open_watches -= 1);
    result
}

fn gone() -> Value {
    status(410, "Expired", "too old resource version")
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}
