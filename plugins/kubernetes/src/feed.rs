//! Keeps what is known of one kind of objects as the API server has it: lists them once, then
//! watches for changes.
//!
//! Keeps true: a watch that ends goes on from where it was, and only when the server no longer knows
//! that place is everything listed again; what is known stays known while the server is away.

mod answer;

use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, Status};
use narthex_plugin_sdk::events::timeout_ms;
use narthex_plugin_sdk::http::Incoming;
use narthex_plugin_sdk::{Error, clock, random, tracing};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backoff::Backoff;
use crate::config::Selector;
use crate::connection::Connection;
use crate::objects::{self, Identity};
use crate::pieces::{Items, Lines};
use crate::resource::{Resource, encode};
use crate::shared::Shared;
use crate::telemetry::{self, Kind, Seen};
use answer::{Failure, check};

/// Objects in one answer of a list.
const PAGE: usize = 500;
/// How long a server may take to begin an answer.
const HEAD_MS: u64 = 60_000;
/// How long a list may stand still.
const PIECE_MS: u64 = 60_000;
/// How long a watch is asked to last: somewhere between these, so that not all end at once.
const WATCH_SECONDS: (u64, u64) = (240, 300);
/// How much longer than that it may be silent.
const SILENCE_MS: u64 = 30_000;
/// A watch that lasts so long was one.
const WATCHED_MS: u64 = 5_000;
/// So many watches in a row that the server refuses, and all is listed again.
const REFUSALS: u32 = 3;

/// One kind of objects, of one namespace or of all.
pub(crate) struct Feed {
    pub(crate) number: usize,
    pub(crate) resource: Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) selector: Selector,
    pub(crate) connection: Rc<Connection>,
    pub(crate) shared: Rc<Shared>,
    /// What was complained of last, and not mended since.
    pub(crate) trouble: Trouble,
    pub(crate) seen: Seen,
}

/// A failure that goes on is told once.
#[derive(Default)]
pub(crate) struct Trouble(Cell<Option<String>>);

impl Feed {
    pub(crate) async fn run(self) {
        telemetry::FAILURES.add(&[], 0.0);
        let mut backoff = Backoff::new();
        loop {
            match self.list().await {
                Ok(version) => {
                    backoff.reset();
                    self.shared.complete(self.number);
                    self.follow(version, &mut backoff).await;
                }
                Err(failure) => {
                    self.complain("list", &failure);
                    backoff.wait(failure.retry_after_ms()).await;
                }
            }
        }
    }

    /// Reads all objects; gives the version of the whole, from which on changes are to be watched.
    async fn list(&self) -> Result<String, Failure> {
        let mut keys = HashSet::new();
        let mut page = Some(String::new());
        let mut is_paged = true;
        let mut version = String::new();
        while let Some(at) = page {
            match self.read_page(&at, is_paged, &mut keys).await {
                Ok(meta) => {
                    page = meta.continue_.filter(|next| !next.is_empty());
                    if page.as_ref() == Some(&at) {
                        let text = "the server gives the same part of the list again and again";
                        return Err(Failure::Broken(text.to_owned()));
                    }
                    version = meta.resource_version.unwrap_or_default();
                }
                // Listing took longer than the server remembers: all at once, then.
                Err(Failure::Gone) if is_paged && !at.is_empty() => {
                    keys.clear();
                    is_paged = false;
                    page = Some(String::new());
                }
                Err(failure) => return Err(failure),
            }
        }
        let mut cluster = self.shared.cluster.borrow_mut();
        cluster.keep_only(self.resource, self.namespace.as_deref(), &keys);
        Ok(version)
    }

    async fn read_page(
        &self,
        at: &str,
        is_paged: bool,
        keys: &mut HashSet<String>,
    ) -> Result<ListMeta, Failure> {
        let mut query = self.query();
        if is_paged {
            query.push(("limit", PAGE.to_string()));
        }
        if !at.is_empty() {
            query.push(("continue", at.to_owned()));
        }
        let mut incoming = self.ask(&query, false).await?;
        let mut items = Items::default();
        while let Some(bytes) = piece(&mut incoming, PIECE_MS).await? {
            items.push(&bytes, |item| self.put_item(item, keys))?;
            self.seen.tell(self.resource);
        }
        let frame: ListFrame = serde_json::from_slice(items.frame())
            .map_err(|error| Failure::Broken(format!("the list is no sound JSON: {error}")))?;
        Ok(frame.metadata)
    }

    fn put_item(&self, item: &[u8], keys: &mut HashSet<String>) -> Result<(), Failure> {
        keys.insert(self.put(item)?.key());
        self.seen.count(Kind::Add);
        Ok(())
    }

