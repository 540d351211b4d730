//! Where the one root element of a document ends.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::xml_text::is_char;

/// The document without what stands behind its root element: white space, comments and instructions, and nothing else.
///
/// What it lets through is well-formed but for the attributes, which whoever reads them reads.
pub(super) fn up_to_root(text: &str) -> Result<&str, Wrong> {
    if let Some((at, _)) = text.char_indices().find(|(_, char)| !is_char(*char)) {
        return Err(Wrong::new("a character has no place in XML", at as u64));
    }
    let mut reader = Reader::from_str(text);
    let mut document = Document::default();
    loop {
        let start = reader.buffer_position();
        let event = reader.read_event();
        let event = event.map_err(|error| Wrong::new(error, reader.error_position()))?;
        let is_end = event == Event::Eof;
        document
            .event(&event, reader.buffer_position())
            .map_err(|reason| Wrong::new(reason, start))?;
        if is_end {
            let end = document.root_end.unwrap_or_default();
            return Ok(&text[..usize::try_from(end).unwrap_or(text.len())]);
        }
    }
}

/// What is wrong with a document, and where.
pub(super) struct Wrong {
    pub(super) reason: Box<dyn std::error::Error + Send + Sync>,
    pub(super) at: u64,
}

impl Wrong {
    fn new(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>, at: u64) -> Self {
        let reason = reason.into();
        Self { reason, at }
    }
}

#[derive(Default)]
struct Document {
    depth: usize,
    root_end: Option<u64>,
}

impl Document {
    fn event(&mut self, event: &Event<'_>, end: u64) -> Result<(), &'static str> {
        match event {
            Event::Start(tag) => {
                self.element(tag)?;
                self.depth += 1;
            }
            Event::Empty(tag) => {
                self.element(tag)?;
                self.ended(end);
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                self.ended(end);
            }
            Event::Text(text) if self.depth > 0 || text.trim_ascii().is_empty() => {}
            Event::Text(_) => return Err("there is text outside of the root element"),
            Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                return Err("there is text outside of the root element");
            }
            Event::GeneralRef(reference) => reference_is_char(reference)?,
            Event::DocType(_) if self.depth > 0 || self.root_end.is_some() => {
                return Err("a document type stands before the root element");
            }
            Event::Eof if self.depth > 0 => return Err("the document breaks off"),
            Event::Eof if self.root_end.is_none() => return Err("there is no root element"),
            _ => {}
        }
        Ok(())
    }

    fn element(&self, tag: &str) -> Result<(), &'static str> {
        if self.depth == 0 && self.root_end.is_some() {
            return Err("there is more than one root element");
        }
        references_are_chars(tag)
    }

    fn ended(&mut self, end: u64) {
        if self.depth == 0 {
            self.root_end = Some(end);
        }
    }
}

/// In the values of attributes.
fn references_are_chars(tag: &str) -> Result<(), &'static str> {
    let mut references = tag.split('&').skip(1);
    references.try_for_each(|rest| reference_is_char(rest.split(';').next().unwrap_or(rest)))
}

/// A reference to a character is to one that XML can hold (section 4.1). Others are not looked at.
fn reference_is_char(reference: &str) -> Result<(), &'static str> {
    let Some(number) = reference.strip_prefix('#') else {
        return Ok(());
    };
    let code = match number.strip_prefix('x') {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => number.parse(),
    };
    match code.ok().and_then(char::from_u32) {
        Some(char) if is_char(char) => Ok(()),
        _ => Err("a reference is to no character that XML can hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_root_and_nothing_but_remarks_around_it() {
        for (document, rest) in [
            ("<x/>", ""),
            (
                "<?xml version=\"1.0\"?>\n<!DOCTYPE x><!-- c --><?pi x?>\n<x>a<![CDATA[<]]>&lt;&#49;</x>",
                "",
            ),
            ("<x><x></x></x>", "\n"),
            ("<x a='&#x31;'></x>", " <!-- c -->\n<?pi x?>\t\r\n"),
        ] {
            let all = format!("{document}{rest}");
            let found = up_to_root(&all).map_err(|wrong| wrong.reason.to_string());
            assert_eq!(found, Ok(document));
        }
        for bad in [
            "",
            " ",
            "a",
            "<!-- c -->",
            "<x/><x/>",
            "<x/>a",
            "a<x/>",
            "<x/>&lt;",
            "<x/><![CDATA[a]]>",
            "<x/><!DOCTYPE x>",
            "<x></x></x>",
            "<x></y>",
            "<x>",
            "<x",
            "<x>\u{1}</x>",
            "<x>\u{fffe}</x>",
            "<x>&#1;</x>",
            "<x>&#x0;</x>",
            "<x>&#xd800;</x>",
            "<x>&#xFFFF;</x>",
            "<x a='&#1;'/>",
            "<x><y a=\"&amp;&#xb;\"/></x>",
        ] {
            assert!(up_to_root(bad).is_err(), "{bad:?}");
        }
    }
}
