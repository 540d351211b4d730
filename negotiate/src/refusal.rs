//! What is answered instead.

use buttress_wire::Refusal;
use buttress_wire::grpc::Code;
use http::header::{HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};

use crate::body::ReplyBody;

/// A value that has no way into the format.
pub(crate) fn not_encodable() -> Response<ReplyBody> {
    internal(
        "urn:buttress:problem:negotiate-not-encodable",
        "The answer could not be written in the format that was chosen",
    )
}

/// A collection whose source failed before its first record was sent.
pub(crate) fn broken_off() -> Response<ReplyBody> {
    internal(
        "urn:buttress:problem:negotiate-broken-off",
        "The answer could not be read from its source",
    )
}

fn internal(kind: &'static str, title: &'static str) -> Response<ReplyBody> {
    let response = Refusal::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        kind,
        title,
        Code::Internal,
    )
    .response(&HeaderMap::new());
    no_sniff(response).map(ReplyBody::from)
}

/// A problem may hold words of the client's. No browser is to guess that they are something else.
pub(crate) fn no_sniff<B>(mut response: Response<B>) -> Response<B> {
    let never = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, never);
    response
}
