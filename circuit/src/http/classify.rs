//! What an HTTP answer says about its service.

use ::http::{HeaderMap, StatusCode};
use buttress_wire::grpc::{Code, is_grpc};

use crate::verdict::Verdict;

/// When the verdict on an answer falls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Classified<End> {
    /// With the head.
    Now(Verdict),
    /// With the end of the body, by this. A body that breaks is a failure; one that is dropped before its end is a caller who
    /// went away.
    AtEnd(End),
}

/// Decides what the answers of an HTTP service, whose errors are `E`, say about it.
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

/// Decides at the end of a body. Implemented for closures.
pub trait ClassifyEnd {
    /// The body ended as it should, with these trailers.
    fn end(self, trailers: Option<&HeaderMap>) -> Verdict;
}

impl<F: FnOnce(Option<&HeaderMap>) -> Verdict> ClassifyEnd for F {
    fn end(self, trailers: Option<&HeaderMap>) -> Verdict {
        self(trailers)
    }
}

/// A 5xx status is a failure, and so are the codes of gRPC that say that the server is in trouble.
///
/// gRPC: `UNKNOWN`, `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS` are failures; `CANCELLED` and
/// `PERMISSION_DENIED` are ignored; every other code is a success, since somebody was there to answer. The code is taken from
/// the headers of an answer without a body, else from the trailers: the permit then lives as long as the stream. A stream that ends
/// without a code is a failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerErrors {
    scope: Scope,
}

#[derive(Clone, Copy, Debug, Default)]
enum Scope {
    Heads,
    #[default]
    GrpcTrailers,
    Bodies,
}

impl ServerErrors {
    /// Also a body that breaks is a failure: the permit of every call lives until its body has ended. Not for answers without an end,
    /// such as server-sent events: a probe that streams for ever is a probe that does not answer.
    #[must_use]
    pub fn until_end_of_body(self) -> Self {
        Self {
            scope: Scope::Bodies,
        }
    }

    /// Decides everything by the head, also gRPC: for streams that last longer than a breaker can wait.
    #[must_use]
    pub fn heads_only(self) -> Self {
        Self {
            scope: Scope::Heads,
        }
    }
}

impl<E> ClassifyHttp<E> for ServerErrors {
    type End = End;

    fn head(&self, status: StatusCode, headers: &HeaderMap) -> Classified<End> {
        if status.is_server_error() {
            return Classified::Now(Verdict::Failure);
        }
        let grpc = is_grpc(headers);
        if grpc && let Some(code) = Code::from_headers(headers) {
            return Classified::Now(verdict_of(code));
        }
        match self.scope {
            Scope::GrpcTrailers | Scope::Bodies if grpc => Classified::AtEnd(End::Grpc),
            Scope::Bodies => Classified::AtEnd(End::Any),
            Scope::GrpcTrailers | Scope::Heads => Classified::Now(Verdict::Success),
        }
    }
}

/// What [`ServerErrors`] make of the end of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// That it has come is success.
    Any,
    /// The trailers have the code.
    Grpc,
}

impl ClassifyEnd for End {
    fn end(self, trailers: Option<&HeaderMap>) -> Verdict {
        match self {
            Self::Any => Verdict::Success,
            Self::Grpc => verdict_of(
                trailers
                    .and_then(Code::from_headers)
                    .unwrap_or(Code::Unknown),
            ),
        }
    }
}

fn verdict_of(code: Code) -> Verdict {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Verdict::Failure,
        Code::Cancelled | Code::PermissionDenied => Verdict::Ignore,
        _ => Verdict::Success,
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

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
            (default, 200, &[grpc], Classified::AtEnd(End::Grpc)),
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
                Classified::AtEnd(End::Any),
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
    fn a_grpc_stream_that_ends_without_a_code_has_failed() {
        assert_eq!(End::Grpc.end(None), Verdict::Failure);
        assert_eq!(End::Grpc.end(Some(&HeaderMap::new())), Verdict::Failure);
        let ok = HeaderMap::from_iter([(
            ::http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        assert_eq!(End::Grpc.end(Some(&ok)), Verdict::Success);
        assert_eq!(End::Any.end(None), Verdict::Success);
    }
}
