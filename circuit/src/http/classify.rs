//! What an HTTP answer says about its service.

use std::time::{Duration, SystemTime};

use ::http::header::{DATE, RETRY_AFTER};
use ::http::{HeaderMap, StatusCode};
use buttress_wire::grpc::{Code, is_grpc};
use buttress_wire::{GRPC_RETRY_PUSHBACK, RetryAfter};

use crate::verdict::Verdict;

/// When the verdict on an answer falls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Classified<End> {
    /// With the head.
    Now(Verdict),
    /// With the end of the body, by this. A body that is dropped before its end is a caller who went away.
    ///
    /// What was announced, by `Content-Length` or an exact size hint, is the end as soon as all of it has come, for a server over HTTP/1.1 asks for no more;
    /// and an answer that has no content (to HEAD, a 2xx to CONNECT, 1xx, 204, 304) ends with its head. Not so gRPC, and what has a `Trailer` field.
    AtEnd(End),
}

/// Decides what the answers of an HTTP service, whose errors are `E`, say about it. Implemented for closures from status and headers to a [`Verdict`], for which
/// every error is a failure.
pub trait ClassifyHttp<E> {
    /// Decides at the end of a body.
    type End: ClassifyEnd;

    /// The head of an answer has come.
    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Classified<Self::End>;

    /// There was no answer. By default a failure.
    fn error(&self, error: &E) -> Verdict {
        let _ = error;
        Verdict::Failure
    }
}

impl<F, E> ClassifyHttp<E> for F
where
    F: Fn(StatusCode, &HeaderMap) -> Verdict,
{
    /// Never.
    type End = fn(Option<&HeaderMap>) -> Verdict;

    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Classified<Self::End> {
        Classified::Now(self(status, headers))
    }
}

/// Decides at the end of a body. Implemented for closures.
pub trait ClassifyEnd {
    /// The body ended as it should, with these trailers.
    fn end(self, trailers: Option<&HeaderMap>) -> Verdict;

    /// The body broke, or was cut short. By default a failure.
    fn broken(self) -> Verdict
    where
        Self: Sized,
    {
        Verdict::Failure
    }
}

impl<F: FnOnce(Option<&HeaderMap>) -> Verdict> ClassifyEnd for F {
    fn end(self, trailers: Option<&HeaderMap>) -> Verdict {
        self(trailers)
    }
}

/// A 5xx status is a failure, and so are the codes of gRPC that say that the server is in trouble.
///
/// gRPC: `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS` are failures; `RESOURCE_EXHAUSTED` is
/// [`Verdict::Overloaded`], which degrades a rate and fails a probe but is none of consecutive failures; `CANCELLED` and
/// `PERMISSION_DENIED` are ignored; every other code is a success, since somebody was there to answer. The code is taken from
/// the headers of an answer without a body, else from the trailers: the permit then lives as long as the stream. A stream that ends
/// without a code is a failure.
///
/// A 429 is a success, unless [`too_many_requests`](Self::too_many_requests) says otherwise: it tells one client about itself.
///
/// Whatever fails may say for how long, by `Retry-After` (RFC 9110, 10.2.3: seconds, or a date, which is compared with the answer's own `Date`
/// where there is one) or by `grpc-retry-pushback-ms` in headers or trailers (gRFC A6: what is negative or no number means not to
/// retry, and here the longest time there is). The breaker, if it opens, stays open for no less, up to [`retry_after`](Self::retry_after).
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerErrors {
    scope: Scope,
    too_many: bool,
    patience: Patience,
}

#[derive(Clone, Copy, Debug, Default)]
enum Scope {
    Heads,
    #[default]
    GrpcTrailers,
    Bodies,
}

impl ServerErrors {
    /// Also a body that breaks is a failure: the permit of every call lives until its body has [ended](Classified::AtEnd). Not for answers without an end,
    /// such as server-sent events: a probe that streams for ever is a probe that does not answer.
    #[must_use]
    pub fn until_end_of_body(self) -> Self {
        Self {
            scope: Scope::Bodies,
            ..self
        }
    }

    /// Decides everything by the head, also gRPC: for streams that last longer than a breaker can wait.
    #[must_use]
    pub fn heads_only(self) -> Self {
        Self {
            scope: Scope::Heads,
            ..self
        }
    }

    /// A 429 is [`Verdict::Overloaded`]: for services that limit all their clients together, or this one alone.
    #[must_use]
    pub fn too_many_requests(self) -> Self {
        Self {
            too_many: true,
            ..self
        }
    }

    /// The most that a service may ask for by `Retry-After` and its gRPC twin. Default: five minutes.
    #[must_use]
    pub fn retry_after(self, at_most: Duration) -> Self {
        Self {
            patience: Patience::UpTo(at_most),
            ..self
        }
    }

