//! Records from lines of cells.

use std::cell::Cell as Counter;

use csv::{ReaderBuilder, StringRecord};
use serde::de::value::{Error as Reason, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::csv_cell::Cell;
use super::csv_columns::{self, Field, Place};
use super::{Malformed, Position};

/// The records of a table whose first line names its columns; or the one record of a table that has one.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8], delimiter: u8) -> Result<T, Malformed> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let Some(at) = wrong_quote(body, delimiter) {
        let place = Position::in_text(body, at);
        return Err(Malformed::new("a quoted cell does not end").at(place));
    }
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.delimiter(delimiter).from_reader(body);
    let header = reader.headers().map_err(malformed)?;
    let fields = csv_columns::fields(header)
        .ok_or_else(|| Malformed::new("there are too many columns").at(start_of(1)))?;
    let mut table = Table {
        reader,
        fields,
        allowance: allowance(body),
        record: StringRecord::new(),
        failed: None,
    };
    let read = T::deserialize(&mut table).and_then(|value| table.end().map(|()| value));
    read.map_err(|error| table.malformed(error))
}

/// Where a quoted cell begins that never ends, or where one goes on behind its closing quote (RFC 4180, section 2.5). Readers make of
/// these what they like, and take lines for one cell.
fn wrong_quote(table: &[u8], delimiter: u8) -> Option<usize> {
    let ends = |byte: &u8| *byte == delimiter || matches!(byte, b'\r' | b'\n');
    let mut at = 0;
    loop {
        let end = match table.get(at) {
            Some(b'"') => match quoted(&table[at + 1..]) {
                Some(length) => at + 1 + length,
                None => return Some(at),
            },
            _ => at + table[at..].iter().position(ends)?,
        };
        match table.get(end) {
            Some(byte) if ends(byte) => at = end + 1,
            Some(_) => return Some(end),
            None => return None,
        }
    }
}

/// How long a quoted cell is behind its first quote, the last one included. Two quotes are one inside of it.
fn quoted(rest: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += rest[at..].iter().position(|byte| *byte == b'"')? + 1;
        if rest.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
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

/// How much may be made of empty cells. Into maps, every name is copied for every record: a header of long names before lines of commas
/// would be a bomb. A struct copies none.
fn allowance(body: &[u8]) -> Counter<usize> {
    Counter::new((1 << 20) + 64 * body.len())
}

/// About what an entry of a map takes beside its name, and what a map in a map does: trees have room for several entries from the first on.
const ENTRY: usize = 64;
const MAP: usize = 640;

struct Table<'b> {
    reader: csv::Reader<&'b [u8]>,
    fields: Vec<Field>,
    allowance: Counter<usize>,
    record: StringRecord,
    /// Why there is no next record.
    failed: Option<csv::Error>,
}

impl Table<'_> {
    fn next(&mut self) -> Result<Option<Fields<'_>>, Reason> {
        match self.reader.read_record(&mut self.record) {
            Ok(true) => Ok(Some(Fields {
                fields: &self.fields,
                record: &self.record,
                allowance: &self.allowance,
            })),
            Ok(false) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                Err(Reason::custom("there is no record"))
            }
        }
    }

    fn one(&mut self) -> Result<Fields<'_>, Reason> {
        self.next()?
            .ok_or_else(|| Reason::custom("there is no record"))
    }

    /// A part must not be taken for the whole.
    fn end(&mut self) -> Result<(), Reason> {
        match self.next()? {
            None => Ok(()),
            Some(_) => Err(Reason::custom("there are more records than are read")),
        }
    }

    fn malformed(self, error: Reason) -> Malformed {
        let line = self.record.position().map_or(1, csv::Position::line);
        let wrong = self.failed.map(malformed);
        wrong.unwrap_or_else(|| Malformed::new(error).at(start_of(line)))
    }
}

impl<'de> Deserializer<'de> for &mut Table<'_> {
    type Error = Reason;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_seq(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Reason> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        self.one()?.deserialize_map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        self.one()?.deserialize_struct(name, fields, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for &mut Table<'_> {
    type Error = Reason;

    fn next_element_seed<S>(&mut self, seed: S) -> Result<Option<S::Value>, Reason>
    where
        S: DeserializeSeed<'de>,
    {
        self.next()?
            .map(|fields| seed.deserialize(fields))
            .transpose()
    }
}

/// A record, or a record in a record.
#[derive(Clone, Copy)]
struct Fields<'r> {
    fields: &'r [Field],
    record: &'r StringRecord,
    allowance: &'r Counter<usize>,
}

impl<'r> Fields<'r> {
    fn cell(&self, at: usize) -> Cell<'r> {
        Cell(self.record.get(at).unwrap_or_default())
    }

    fn inside(&self, fields: &'r [Field]) -> Self {
        Self { fields, ..*self }
    }

    fn is_empty(&self) -> bool {
        self.fields.iter().all(|field| match &field.place {
            Place::Cell(at) => self.cell(*at).0.is_empty(),
            Place::Record(fields) => self.inside(fields).is_empty(),
        })
    }

    fn visit<'de, V: Visitor<'de>>(self, copied: bool, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_map(NextField {
            of: self,
            at: 0,
            copied,
        })
    }
}

impl<'de> Deserializer<'de> for Fields<'_> {
    type Error = Reason;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        self.visit(true, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Reason> {
        self.visit(false, visitor)
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

    /// Nobody wants it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Reason> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map enum identifier
    }
}

struct NextField<'r> {
    of: Fields<'r>,
    at: usize,
    /// Whether names are kept.
    copied: bool,
}

