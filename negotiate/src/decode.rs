//! Reading the body of a request by its `Content-Type`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use buttress_wire::Refusal;
use buttress_wire::grpc::Code;
use buttress_wire::lex::{Parameters, value_and_parameters};
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::body::ReplyBody;
use crate::effort;
use crate::format::{Malformed, Position};
use crate::formats::{Formats, Writing};
use crate::refusal::no_sniff;
use crate::shared::Shared;

/// What a layer's formats read.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    readers: Box<[Reader]>,
    /// `Accept` of a 415, and `Accept-Post` and the like.
    accept: HeaderValue,
}

#[derive(Clone, Debug)]
struct Reader {
    /// Where its format stands among the formats.
    place: usize,
    writing: Writing,
    media_types: &'static [&'static str],
    suffix: Option<&'static str>,
}

/// The format that a body is in, and how its text is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) place: usize,
    charset: Option<Charset>,
}

/// The byte order mark, in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// How text becomes UTF-8. `None` in a `Reading`: it is no text.
#[derive(Clone, Copy, Debug)]
enum Charset {
    Utf8,
    Latin1,
}

impl Readers {
    /// Panics when a format's media types cannot stand in a field.
    pub(crate) fn new(formats: &impl Formats) -> Self {
        let mut readers = Vec::new();
        formats.each_reader(|place, writing, media_types, suffix| {
            readers.push(Reader {
                place,
                writing,
                media_types,
                suffix,
            });
        });
        let types: Vec<_> = readers
            .iter()
            .flat_map(|reader| reader.media_types.iter().copied())
            .collect();
        Self {
            readers: readers.into(),
            accept: HeaderValue::try_from(types.join(", "))
                .unwrap_or_else(|error| panic!("a format is wrong: {error}")),
        }
    }

    /// The media types that are read, as a field has them.
    pub(crate) fn accept(&self) -> &HeaderValue {
        &self.accept
    }

    /// Who reads a body under these headers.
    pub(crate) fn find(&self, headers: &HeaderMap, suffixes: bool) -> Result<Reading, Kind> {
        if is_coded(headers) {
            return Err(Kind::Coding);
        }
        let field = content_type(headers)?;
        effort::seen(field.as_bytes());
        let (essence, parameters) = value_and_parameters(field.as_bytes());
        let reader = self.reader(essence, suffixes).ok_or(Kind::Unread)?;
        let stated = charset(parameters)?;
        Ok(Reading {
            place: reader.place,
            charset: match reader.writing {
                Writing::Named => {
                    Some(stated.map_or(Ok(Charset::Utf8), |name| Charset::named(&name))?)
                }
                Writing::Utf8 => Some(Charset::Utf8),
                Writing::Binary => None,
            },
        })
    }

    fn reader(&self, essence: &[u8], suffixes: bool) -> Option<&Reader> {
        let named = |reader: &&Reader| {
            let mut types = reader.media_types.iter();
            types.any(|name| name.as_bytes().eq_ignore_ascii_case(essence))
        };
        let suffixed = |reader: &&Reader| {
            let suffix = reader.suffix.unwrap_or_default().as_bytes();
            let split = essence.len().saturating_sub(suffix.len());
            !suffix.is_empty() && essence[split..].eq_ignore_ascii_case(suffix)
        };
        let found = self.readers.iter().find(named);
        found.or_else(|| self.readers.iter().find(|r| suffixes && suffixed(r)))
    }
}

/// There is one, or nobody knows which one counts (RFC 9110, section 8.3).
fn content_type(headers: &HeaderMap) -> Result<&HeaderValue, Kind> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line),
        (Some(_), Some(_)) => Err(Kind::Unread),
        (None, _) => Err(Kind::Unstated),
    }
}

