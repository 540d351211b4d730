#![cfg_attr(all(feature = "csv", feature = "xml"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "csv", feature = "xml")),
    doc = "HTTP content negotiation for tower services: exact, allocation-free, streaming."
)]

mod accept;
#[cfg(feature = "axum")]
mod axum;
mod body;
#[cfg(feature = "cldr")]
mod cldr;
mod decode;
mod effort;
mod format;
mod formats;
mod future;
mod layer;
mod names;
mod negotiated;
mod offer;
mod offers;
mod overrides;
mod problem;
mod refusal;
mod service;
mod shared;
mod stream;
pub mod vary;
mod weight;
mod xml_text;

#[cfg(feature = "axum")]
pub use axum::{Decoded, DecodedRejection, NoLayer};
pub use body::{NegotiateBody, ReplyBody};
pub use decode::DecodeError;
#[cfg(feature = "cbor")]
pub use format::{Cbor, CborRows};
#[cfg(feature = "csv")]
pub use format::{Csv, CsvRows, Tsv};
pub use format::{
    EncodeError, Format, Html, HtmlRows, Json, JsonLineRows, JsonRows, JsonSeq, Malformed,
    Markdown, MarkdownRows, MediaType, NdJson, Position, Record, RowEncoder, Text, TextRows,
};
#[cfg(feature = "messagepack")]
pub use format::{MessagePack, MessagePackRows};
#[cfg(feature = "xml")]
pub use format::{Xml, XmlRows};
pub use formats::Formats;
pub use future::ResponseFuture;
pub use layer::{NegotiateLayer, Unacceptable};
pub use names::{Charsets, Chosen, Codings, Languages};
pub use negotiated::{Negotiated, OriginalAccept, Selected};
pub use offer::InvalidOffer;
pub use offers::{Limits, Match, NotAcceptable, Offers, TieBreak};
pub use service::Negotiate;
pub use stream::{ReplyError, StreamError, Streaming};
pub use weight::QValue;