    /// A service has no say in how long it is not called.
    #[must_use]
    pub fn ignore_retry_after(self) -> Self {
        Self {
            patience: Patience::None,
            ..self
        }
    }
}

impl<E> ClassifyHttp<E> for ServerErrors {
    type End = End;

    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Classified<End> {
        if status.is_server_error() {
            return Classified::Now(self.patience.failure(headers));
        }
        if self.too_many && status == StatusCode::TOO_MANY_REQUESTS {
            return Classified::Now(Verdict::Overloaded(self.patience.asked(headers)));
        }
        let grpc = is_grpc(headers);
        if grpc && let Some(code) = Code::from_headers(headers) {
            return Classified::Now(self.patience.verdict_of(code, headers));
        }
        match self.scope {
            Scope::GrpcTrailers | Scope::Bodies if grpc => {
                Classified::AtEnd(End(Ending::Grpc(self.patience)))
            }
            Scope::Bodies => Classified::AtEnd(End(Ending::Any)),
            Scope::GrpcTrailers | Scope::Heads => Classified::Now(Verdict::Success),
        }
    }
}

/// What [`ServerErrors`] make of the end of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct End(Ending);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    /// That it has come is success.
    Any,
    /// The trailers have the code.
    Grpc(Patience),
}

impl ClassifyEnd for End {
    fn end(self, trailers: Option<&HeaderMap>) -> Verdict {
        match (self.0, trailers) {
            (Ending::Any, _) => Verdict::Success,
            (Ending::Grpc(_), None) => Verdict::Failure,
            (Ending::Grpc(patience), Some(trailers)) => {
                let code = Code::from_headers(trailers).unwrap_or(Code::Unknown);
                patience.verdict_of(code, trailers)
            }
        }
    }
}

/// How long a service may ask not to be called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Patience {
    None,
    UpTo(Duration),
}

impl Default for Patience {
    fn default() -> Self {
        Self::UpTo(Duration::from_mins(5))
    }
}

impl Patience {
    fn verdict_of(self, code: Code, headers: &HeaderMap) -> Verdict {
        match code {
            Code::ResourceExhausted => Verdict::Overloaded(self.asked(headers)),
            Code::Unknown
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => self.failure(headers),
            Code::Cancelled | Code::PermissionDenied => Verdict::Ignore,
            _ => Verdict::Success,
        }
    }

    fn failure(self, headers: &HeaderMap) -> Verdict {
        self.asked(headers)
            .map_or(Verdict::Failure, Verdict::FailureFor)
    }

