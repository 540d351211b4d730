//! Values as elements.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::EncodeError;
use super::xml_document::{Document, NotXml};
use crate::xml_text::is_name;

/// Appends `value` as one element, whatever it is. Members of a sequence without a name of its own are called `item`.
pub(super) fn element<T: Serialize + ?Sized>(
    name: &str,
    item: &'static str,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let document = &mut Document::new(out, item);
    let place = Place::Element(name);
    let written = value.serialize(Node { document, place });
    written.map_err(EncodeError::new)
}

fn not_plain() -> NotXml {
    NotXml("an attribute or a text holds one plain value, and a choice is an enum".into())
}

/// What a value becomes.
#[derive(Clone, Copy)]
enum Place<'n> {
    /// One element; members of a sequence are elements in it.
    Element(&'n str),
    /// The element of a field. Members of a sequence are one each, and what is absent is none.
    Field(&'n str),
    /// An attribute of the element that was begun.
    Attribute(&'n str),
    /// Its text.
    Text,
    /// An element that is called as the variant of an enum; several for a sequence.
    Choice,
}

impl<'n> Place<'n> {
    /// What names of a struct's fields mean to the reader of XML, too.
    fn of(field: &'n str) -> Self {
        match field {
            "$text" => Self::Text,
            "$value" => Self::Choice,
            _ => match field.strip_prefix('@') {
                Some(name) => Self::Attribute(name),
                None => Self::Field(field),
            },
        }
    }
}

/// Writes one value.
struct Node<'d, 'o, 'n> {
    document: &'d mut Document<'o>,
    place: Place<'n>,
}

impl<'d, 'o, 'n> Node<'d, 'o, 'n> {
    fn text(self, text: &str) -> Result<(), NotXml> {
        match self.place {
            Place::Element(name) | Place::Field(name) => {
                self.document.start(name)?;
                self.document.text(text);
                self.document.end(name);
            }
            Place::Attribute(name) => self.document.attribute(name, text)?,
            Place::Text => self.document.text(text),
            Place::Choice => return Err(not_plain()),
        }
        Ok(())
    }

    fn number(self, number: impl fmt::Display) -> Result<(), NotXml> {
        let (Place::Element(name) | Place::Field(name)) = self.place else {
            return self.text(&number.to_string());
        };
        self.document.start(name)?;
        self.document.number(number)?;
        self.document.end(name);
        Ok(())
    }

    fn nothing(self) -> Result<(), NotXml> {
        match self.place {
            Place::Element(_) => self.text(""),
            _ => Ok(()),
        }
    }

    fn record(self) -> Result<Fields<'d, 'o, 'n>, NotXml> {
        let (Place::Element(name) | Place::Field(name)) = self.place else {
            return Err(not_plain());
        };
        self.document.start(name)?;
        Ok(Fields {
            document: self.document,
            ends: [Some(name), None],
            key: String::new(),
        })
    }

    fn sequence(self) -> Result<Members<'d, 'o, 'n>, NotXml> {
        let (each, name) = match self.place {
            Place::Element(name) => (Place::Element(self.document.item), Some(name)),
            Place::Field(name) => (Place::Element(name), None),
            Place::Choice => (Place::Choice, None),
            Place::Attribute(_) | Place::Text => return Err(not_plain()),
        };
        if let Some(name) = name {
            self.document.start(name)?;
            self.document.content();
        }
        Ok(Members {
            document: self.document,
            each,
            ends: [name, None],
        })
    }

    /// Begins the element around a variant's own, and tells its name.
    fn around(&mut self) -> Result<Option<&'n str>, NotXml> {
        match self.place {
            Place::Element(name) | Place::Field(name) => {
                self.document.start(name).map(|()| Some(name))
            }
            Place::Choice => Ok(None),
            Place::Attribute(_) | Place::Text => Err(not_plain()),
        }
    }

    fn called(self, variant: &'n str) -> Self {
        let place = Place::Element(variant);
        Self { place, ..self }
    }
}

macro_rules! numbers {
    ($($method:ident($number:ty);)*) => {
        $(fn $method(self, number: $number) -> Result<(), NotXml> {
            self.number(number)
        })*
    };
}

impl<'d, 'o, 'n> Serializer for Node<'d, 'o, 'n> {
    type Ok = ();
    type Error = NotXml;
    type SerializeSeq = Members<'d, 'o, 'n>;
    type SerializeTuple = Members<'d, 'o, 'n>;
    type SerializeTupleStruct = Members<'d, 'o, 'n>;
    type SerializeTupleVariant = Members<'d, 'o, 'n>;
    type SerializeMap = Fields<'d, 'o, 'n>;
    type SerializeStruct = Fields<'d, 'o, 'n>;
    type SerializeStructVariant = Fields<'d, 'o, 'n>;

