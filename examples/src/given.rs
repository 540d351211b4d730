//! Bodies that clients send.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use buttress_idempotency::NoEffect;
use buttress_wire::{Refusal, grpc::Code};
use http::HeaderMap;
use serde::de::DeserializeOwned;

/// JSON of this form. What is none, or of another form, is refused with a problem that says why, before anything is done: the request's `Idempotency-Key` is free
/// again.
#[derive(Clone, Copy, Debug)]
pub struct Given<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let rejection = match Json::from_request(request, state).await {
            Ok(Json(given)) => return Ok(Self(given)),
            Err(rejection) => rejection,
        };
        let refusal = Refusal::new(
            rejection.status(),
            "urn:example:problem:body",
            "The body is not what is asked for",
            Code::InvalidArgument,
        );
        let refusal = refusal.detail(rejection.body_text());
        let mut response = refusal.response(&HeaderMap::new()).into_response();
        response.extensions_mut().insert(NoEffect);
        Err(response)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::FutureExt;
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_a_problem_and_frees_the_key() {
        let given = |content_type: &str, body: &'static str| {
            let request = Request::builder().header(CONTENT_TYPE, content_type);
            let request = request.body(Body::from(body)).unwrap();
            let given = Given::<u8>::from_request(request, &());
            given.now_or_never().unwrap().map_err(Box::new)
        };
        assert_eq!(given("application/json", "7").unwrap().0, 7);
        for (content_type, body, status) in [
            ("text/plain", "7", 415),
            ("application/json", "seven", 400),
            ("application/json", "700", 422),
        ] {
            let refused = given(content_type, body).unwrap_err();
            assert_eq!(refused.status(), status);
            assert_eq!(refused.headers()[CONTENT_TYPE], "application/problem+json");
            assert!(refused.extensions().get::<NoEffect>().is_some());
        }
    }
}