    /// What `headers`, or trailers, ask for.
    fn asked(self, headers: &HeaderMap) -> Option<Duration> {
        let Self::UpTo(most) = self else {
            return None;
        };
        let asked = retry_after(headers).or_else(|| pushback(headers))?;
        Some(asked.min(most))
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    match RetryAfter::parse(headers.get(RETRY_AFTER)?.as_bytes())? {
        RetryAfter::After(delay) => Some(delay),
        RetryAfter::At(then) => {
            // By the clock that it was said by, where that is known.
            let said = headers
                .get(DATE)
                .and_then(|date| RetryAfter::parse(date.as_bytes()));
            let now = match said {
                Some(RetryAfter::At(now)) => now,
                _ => wall_clock(),
            };
            Some(then.duration_since(now).unwrap_or_default())
        }
    }
}

/// The one look at the time of day: a date means nothing to the breaker's clock.
#[expect(clippy::disallowed_methods, reason = "a date is of the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

fn pushback(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(GRPC_RETRY_PUSHBACK)?.to_str().ok();
    let millis = value.and_then(|value| value.parse().ok());
    Some(millis.map_or(Duration::MAX, Duration::from_millis))
}

/// Classifies errors by a closure, and answers as `C` does. Made by
/// [`CircuitLayer::classify_http_errors`](crate::CircuitLayer::classify_http_errors).
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpErrorsBy<C, G> {
    pub(crate) answers: C,
    pub(crate) errors: G,
}

impl<C, G, E> ClassifyHttp<E> for HttpErrorsBy<C, G>
where
    C: ClassifyHttp<E>,
    G: Fn(&E) -> Verdict,
{
    type End = C::End;

    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Classified<C::End> {
        self.answers.head(status, headers)
    }

    fn error(&self, error: &E) -> Verdict {
        (self.errors)(error)
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    const ANY: End = End(Ending::Any);
    const GRPC: End = End(Ending::Grpc(WITHIN));
    const WITHIN: Patience = Patience::UpTo(secs(300));

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn head(
        classify: ServerErrors,
        status: u16,
        headers: &[(&'static str, &'static str)],
    ) -> Classified<End> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    ::http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        ClassifyHttp::<()>::head(&classify, status, &headers)
    }

    #[test]
    fn heads() {
        use Verdict::{Failure, Ignore, Success};
        let grpc = ("content-type", "application/grpc");
        let default = ServerErrors::default();
        for (classify, status, headers, verdict) in [
            (default, 200, &[][..], Classified::Now(Success)),
            (default, 404, &[], Classified::Now(Success)),
            (default, 429, &[], Classified::Now(Success)),
            (default, 500, &[], Classified::Now(Failure)),
            (default, 503, &[grpc], Classified::Now(Failure)),
            (default, 200, &[grpc], Classified::AtEnd(GRPC)),
            (
                default,
                200,
                &[grpc, ("grpc-status", "14")],
                Classified::Now(Failure),
            ),
            (
                default,
                200,
                &[grpc, ("grpc-status", "5")],
                Classified::Now(Success),
            ),
            (
                default,
                200,
                &[grpc, ("grpc-status", "7")],
                Classified::Now(Ignore),
            ),
            (
                default.until_end_of_body(),
                200,
                &[],
                Classified::AtEnd(ANY),
            ),
            (
                default.until_end_of_body(),
                502,
                &[],
                Classified::Now(Failure),
            ),
            (default.heads_only(), 200, &[grpc], Classified::Now(Success)),
        ] {
            assert_eq!(
                head(classify, status, headers),
                verdict,
                "{classify:?} {status} {headers:?}"
            );
        }
    }

    #[test]
    fn a_failure_may_say_for_how_long() {
        use Verdict::{Failure, FailureFor, Overloaded};
        let default = ServerErrors::default();
        let grpc = ("content-type", "application/grpc");
        let code = |code| ("grpc-status", code);
        let (date, later) = (
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"),
        );
        let after = |value| ("retry-after", value);
        let pushback = |value| ("grpc-retry-pushback-ms", value);
        for (classify, status, headers, verdict) in [
            (default, 503, &[after("7")][..], FailureFor(secs(7))),
            (default, 500, &[after("7")], FailureFor(secs(7))),
            (default, 503, &[after("0")], FailureFor(secs(0))),
            (default, 503, &[after("86400")], FailureFor(secs(300))),
            (default, 503, &[after("soon")], Failure),
            (default, 503, &[later, date], FailureFor(secs(60))),
            (default, 503, &[later], FailureFor(secs(0))),
            (
                default,
                503,
                &[after("Fri, 31 Dec 9999 23:59:59 GMT")],
                FailureFor(secs(300)),
            ),
            (
                default.retry_after(secs(5)),
                503,
                &[after("7")],
                FailureFor(secs(5)),
            ),
            (default.ignore_retry_after(), 503, &[after("7")], Failure),
            (default, 200, &[after("7")], Verdict::Success),
            (default, 429, &[after("7")], Verdict::Success),
            (
                default.too_many_requests(),
                429,
                &[after("7")],
                Overloaded(Some(secs(7))),
            ),
            (default.too_many_requests(), 429, &[], Overloaded(None)),
            (
                default,
                200,
                &[grpc, code("14"), pushback("2500")],
                FailureFor(Duration::from_millis(2500)),
            ),
            (
                default,
                200,
                &[grpc, code("8"), pushback("2500")],
                Overloaded(Some(Duration::from_millis(2500))),
            ),
            (
                default,
                200,
                &[grpc, code("14"), pushback("-1")],
                FailureFor(secs(300)),
            ),
            (
                default,
                200,
                &[grpc, code("14"), pushback("never")],
                FailureFor(secs(300)),
            ),
            (
                default,
                200,
                &[grpc, code("5"), pushback("9")],
                Verdict::Success,
            ),
        ] {
            assert_eq!(
                head(classify, status, headers),
                Classified::Now(verdict),
                "{classify:?} {status} {headers:?}"
            );
        }
    }

    #[test]
    fn trailers_may_say_for_how_long() {
        let field = |name, value| {
            let name = ::http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        let trailers = HeaderMap::from_iter([
            field("grpc-status", "14"),
            field("grpc-retry-pushback-ms", "4000"),
        ]);
        assert_eq!(GRPC.end(Some(&trailers)), Verdict::FailureFor(secs(4)));
    }

    #[test]
    fn a_grpc_stream_that_ends_without_a_code_has_failed() {
        assert_eq!(GRPC.end(None), Verdict::Failure);
        assert_eq!(GRPC.end(Some(&HeaderMap::new())), Verdict::Failure);
        let ok = HeaderMap::from_iter([(
            ::http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        assert_eq!(GRPC.end(Some(&ok)), Verdict::Success);
        assert_eq!(ANY.end(None), Verdict::Success);
    }
}
