//! What the services of one layer, and the choices they made, have in common.

use std::sync::Arc;

use buttress_wire::Refusal;
use buttress_wire::grpc::Code;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Response, StatusCode, Uri};
use http_body_util::Full;

use crate::decode::Readers;
use crate::formats::Formats;
use crate::layer::Unacceptable;
use crate::offers::{NotAcceptable, Offers};
use crate::refusal::no_sniff;
use crate::weight::QValue;
use crate::{overrides, problem};

#[derive(Debug)]
pub(crate) struct Shared<F> {
    pub(crate) formats: Arc<F>,
    pub(crate) offers: Offers<usize>,
    variants: Arc<[Variant]>,
    pub(crate) unacceptable: Unacceptable,
    pub(crate) readers: Readers,
    /// What problems can be written in.
    pub(crate) problems: Offers<bool>,
    /// Whether `+json` is read as JSON.
    pub(crate) suffixes: bool,
    /// Whether requests that no format reads are refused before the handler runs.
    pub(crate) only_readable: bool,
    /// How long a request's body may be to be read.
    pub(crate) body_limit: usize,
    /// The parameter of a query that names a format.
    pub(crate) query: Option<Box<str>>,
    /// Whether the extension of a path names a format.
    pub(crate) extension: bool,
}

/// A format that a request's target names.
pub(crate) struct Override {
    pub(crate) chosen: usize,
    /// The target without it, where it stood in the path.
    pub(crate) target: Option<Uri>,
}

/// A media type that a format is served as.
#[derive(Debug)]
pub(crate) struct Variant {
    /// Where its format stands among the formats.
    pub(crate) place: usize,
    pub(crate) name: &'static str,
    pub(crate) is_file: bool,
    pub(crate) content_type: HeaderValue,
    /// What inner layers see as `Accept`: the type, and its parameters where another one differs by them alone.
    pub(crate) accept: HeaderValue,
}

fn essence(media_type: &'static str) -> &'static str {
    let essence = media_type.split(';').next();
    essence.unwrap_or(media_type).trim()
}

/// Leaves the parameters out where the type alone tells which one is meant.
fn name_briefly(variants: &mut [Variant], types: &[(&'static str, usize)]) {
    for (media_type, index) in types {
        let own = essence(media_type);
        let same = |(other, _): &&(&'static str, usize)| essence(other).eq_ignore_ascii_case(own);
        if types.iter().filter(same).count() == 1 {
            variants[*index].accept = HeaderValue::from_static(own);
        }
    }
}

impl<F: Formats> Shared<F> {
    /// Panics when a format's media type is none.
    pub(crate) fn new(formats: F) -> Self {
        let (mut types, mut variants) = (Vec::new(), Vec::new());
        formats.each(|place, name, is_file, media_type| {
            types.push((media_type.offered(), variants.len()));
            variants.push(Variant {
                place,
                name,
                is_file,
                content_type: HeaderValue::from_static(media_type.sent()),
                accept: HeaderValue::from_static(media_type.offered()),
            });
        });
        name_briefly(&mut variants, &types);
        Self {
            readers: Readers::new(&formats),
            formats: Arc::new(formats),
            offers: Offers::new(types).unwrap_or_else(|error| panic!("a format is wrong: {error}")),
            variants: variants.into(),
            unacceptable: Unacceptable::default(),
            problems: problem::forms(),
            suffixes: false,
            only_readable: false,
            body_limit: 1 << 20,
            query: None,
            extension: false,
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

    /// The format that a request's target asks for: only one that is on offer, by its short name.
    pub(crate) fn named(&self, target: &Uri) -> Option<Override> {
        let query = self.query.as_deref();
        let in_query = query.and_then(|query| overrides::in_query(target, query));
        if let Some(chosen) = in_query.and_then(|name| self.called(name)) {
            let target = None;
            return Some(Override { chosen, target });
        }
        let in_path = || overrides::in_path(target);
        let name = self.extension.then(in_path).flatten()?;
        let chosen = self.called(name)?;
        let target = overrides::without_extension(target);
        target.is_some().then_some(Override { chosen, target })
    }

    fn called(&self, name: &str) -> Option<usize> {
        let mut variants = self.variants.iter();
        let chosen = variants.position(|variant| variant.name == name)?;
        (self.offers.quality_of(chosen) > QValue::ZERO).then_some(chosen)
    }

    /// What there is instead (RFC 9110, 15.5.7).
    pub(crate) fn refuse(&self, request: &HeaderMap) -> Response<Full<Bytes>> {
        let available = self.variants.iter().map(|variant| {
            let media_type = String::from_utf8_lossy(variant.accept.as_bytes());
            serde_json::json!({"type": media_type, "format": variant.name})
        });
        let response = Refusal::new(
            StatusCode::NOT_ACCEPTABLE,
            "urn:buttress:problem:negotiate-not-acceptable",
            "No representation is acceptable",
            Code::InvalidArgument,
        )
        .detail("the Accept field allows none of the media types that are available")
        .with("available", available.collect::<Vec<_>>())
        .response(request);
        let mut response = no_sniff(response);
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
            readers: self.readers.clone(),
            problems: self.problems.clone(),
            suffixes: self.suffixes,
            only_readable: self.only_readable,
            body_limit: self.body_limit,
            query: self.query.clone(),
            extension: self.extension,
        }
    }
}