impl NextField<'_> {
    fn charge(&self, field: &Field) -> Result<(), Reason> {
        if self.copied {
            let map = match field.place {
                Place::Cell(_) => 0,
                Place::Record(_) => MAP,
            };
            let left = self.of.allowance.get();
            let left = left.checked_sub(field.name.len() + ENTRY + map);
            let too_much =
                || Reason::custom("there is far more in the columns' names than in cells");
            self.of.allowance.set(left.ok_or_else(too_much)?);
        }
        Ok(())
    }
}

impl<'de> MapAccess<'de> for NextField<'_> {
    type Error = Reason;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Reason> {
        let Some(field) = self.of.fields.get(self.at) else {
            return Ok(None);
        };
        self.charge(field)?;
        let name: StrDeserializer<'_, Reason> = (*field.name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Reason> {
        let field = &self.of.fields[self.at];
        self.at += 1;
        match &field.place {
            Place::Cell(at) => seed.deserialize(self.of.cell(*at)),
            Place::Record(fields) => seed.deserialize(self.of.inside(fields)),
        }
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

    #[test]
    fn a_table_of_one_record_is_that_record() {
        let one: Place = decode(b"city,at\nRome,0.5\n", b',').unwrap();
        assert_eq!(one.city, "Rome");
        let at = |table: &[u8]| decode::<Place>(table, b',').unwrap_err().position();
        assert_eq!(at(b"city,at\nRome,0.5\nBonn,1\n"), Some(start_of(3)));
        assert_eq!(at(b"city,at\n"), Some(start_of(2)));
    }

    #[test]
    fn a_part_is_not_taken_for_the_whole() {
        let two = b"city,at\nRome,1\nBonn,1\n";
        assert_eq!(decode::<(Place, Place)>(two, b',').unwrap().1.city, "Bonn");
        let error = decode::<(Place,)>(two, b',').unwrap_err();
        assert_eq!(error.position(), Some(start_of(3)));
        assert!(decode::<(Place, Place, Place)>(two, b',').is_err());
        let bad_end = [&two[..], b"\xff,1\n"].concat();
        assert!(decode::<(Place, Place)>(&bad_end, b',').is_err());
    }

    #[test]
    fn a_quote_that_is_left_open_swallows_no_lines() {
        let at = |table: &str| {
            let read = decode::<Vec<[(); 0]>>(table.as_bytes(), b',');
            read.unwrap_err().position()
        };
        let place = |line, column| Some(Position::Line { line, column });
        assert_eq!(at("a,b\r\n1,\"x\r\n3,4\r\n"), place(2, 3));
        assert_eq!(at("a\n\"1\"2\n"), place(2, 4));
        assert_eq!(at("\"a"), place(1, 1));
        assert_eq!(at("a\n\"\"\"\n"), place(2, 1));
        let texts = decode::<Vec<std::collections::BTreeMap<String, String>>>;
        let read = texts(b"\xef\xbb\xbf\"a\"\n\"1\"\"\n2\"\nx\"y\n\"\"", b',').unwrap();
        assert_eq!(read[0]["a"], "1\"\n2");
        assert_eq!(read[1]["a"], "x\"y");
        assert_eq!(read[2]["a"], "");
    }

    /// What a cell costs does not grow with the other columns.
    #[test]
    fn a_header_is_no_bomb() {
        #[derive(Deserialize)]
        struct Name {
            name: String,
        }
        let columns = (0..250).map(|at| format!("{at:x}.a,"));
        let header = columns.collect::<String>() + "name\n";
        let table = header + &format!("{}x\n", ",".repeat(250)).repeat(2_000);
        let read: Vec<Name> = decode(table.as_bytes(), b',').unwrap();
        assert!(read.len() == 2_000 && read.iter().all(|row| row.name == "x"));
        // Every name would be copied for every line.
        let read = decode::<Vec<serde_json::Value>>(table.as_bytes(), b',');
        assert!(read.is_err());
        let long = format!("{}\n{}", "x".repeat(4000), "1\n".repeat(2_000));
        assert!(decode::<Vec<serde_json::Value>>(long.as_bytes(), b',').is_err());
        let plain = format!("name,units\n{}", "Alice Smith,1\n".repeat(5_000));
        assert!(decode::<Vec<serde_json::Value>>(plain.as_bytes(), b',').is_ok());
    }

    #[test]
    fn a_cell_is_what_is_asked_for_or_an_error() {
        let read = |cell: &str| decode::<Vec<(Place,)>>(cell.as_bytes(), b',').is_ok();
        assert!(!read("a\n1\n"));
        fn of<T: DeserializeOwned>(cell: &str) -> Option<T> {
            let table = format!("a,b\n{cell},\n");
            let mut rows: Vec<std::collections::BTreeMap<String, Option<T>>> =
                decode(table.as_bytes(), b',').ok()?;
            rows.pop()?.remove("a")?
        }
        for no_number in ["NaN", "inf", "-infinity", "1e999", "x"] {
            assert_eq!(of::<f64>(no_number), None);
            assert_eq!(of::<f32>(no_number), None);
        }
        assert_eq!(of::<f32>("-1.5"), Some(-1.5));
        assert_eq!(of::<f64>("1e300"), Some(1e300));
        assert_eq!(of::<bool>("true"), Some(true));
        assert_eq!(of::<char>("x"), Some('x'));
        let unit = |cell: &str| {
            let table = format!("a,b\n{cell},\n");
            decode::<Vec<std::collections::BTreeMap<String, ()>>>(table.as_bytes(), b',').is_ok()
        };
        assert!(unit("") && !unit("x"));
        let error = decode::<Vec<Row>>(
            format!("units\n{}\n", "\u{1}".repeat(1000)).as_bytes(),
            b',',
        );
        assert!(error.unwrap_err().to_string().len() < 300);
    }
}
