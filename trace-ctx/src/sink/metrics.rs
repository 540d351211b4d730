//! Requests as metrics.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Gauge, Label, gauge, histogram};

use crate::sink::{known_method, scheme_of};
use crate::{Finished, Kind, Outcome, Sink, Started, TraceContext};

type Exemplar = Arc<dyn Fn(&TraceContext, Duration) + Send + Sync>;

/// The duration of requests, and how many are under way, through the `metrics` facade.
///
/// - `http.server.request.duration` and `http.client.request.duration`: a histogram in seconds, from the call to the end of
///   the body, with the labels `http.request.method`, `http.response.status_code`, `http.route` and `error.type` where
///   they are known, and of a server `url.scheme`. All of them have few values, whatever callers send: hence no host that is called.
///   A call of ours that is dropped, or its body, is no error; a client that goes away is `future_dropped` or `body_dropped`.
/// - `http.server.active_requests` and `http.client.active_requests`: a gauge with the label `http.request.method`, and of a server `url.scheme`. It goes
///   down when what is kept for the request is dropped: it cannot leak.
#[derive(Clone)]
#[must_use]
pub struct MetricsSink {
    scheme: &'static str,
    exemplar: Option<Exemplar>,
}

impl Default for MetricsSink {
    fn default() -> Self {
        Self {
            scheme: "http",
            exemplar: None,
        }
    }
}

/// One request under way.
pub struct Active(Gauge);

impl MetricsSink {
    /// Without exemplars.
    pub fn new() -> Self {
        Self::default()
    }

    /// The scheme of requests that do not tell it, as those to a server; `http` by default.
    pub fn scheme(self, scheme: &'static str) -> Self {
        Self { scheme, ..self }
    }

    /// Also tells this of every sampled request, for a backend that can attach a trace to a measurement.
    pub fn exemplar(self, hook: impl Fn(&TraceContext, Duration) + Send + Sync + 'static) -> Self {
        Self {
            exemplar: Some(Arc::new(hook)),
            ..self
        }
    }
}

impl Sink for MetricsSink {
    type Span = Active;

    const TIMES_HEAD: bool = false;

    fn begin(&self, started: &Started<'_>) -> Option<Active> {
        let method = known_method(started.head.method);
        let active = match started.kind {
            Kind::Server => {
                let scheme = scheme_of(started.head.uri, self.scheme);
                let name = "http.server.active_requests";
                gauge!(name, "http.request.method" => method, "url.scheme" => scheme)
            }
            Kind::Client => {
                gauge!("http.client.active_requests", "http.request.method" => method)
            }
        };
        active.increment(1.0);
        Some(Active(active))
    }

    fn end(&self, _active: Active, finished: &Finished<'_>) {
        let name = match finished.kind {
            Kind::Server => "http.server.request.duration",
            Kind::Client => "http.client.request.duration",
        };
        histogram!(name, labels(finished, self.scheme)).record(finished.total.as_secs_f64());
        if let Some(exemplar) = self
            .exemplar
            .as_ref()
            .filter(|_| finished.context.is_sampled())
        {
            exemplar(finished.context, finished.total);
        }
    }
}

fn labels(finished: &Finished<'_>, scheme: &'static str) -> Vec<Label> {
    let method = known_method(finished.method);
    let mut labels = Vec::with_capacity(5);
    labels.push(Label::new("http.request.method", method));
    if finished.kind == Kind::Server {
        labels.push(Label::new("url.scheme", scheme_of(finished.uri, scheme)));
    }
    if let Some(status) = finished.status {
        let status = status.as_str().to_owned();
        labels.push(Label::new("http.response.status_code", status));
    }
    if let Some(route) = finished.route {
        labels.push(Label::new("http.route", route.as_str().to_owned()));
    }
    if let Some(error) = error_type(finished) {
        labels.push(Label::new("error.type", error));
    }
    labels
}

/// What went wrong, and in a server also that the client went away. A call that we give up ourselves is no error: most often nobody wanted
/// to read its body.
fn error_type(finished: &Finished<'_>) -> Option<Cow<'static, str>> {
    let is_dropped = matches!(
        finished.outcome,
        Outcome::BodyDropped | Outcome::FutureDropped
    );
    if is_dropped && finished.kind == Kind::Server {
        return Some(finished.outcome.as_str().into());
    }
    finished.error_type()
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

impl fmt::Debug for MetricsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsSink")
            .field("has_exemplar", &self.exemplar.is_some())
            .finish()
    }
}

impl fmt::Debug for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Active")
    }
}
