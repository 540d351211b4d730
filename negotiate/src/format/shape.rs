//! What kind of thing a value is, for formats that write kinds differently.

use std::fmt;

use serde::ser::{Error, Impossible, Serialize, Serializer};

/// The outermost form of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Shape {
    /// A list, a set or a tuple.
    Sequence,
    /// Fields with names.
    Record,
    /// One value, or none.
    Other,
}

/// The shape of `value`; an option or a newtype has the shape of what is inside.
pub(super) fn shape_of<T: Serialize + ?Sized>(value: &T) -> Shape {
    match value.serialize(Ask) {
        Ok(never) => match never {},
        Err(Answer(shape)) => shape,
    }
}

/// Stops at the first thing it hears: the answer is the error.
struct Ask;

enum Never {}

#[derive(Debug)]
struct Answer(Shape);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Answer {}

/// A value that fails to serialise has no shape; the format will meet the same error.
impl Error for Answer {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self(Shape::Other)
    }
}

macro_rules! others {
    ($($method:ident($($argument:ty),*);)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<Never, Answer> {
            Err(Answer(Shape::Other))
        })*
    };
}

impl Serializer for Ask {
    type Ok = Never;
    type Error = Answer;
    type SerializeSeq = Impossible<Never, Answer>;
    type SerializeTuple = Impossible<Never, Answer>;
    type SerializeTupleStruct = Impossible<Never, Answer>;
    type SerializeTupleVariant = Impossible<Never, Answer>;
    type SerializeMap = Impossible<Never, Answer>;
    type SerializeStruct = Impossible<Never, Answer>;
    type SerializeStructVariant = Impossible<Never, Answer>;

    others! {
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
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Never, Answer> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Never, Answer> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<Never, Answer> {
        Err(Answer(Shape::Other))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq, Answer> {
        Err(Answer(Shape::Sequence))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, Answer> {
        Err(Answer(Shape::Sequence))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, Answer> {
        Err(Answer(Shape::Sequence))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, Answer> {
        Err(Answer(Shape::Other))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, Answer> {
        Err(Answer(Shape::Record))
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStruct, Answer> {
        Err(Answer(Shape::Record))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, Answer> {
        Err(Answer(Shape::Other))
    }
}
