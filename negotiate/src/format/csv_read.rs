//! Records from lines of cells.

use csv::{ReaderBuilder, StringRecord};
use serde::de::value::{Error as Reason, SeqAccessDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Malformed, Position};

/// What is looked for among columns is looked for in all of them: a stranger must not choose how many there are, nor how deep fields nest.
const MAX_COLUMNS: usize = 256;
const MAX_DEPTH: usize = 16;

/// The records of a table whose first line names its columns.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8], delimiter: u8) -> Result<T, Malformed> {
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.delimiter(delimiter).from_reader(body);
    let header = reader.headers().map_err(malformed)?.clone();
    check(&header)?;
    let mut records = Records {
        reader,
        header,
        record: StringRecord::new(),
        failed: None,
    };
    T::deserialize(SeqAccessDeserializer::new(&mut records)).map_err(|error| {
        let line = records.record.position().map_or(1, csv::Position::line);
        let wrong = records.failed.map(malformed);
        wrong.unwrap_or_else(|| Malformed::new(error).at(start_of(line)))
    })
}

fn check(header: &StringRecord) -> Result<(), Malformed> {
    let is_deep = |name: &str| name.matches('.').count() >= MAX_DEPTH;
    if header.len() > MAX_COLUMNS || header.iter().any(is_deep) {
        return Err(Malformed::new("there are too many columns").at(start_of(1)));
    }
    Ok(())
}

fn malformed(error: csv::Error) -> Malformed {
    let line = error.position().map_or(1, csv::Position::line);
    Malformed::new(error).at(start_of(line))
}

fn start_of(line: u64) -> Position {
    Position::Line {
        line: usize::try_from(line).unwrap_or(usize::MAX),
        column: 1,
    }
}

struct Records<'b> {
    reader: csv::Reader<&'b [u8]>,
    header: StringRecord,
    record: StringRecord,
    /// Why there is no next record.
    failed: Option<csv::Error>,
}

impl<'de> SeqAccess<'de> for &mut Records<'_> {
    type Error = Reason;

    fn next_element_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, Reason>
    where
        S: DeserializeSeed<'de>,
    {
        match self.reader.read_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => seed
                .deserialize(Fields {
                    header: &self.header,
                    record: &self.record,
                    prefix: "",
                })
                .map(Some),
            Err(error) => {
                self.failed = Some(error);
                Err(Reason::custom("there is no record"))
            }
        }
    }
}

/// A record, or the record in a record that the columns `prefix.…` are.
#[derive(Clone, Copy)]
struct Fields<'r> {
    header: &'r StringRecord,
    record: &'r StringRecord,
    /// With its dot; empty for the record itself.
    prefix: &'r str,
}

impl<'r> Fields<'r> {
    /// What the column at `at` is called inside of this record, if it is in it.
    fn inside(&self, at: usize) -> Option<&'r str> {
        self.header.get(at)?.strip_prefix(self.prefix)
    }

    /// The field that the column at `at` is, or is a part of; whether it is a part. Of a field's parts the first one counts.
    fn field(&self, at: usize) -> Option<(&'r str, bool)> {
        let name = self.inside(at)?;
        let Some((outer, _)) = name.split_once('.') else {
            return Some((name, false));
        };
        let is_part = |before: &str| before.split_once('.').is_some_and(|(o, _)| o == outer);
        let is_first = !(0..at).filter_map(|at| self.inside(at)).any(is_part);
        is_first.then_some((outer, true))
    }

    fn is_empty(&self) -> bool {
        let mut inside = (0..self.header.len()).filter(|at| self.inside(*at).is_some());
        inside.all(|at| self.record.get(at).is_none_or(str::is_empty))
    }
}

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Reason;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        let fields = self;
        visitor.visit_map(NextField { fields, at: 0 })
    }

    /// A record in a record is there if one of its cells is.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        if self.is_empty() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Reason> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct NextField<'r> {
    fields: Fields<'r>,
    at: usize,
}

impl<'de> MapAccess<'de> for NextField<'_> {
    type Error = Reason;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Reason> {
        while self.at < self.fields.header.len() {
            if let Some((name, _)) = self.fields.field(self.at) {
                let name: StrDeserializer<'_, Reason> = name.into_deserializer();
                return seed.deserialize(name).map(Some);
            }
            self.at += 1;
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Reason> {
        let (at, fields) = (self.at, self.fields);
        self.at += 1;
        match fields.field(at) {
            Some((name, true)) => {
                let prefix = &format!("{}{name}.", fields.prefix);
                seed.deserialize(Fields { prefix, ..fields })
            }
            _ => seed.deserialize(Cell(fields.record.get(at).unwrap_or_default())),
        }
    }
}

/// One cell: text, which is what is asked for if it can be read so.
struct Cell<'r>(&'r str);

macro_rules! parsed {
    ($($method:ident $visit:ident $what:literal;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
            let parsed = self.0.parse();
            let value = parsed.map_err(|_| Reason::custom(format!("{:?} is not {}", self.0, $what)))?;
            visitor.$visit(value)
        })*
    };
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
        deserialize_f32 visit_f32 "a number";
        deserialize_f64 visit_f64 "a number";
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

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Row {
        name: String,
        units: Option<i8>,
        place: Option<Place>,
        size: Size,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Place {
        city: String,
        at: f64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Size {
        Small,
        Large,
    }

    #[test]
    fn columns_are_fields_and_dotted_ones_fields_of_fields() {
        let table = "place.city,name,place.at,size,units\r\nRome,\"a,\"\"b\",0.5,Small,-1\r\n,c,,Large,\r\n";
        let rows: Vec<Row> = decode(table.as_bytes(), b',').unwrap();
        let place = Some(Place {
            city: "Rome".into(),
            at: 0.5,
        });
        let expected = [
            ("a,\"b", Some(-1), place, Size::Small),
            ("c", None, None, Size::Large),
        ];
        let expected = expected.map(|(name, units, place, size)| Row {
            name: name.into(),
            units,
            place,
            size,
        });
        assert_eq!(rows, expected);
        let maps: Vec<serde_json::Value> = decode(b"a.b.c\tx\n1\t\n", b'\t').unwrap();
        assert_eq!(maps, [serde_json::json!({"a": {"b": {"c": "1"}}, "x": ""})]);
        assert_eq!(decode::<Vec<Row>>(b"name,units\n", b',').unwrap(), []);
        assert_eq!(decode::<Vec<Row>>(b"", b',').unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let at = |table: &str| {
            let error = decode::<Vec<Row>>(table.as_bytes(), b',').unwrap_err();
            match error.position() {
                Some(Position::Line { line, .. }) => line,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(at("name,size,units\n\"a\nb\",Small,1\nc,Small,many\n"), 4);
        assert_eq!(at("name,size\na,Small\nb,Huge\n"), 3);
        assert_eq!(at("name,size\na,Small,1\n"), 2);
        assert_eq!(at("size\nSmall\n"), 2, "a column is missing");
        assert_eq!(
            at(&format!("{}\n", "a,".repeat(256))),
            1,
            "too many columns"
        );
        assert_eq!(at(&format!("{}\n", "a.".repeat(16))), 1, "too deep");
    }
}
