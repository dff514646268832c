//! Answers that are sent while they are written.
//!
//! An answer is made on a blocking thread, as that can take seconds and scrapes wait for the async
//! ones. What it writes is handed on in pieces of bounded size through a short queue, so a large
//! answer needs little memory, and one that nobody reads holds its thread up for a while only.
//!
//! Keeps true: an error before the first piece is answered as such; an answer that can't be
//! completed after it is cut off in a way that the client sees.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_core::Stream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::coding::{COMPRESS_BYTES_MIN, Coding, Encoder};
use crate::respond::{ApiError, ApiResult, ErrorKind};

/// A piece is handed on when it has this size.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for the client.
const PIECES: usize = 2;
/// A client that takes nothing for so long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// How many answers are made at a time. Rules and scrapes need blocking threads too, and slow readers
/// must not take them all; requests beyond this wait.
#[derive(Clone)]
pub(crate) struct Places(Arc<Semaphore>);

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Places(Arc::new(Semaphore::new(count.max(1))))
    }

    /// None only if the places were closed, which nobody does.
    async fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().acquire_owned().await.ok()
    }
}

/// Why nothing more is written.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(ApiError),
    /// Nobody reads any more.
    Gone,
}

impl<E: Into<ApiError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

/// Where an answer is written to.
pub(crate) struct Out {
    /// To write to directly; then [`Out::flush_if_full`] hands it on.
    pub(crate) buffer: Vec<u8>,
    encoder: Encoder,
    stage: Stage,
}

enum Stage {
    /// Nothing was sent yet.
    Waiting(Waiting),
    Sending(mpsc::Sender<Piece>, Handle),
    #[cfg(test)]
    Collecting,
}

struct Waiting {
    answer: oneshot::Sender<ApiResult>,
    content_type: HeaderValue,
    coding: Coding,
    runtime: Handle,
}

enum Piece {
    Bytes(Bytes),
    /// Without it the answer was cut off.
    End,
}

/// Makes an answer on a blocking thread; gives it as soon as its first piece is there.
pub(crate) async fn stream(
    places: &Places,
    content_type: HeaderValue,
    coding: Coding,
    make: impl FnOnce(&mut Out) -> Result<(), Stop> + Send + 'static,
) -> ApiResult {
    let place = places.take().await;
    let (answer, answered) = oneshot::channel();
    let waiting = Waiting {
        answer,
        content_type,
        coding,
        runtime: Handle::current(),
    };
    let task = tokio::task::spawn_blocking(move || {
        let mut out = Out {
            buffer: Vec::new(),
            encoder: coding.encoder(),
            stage: Stage::Waiting(waiting),
        };
        let made = make(&mut out);
        out.end(made);
        drop(place);
    });
    match answered.await {
        Ok(answer) => answer,
        Err(_) => {
            let why = match task.await {
                Err(failed) => failed.to_string(),
                Ok(()) => "no answer came".to_owned(),
            };
            let message = format!("making the answer ended unexpectedly: {why}");
            Err(ApiError::new(ErrorKind::Internal, message))
        }
    }
}

impl Out {
    pub(crate) fn push_str(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn flush_if_full(&mut self) -> Result<(), Stop> {
        if self.buffer.len() < PIECE_BYTES {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Stop> {
        self.begin_sending()?;
        let Stage::Sending(pieces, runtime) = &self.stage else {
            return Ok(());
        };
        let bytes = self
            .encoder
            .push(&mut self.buffer)
            .map_err(|e| not_encoded(&e))?;
        send(pieces, runtime, bytes)
    }

    /// Sends the head of the answer, if that is still to be done.
    fn begin_sending(&mut self) -> Result<(), Stop> {
        let Stage::Waiting(waiting) = &self.stage else {
            return Ok(());
        };
        let (pieces, queue) = mpsc::channel(PIECES);
        let next = Stage::Sending(pieces, waiting.runtime.clone());
        if let Stage::Waiting(waiting) = std::mem::replace(&mut self.stage, next) {
            let body = Body::from_stream(Pieces {
                queue,
                ended: false,
            });
            let response = waiting.response(body, waiting.coding);
            waiting.answer.send(Ok(response)).map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }

    fn end(mut self, made: Result<(), Stop>) {
        match (made, self.stage) {
            (Ok(()), Stage::Waiting(waiting)) => waiting.answer_whole(self.buffer, self.encoder),
            (Err(Stop::Failed(error)), Stage::Waiting(waiting)) => {
                // Whoever asked may have gone.
                let _ = waiting.answer.send(Err(error));
            }
            (Ok(()), Stage::Sending(pieces, runtime)) => {
                let last = self.encoder.push(&mut self.buffer);
                let rest = self.encoder.finish();
                for bytes in [last, rest] {
                    let sent = bytes.map_err(|e| not_encoded(&e));
                    if sent
                        .and_then(|bytes| send(&pieces, &runtime, bytes))
                        .is_err()
                    {
                        return;
                    }
                }
                // As above.
                let _ = runtime.block_on(pieces.send_timeout(Piece::End, STALLED));
            }
            (Err(Stop::Failed(error)), Stage::Sending(..)) => {
                tracing::error!("an answer was cut off: {}", error.text());
            }
            (Err(Stop::Gone), _) => {}
            #[cfg(test)]
            (_, Stage::Collecting) => {}
        }
    }

    /// Keeps all that is written.
    #[cfg(test)]
    pub(crate) fn collecting() -> Out {
        Out {
            buffer: Vec::new(),
            encoder: Coding::Identity.encoder(),
            stage: Stage::Collecting,
        }
    }
}

impl Waiting {
    fn response(&self, body: Body, coding: Coding) -> Response {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(value) = coding.header_value() {
            headers.insert(header::CONTENT_ENCODING, value);
        }
        response
    }

    /// The answer was less than a piece.
    fn answer_whole(self, mut buffer: Vec<u8>, mut encoder: Encoder) {
        let (body, coding) = if buffer.len() < COMPRESS_BYTES_MIN {
            (Ok(buffer), Coding::Identity)
        } else {
            let encoded = encoder.push(&mut buffer).and_then(|mut first| {
                first.append(&mut encoder.finish()?);
                Ok(first)
            });
            (encoded, self.coding)
        };
        let answer = match body {
            Ok(body) => Ok(self.response(Body::from(body), coding)),
            Err(error) => Err(ApiError::new(ErrorKind::Internal, error.to_string())),
        };
        // Whoever asked may have gone.
        let _ = self.answer.send(answer);
    }
}

fn send(pieces: &mpsc::Sender<Piece>, runtime: &Handle, bytes: Vec<u8>) -> Result<(), Stop> {
    if bytes.is_empty() {
        return Ok(());
    }
    let piece = Piece::Bytes(Bytes::from(bytes));
    let sent = runtime.block_on(pieces.send_timeout(piece, STALLED));
    sent.map_err(|_| Stop::Gone)
}

fn not_encoded(error: &io::Error) -> Stop {
    ApiError::new(ErrorKind::Internal, error.to_string()).into()
}

struct Pieces {
    queue: mpsc::Receiver<Piece>,
    ended: bool,
}

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.queue.poll_recv(context).map(|piece| match piece {
            Some(Piece::Bytes(bytes)) => Some(Ok(bytes)),
            Some(Piece::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(Err(io::Error::other("the answer was cut off")))
            }
        })
    }
}