    /// Takes the object. One that cannot be understood is named and passed over: it must not keep
    /// out the others.
    fn put(&self, json: &[u8]) -> Result<Identity, Failure> {
        match objects::read(self.resource, json) {
            Ok((identity, object)) => {
                let mut cluster = self.shared.cluster.borrow_mut();
                cluster.put(self.resource, &identity, object);
                Ok(identity)
            }
            Err(error) if error.is_data() => {
                let identity = objects::identify(json)?;
                let (kind, at) = (self.resource.name(), identity.key());
                tracing::error!("{kind} {at} is passed over: {error}");
                Ok(identity)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Watches, again and again, until all has to be listed anew.
    async fn follow(&self, mut version: String, backoff: &mut Backoff) {
        let mut refusals = 0;
        loop {
            let before = (version.clone(), clock::monotonic_ns());
            let ended = self.watch(&mut version).await;
            let lasted_ms = (clock::monotonic_ns() - before.1) / 1_000_000;
            let was_watch = lasted_ms >= WATCHED_MS || version != before.0;
            if was_watch {
                backoff.reset();
                refusals = 0;
            }
            match ended {
                // As it was agreed.
                Ok(()) if was_watch => continue,
                // It ends at once, each time: as if it failed.
                Ok(()) => backoff.wait(None).await,
                Err(Failure::Gone) => {
                    tracing::info!(
                        "{}: the server no longer has the changes since version {version}; \
                         listing all again",
                        self.name()
                    );
                    // A server that says so of each list would else be asked without a pause.
                    if !was_watch {
                        backoff.wait(None).await;
                    }
                    return;
                }
                Err(failure) => {
                    refusals += u32::from(failure.is_refusal());
                    self.complain("watch", &failure);
                    backoff.wait(failure.retry_after_ms()).await;
                    if refusals >= REFUSALS {
                        return;
                    }
                }
            }
        }
    }

    /// Takes changes for as long as one watch lasts.
    async fn watch(&self, version: &mut String) -> Result<(), Failure> {
        let (least, most) = WATCH_SECONDS;
        let seconds = least + random::below(most - least + 1);
        let mut query = self.query();
        query.push(("watch", "true".to_owned()));
        query.push(("allowWatchBookmarks", "true".to_owned()));
        query.push(("resourceVersion", version.clone()));
        query.push(("timeoutSeconds", seconds.to_string()));
        let mut incoming = self.ask(&query, true).await?;
        self.mended();
        let mut lines = Lines::default();
        let silence_ms = seconds * 1000 + SILENCE_MS;
        while let Some(bytes) = piece(&mut incoming, silence_ms).await? {
            let taken = lines.push(&bytes, |line| self.take_event(line, version));
            // What came before something broken holds.
            self.shared.tell();
            self.seen.tell(self.resource);
            taken?;
        }
        match lines.rest() {
            [] => Ok(()),
            _ => Err(Failure::Broken(
                "the watch ended in the middle of an event".to_owned(),
            )),
        }
    }

    fn take_event(&self, line: &[u8], version: &mut String) -> Result<(), Failure> {
        let event: Event<'_> = serde_json::from_slice(line)?;
        let json = event.object.get().as_bytes();
        let reached = match &*event.kind {
            kind @ ("ADDED" | "MODIFIED") => {
                self.seen.count(match kind {
                    "ADDED" => Kind::Add,
                    _ => Kind::Update,
                });
                self.put(json)?.version
            }
            "DELETED" => {
                self.seen.count(Kind::Delete);
                let identity = objects::identify(json)?;
                let mut cluster = self.shared.cluster.borrow_mut();
                cluster.remove(self.resource, &identity.key());
                identity.version
            }
            "BOOKMARK" => objects::identify(json)?.version,
            "ERROR" => {
                let status: Status = serde_json::from_slice(json)?;
                return Err(Failure::of_status(&status));
            }
            other => {
                let text = format!("an event of the unknown kind {other:?}");
                return Err(Failure::Broken(text));
            }
        };
        if !reached.is_empty() {
            *version = reached;
        }
        Ok(())
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let Selector { label, field } = &self.selector;
        let given = [("labelSelector", label), ("fieldSelector", field)];
        let given = given.into_iter().filter(|(_, text)| !text.is_empty());
        given.map(|(name, text)| (name, text.clone())).collect()
    }

    async fn ask(
        &self,
        query: &[(&'static str, String)],
        is_watch: bool,
    ) -> Result<Incoming, Failure> {
        let mut text = String::new();
        for (name, value) in query {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(&format!("{name}={}", encode(value)));
        }
        let namespace = self.namespace.as_deref();
        let request = self
            .connection
            .get(self.resource, namespace, &text, is_watch);
        let incoming = request.timeout_ms(HEAD_MS).send().await?;
        let checked = check(incoming).await;
        if let Err(Failure::Refused { status: 401, .. }) = checked {
            self.connection.renew();
        }
        checked
    }

    fn name(&self) -> String {
        let resource = self.resource.name();
        match &self.namespace {
            Some(namespace) => format!("{resource} in namespace {namespace}"),
            None => resource.to_owned(),
        }
    }

    fn complain(&self, doing: &str, failure: &Failure) {
        telemetry::FAILURES.add(&[], 1.0);
        let text = format!("cannot {doing} {}: {failure}", self.name());
        let known = self.trouble.0.take();
        match known.as_ref() == Some(&text) {
            true => tracing::debug!("{text}"),
            false => tracing::warn!("{text}; trying again"),
        }
        self.trouble.0.set(Some(text));
    }

    fn mended(&self) {
        if self.trouble.0.take().is_some() {
            tracing::info!("{} are watched again", self.name());
        }
    }
}

/// The next piece of an answer that may be silent for so long.
async fn piece(incoming: &mut Incoming, silence_ms: u64) -> Result<Option<Vec<u8>>, Failure> {
    let piece = timeout_ms(silence_ms, incoming.chunk()).await;
    Ok(piece.map_err(Error::from)??)
}

/// A list without its items.
#[derive(Deserialize)]
struct ListFrame {
    metadata: ListMeta,
}

/// A line of a watch.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}
