//! The ways to write a value.

#[cfg(feature = "cbor")]
mod cbor;
#[cfg(feature = "csv")]
mod csv;
#[cfg(feature = "csv")]
mod csv_cell;
#[cfg(feature = "csv")]
mod csv_columns;
#[cfg(feature = "csv")]
mod csv_read;
#[cfg(feature = "csv")]
mod csv_write;
mod error;
mod html;
mod json;
mod json_lines;
mod json_lines_read;
mod markdown;
#[cfg(feature = "messagepack")]
mod messagepack;
mod shape;
mod table;
mod text;
#[cfg(feature = "xml")]
mod xml;
#[cfg(feature = "xml")]
mod xml_document;
#[cfg(feature = "xml")]
mod xml_read;
#[cfg(feature = "xml")]
mod xml_root;
#[cfg(feature = "xml")]
mod xml_write;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "cbor")]
pub use self::cbor::{Cbor, CborRows};
#[cfg(feature = "csv")]
pub use self::csv::{Csv, CsvRows, Tsv};
pub use self::error::{EncodeError, Malformed, Position};
pub use self::html::{Html, HtmlRows};
pub use self::json::{Json, JsonRows};
pub use self::json_lines::{JsonLineRows, JsonSeq, NdJson};
pub use self::markdown::{Markdown, MarkdownRows};
#[cfg(feature = "messagepack")]
pub use self::messagepack::{MessagePack, MessagePackRows};
pub use self::text::{Text, TextRows};
#[cfg(feature = "xml")]
pub use self::xml::{Xml, XmlRows};

/// A way to write values.
///
/// Formats are put together as a tuple, `(Json, Csv::new())`, the server's favourite first; what is chosen is called directly, without
/// a virtual call.
///
/// ```
/// use buttress_negotiate::{EncodeError, Format, MediaType, Record, RowEncoder};
/// use serde::Serialize;
///
/// /// JSON for people.
/// #[derive(Debug)]
/// struct Pretty;
///
/// impl Format for Pretty {
///     type Rows = PrettyRows;
///
///     fn name(&self) -> &'static str {
///         "txt"
///     }
///     fn media_types(&self) -> &'static [MediaType] {
///         const { &[MediaType::new("text/plain;charset=utf-8")] }
///     }
///     fn encode<T: Serialize + ?Sized>(&self, value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
///         serde_json::to_writer_pretty(out, value).map_err(EncodeError::new)
///     }
///     fn rows(&self, _columns: &'static [&'static str]) -> PrettyRows {
///         PrettyRows
///     }
/// }
///
/// #[derive(Debug)]
/// struct PrettyRows;
///
/// impl RowEncoder for PrettyRows {
///     fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
///         Pretty.encode(row, out)?;
///         out.push(b'\n');
///         Ok(())
///     }
/// }
/// ```
pub trait Format: Send + Sync + 'static {
    /// Writes a collection, record by record.
    type Rows: RowEncoder;

    /// A short name, unique among formats: the extension of a file in it.
    fn name(&self) -> &'static str;

    /// What it is called, the best name first. Each of them is offered.
    fn media_types(&self) -> &'static [MediaType];

    /// Appends `value` to `out`. What is appended before an error is thrown away.
    ///
    /// # Errors
    ///
    /// The format has no way to write this value.
    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError>;

    /// Starts a collection of records with these columns.
    fn rows(&self, columns: &'static [&'static str]) -> Self::Rows;

    /// Whether it is for files rather than for programs and windows. Only such a format is sent as an attachment.
    fn is_file(&self) -> bool {
        false
    }

    /// The media types, without parameters, of requests that [`decode`](Self::decode) reads. Default: none.
    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    /// What the names of media types end in that are made of this format: `+json`. Where the layer
    /// [says so](crate::NegotiateLayer::read_suffixes), they are read as well.
    fn suffix(&self) -> Option<&'static str> {
        None
    }

    /// Whether it is made of text. If so, what [`decode`](Self::decode) gets is UTF-8 without a byte order mark, whatever charset the client
    /// sent.
    fn is_text(&self) -> bool {
        true
    }

    /// Whether `charset` means something in its media types. If not, its text is UTF-8 whatever a client says there.
    fn has_charset(&self) -> bool {
        true
    }

    /// Reads a value that is all of `body`.
    ///
    /// # Errors
    ///
    /// That is not what `body` is.
    fn decode<T: DeserializeOwned>(&self, _body: &[u8]) -> Result<T, Malformed> {
        Err(Malformed::new("this format is not read"))
    }
}

/// A record, whose columns are known also where there is none.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Sale {
///     day: String,
///     units: u32,
/// }
///
/// impl buttress_negotiate::Record for Sale {
///     const COLUMNS: &'static [&'static str] = &["day", "units"];
/// }
/// ```
pub trait Record: Serialize {
    /// The names of its fields as `serde` writes them, in the order of a table's columns. A field of a nested struct is called
    /// `outer.inner`. A record may leave fields out, and may have none that is not listed.
    const COLUMNS: &'static [&'static str];
}

/// Writes a collection, record by record, so that it can be sent while it is made.
pub trait RowEncoder: Send {
    /// What stands before the first record, also where there is none.
    ///
    /// # Errors
    ///
    /// The format has no way to write this collection.
    fn begin(&mut self, _out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }

    /// Appends a record. What is appended before an error is to be thrown away.
    ///
    /// # Errors
    ///
    /// The format has no way to write this record.
    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// What stands after the last record.
    ///
    /// # Errors
    ///
    /// The format has no way to end this collection.
    fn end(&mut self, _out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Ok(())
    }

    /// Appends what tells a reader that the collection breaks off here, in a format that has words for that. Whether it did: if not, the
    /// body ends in an error, and [`end`](Self::end) is not called either way.
    fn break_off(&mut self, _out: &mut Vec<u8>) -> bool {
        false
    }
}

/// A media type that a format is served as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaType {
    offered: &'static str,
    sent: &'static str,
}

impl MediaType {
    /// Offered, and sent as `Content-Type`.
    ///
    /// That it is one is seen when a layer is made.
    #[must_use]
    pub const fn new(media_type: &'static str) -> Self {
        Self {
            offered: media_type,
            sent: media_type,
        }
    }

    /// Offered with parameters that are not sent: `application/json` has no charset, and clients ask for it with one.
    #[must_use]
    pub const fn offered_as(self, offered: &'static str) -> Self {
        Self { offered, ..self }
    }

    /// What ranges are held against.
    #[must_use]
    pub const fn offered(&self) -> &'static str {
        self.offered
    }

    /// The `Content-Type`.
    #[must_use]
    pub const fn sent(&self) -> &'static str {
        self.sent
    }
}
