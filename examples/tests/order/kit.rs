//! Two layers in two orders, a server's and a client's, and what there is to look at.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use buttress_trace_ctx::{Finished, Sink};
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, Service, ServiceExt};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Documented,
    Swapped,
}

/// `app` within both layers; the outer one stands outside in the documented order, and inside in the other.
macro_rules! within {
    ($app:expr, $order:expr, outer: $outer:expr, inner: $inner:expr $(,)?) => {{
        let (app, outer, inner) = ($app, $outer, $inner);
        match $order {
            crate::kit::Order::Documented => app.layer(inner).layer(outer),
            crate::kit::Order::Swapped => app.layer(outer).layer(inner),
        }
    }};
}

/// How often something was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    /// Counts, and says how often it was before.
    pub(crate) fn up(&self) -> usize {
        self.0.fetch_add(1, SeqCst)
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

async fn read(response: Response) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        // One may be compressed.
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// What a server answers.
pub(crate) async fn ask(app: &Router, request: http::request::Builder) -> Answer {
    let request = request.body(Body::empty()).unwrap();
    let Ok(response) = app.clone().oneshot(request).await;
    read(response).await
}

type Outgoing = Request<Full<Bytes>>;

/// A client's stack.
#[derive(Clone)]
pub(crate) struct Client(BoxCloneSyncService<Outgoing, Response, BoxError>);

impl Client {
    /// What stands below all layers.
    pub(crate) fn of<F, R>(connection: F) -> Self
    where
        F: Fn(Outgoing) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response> + Send + 'static,
    {
        let connection = tower::service_fn(move |request| {
            let answer = connection(request);
            async { Ok(answer.await) }
        });
        Self(BoxCloneSyncService::new(connection))
    }

    pub(crate) fn layer<L, B>(self, layer: L) -> Self
    where
        L: Layer<BoxCloneSyncService<Outgoing, Response, BoxError>>,
        L::Service: Service<Outgoing, Response = http::Response<B>, Error: Into<BoxError>>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<Outgoing>>::Future: Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let service = layer.layer(self.0);
        let service = service.map_response(|response| response.map(Body::new));
        Self(BoxCloneSyncService::new(service.map_err(Into::into)))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, BoxError> {
        let request = Request::get(format!("http://shop{path}"));
        let request = request.body(Full::default())?;
        Ok(read(self.0.clone().oneshot(request).await?).await)
    }
}

/// What the trace layers have told: the status, and the span.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<(u16, String)>>>);

impl Records {
    pub(crate) fn sink(&self) -> impl Sink<Span: Send> + Send + Sync + 'static + use<> {
        let records = self.0.clone();
        move |finished: &Finished<'_>| {
            let status = finished.status.map_or(0, |status| status.as_u16());
            let span = finished.context.span_id().to_string();
            records.lock().unwrap().push((status, span));
        }
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        let records = self.0.lock().unwrap();
        records.iter().map(|(status, _)| *status).collect()
    }
}
