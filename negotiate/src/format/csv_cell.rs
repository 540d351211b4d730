//! What a cell can be read as.

use serde::de::value::{Error as Reason, StrDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// One cell: text, which is what is asked for if it can be read so.
pub(super) struct Cell<'r>(pub(super) &'r str);

macro_rules! parsed {
    ($($method:ident $visit:ident $what:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
            let value = self.0.parse().map_err(|_| self.is_not($what))?;
            visitor.$visit(value)
        })*
    };
}

impl Cell<'_> {
    fn is_not(&self, what: &str) -> Reason {
        let start: String = self.0.chars().take(40).collect();
        Reason::custom(format!("{start:?} is not {what}"))
    }
}

impl<'de> Deserializer<'de> for Cell<'_> {
    type Error = Reason;

    parsed! {
        deserialize_bool visit_bool "true or false";
        deserialize_i8 visit_i8 "a whole number of this size";
        deserialize_i16 visit_i16 "a whole number of this size";
        deserialize_i32 visit_i32 "a whole number of this size";
        deserialize_i64 visit_i64 "a whole number of this size";
        deserialize_i128 visit_i128 "a whole number of this size";
        deserialize_u8 visit_u8 "a whole number of this size";
        deserialize_u16 visit_u16 "a whole number of this size";
        deserialize_u32 visit_u32 "a whole number of this size";
        deserialize_u64 visit_u64 "a whole number of this size";
        deserialize_u128 visit_u128 "a whole number of this size";
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        let parsed = self
            .0
            .parse()
            .ok()
            .filter(|number: &f32| number.is_finite());
        visitor.visit_f32(parsed.ok_or_else(|| self.is_not("a number"))?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        let parsed = self
            .0
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite());
        visitor.visit_f64(parsed.ok_or_else(|| self.is_not("a number"))?)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        if self.0.is_empty() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        if self.0.is_empty() {
            return visitor.visit_unit();
        }
        Err(Reason::custom("the cell is to be empty"))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Reason> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        let variant: StrDeserializer<'_, Reason> = self.0.into_deserializer();
        visitor.visit_enum(variant)
    }

    /// Nobody wants it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit_struct seq tuple tuple_struct map struct identifier
    }
}