    numbers! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
    }

    fn serialize_char(self, char: char) -> Result<(), NotXml> {
        self.text(char.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), NotXml> {
        self.text(text)
    }

    fn serialize_bytes(self, _bytes: &[u8]) -> Result<(), NotXml> {
        Err(NotXml("bytes have no form in XML".into()))
    }

    fn serialize_none(self) -> Result<(), NotXml> {
        self.nothing()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotXml> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotXml> {
        self.nothing()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), NotXml> {
        self.text("")
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), NotXml> {
        match self.place {
            Place::Choice => self.called(variant).text(""),
            _ => self.text(variant),
        }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), NotXml> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), NotXml> {
        let around = self.around()?;
        let place = Place::Element(variant);
        let document = &mut *self.document;
        value.serialize(Node { document, place })?;
        if let Some(name) = around {
            self.document.end(name);
        }
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Members<'d, 'o, 'n>, NotXml> {
        self.sequence()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Members<'d, 'o, 'n>, NotXml> {
        self.sequence()
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Members<'d, 'o, 'n>, NotXml> {
        self.sequence()
    }

    fn serialize_tuple_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Members<'d, 'o, 'n>, NotXml> {
        let around = self.around()?;
        let mut members = self.called(variant).sequence()?;
        members.ends[1] = around;
        Ok(members)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Fields<'d, 'o, 'n>, NotXml> {
        self.record()
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Fields<'d, 'o, 'n>, NotXml> {
        self.record()
    }

    fn serialize_struct_variant(
        mut self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Fields<'d, 'o, 'n>, NotXml> {
        let around = self.around()?;
        let mut fields = self.called(variant).record()?;
        fields.ends[1] = around;
        Ok(fields)
    }
}

/// Writes the members of a sequence, and ends the elements around them.
struct Members<'d, 'o, 'n> {
    document: &'d mut Document<'o>,
    each: Place<'n>,
    ends: [Option<&'n str>; 2],
}

impl Members<'_, '_, '_> {
    fn member<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotXml> {
        value.serialize(Node {
            document: &mut *self.document,
            place: self.each,
        })
    }

    fn finish(self) -> Result<(), NotXml> {
        let ends = self.ends.into_iter().flatten();
        ends.for_each(|name| self.document.end(name));
        Ok(())
    }
}

macro_rules! members {
    ($($trait:ident $method:ident;)*) => {
        $(impl ser::$trait for Members<'_, '_, '_> {
            type Ok = ();
            type Error = NotXml;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotXml> {
                self.member(value)
            }

            fn end(self) -> Result<(), NotXml> {
                self.finish()
            }
        })*
    };
}

members! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

/// Writes the fields of a record, and ends the elements around them.
struct Fields<'d, 'o, 'n> {
    document: &'d mut Document<'o>,
    ends: [Option<&'n str>; 2],
    key: String,
}

impl Fields<'_, '_, '_> {
    fn field<T>(&mut self, place: Place<'_>, value: &T) -> Result<(), NotXml>
    where
        T: Serialize + ?Sized,
    {
        let document = &mut *self.document;
        value.serialize(Node { document, place })
    }

    fn finish(self) -> Result<(), NotXml> {
        let ends = self.ends.into_iter().flatten();
        ends.for_each(|name| self.document.end(name));
        Ok(())
    }
}

macro_rules! fields {
    ($($trait:ident;)*) => {
        $(impl ser::$trait for Fields<'_, '_, '_> {
            type Ok = ();
            type Error = NotXml;

            fn serialize_field<T>(&mut self, name: &'static str, value: &T) -> Result<(), NotXml>
            where
                T: Serialize + ?Sized,
            {
                self.field(Place::of(name), value)
            }

            fn end(self) -> Result<(), NotXml> {
                self.finish()
            }
        })*
    };
}

fields! {
    SerializeStruct;
    SerializeStructVariant;
}