/// The charset that is named, if one is. A name that is stated twice is none.
fn charset(parameters: Parameters<'_>) -> Result<Option<Cow<'_, [u8]>>, Kind> {
    let mut stated = None;
    for parameter in parameters {
        let parameter = parameter.map_err(|_| Kind::Unread)?;
        if parameter.name.eq_ignore_ascii_case(b"charset")
            && stated.replace(parameter.value.unescaped()).is_some()
        {
            return Err(Kind::Charset);
        }
    }
    Ok(stated)
}

/// Whoever undoes a coding takes its name away. What is still named is still there.
fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = buttress_wire::fields::list(headers, CONTENT_ENCODING);
    codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

impl Charset {
    /// US-ASCII is UTF-8 too.
    fn named(name: &[u8]) -> Result<Self, Kind> {
        match name.to_ascii_lowercase().as_slice() {
            b"utf-8" | b"utf8" | b"us-ascii" => Ok(Self::Utf8),
            b"iso-8859-1" | b"latin1" => Ok(Self::Latin1),
            _ => Err(Kind::Charset),
        }
    }

    /// The same text in UTF-8, without a byte order mark. Where there is one, it says more than the name (RFC 7303, section 3.3).
    fn to_utf8(self, body: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
        if matches!(self, Self::Latin1) && !body.starts_with(MARK) {
            let text: String = body.iter().copied().map(char::from).collect();
            return Ok(Cow::Owned(text.into_bytes()));
        }
        if let Err(error) = std::str::from_utf8(body) {
            let at = Position::in_text(body, error.valid_up_to());
            return Err(Malformed::new("the text is not UTF-8").at(at));
        }
        Ok(Cow::Borrowed(body.strip_prefix(MARK).unwrap_or(body)))
    }
}

/// Reads `body` under the head `parts`.
pub(crate) async fn decode<F, T, B>(
    shared: &Shared<F>,
    parts: &Parts,
    body: B,
) -> Result<T, DecodeError>
where
    F: Formats,
    T: DeserializeOwned,
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let refused = |kind| DecodeError::new(kind, &shared.readers, &parts.method);
    let found = shared.readers.find(&parts.headers, shared.suffixes);
    let reading = found.map_err(refused)?;
    let body = whole(body, shared.body_limit).await.map_err(refused)?;
    read(shared, reading, &body).map_err(|error| refused(Kind::Malformed(error)))
}

fn read<F, T>(shared: &Shared<F>, reading: Reading, body: &[u8]) -> Result<T, Malformed>
where
    F: Formats,
    T: DeserializeOwned,
{
    let text = match reading.charset {
        Some(charset) => charset.to_utf8(body)?,
        None => Cow::Borrowed(body),
    };
    shared.formats.decode(reading.place, &text)
}

/// All of a body, if it is no longer than `limit`. One that says how long it is and is longer is not read at all.
async fn whole<B>(body: B, limit: usize) -> Result<Bytes, Kind>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(Kind::TooLarge(limit));
    }
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if is_too_long(&*error) => Err(Kind::TooLarge(limit)),
        Err(error) => Err(Kind::Broken(error)),
    }
}

/// Another limit may be nearer to the wire, and its error wrapped on the way.
fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Why a request's body is no value.
#[derive(Debug)]
pub struct DecodeError {
    kind: Kind,
    /// The media types that are read.
    accept: HeaderValue,
    /// The field that lists them for this method.
    by_method: Option<HeaderName>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// There is no `Content-Type`.
    Unstated,
    Unread,
    Charset,
    Coding,
    TooLarge(usize),
    Malformed(Malformed),
    Broken(Box<dyn Error + Send + Sync>),
}

impl DecodeError {
    pub(crate) fn new(kind: Kind, readers: &Readers, method: &Method) -> Self {
        Self {
            kind,
            accept: readers.accept.clone(),
            by_method: field_of(method),
        }
    }

