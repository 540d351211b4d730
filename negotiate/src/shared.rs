//! What the services of one layer, and the choices they made, have in common.

use std::sync::Arc;

use buttress_wire::grpc::Code;
use buttress_wire::{Protocol, Refusal};
use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use crate::formats::Formats;
use crate::layer::Unacceptable;
use crate::offers::{NotAcceptable, Offers};
use crate::vary;

#[derive(Debug)]
pub(crate) struct Shared<F> {
    pub(crate) formats: Arc<F>,
    pub(crate) offers: Offers<usize>,
    variants: Arc<[Variant]>,
    pub(crate) unacceptable: Unacceptable,
}

/// A media type that a format is served as.
#[derive(Debug)]
pub(crate) struct Variant {
    /// Where its format stands among the formats.
    pub(crate) place: usize,
    pub(crate) name: &'static str,
    pub(crate) is_file: bool,
    pub(crate) content_type: HeaderValue,
    /// What inner layers see as `Accept`: the type without its parameters.
    pub(crate) accept: HeaderValue,
}

impl<F: Formats> Shared<F> {
    /// Panics when a format's media type is none.
    pub(crate) fn new(formats: F) -> Self {
        let (mut types, mut variants) = (Vec::new(), Vec::new());
        formats.each(|place, name, is_file, media_type| {
            types.push((media_type.offered(), variants.len()));
            let sent = media_type.sent();
            let essence = sent.split(';').next().unwrap_or(sent).trim();
            variants.push(Variant {
                place,
                name,
                is_file,
                content_type: HeaderValue::from_static(sent),
                accept: HeaderValue::from_static(essence),
            });
        });
        Self {
            formats: Arc::new(formats),
            offers: Offers::new(types).unwrap_or_else(|error| panic!("a format is wrong: {error}")),
            variants: variants.into(),
            unacceptable: Unacceptable::default(),
        }
    }
}

impl<F> Shared<F> {
    pub(crate) fn variant(&self, index: usize) -> &Variant {
        &self.variants[index]
    }

    /// The variant that a request with these headers gets.
    pub(crate) fn choose(&self, request: &HeaderMap) -> Result<usize, NotAcceptable> {
        match self.offers.select(request) {
            Ok(found) => Ok(*found.value()),
            Err(NotAcceptable) if self.unacceptable == Unacceptable::ServeDefault => self
                .offers
                .favourite()
                .map(|found| *found.value())
                .ok_or(NotAcceptable),
            Err(NotAcceptable) => Err(NotAcceptable),
        }
    }

    /// What there is instead (RFC 9110, 15.5.7).
    pub(crate) fn refuse(&self, protocol: Protocol) -> Response<Full<Bytes>> {
        let available = self.variants.iter().map(|variant| {
            let media_type = String::from_utf8_lossy(variant.accept.as_bytes());
            serde_json::json!({"type": media_type, "format": variant.name})
        });
        let mut response = Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            "urn:buttress:problem:negotiate-not-acceptable",
            "No representation is acceptable",
            Code::InvalidArgument,
        )
        .detail("the Accept field allows none of the media types that are available")
        .with("available", available.collect::<Vec<_>>())
        .render(protocol);
        vary::merge(response.headers_mut(), &ACCEPT);
        response.extensions_mut().insert(NotAcceptable);
        response
    }
}

/// The formats are shared; settings are the clone's own.
impl<F> Clone for Shared<F> {
    fn clone(&self) -> Self {
        Self {
            formats: Arc::clone(&self.formats),
            offers: self.offers.clone(),
            variants: Arc::clone(&self.variants),
            unacceptable: self.unacceptable,
        }
    }
}
