//! A document on its way: what is written is always well-formed.

use std::fmt;
use std::io::Write;

use serde::ser;

use crate::xml_text::{escape, escape_attribute, is_name};

/// Tags, text and attributes, in the order they are written.
pub(super) struct Document<'o> {
    out: &'o mut Vec<u8>,
    /// What members of a sequence are called that has no name for them.
    pub(super) item: &'static str,
    /// Whether the last start tag has no `>` yet: attributes may follow.
    is_open: bool,
}

impl<'o> Document<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>, item: &'static str) -> Self {
        let is_open = false;
        Self { out, item, is_open }
    }

    pub(super) fn start(&mut self, name: &str) -> Result<(), NotXml> {
        if !is_name(name) {
            return Err(NotXml(format!("{name:?} is no name of an element")));
        }
        self.content();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        self.is_open = true;
        Ok(())
    }

    /// Ends a start tag that is still open.
    pub(super) fn content(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.out.push(b'>');
        }
    }

    pub(super) fn end(&mut self, name: &str) {
        if std::mem::take(&mut self.is_open) {
            self.out.extend_from_slice(b"/>");
            return;
        }
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    pub(super) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.content();
            escape(text, self.out);
        }
    }

    /// A number has nothing in it that would be markup.
    pub(super) fn number(&mut self, number: impl fmt::Display) -> Result<(), NotXml> {
        self.content();
        write!(self.out, "{number}").map_err(ser::Error::custom)
    }

    pub(super) fn attribute(&mut self, name: &str, text: &str) -> Result<(), NotXml> {
        if !self.is_open || !is_name(name) {
            return Err(NotXml(format!(
                "there is no place for an attribute {name:?}"
            )));
        }
        self.out.push(b' ');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"=\"");
        escape_attribute(text, self.out);
        self.out.push(b'"');
        Ok(())
    }
}

/// Why a value is no XML.
#[derive(Debug)]
pub(super) struct NotXml(pub(super) String);

impl fmt::Display for NotXml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotXml {}

impl ser::Error for NotXml {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}
