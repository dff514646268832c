//! Answers that come bit by bit.
//!
//! Keeps true: no more is read ahead of the plugin than the limit; dropping a stream ends its
//! request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;

use crate::bindings::http::{Head, HttpError, Progress};
use crate::host::events::Wake;

use super::exchange::{Ask, Reply, exchange, http_error};

/// A request under way, as its instance has it.
pub(crate) struct Stream {
    buffer: Arc<Buffer>,
    /// None where nothing more comes.
    task: Option<JoinHandle<()>>,
}

/// What has come and was not taken.
struct Buffer {
    content: Mutex<Content>,
    /// Something was taken.
    room: Notify,
    wake: Sender<Wake>,
}

#[derive(Default)]
struct Content {
    head: Option<Head>,
    pieces: VecDeque<Bytes>,
    bytes: usize,
    end: Option<Result<(), HttpError>>,
    /// That there is something was told since `take` said `pending` last.
    told: bool,
}

impl Stream {
    pub(super) fn start(
        ask: Ask,
        wake: Sender<Wake>,
        limit_bytes: usize,
        runtime: &Handle,
    ) -> Self {
        let buffer = Arc::new(Buffer {
            content: Mutex::default(),
            room: Notify::new(),
            wake,
        });
        let filled = buffer.clone();
        let task = runtime.spawn(async move {
            let ended = fill(ask, &filled, limit_bytes).await;
            filled.change(|content| content.end = Some(ended));
        });
        Stream {
            buffer,
            task: Some(task),
        }
    }

    /// A stream that has its whole answer: head, body, and whether it stays open after that.
    pub(super) fn complete(
        answer: Result<(Head, Vec<u8>, bool), HttpError>,
        wake: Sender<Wake>,
    ) -> Self {
        let content = match answer {
            Ok((head, body, stays_open)) => Content {
                head: Some(head),
                bytes: body.len(),
                pieces: Some(Bytes::from(body))
                    .filter(|body| !body.is_empty())
                    .into_iter()
                    .collect(),
                end: (!stays_open).then_some(Ok(())),
                told: false,
            },
            Err(error) => Content {
                end: Some(Err(error)),
                ..Content::default()
            },
        };
        Stream {
            buffer: Arc::new(Buffer {
                content: Mutex::new(content),
                room: Notify::new(),
                wake,
            }),
            task: None,
        }
    }

    /// Whether there is something that was not told yet; now it is.
    pub(crate) fn tell(&self) -> bool {
        let mut content = self.buffer.lock();
        let news = content.has_any() && !content.told;
        content.told |= news;
        news
    }

    pub(super) fn take(&self) -> Result<Progress, HttpError> {
        let mut content = self.buffer.lock();
        if let Some(head) = content.head.take() {
            return Ok(Progress::Head(head));
        }
        if let Some(piece) = content.pieces.pop_front() {
            content.bytes = content.bytes.saturating_sub(piece.len());
            drop(content);
            self.buffer.room.notify_one();
            return Ok(Progress::Body(piece.into()));
        }
        match content.end.take() {
            Some(Ok(())) => Ok(Progress::End),
            Some(Err(error)) => Err(error),
            None => {
                content.told = false;
                Ok(Progress::Pending)
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn fill(ask: Ask, buffer: &Buffer, limit_bytes: usize) -> Result<(), HttpError> {
    let (head, reply) = exchange(ask).await?;
    let Reply::Live(response) = reply else {
        // Recorded answers are taken whole.
        return Ok(());
    };
    let mut response = response.without_deadline();
    buffer.change(|content| content.head = Some(head));
    loop {
        while buffer.lock().bytes >= limit_bytes.max(1) {
            buffer.room.notified().await;
        }
        let piece = response.chunk().await.map_err(|error| http_error(&error))?;
        match piece {
            Some(piece) if piece.is_empty() => {}
            Some(piece) => buffer.change(|content| {
                content.bytes += piece.len();
                content.pieces.push_back(piece);
            }),
            None => return Ok(()),
        }
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Content)) {
        change(&mut self.lock());
        // A full queue means that the instance looks anyway.
        let _ = self.wake.try_send(Wake::Look);
    }
}

impl Content {
    fn has_any(&self) -> bool {
        self.head.is_some() || !self.pieces.is_empty() || self.end.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(body: &str, stays_open: bool) -> Stream {
        let head = Head {
            status: 200,
            headers: Vec::new(),
            url: String::new(),
        };
        let (wake, _) = tokio::sync::mpsc::channel(1);
        Stream::complete(Ok((head, body.as_bytes().to_vec(), stays_open)), wake)
    }

    fn taken(stream: &Stream) -> String {
        match stream.take() {
            Ok(Progress::Pending) => "pending".to_owned(),
            Ok(Progress::Head(head)) => format!("head {}", head.status),
            Ok(Progress::Body(body)) => format!("body {}", body.len()),
            Ok(Progress::End) => "end".to_owned(),
            Err(error) => error.message,
        }
    }

    #[test]
    fn a_recorded_answer_is_there_at_once() {
        for (body, stays_open, expected) in [
            ("abc", false, ["head 200", "body 3", "end"]),
            ("abc", true, ["head 200", "body 3", "pending"]),
            ("", false, ["head 200", "end", "pending"]),
            ("", true, ["head 200", "pending", "pending"]),
        ] {
            let stream = complete(body, stays_open);
            assert!(stream.tell() && !stream.tell());
            assert_eq!(expected.map(|_| taken(&stream)), expected, "{body}");
            // Nothing more comes.
            assert!(!stream.tell());
        }
    }
}
