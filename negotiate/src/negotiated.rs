//! The choice, as handlers and other layers see it.

use std::error::Error;
use std::sync::Arc;
use std::{fmt, mem, slice};

use futures_core::Stream;
use http::header::{
    ACCEPT, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Request, Response};
use http_body::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::body::ReplyBody;
use crate::decode::{self, DecodeError};
use crate::format::{EncodeError, Record};
use crate::formats::Formats;
use crate::shared::Shared;
use crate::stream::Streaming;

/// What was chosen for a request: in its extensions, under the type of the layer's formats.
///
/// ```
/// use buttress_negotiate::{Json, Negotiated, ReplyBody};
/// use http::{Request, Response};
///
/// fn report(request: &Request<()>) -> Option<Response<ReplyBody>> {
///     let negotiated = Negotiated::<(Json,)>::of(request)?;
///     Some(negotiated.reply(&["a", "b"]).unwrap_or_else(|error| error.response()))
/// }
/// ```
pub struct Negotiated<F> {
    shared: Arc<Shared<F>>,
    chosen: usize,
    attachment: Option<HeaderValue>,
}

impl<F> Negotiated<F> {
    pub(crate) fn new(shared: Arc<Shared<F>>, chosen: usize) -> Self {
        Self {
            shared,
            chosen,
            attachment: None,
        }
    }

    /// The `Content-Type` of the answer.
    #[must_use]
    pub fn content_type(&self) -> &HeaderValue {
        &self.shared.variant(self.chosen).content_type
    }

    /// The short name of the format: `"json"`, `"csv"`, …
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.shared.variant(self.chosen).name
    }

    /// Names the file, without its extension, that the answer is saved as, if its format is one for files (CSV is).
    ///
    /// What a file name should not have in it becomes `_`: everything but ASCII letters, digits, `-`, `_` and inner dots. A name is
    /// never taken from the request's path, so that no link can make a browser save a program.
    #[must_use]
    pub fn attachment(mut self, stem: &str) -> Self {
        let variant = self.shared.variant(self.chosen);
        if variant.is_file {
            self.attachment = content_disposition(stem, variant.name);
        }
        self
    }
}

impl<F: Formats> Negotiated<F> {
    /// The choice that a layer with these formats made for `request`. `None`: there is no such layer.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// The value that a request's body is, by its `Content-Type`.
    ///
    /// Text may be in UTF-8, of which US-ASCII is a part, or in ISO-8859-1, by the parameter `charset`; JSON is in UTF-8 whatever it says
    /// there (RFC 8259, section 11). It is all of the value: a part is never taken for the whole. Content codings are not undone here: put tower-http's
    /// `RequestDecompressionLayer` outside; what is still coded is refused.
    ///
    /// ```
    /// # use buttress_negotiate::{Json, Negotiated, ReplyBody};
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// #[derive(serde::Deserialize)]
    /// struct Order {
    ///     units: u32,
    /// }
    ///
    /// async fn order(request: Request<Full<Bytes>>) -> Option<Response<ReplyBody>> {
    ///     let negotiated = Negotiated::<(Json,)>::of(&request)?;
    ///     let order: Order = match negotiated.decode(request).await {
    ///         Ok(order) => order,
    ///         Err(error) => return Some(error.response()),
    ///     };
    ///     negotiated.reply(&order.units).ok()
    /// }
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops the request.
    ///
    /// # Errors
    ///
    /// It is in a form that is not read, longer than the [limit](crate::NegotiateLayer::body_limit), or malformed;
    /// [`DecodeError::response`] is a problem that tells.
    pub async fn decode<T, B>(&self, request: Request<B>) -> Result<T, DecodeError>
    where
        T: DeserializeOwned,
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        decode::decode(&self.shared, &parts, body).await
    }

    /// The media types that [`decode`](Self::decode) reads, as a field lists them: for the `Accept-Post` and `Accept-Patch` of an answer
    /// to OPTIONS.
    #[must_use]
    pub fn reads(&self) -> &HeaderValue {
        self.shared.readers.accept()
    }

    /// A response with this value.
    ///
    /// It may be serialised more than once: some formats look at what kind of thing it is before they write it, and tables at all of its
    /// columns. Of a collection of records, [`rows`](Self::rows) needs one pass, and knows the columns also when it is empty.
    ///
    /// # Errors
    ///
    /// The format has no way to write it; [`EncodeError::response`] is a 500 problem.
    pub fn reply<T>(&self, value: &T) -> Result<Response<ReplyBody>, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        let place = self.shared.variant(self.chosen).place;
        self.shared
            .formats
            .encode(place, value)
            .map(|body| self.respond(body))
    }

    /// A response with this collection. A table has its header also when there are no records.
    ///
    /// # Errors
    ///
    /// The format has no way to write one of them; [`EncodeError::response`] is a 500 problem.
    pub fn rows<'a, T>(
        &self,
        rows: impl IntoIterator<Item = &'a T>,
    ) -> Result<Response<ReplyBody>, EncodeError>
    where
        T: Record + 'a,
    {
        let place = self.shared.variant(self.chosen).place;
        self.shared
            .formats
            .encode_rows(place, rows.into_iter())
            .map(|body| self.respond(body))
    }

    /// A response with the records of `rows`, as they come: at most a batch of them is in memory.
    ///
    /// It is there when the first batch is, or the end, or an error: what goes wrong before the head is sent is an error here, and can
    /// have a status. What goes wrong later breaks the body off, so that no client takes a part for the whole; [`NdJson`](crate::NdJson)
    /// can say so in a line instead. Bytes are sent in batches of 16 KiB, and earlier when the source has nothing more for now; no more
    /// is taken from it than the client reads. A collection that is ready at once has a `Content-Length`.
    ///
    /// ```
    /// # use buttress_negotiate::{Json, Negotiated, Record, ReplyBody};
    /// # use http::{Request, Response};
    /// # #[derive(serde::Serialize)]
    /// # struct Sale { day: String }
    /// # impl Record for Sale { const COLUMNS: &'static [&'static str] = &["day"]; }
    /// use futures_util::{Stream, stream};
    ///
    /// fn sales() -> impl Stream<Item = Result<Sale, std::io::Error>> {
    ///     stream::iter(["Mon", "Tue"].map(|day| Ok(Sale { day: day.to_owned() })))
    /// }
    ///
    /// async fn report(request: Request<()>) -> Option<Response<ReplyBody>> {
    ///     let negotiated = Negotiated::<(Json,)>::of(&request)?;
    ///     Some(negotiated.stream(sales()).await.unwrap_or_else(|error| error.response()))
    /// }
    /// ```
    ///
    /// # Cancellation
    ///
    /// Dropping the future or the body drops `rows`.
    ///
    /// # Errors
    ///
    /// The future's: the source failed before anything was sent, or the format has no way to write a record.
    pub fn stream<S, T, E>(&self, rows: S) -> Streaming<F, E>
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Record,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let place = self.shared.variant(self.chosen).place;
        Streaming::new(self.clone(), self.shared.formats.open(place, rows))
    }
}

