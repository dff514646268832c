//! The AWS SDK's requests, clock and sleep, which are the agent's.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_async::rt::sleep::{AsyncSleep, Sleep};
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use narthex_plugin_sdk::http::{Client, Request, Response};
use narthex_plugin_sdk::{HttpError, HttpErrorCode, clock, events};

/// The agent's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock;

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(clock::now_ns())
    }
}

/// Sleeps as long as the agent says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer;

impl AsyncSleep for Timer {
    fn sleep(&self, duration: Duration) -> Sleep {
        let slept = events::sleep_ms(milliseconds(duration));
        Sleep::new(async move {
            // It fails only where no more timers are to be had: then nobody waits.
            let _over = slept.await;
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Makes requests by the agent, and remembers which one was not granted: the SDK tells so little of
/// why no credentials were found.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    refused: Arc<Mutex<Option<String>>>,
}

impl Http {
    pub(crate) fn new(client: Client) -> Self {
        Http {
            client,
            refused: Arc::default(),
        }
    }

    /// What was said of the last request that was not granted, since this was asked last.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.take()
    }

    fn note(&self, error: &HttpError) {
        if error.code == HttpErrorCode::NotGranted {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(error.message.clone());
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl HttpClient for Http {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limits = [settings.connect_timeout(), settings.read_timeout()];
        let limits = limits.into_iter().collect::<Option<Vec<Duration>>>();
        SharedHttpConnector::new(Connector {
            http: self.clone(),
            head_within_ms: limits.map(|limits| milliseconds(limits.into_iter().sum())),
        })
    }
}

#[derive(Debug)]
struct Connector {
    http: Http,
    /// Until an answer begins: to connect, and then to read.
    head_within_ms: Option<u64>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if let Some(capture) = request.extension::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(|| Some(connection()));
        }
        let asked = self.request(&request);
        let http = self.http.clone();
        HttpConnectorFuture::new(async move {
            let answer = async { asked?.send().await?.whole().await };
            let response = answer.await.map_err(|error| {
                http.note(&error);
                connector_error(error)
            })?;
            sdk_response(response)
        })
    }
}

impl Connector {
    fn request(&self, request: &HttpRequest) -> Result<Request, HttpError> {
        let Some(body) = request.body().bytes() else {
            return Err(HttpError {
                code: HttpErrorCode::Invalid,
                message: "a body that comes in pieces cannot be sent".to_owned(),
            });
        };
        let mut asked = self.http.client.request(request.method(), request.uri());
        asked = asked.body(body);
        if let Some(limit_ms) = self.head_within_ms {
            asked = asked.timeout_ms(limit_ms);
        }
        for (name, value) in request.headers() {
            // The agent writes these two itself.
            if name != "host" && name != "content-length" {
                asked = asked.header(name, value);
            }
        }
        Ok(asked)
    }
}

/// The SDK wants to have connections closed that gave a bad answer. They are the agent's business.
fn connection() -> ConnectionMetadata {
    ConnectionMetadata::builder()
        .proxied(false)
        .poison_fn(|| ())
        .build()
}

/// What may be mended by asking again is told as such.
fn connector_error(error: HttpError) -> ConnectorError {
    match error.code {
        HttpErrorCode::Timeout => ConnectorError::timeout(error.into()),
        HttpErrorCode::Connection | HttpErrorCode::Name | HttpErrorCode::Tls => {
            ConnectorError::io(error.into())
        }
        HttpErrorCode::NotGranted | HttpErrorCode::Invalid => ConnectorError::user(error.into()),
        HttpErrorCode::TooLarge | HttpErrorCode::Limit | HttpErrorCode::Other => {
            ConnectorError::other(error.into(), None)
        }
    }
}

fn sdk_response(response: Response) -> Result<HttpResponse, ConnectorError> {
    let status = response.head.status.try_into();
    let status = status.map_err(|error| ConnectorError::other(Box::new(error), None))?;
    let mut answer = HttpResponse::new(status, SdkBody::from(response.body));
    for (name, value) in response.head.headers {
        // What is no header by the SDK's measure is of no use to it either.
        let _added = answer.headers_mut().try_append(name, value);
    }
    Ok(answer)
}
