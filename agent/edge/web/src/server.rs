//! The listeners, the table of paths, and what every request passes through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{ListenerExt, TapIo};
use narthex_model::Regexp;
use narthex_storage::ReplayProgress;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::backend::Parts;
use crate::coding::{COMPRESS_BYTES_MIN, Coding};
use crate::metrics::Metrics;
use crate::stream::Places;
use crate::{
    admin, alertmanager, explain, extensions, federate, labels, lifecycle, query, rules, status,
    targets,
};

/// Posted alerts may take this much.
const BODY_BYTES_MAX: usize = 32 << 20;

/// How long requests that came while starting may take to be answered.
const LAST_ANSWERS: Duration = Duration::from_millis(100);

const CROSS_ORIGIN_HEADERS: [(HeaderName, &str); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "Accept, Authorization, Content-Type, Origin",
    ),
    (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
];

#[derive(Clone, Debug)]
pub struct Options {
    pub enable_lifecycle: bool,
    pub enable_admin_api: bool,
    pub query_timeout: Duration,
    /// Queries that run at a time; others wait. Rules are not counted.
    pub query_concurrency: usize,
    /// Answers that are made at a time, a blocking thread each.
    pub answer_concurrency: usize,
    /// Whether `stats=all` tells of each step.
    pub per_step_stats: bool,
    /// The origins whose pages may read the API. None: all of them.
    pub cross_origin: Option<Regexp>,
}

#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("listening on {address}: {reason}")]
    Listen { address: String, reason: String },
    #[error("a socket that was taken cannot be used: {0}")]
    Socket(std::io::Error),
    #[error("registering metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

pub(crate) struct Shared {
    pub(crate) parts: Parts,
    pub(crate) options: Options,
    pub(crate) query_slots: Arc<Semaphore>,
    pub(crate) answer_places: Places,
    pub(crate) metrics: Metrics,
}

/// Sockets that are taken, before anything else is started.
pub struct Listeners(Vec<std::net::TcpListener>);

/// Answers until it is ended or dropped; see [`Listeners::answer_starting`].
pub struct Starting {
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Starting {
    /// Waits until no more connections are taken, so that all further ones come to [`serve`].
    pub async fn end(self) {
        self.stop.send_replace(true);
        for mut server in self.servers {
            // Connections on which nothing is asked must not hold up the start.
            if timeout(LAST_ANSWERS, &mut server).await.is_err() {
                server.abort();
                let _ = server.await;
            }
        }
    }
}

impl Listeners {
    /// Takes every address (`host:port`, or `:port` for all interfaces).
    pub async fn bind(addresses: &[String]) -> Result<Self, WebError> {
        let mut listeners = Vec::new();
        for address in addresses {
            let full = match address.strip_prefix(':') {
                Some(port) => format!("0.0.0.0:{port}"),
                None => address.clone(),
            };
            let listener = TcpListener::bind(&full)
                .await
                .and_then(TcpListener::into_std)
                .map_err(|e| listen_error(address, &e))?;
            listeners.push(listener);
        }
        Ok(Listeners(listeners))
    }

    /// The addresses as they are, where port 0 was asked for with the port that was given.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Says that the agent is healthy but not ready yet, until what is given back is ended. A start
    /// can take long, and whoever watches the process must not take it for hung meanwhile.
    pub fn answer_starting(&self, replay: Arc<ReplayProgress>) -> Result<Starting, WebError> {
        let router = Router::new()
            .route("/-/healthy", get(lifecycle::healthy))
            .route(
                "/api/v1/status/walreplay",
                get(|| async move { status::replay_of(&replay) }),
            )
            .fallback(|| async { unavailable() });
        let (stop, stopped) = watch::channel(false);
        let mut servers = Vec::new();
        for listener in &self.0 {
            let again = asynchronous(listener.try_clone().map_err(WebError::Socket)?)?;
            let server = serve_on(again, router.clone(), stopped.clone());
            servers.push(tokio::spawn(server));
        }
        Ok(Starting { stop, servers })
    }
}

async fn serve_on(
    listener: TcpListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let stopped = async move {
        // An error means that the sender is gone: then stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(without_delay(listener), service)
        .with_graceful_shutdown(stopped)
        .await
}

/// What is written is sent at once. Else the last piece of an answer waits until the client has
/// acknowledged the one before, which clients put off for 40 ms.
fn without_delay(listener: TcpListener) -> TapIo<TcpListener, fn(&mut TcpStream)> {
    listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers on a connection are sent with delay");
        }
    })
}

