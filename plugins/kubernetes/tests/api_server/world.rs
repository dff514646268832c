//! What the server has, and what has happened to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::Asked;

/// How one request is met.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// Code, reason, message.
    Refuse(u16, String, String),
    /// Code and body, whatever they mean.
    Say(u16, String),
    /// In the middle of the answer.
    BreakOff,
    /// So long, and then as always.
    Wait(Duration),
}

#[derive(Default)]
pub(super) struct World {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    version: u64,
    /// By resource and key.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    events: Vec<Event>,
    /// Events up to this version are forgotten.
    forgotten: u64,
    /// Lists of which a part was given, with their versions.
    lists: Vec<Option<(u64, Vec<Value>)>>,
    /// How often all connections were broken.
    pub(super) cuts: u64,
    pub(super) moods: VecDeque<Mood>,
    pub(super) token: Option<String>,
    pub(super) requests: Vec<String>,
    pub(super) open_watches: usize,
    pub(super) is_over: bool,
}

struct Event {
    version: u64,
    kind: &'static str,
    /// None: of all.
    resource: Option<String>,
    object: Value,
}

/// A part of a list.
pub(super) struct Part {
    pub(super) version: u64,
    pub(super) items: Vec<Value>,
    /// Empty at the end.
    pub(super) next: String,
}

/// Where a watch is.
pub(super) struct Place {
    version: u64,
    /// What it is told before anything happens.
    first: String,
    cuts: u64,
}

pub(super) enum Next {
    /// Lines.
    Events(String),
    Gone,
    End,
    Cut,
}

impl World {
    pub(super) fn edit<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut state);
        self.changed.notify_all();
        result
    }

    pub(super) fn is_over(&self) -> bool {
        self.edit(|state| state.is_over)
    }

    /// Waits for what a watch has to be told.
    pub(super) fn next(&self, place: &mut Place, asked: &Asked, end: Instant) -> Next {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.is_over || state.cuts > place.cuts {
                return Next::Cut;
            }
            let lines = std::mem::take(&mut place.first);
            if !lines.is_empty() {
                return Next::Events(lines);
            }
            if place.version < state.forgotten {
                return Next::Gone;
            }
            let lines = state.lines_since(place.version, asked);
            place.version = state.version;
            if !lines.is_empty() {
                return Next::Events(lines);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::End;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    pub(super) fn put(&mut self, resource: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let of_kind = self.objects.entry(resource.to_owned()).or_default();
        let kind = match of_kind.insert(key(&object), object.clone()) {
            Some(_) => "MODIFIED",
            None => "ADDED",
        };
        self.note(kind, Some(resource), object);
    }

    pub(super) fn remove(&mut self, resource: &str, namespace: &str, name: &str) {
        let of_kind = self.objects.entry(resource.to_owned()).or_default();
        let Some(mut object) = of_kind.remove(&format!("{namespace}/{name}")) else {
            return;
        };
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.note("DELETED", Some(resource), object);
    }

    pub(super) fn bookmark(&mut self) {
        self.version += 1;
        let object = json!({ "metadata": { "resourceVersion": self.version.to_string() } });
        self.note("BOOKMARK", None, object);
    }

    pub(super) fn forget(&mut self) {
        self.forgotten = self.version;
        self.events.clear();
        self.lists.iter_mut().for_each(|list| *list = None);
    }

    pub(super) fn list(&mut self, asked: &Asked, limit: Option<usize>) -> Part {
        let none = BTreeMap::new();
        let of_kind = self.objects.get(&asked.resource).unwrap_or(&none);
        let items = of_kind.values().filter(|object| asked.chooses(object));
        let items: Vec<Value> = items.cloned().collect();
        let part = (self.version, items);
        self.lists.push(Some(part));
        self.part(self.lists.len() - 1, 0, limit)
    }

    /// None where the rest is forgotten.
    pub(super) fn go_on(&mut self, token: &str, limit: Option<usize>) -> Option<Part> {
        let (list, at) = token.split_once('-')?;
        let (list, at): (usize, usize) = (list.parse().ok()?, at.parse().ok()?);
        self.lists.get(list)?.as_ref()?;
        Some(self.part(list, at, limit))
    }

    fn part(&mut self, list: usize, at: usize, limit: Option<usize>) -> Part {
        let Some(Some((version, items))) = self.lists.get_mut(list) else {
            let (version, items, next) = (self.version, Vec::new(), String::new());
            return Part {
                version,
                items,
                next,
            };
        };
        let end = limit.map_or(items.len(), |limit| {
            at.saturating_add(limit).min(items.len())
        });
        let part = Part {
            version: *version,
            items: items.get(at..end).unwrap_or_default().to_vec(),
            next: match end < items.len() {
                true => format!("{list}-{end}"),
                false => String::new(),
            },
        };
        if part.next.is_empty() {
            self.lists[list] = None;
        }
        part
    }

    /// From version 0, a watch is first told of all there is.
    pub(super) fn begin_watch(&self, asked: &Asked, version: u64) -> Place {
        let mut place = Place {
            version,
            first: String::new(),
            cuts: self.cuts,
        };
        if version == 0 {
            let of_kind = self.objects.get(&asked.resource).into_iter().flatten();
            let chosen = of_kind.filter(|(_, object)| asked.chooses(object));
            place.first = chosen.map(|(_, object)| line("ADDED", object)).collect();
            place.version = self.version;
        }
        place
    }

    fn note(&mut self, kind: &'static str, resource: Option<&str>, object: Value) {
        self.events.push(Event {
            version: self.version,
            kind,
            resource: resource.map(str::to_owned),
            object,
        });
    }

    fn lines_since(&self, version: u64, asked: &Asked) -> String {
        let start = self
            .events
            .partition_point(|event| event.version <= version);
        let events = self.events[start..].iter();
        let concerns = |event: &&Event| match &event.resource {
            Some(resource) => *resource == asked.resource && asked.chooses(&event.object),
            None => true,
        };
        let events = events.filter(concerns);
        events
            .map(|event| line(event.kind, &event.object))
            .collect()
    }
}

fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn key(object: &Value) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    format!("{}/{}", text("namespace"), text("name"))
}
