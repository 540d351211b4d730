//! XML 1.0.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::xml_write::element;
use super::{EncodeError, Format, Malformed, MediaType, Record, RowEncoder, xml_read};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";

/// XML: `application/xml`, also under its other name, `text/xml`.
///
/// There is one root element, whatever the value is; each member of a collection is an element in it, and so is each member of a sequence
/// in a sequence. A field that is a sequence is an element of its name for each member; one that is `None` is none. A variant of an enum is
/// an element with its content in it, or its name as text where it has none. Every string gives a well-formed document: what XML cannot hold
/// (most control characters, U+FFFE, U+FFFF) is replaced by U+FFFD.
///
/// A key that is no name without a prefix is an error: letters, digits, `_`, `-` and `.`, the first a letter or `_`. Fields of a struct may
/// also be called `@name`, which is an attribute and has to stand before others, `$text` and, for enums, `$value`.
///
/// A request's root element may have any name. Where a sequence is asked for, it is read from the elements inside, which are called as in
/// answers; attributes of the root are not looked at then. Entities that a document declares are not known, and external ones are never
/// fetched.
#[derive(Clone, Copy, Debug)]
pub struct Xml {
    root: &'static str,
    item: &'static str,
}

impl Xml {
    /// With a root element of this name. Members of a collection are called `item`.
    ///
    /// # Panics
    ///
    /// `root` is not an ASCII XML name: letters, digits, `_`, `-` and `.`, the first a letter or `_`.
    #[must_use]
    pub const fn root(root: &'static str) -> Self {
        assert!(is_name(root), "the root element's name is no XML name");
        Self { root, item: "item" }
    }

    /// Names the members of a collection.
    ///
    /// # Panics
    ///
    /// `item` is not an ASCII XML name; see [`root`](Self::root).
    #[must_use]
    pub const fn item(self, item: &'static str) -> Self {
        assert!(is_name(item), "an element's name is no XML name");
        Self { item, ..self }
    }
}

impl Format for Xml {
    type Rows = XmlRows;

    fn name(&self) -> &'static str {
        "xml"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const {
            &[
                MediaType::new("application/xml").offered_as("application/xml;charset=utf-8"),
                MediaType::new("text/xml;charset=utf-8"),
            ]
        }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        out.extend_from_slice(DECLARATION.as_bytes());
        element(self.root, self.item, value, out)
    }

    fn rows(&self, _columns: &'static [&'static str]) -> XmlRows {
        XmlRows { xml: *self }
    }

    fn reads(&self) -> &'static [&'static str] {
        &["application/xml", "text/xml"]
    }

    fn suffix(&self) -> Option<&'static str> {
        Some("+xml")
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Malformed> {
        xml_read::decode(body, self.item)
    }
}

/// Writes the members of one root element.
#[derive(Debug)]
pub struct XmlRows {
    xml: Xml,
}

impl RowEncoder for XmlRows {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(DECLARATION.as_bytes());
        out.extend_from_slice(format!("<{}>", self.xml.root).as_bytes());
        Ok(())
    }

    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        element(self.xml.item, self.xml.item, row, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(format!("</{}>", self.xml.root).as_bytes());
        Ok(())
    }
}

const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let fits = match bytes[at] {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => true,
            b'0'..=b'9' | b'-' | b'.' => at > 0,
            _ => false,
        };
        if !fits {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml<T: Serialize + ?Sized>(value: &T) -> String {
        let mut out = Vec::new();
        Xml::root("all")
            .item("one")
            .encode(value, &mut out)
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        text.strip_prefix(DECLARATION).unwrap().to_owned()
    }

    #[derive(Serialize)]
    struct Row {
        name: &'static str,
        tags: Vec<u8>,
    }

    #[test]
    fn every_value_has_one_root() {
        let row = || Row {
            name: "<&>",
            tags: vec![1, 2],
        };
        let inside = "<name>&lt;&amp;&gt;</name><tags>1</tags><tags>2</tags>";
        assert_eq!(xml(&row()), format!("<all>{inside}</all>"));
        assert_eq!(
            xml(&[row(), row()]),
            format!("<all><one>{inside}</one><one>{inside}</one></all>")
        );
        assert_eq!(xml::<[Row]>(&[]), "<all></all>");
        assert_eq!(
            xml(&Some(vec![1, 2])),
            "<all><one>1</one><one>2</one></all>"
        );
        assert_eq!(xml("text"), "<all>text</all>");
        assert_eq!(xml(&()), "<all/>");
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(
            xml("a\0b\u{b}c\u{fffe}d\u{ffff}\u{1f600}"),
            "<all>a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}\u{1f600}</all>"
        );
        assert_eq!(xml("a\tb\nc\rd"), "<all>a\tb\nc&#13;d</all>");
    }

    #[test]
    fn a_collection_is_the_same_however_it_is_sent() {
        let (mut rows, mut out) = (Xml::root("all").item("one").rows(&[]), Vec::new());
        rows.begin(&mut out).unwrap();
        rows.end(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{DECLARATION}<all></all>")
        );
    }

    #[test]
    fn the_elements_that_a_server_names_have_names() {
        for good in ["a", "_a", "A-1.b"] {
            assert!(is_name(good), "{good:?}");
        }
        for bad in ["", "1a", "-a", ".a", "a b", "a:b", "\u{e9}"] {
            assert!(!is_name(bad), "{bad:?}");
            assert!(std::panic::catch_unwind(|| Xml::root(bad)).is_err());
            assert!(std::panic::catch_unwind(|| Xml::root("a").item(bad)).is_err());
        }
    }
}