impl<F> Negotiated<F> {
    pub(crate) fn respond(&self, body: impl Into<ReplyBody>) -> Response<ReplyBody> {
        let mut response = Response::new(body.into());
        let length = response.body().size_hint().exact();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type().clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A cache between here and the layer has to know as well: it would give one form to all.
        headers.insert(VARY, HeaderValue::from_static("accept"));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        if let Some(attachment) = &self.attachment {
            headers.insert(CONTENT_DISPOSITION, attachment.clone());
        }
        response
    }
}

/// RFC 6266. The name is all tokens and dots, so that quoting cannot go wrong.
fn content_disposition(stem: &str, extension: &str) -> Option<HeaderValue> {
    let safe = |c: char| match c {
        '-' | '_' | '.' => c,
        c if c.is_ascii_alphanumeric() => c,
        _ => '_',
    };
    let stem: String = stem.trim_matches('.').chars().map(safe).collect();
    let stem = if stem.is_empty() { "download" } else { &stem };
    HeaderValue::try_from(format!("attachment; filename=\"{stem}.{extension}\"")).ok()
}

impl<F> Clone for Negotiated<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            chosen: self.chosen,
            attachment: self.attachment.clone(),
        }
    }
}

impl<F> fmt::Debug for Negotiated<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Negotiated")
            .field("content_type", self.content_type())
            .finish_non_exhaustive()
    }
}

/// What was chosen for the request that a response answers: in the response's extensions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selected {
    pub(crate) content_type: HeaderValue,
    pub(crate) format: &'static str,
}

impl Selected {
    /// The `Content-Type` that was chosen. An error may be answered in another one.
    #[must_use]
    pub fn content_type(&self) -> &HeaderValue {
        &self.content_type
    }

    /// The short name of the format: `"json"`, `"csv"`, …
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format
    }
}

/// The lines of `Accept` as the client sent them: in the request's extensions, since the field now names the choice alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OriginalAccept(Lines);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Lines {
    #[default]
    None,
    /// As nearly all clients have it.
    One(HeaderValue),
    Several(Box<[HeaderValue]>),
}

impl OriginalAccept {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(ACCEPT).iter();
        Self(match (lines.next(), lines.next()) {
            (None, _) => Lines::None,
            (Some(line), None) => Lines::One(line.clone()),
            _ => Lines::Several(headers.get_all(ACCEPT).iter().cloned().collect()),
        })
    }

    /// Puts `accept` in the place of what the client sent.
    pub(crate) fn replace(headers: &mut HeaderMap, accept: HeaderValue) -> Self {
        let is_one = headers.get_all(ACCEPT).iter().nth(1).is_none();
        match headers.get_mut(ACCEPT) {
            // Where it was: a map makes room before it looks whether it replaces something.
            Some(line) if is_one => Self(Lines::One(mem::replace(line, accept))),
            _ => {
                let original = Self::of(headers);
                headers.insert(ACCEPT, accept);
                original
            }
        }
    }

    /// The lines in order; none, if there was no such field.
    #[must_use]
    pub fn lines(&self) -> &[HeaderValue] {
        match &self.0 {
            Lines::None => &[],
            Lines::One(line) => slice::from_ref(line),
            Lines::Several(lines) => lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::content_disposition;

    #[test]
    fn a_file_name_is_harmless_whatever_it_is_made_from() {
        for (stem, expected) in [
            ("sales-2026.10", "sales-2026.10"),
            ("a\"; filename=evil.bat; \"", "a___filename_evil.bat___"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("\r\nset-cookie", "__set-cookie"),
            ("été", "_t_"),
            ("", "download"),
            ("..", "download"),
            (".sales.", "sales"),
        ] {
            let found = content_disposition(stem, "csv").unwrap();
            let expected = format!("attachment; filename=\"{expected}.csv\"");
            assert_eq!(found, expected.as_str(), "{stem:?}");
        }
    }
}
