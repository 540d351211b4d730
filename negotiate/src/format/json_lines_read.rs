//! Values from JSON, a text at a time.

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Error;

use super::Malformed;
use super::json::malformed;

/// What separates texts.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Separator {
    /// Each is a line. Empty ones are skipped: there is one after the last.
    LineFeed,
    /// Before each stands U+001E (RFC 7464).
    Record,
}

/// The texts of `body`, where a sequence is asked for, and else the one that there is.
pub(super) fn decode<T>(body: &[u8], separator: Separator) -> Result<T, Malformed>
where
    T: DeserializeOwned,
{
    let mut texts = Texts {
        rest: Some(body),
        separator,
        lines_before: 0,
        lines_in: 0,
    };
    let read = texts.start().and_then(|()| T::deserialize(&mut texts));
    let all = read.and_then(|value| texts.end().map(|()| value));
    all.map_err(|error| malformed(error, texts.lines_before))
}

#[derive(Clone)]
struct Texts<'b> {
    /// `None`: there is nothing more, not even an empty text.
    rest: Option<&'b [u8]>,
    separator: Separator,
    /// Lines that ended before the text that is being read.
    lines_before: usize,
    lines_in: usize,
}

impl<'b> Texts<'b> {
    /// What stands before the first record separator belongs to none.
    fn start(&mut self) -> Result<(), Error> {
        if self.separator == Separator::Record && !self.piece().is_none_or(is_blank) {
            return Err(Error::custom(
                "there is text before the first record separator",
            ));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<&'b [u8]>, Error> {
        while let Some(piece) = self.piece() {
            if !is_blank(piece) {
                return self.whole(piece).map(Some);
            }
        }
        Ok(None)
    }

    fn piece(&mut self) -> Option<&'b [u8]> {
        let separator = match self.separator {
            Separator::LineFeed => b'\n',
            Separator::Record => b'\x1e',
        };
        let rest = self.rest?;
        let end = rest.iter().position(|byte| *byte == separator);
        let piece = &rest[..end.unwrap_or(rest.len())];
        self.rest = end.map(|end| &rest[end + 1..]);
        self.lines_before += self.lines_in;
        let breaks = piece.iter().filter(|byte| **byte == b'\n').count();
        self.lines_in = breaks + usize::from(separator == b'\n');
        Some(piece)
    }

    /// A number or a name without white space behind it may be one that was cut off (RFC 7464, section 2.4).
    fn whole(&self, piece: &'b [u8]) -> Result<&'b [u8], Error> {
        let shows_its_end = matches!(piece.trim_ascii(), [b'{' | b'[' | b'"', ..]);
        let ends = piece.last().is_some_and(u8::is_ascii_whitespace);
        if self.separator == Separator::Record && !shows_its_end && !ends {
            return Err(Error::custom(
                "the text may be cut off: no line feed ends it",
            ));
        }
        Ok(piece)
    }

    fn one<R>(&mut self, read: impl FnOnce(Json<'_, 'b>) -> Result<R, Error>) -> Result<R, Error> {
        match self.next()? {
            Some(text) => read_all(text, read),
            None => Err(Error::custom("there is no value")),
        }
    }

    /// A part must not be taken for the whole.
    fn end(&mut self) -> Result<(), Error> {
        match self.next()? {
            None => Ok(()),
            Some(_) => Err(Error::custom("there are more values than are read")),
        }
    }

    fn is_null(&self) -> bool {
        let mut ahead = self.clone();
        matches!(ahead.next(), Ok(Some(text)) if text.trim_ascii() == b"null")
            && matches!(ahead.next(), Ok(None))
    }
}

fn is_blank(piece: &[u8]) -> bool {
    piece.trim_ascii().is_empty()
}

type Json<'j, 'b> = &'j mut serde_json::Deserializer<serde_json::de::SliceRead<'b>>;

fn read_all<'b, R>(
    text: &'b [u8],
    read: impl FnOnce(Json<'_, 'b>) -> Result<R, Error>,
) -> Result<R, Error> {
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = read(&mut json)?;
    json.end().map(|()| value)
}

macro_rules! one {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
            self.one(|json| json.$method($($argument,)* visitor))
        })*
    };
}

/// What formats write as members is read as members, and all else as one value.
impl<'de> Deserializer<'de> for &mut Texts<'de> {
    type Error = Error;

    one! {
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
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
            self.next()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }
}

impl<'de> SeqAccess<'de> for &mut Texts<'de> {
    type Error = Error;

    fn next_element_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, Error>
    where
        S: DeserializeSeed<'de>,
    {
        match self.next()? {
            Some(text) => read_all(text, |json| seed.deserialize(json)).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::format::Position;

    fn lines<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
        decode(body, Separator::LineFeed)
    }

    fn sequence<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
        decode(body, Separator::Record)
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Row {
        name: String,
        units: u32,
    }

    #[test]
    fn a_value_that_is_no_sequence_is_one_text() {
        let row = || Row {
            name: "a".into(),
            units: 1,
        };
        let text = b"{\"name\":\"a\",\"units\":1}\n";
        assert_eq!(lines::<Row>(text).unwrap(), row());
        assert_eq!(lines::<Option<Row>>(text).unwrap(), Some(row()));
        assert_eq!(lines::<Vec<Row>>(text).unwrap(), [row()]);
        assert_eq!(lines::<(Row,)>(text).unwrap(), (row(),));
        assert_eq!(
            lines::<Value>(text).unwrap(),
            json!([{"name": "a", "units": 1}])
        );
        assert_eq!(lines::<u32>(b"\n5\r\n\n").unwrap(), 5);
        assert_eq!(lines::<String>(b"\"x\"").unwrap(), "x");
        assert_eq!(lines::<Option<u32>>(b"null\n").unwrap(), None);
        assert_eq!(lines::<Option<u32>>(b"5\n").unwrap(), Some(5));
        assert!(sequence::<bool>(b"\x1etrue\n").unwrap());
        assert!(lines::<Row>(b"\"a\"\n1\n").is_err(), "by position");
        assert!(lines::<u32>(b"").is_err());
    }

    #[test]
    fn a_part_is_not_taken_for_the_whole() {
        let place = |line, column| Some(Position::Line { line, column });
        let error = lines::<(u8, u8)>(b"1\n2\n{{{{garbage\n").unwrap_err();
        assert_eq!(error.position(), place(3, 1));
        assert!(lines::<u8>(b"1\n2\n").is_err());
        let error = lines::<(u8, u8)>(b"1\n").unwrap_err();
        assert_eq!(error.position(), place(2, 1));
        assert!(lines::<Vec<u8>>(b"1\n2 3\n").is_err());
    }

    #[test]
    fn a_sequence_shows_where_it_was_cut_off() {
        assert_eq!(
            sequence::<Vec<u8>>(b"\x1e1\n\x1e\x1e12\t").unwrap(),
            [1, 12]
        );
        assert_eq!(
            sequence::<Vec<Value>>(b"\x1e[1]\x1e\"a\"\x1e{}")
                .unwrap()
                .len(),
            3
        );
        assert_eq!(sequence::<Vec<u8>>(b" \n\x1e1\n").unwrap(), [1]);
        assert!(sequence::<Vec<u8>>(b"").unwrap().is_empty());
        for cut in [
            &b"\x1e1\n\x1e12"[..],
            b"\x1etrue",
            b"\x1enull\x1e1\n",
            b"\x1e{\"a\":1",
            b"1\n",
            b"1\x1e12\n",
        ] {
            assert!(sequence::<Vec<Value>>(cut).is_err(), "{cut:?}");
        }
    }
}