fn asynchronous(listener: std::net::TcpListener) -> Result<TcpListener, WebError> {
    TcpListener::from_std(listener).map_err(WebError::Socket)
}

fn listen_error(address: &str, error: &std::io::Error) -> WebError {
    let reason = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "the address is in use by another process; stop it, or choose another address with \
             --web.listen-address"
                .to_owned()
        }
        std::io::ErrorKind::InvalidInput => format!(
            "{error}: expected host:port as in 127.0.0.1:9090, or :9090 for all interfaces, in \
             --web.listen-address"
        ),
        _ => error.to_string(),
    };
    WebError::Listen {
        address: address.to_owned(),
        reason,
    }
}

/// Serves until `stop` says true; then lets requests in progress end.
pub async fn serve(
    listeners: Listeners,
    parts: Parts,
    options: Options,
    stop: watch::Receiver<bool>,
) -> Result<(), WebError> {
    let metrics = Metrics::new(&parts.registry)?;
    let query_slots = Arc::new(Semaphore::new(options.query_concurrency.max(1)));
    let answer_places = Places::new(options.answer_concurrency);
    let router = router(Arc::new(Shared {
        answer_places,
        parts,
        options,
        query_slots,
        metrics,
    }));
    let mut servers = Vec::new();
    for listener in listeners.0 {
        let listener = asynchronous(listener)?;
        servers.push(tokio::spawn(serve_on(
            listener,
            router.clone(),
            stop.clone(),
        )));
    }
    for server in servers {
        match server.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("serving HTTP: {error}"),
            Err(error) => tracing::error!("serving HTTP: {error}"),
        }
    }
    Ok(())
}

fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/api/v1/query", get(query::instant).post(query::instant))
        .route("/api/v1/query_range", get(query::range).post(query::range))
        .route(
            "/api/v1/query_exemplars",
            get(query::exemplars).post(query::exemplars),
        )
        .route(
            "/api/v1/format_query",
            get(query::format).post(query::format),
        )
        .route("/api/v1/parse_query", get(query::tree).post(query::tree))
        .route("/api/v1/series", get(labels::series).post(labels::series))
        .route("/api/v1/labels", get(labels::names).post(labels::names))
        .route("/api/v1/label/{name}/values", get(labels::values))
        .route("/api/v1/targets", get(targets::targets))
        .route("/api/v1/targets/metadata", get(targets::target_metadata))
        .route("/api/v1/scrape_pools", get(targets::scrape_pools))
        .route("/api/v1/metadata", get(targets::metadata))
        .route("/api/v1/alertmanagers", get(targets::alertmanagers))
        .route("/api/v1/rules", get(rules::rules))
        .route("/api/v1/alerts", get(rules::alerts))
        .route("/api/v1/status/config", get(status::config))
        .route("/api/v1/status/flags", get(status::flags))
        .route("/api/v1/status/buildinfo", get(status::build))
        .route("/api/v1/status/runtimeinfo", get(status::runtime))
        .route("/api/v1/status/tsdb", get(status::tsdb))
        .route("/api/v1/status/tsdb/blocks", get(status::blocks))
        .route(
            "/api/v1/admin/tsdb/delete_series",
            post(admin::delete_series).put(admin::delete_series),
        )
        .route(
            "/api/v1/admin/tsdb/clean_tombstones",
            post(admin::clean_tombstones).put(admin::clean_tombstones),
        )
        .route(
            "/api/v1/admin/tsdb/snapshot",
            post(admin::snapshot).put(admin::snapshot),
        )
        .route(
            "/api/v1/narthex/explain",
            get(explain::explain).post(explain::explain),
        )
        .route("/api/v1/narthex/plugins", get(extensions::plugins))
        .route("/api/v1/narthex/scripts", get(extensions::scripts))
        .route("/api/v2/status", get(alertmanager::status))
        .route("/api/v2/receivers", get(alertmanager::receivers))
        .route(
            "/api/v2/alerts",
            get(alertmanager::alerts).post(alertmanager::post_alerts),
        )
        .route("/api/v2/alerts/groups", get(alertmanager::groups))
        .route("/federate", get(federate::federate))
        .route("/plugins/{name}/metrics", get(extensions::plugin_metrics))
        .layer(middleware::from_fn_with_state(
            shared.clone(),
            only_when_ready,
        ));
    Router::new()
        .merge(api)
        .route("/api/v1/status/walreplay", get(status::replay))
        .route("/", get(lifecycle::front_page))
        .route("/metrics", get(lifecycle::metrics))
        .route("/version", get(lifecycle::version))
        .route("/-/healthy", get(lifecycle::healthy))
        .route("/-/ready", get(lifecycle::ready))
        .route("/-/reload", post(lifecycle::reload).put(lifecycle::reload))
        .route("/-/quit", post(lifecycle::quit).put(lifecycle::quit))
        .fallback(unknown_path)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(compress))
        .layer(middleware::from_fn_with_state(shared.clone(), cross_origin))
        .layer(middleware::from_fn_with_state(shared.clone(), count))
        .with_state(shared)
}