/// Keys are data: none of them has a meaning beside being a name.
impl ser::SerializeMap for Fields<'_, '_, '_> {
    type Ok = ();
    type Error = NotXml;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotXml> {
        self.key = match serde_json::to_value(key).map_err(ser::Error::custom)? {
            serde_json::Value::String(name) => name,
            other => other.to_string(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotXml> {
        let key = std::mem::take(&mut self.key);
        if !is_name(&key) {
            return Err(NotXml(format!("{key:?} is no name of an element")));
        }
        self.field(Place::Field(&key), value)
    }

    fn end(self) -> Result<(), NotXml> {
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::json;

    use super::*;

    fn written<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
        let mut out = Vec::new();
        element("all", "one", value, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[track_caller]
    fn check<T: Serialize + ?Sized>(value: &T, expected: &str) {
        assert_eq!(written(value).unwrap(), expected);
    }

    #[derive(Serialize)]
    enum Kind {
        Unit,
        New(u8),
        Items(Vec<u8>),
        Pair(u8, char),
        Record { a: u8 },
    }

    #[test]
    fn whatever_a_value_is_it_is_one_element() {
        check(&(), "<all/>");
        check(&None::<u8>, "<all/>");
        check(&Some(1.5), "<all>1.5</all>");
        check("", "<all/>");
        check(&BTreeMap::<&str, u8>::new(), "<all/>");
        check(&Kind::Unit, "<all>Unit</all>");
        check(&Kind::New(1), "<all><New>1</New></all>");
        check(
            &Kind::Items(vec![1, 2]),
            "<all><Items><one>1</one><one>2</one></Items></all>",
        );
        check(&Kind::Items(vec![]), "<all><Items></Items></all>");
        check(
            &Kind::Pair(1, '<'),
            "<all><Pair><one>1</one><one>&lt;</one></Pair></all>",
        );
        check(
            &Kind::Record { a: 1 },
            "<all><Record><a>1</a></Record></all>",
        );
    }

    #[test]
    fn a_sequence_in_a_sequence_stays_one() {
        check(
            &json!([[1, 2], [], [3]]),
            "<all><one><one>1</one><one>2</one></one><one></one><one><one>3</one></one></all>",
        );
        check(
            &json!({"a": [[1], [2]], "b": []}),
            "<all><a><one>1</one></a><a><one>2</one></a></all>",
        );
        check(
            &json!({"a": [null, {"b": null}, "x"]}),
            "<all><a/><a/><a>x</a></all>",
        );
        check(
            &json!({"a": {"b": {"c": [1, 2]}}}),
            "<all><a><b><c>1</c><c>2</c></b></a></all>",
        );
    }

    #[test]
    fn a_key_is_a_name_and_nothing_else() {
        for key in [
            "", "@", ":", "a:b", "@xmlns", "$text", "$value", "1", "a b", "a><evil", "a\0",
        ] {
            let map = BTreeMap::from([(key, 1)]);
            assert!(written(&map).is_err(), "{key:?}");
            assert!(written(&[map]).is_err(), "{key:?}");
        }
        assert!(written(&BTreeMap::from([(1, 1)])).is_err());
        check(
            &BTreeMap::from([("größe", 1)]),
            "<all><größe>1</größe></all>",
        );
    }

    #[derive(Serialize)]
    struct Marked {
        #[serde(rename = "@id")]
        id: &'static str,
        #[serde(rename = "@none")]
        none: Option<u8>,
        #[serde(rename = "$text")]
        text: &'static str,
    }

    #[derive(Serialize)]
    struct Choice {
        #[serde(rename = "$value")]
        value: Vec<Kind>,
    }

    #[derive(Serialize)]
    struct Late {
        a: u8,
        #[serde(rename = "@id")]
        id: u8,
    }

    #[test]
    fn the_fields_of_a_struct_may_be_attributes_text_and_choices() {
        let marked = Marked {
            id: "\"<&\n",
            none: None,
            text: "a<b",
        };
        check(&marked, "<all id=\"&quot;&lt;&amp;&#10;\">a&lt;b</all>");
        let value = vec![
            Kind::Unit,
            Kind::New(1),
            Kind::Record { a: 2 },
            Kind::Items(vec![3]),
        ];
        check(
            &Choice { value },
            "<all><Unit/><New>1</New><Record><a>2</a></Record><Items><one>3</one></Items></all>",
        );
        let late = Late { a: 1, id: 2 };
        assert!(written(&late).is_err(), "there is no place for it any more");
    }

    #[test]
    fn what_has_no_form_is_an_error() {
        #[derive(Serialize)]
        struct Bad<T> {
            #[serde(rename = "@a")]
            a: T,
        }
        #[derive(Serialize)]
        struct BadText<T> {
            #[serde(rename = "$text")]
            a: T,
        }
        #[derive(Serialize)]
        struct BadChoice {
            #[serde(rename = "$value")]
            a: u8,
        }
        #[derive(Serialize)]
        struct BadName {
            #[serde(rename = "dc:title")]
            a: u8,
        }
        struct Bytes;
        impl Serialize for Bytes {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(b"1")
            }
        }
        assert!(written(&Bad { a: [1] }).is_err());
        assert!(written(&Bad { a: json!({}) }).is_err());
        assert!(written(&Bad { a: Kind::New(1) }).is_err());
        assert!(written(&BadText { a: [1] }).is_err());
        assert!(written(&BadText { a: json!({}) }).is_err());
        assert!(written(&BadChoice { a: 1 }).is_err());
        assert!(written(&BadName { a: 1 }).is_err());
        assert!(written(&Bytes).is_err());
    }
}
