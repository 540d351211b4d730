//! Values from XML.

use std::fmt;

use quick_xml::de::{Deserializer as Document, SliceReader};
use quick_xml::errors::serialize::DeError;
use serde::de::value::{Error as NoMembers, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};

use super::xml_root::up_to_root;
use super::{Malformed, Position};

/// The value that a document is. A sequence is what is called `item` in its root element.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8], item: &'static str) -> Result<T, Malformed> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = Position::in_text(body, error.valid_up_to());
        Malformed::new("the text is not UTF-8").at(at)
    })?;
    let root = up_to_root(text);
    let root = root.map_err(|wrong| Malformed::new(wrong.reason).at(place(body, wrong.at)))?;
    let mut document = Document::from_str(root);
    let read = T::deserialize(Root {
        document: &mut document,
        item,
    });
    let reader = document.get_ref().get_ref();
    read.map_err(|error| {
        let at = match error {
            DeError::InvalidXml(_) => reader.error_position(),
            _ => reader.buffer_position(),
        };
        Malformed::new(error).at(place(body, at))
    })
}

fn place(body: &[u8], offset: u64) -> Position {
    Position::in_text(body, usize::try_from(offset).unwrap_or(usize::MAX))
}

/// A document, where a bare sequence is not several roots but the members of one.
struct Root<'r, 'de> {
    document: &'r mut Document<'de, SliceReader<'de>>,
    item: &'static str,
}

macro_rules! passed_on {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, DeError> {
            self.document.$method($($argument,)* visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Root<'_, 'de> {
    type Error = DeError;

    passed_on! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let item = self.item;
        self.document.deserialize_map(Members { item, visitor })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_seq(visitor)
    }
}

/// What is inside of a root element: members of one name, and nothing else.
struct Members<V> {
    item: &'static str,
    visitor: V,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Members<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "elements called {:?}", self.item)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let other = |key: &str| A::Error::custom(format!("no element called {key:?} is expected"));
        let value = match next_element(&mut map)? {
            None => {
                let none: [u8; 0] = [];
                let none = SeqDeserializer::<_, NoMembers>::new(none.into_iter());
                return self.visitor.visit_seq(none).map_err(A::Error::custom);
            }
            Some(key) if key == self.item => map.next_value_seed(Sequence(self.visitor))?,
            Some(key) => return Err(other(&key)),
        };
        match next_element(&mut map)? {
            None => Ok(value),
            Some(key) => Err(other(&key)),
        }
    }
}

/// The name of the next element; attributes are passed over.
fn next_element<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<String>, A::Error> {
    while let Some(key) = map.next_key::<String>()? {
        if !key.starts_with('@') {
            return Ok(Some(key));
        }
        map.next_value::<IgnoredAny>()?;
    }
    Ok(None)
}

/// Asks for a sequence.
struct Sequence<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Sequence<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_seq(self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Row {
        name: String,
        #[serde(default)]
        tags: Vec<u8>,
    }

    fn row(name: &str, tags: &[u8]) -> Row {
        Row {
            name: name.to_owned(),
            tags: tags.to_owned(),
        }
    }

    #[test]
    fn a_record_is_a_root_and_a_sequence_is_what_is_in_it() {
        let one: Row = decode(
            b"<?xml version=\"1.0\"?><x><name>a&lt;</name><tags>1</tags><tags>2</tags></x>",
            "row",
        )
        .unwrap();
        assert_eq!(one, row("a<", &[1, 2]));
        let all =
            b"<all>\n <row><name>a</name></row>\n <row><name>b</name><tags>3</tags></row></all>";
        let all: Vec<Row> = decode(all, "row").unwrap();
        assert_eq!(all, [row("a", &[]), row("b", &[3])]);
        assert_eq!(
            decode::<Option<Vec<Row>>>(b"<all/>", "row").unwrap(),
            Some(vec![])
        );
        assert_eq!(
            decode::<(u8, u8)>(b"<all><i>1</i><i>2</i></all>", "i").unwrap(),
            (1, 2)
        );
    }

    #[test]
    fn what_stands_around_the_root_and_at_it_does_not_matter() {
        for (before, after) in [
            ("", "\n"),
            ("\u{feff}", ""),
            ("<!-- c -->\n", "\r\n<!-- c --><?pi x?>\n"),
        ] {
            let one = format!("{before}<x><name>a</name></x>{after}");
            assert_eq!(decode::<Row>(one.as_bytes(), "row").unwrap(), row("a", &[]));
            let all =
                format!("{before}<x xmlns=\"urn:y\" v='1'><row><name>a</name></row></x>{after}");
            assert_eq!(
                decode::<Vec<Row>>(all.as_bytes(), "row").unwrap(),
                [row("a", &[])]
            );
        }
        let none = decode::<Vec<Row>>(b"<x v='1'/>\n", "row").unwrap();
        assert_eq!(none, []);
    }

    #[test]
    fn a_part_is_not_taken_for_the_whole() {
        let two = b"<x><i>1</i><i>2</i></x>";
        assert!(decode::<(u8, u8)>(two, "i").is_ok());
        assert!(decode::<(u8,)>(two, "i").is_err());
        assert!(decode::<(u8, u8, u8)>(two, "i").is_err());
        assert!(decode::<Vec<u8>>(b"<x><i>1</i>t</x>", "i").is_err());
        assert!(decode::<Vec<u8>>(b"<x><i>1</i><j>2</j></x>", "i").is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let at = |text: &str| {
            decode::<Vec<Row>>(text.as_bytes(), "row")
                .unwrap_err()
                .position()
        };
        let line = |line, column| Some(Position::Line { line, column });
        assert_eq!(at("<all>\n<row><name>a</nam></row></all>"), line(2, 13));
        assert!(at("<all><other/></all>").is_some());
        assert!(at("<all><row><name>a</name></row><other/></all>").is_some());
        assert!(at("<all/><all/>").is_some(), "two roots");
        assert!(at("<all>").is_some());
        assert!(at("").is_some());
        assert!(at(&"<a>".repeat(10_000)).is_some(), "nested too deep");
        let bomb = "<!DOCTYPE x [<!ENTITY e \"boom\">]><all><row><name>&e;</name></row></all>";
        assert!(at(bomb).is_some(), "declared entities are not known");
    }
}