async fn unknown_path() -> (StatusCode, &'static str) {
    (
        StatusCode::NOT_FOUND,
        "404 page not found: / lists what there is\n",
    )
}

async fn only_when_ready(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    if shared.parts.agent.is_ready() {
        return next.run(request).await;
    }
    unavailable().into_response()
}

fn unavailable() -> impl IntoResponse {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [("X-Prometheus-Stopping", "false")],
        "Service Unavailable",
    )
}

async fn count(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let handler = match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().to_owned(),
        // One name for all unknown paths: a crawler must not make series.
        None => "/unknown".to_owned(),
    };
    let started = Instant::now();
    let response = next.run(request).await;
    shared
        .metrics
        .observe(&handler, response.status().as_u16(), started.elapsed());
    response
}

/// Lets the pages of other origins read the API where that is allowed.
async fn cross_origin(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_preflight =
        request.method() == Method::OPTIONS && request.uri().path().starts_with("/api/");
    let mut response = if is_preflight {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin.filter(|origin| !origin.is_empty()) else {
        return response;
    };
    for (name, value) in CROSS_ORIGIN_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let allowed = match &shared.options.cross_origin {
        None => Some(HeaderValue::from_static("*")),
        Some(regexp) => {
            let matches = origin.to_str().is_ok_and(|text| regexp.is_match(text));
            matches.then_some(origin)
        }
    };
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    }
    response
}

/// Compresses where the client takes it and it pays. What is streamed has done so itself.
async fn compress(request: Request, next: Next) -> Response {
    let coding = Coding::accepted(request.headers());
    let response = next.run(request).await;
    let is_streamed = response.body().size_hint().exact().is_none();
    if is_streamed || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        Err(error) => {
            tracing::warn!("reading an answer to compress it: {error}");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    head.headers
        .insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let Some(value) = coding
        .header_value()
        .filter(|_| body.len() >= COMPRESS_BYTES_MIN)
    else {
        return Response::from_parts(head, Body::from(body));
    };
    // Off the async threads: a large answer takes seconds, and scrapes wait for the same threads.
    let uncompressed = body.clone();
    match tokio::task::spawn_blocking(move || encode(coding, &uncompressed)).await {
        Ok(Ok(compressed)) => {
            head.headers.insert(header::CONTENT_ENCODING, value);
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(compressed))
        }
        Ok(Err(_)) | Err(_) => Response::from_parts(head, Body::from(body)),
    }
}

fn encode(coding: Coding, body: &Bytes) -> std::io::Result<Vec<u8>> {
    let mut encoder = coding.encoder();
    let mut encoded = encoder.push(&mut body.to_vec())?;
    encoded.append(&mut encoder.finish()?);
    Ok(encoded)
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener;

    use super::*;

    #[tokio::test]
    async fn answers_are_sent_without_delay() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = without_delay(listener);
        let (accepted, _client) = tokio::join!(listener.accept(), TcpStream::connect(address));
        assert!(accepted.0.nodelay().unwrap());
    }
}
