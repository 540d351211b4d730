//! For handlers in axum.

use std::fmt;
use std::marker::PhantomData;

use axum_core::RequestExt;
use axum_core::extract::{FromRequest, FromRequestParts, Request};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::decode::DecodeError;
use crate::format::EncodeError;
use crate::formats::Formats;
use crate::negotiated::Negotiated;
use crate::stream::StreamError;

/// There is no layer with these formats around a handler. It is the server's mistake: a 500.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoLayer;

impl fmt::Display for NoLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no NegotiateLayer with these formats is around this handler")
    }
}

impl std::error::Error for NoLayer {}

impl IntoResponse for NoLayer {
    fn into_response(self) -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// What was chosen: `negotiated: Negotiated<Formats>` among the arguments of a handler.
impl<F: Formats, S: Sync> FromRequestParts<S> for Negotiated<F> {
    type Rejection = NoLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NoLayer> {
        parts.extensions.get::<Self>().cloned().ok_or(NoLayer)
    }
}

/// The value that the request's body is, by its `Content-Type`: `Decoded(order, ..): Decoded<Order, Formats>`, last among the arguments of a
/// handler. See [`Negotiated::decode`].
///
/// Of the layer's [limit](crate::NegotiateLayer::body_limit) and axum's own (`DefaultBodyLimit`, 2 MB where nothing is said), the smaller one
/// counts.
pub struct Decoded<T, F>(pub T, pub PhantomData<fn() -> F>);

impl<T, F, S> FromRequest<S> for Decoded<T, F>
where
    T: DeserializeOwned,
    F: Formats,
    S: Sync,
{
    type Rejection = DecodedRejection;

    async fn from_request(request: Request, _state: &S) -> Result<Self, DecodedRejection> {
        let negotiated = Negotiated::<F>::of(&request).ok_or(DecodedRejection::NoLayer(NoLayer))?;
        let decoded = negotiated.decode(request.with_limited_body()).await;
        let value = decoded.map_err(DecodedRejection::Decode)?;
        Ok(Self(value, PhantomData))
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Decoded<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decoded").field(&self.0).finish()
    }
}

/// Why there is no [`Decoded`] value.
#[derive(Debug)]
pub enum DecodedRejection {
    /// There is no layer around the handler.
    NoLayer(NoLayer),
    /// The body is not such a value.
    Decode(DecodeError),
}

impl IntoResponse for DecodedRejection {
    fn into_response(self) -> Response {
        match self {
            Self::NoLayer(error) => error.into_response(),
            Self::Decode(error) => error.into_response(),
        }
    }
}

/// The problem that [`DecodeError::response`] is.
impl IntoResponse for DecodeError {
    fn into_response(self) -> Response {
        self.response().into_response()
    }
}

/// The problem that [`EncodeError::response`] is.
impl IntoResponse for EncodeError {
    fn into_response(self) -> Response {
        self.response().into_response()
    }
}

/// The problem that [`StreamError::response`] is.
impl<E> IntoResponse for StreamError<E> {
    fn into_response(self) -> Response {
        self.response().into_response()
    }
}