    /// 415 (RFC 9110, section 15.5.16): the media type, its charset or the content coding is not read; 413 (15.5.14): the body is longer
    /// than the limit; 400 (15.5.1): it is malformed, is not what was asked for, or broke off.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Unstated | Kind::Unread | Kind::Charset | Kind::Coding => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Kind::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Malformed(_) | Kind::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Where the body is wrong, if that is known.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match &self.kind {
            Kind::Malformed(malformed) => malformed.position(),
            _ => None,
        }
    }

    /// A problem with the [status](Self::status).
    ///
    /// A 415 tells what is read: in `Accept`, and in `Accept-Post` (W3C LDP), `Accept-Patch` (RFC 5789) or `Accept-Query`, by the method.
    /// If it is the coding that is not read, `Accept-Encoding` tells that, and those fields are not there (RFC 9110, 12.5.3). A 400 has
    /// the `position`.
    #[must_use]
    pub fn response(&self) -> Response<ReplyBody> {
        self.refuse(&HeaderMap::new()).map(ReplyBody::from)
    }

    /// The same in the language of a request with these headers.
    pub(crate) fn refuse(&self, request: &HeaderMap) -> Response<Full<Bytes>> {
        let mut response = no_sniff(self.refusal().response(request));
        self.tell(response.headers_mut());
        response
    }

    fn tell(&self, headers: &mut HeaderMap) {
        match self.kind {
            Kind::Coding => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Kind::Unstated | Kind::Unread | Kind::Charset => {
                if let Some(name) = &self.by_method {
                    headers.insert(name.clone(), self.accept.clone());
                }
                headers.insert(ACCEPT, self.accept.clone());
            }
            Kind::TooLarge(_) | Kind::Malformed(_) | Kind::Broken(_) => {}
        }
    }

    fn refusal(&self) -> Refusal {
        let (kind, title) = match self.kind {
            Kind::Unstated | Kind::Unread | Kind::Charset | Kind::Coding => (
                "urn:buttress:problem:negotiate-unsupported-media-type",
                "The body is in a form that is not read",
            ),
            Kind::TooLarge(_) => (
                "urn:buttress:problem:negotiate-body-too-large",
                "The body is too large",
            ),
            Kind::Malformed(_) | Kind::Broken(_) => (
                "urn:buttress:problem:negotiate-malformed-body",
                "The body cannot be read",
            ),
        };
        let refusal = Refusal::new(self.status(), kind, title, Code::InvalidArgument);
        let refusal = refusal.detail(self.to_string());
        match (&self.kind, self.position()) {
            (Kind::TooLarge(limit), _) => refusal.with("limit", *limit),
            (_, Some(Position::Line { line, column })) => refusal.with(
                "position",
                serde_json::json!({"line": line, "column": column}),
            ),
            (_, Some(Position::Byte(byte))) => {
                refusal.with("position", serde_json::json!({"byte": byte}))
            }
            _ => refusal,
        }
    }
}

/// The field that lists what a method reads.
fn field_of(method: &Method) -> Option<HeaderName> {
    match method.as_str() {
        "POST" => Some(HeaderName::from_static("accept-post")),
        "PATCH" => Some(HeaderName::from_static("accept-patch")),
        "QUERY" => Some(HeaderName::from_static("accept-query")),
        _ => None,
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Unstated => f.write_str("the body has no Content-Type"),
            Kind::Unread => f.write_str("the body's media type is not read"),
            Kind::Charset => f.write_str("the body's charset is not read"),
            Kind::Coding => f.write_str("the body's content coding is not read"),
            Kind::TooLarge(limit) => write!(f, "the body is longer than {limit} bytes"),
            Kind::Malformed(malformed) => malformed.fmt(f),
            Kind::Broken(_) => f.write_str("the body broke off"),
        }
    }
}

impl Error for DecodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Malformed(malformed) => malformed.source(),
            Kind::Broken(error) => Some(&**error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_utf8_and_nothing_of_it_is_lost() {
        let utf8 = |charset: Charset, body: &[u8]| {
            let text = charset.to_utf8(body).map(Cow::into_owned);
            text.map_err(|error| error.position())
        };
        assert_eq!(utf8(Charset::Utf8, b" a\n"), Ok(b" a\n".to_vec()));
        assert_eq!(
            utf8(Charset::Utf8, b"\xef\xbb\xbf a\n"),
            Ok(b" a\n".to_vec())
        );
        assert_eq!(
            utf8(Charset::Latin1, b"\xe9\x80\n"),
            Ok("\u{e9}\u{80}\n".into())
        );
        let place = Position::Line { line: 2, column: 2 };
        assert_eq!(utf8(Charset::Utf8, b"a\nb\xff"), Err(Some(place)));
    }
}
