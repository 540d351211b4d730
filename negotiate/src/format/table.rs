//! Records as lines of cells.

use std::borrow::Cow;
use std::fmt::{self, Write};

use csv_core::{Terminator, WriterBuilder};
use serde::ser::{self, Impossible, Serialize, Serializer};

use super::EncodeError;

/// A table under way: its columns, and the cells of the line that is being filled. Cells are used again for every line.
pub(super) struct Table {
    columns: Vec<Cow<'static, str>>,
    cells: Vec<Cell>,
    /// The column after the one filled last: fields come in the order of the columns, mostly.
    next: usize,
    /// The name of the field that is being written.
    path: String,
    pass: Pass,
    defend: bool,
    core: csv_core::Writer,
    out: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pass {
    /// Every field is a column.
    Discover,
    /// The columns are known.
    Write,
}

#[derive(Debug, Default)]
struct Cell {
    text: String,
    filled: bool,
}

impl Table {
    pub(super) fn new(columns: &'static [&'static str], defend: bool) -> Self {
        let columns = columns.iter().map(|name| Cow::Borrowed(*name)).collect();
        Self::with(columns, Pass::Write, defend)
    }

    /// A table with the columns of every record in `rows`, in the order they are met.
    pub(super) fn discover<T>(rows: &T, defend: bool) -> Result<Self, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        let mut table = Self::with(Vec::new(), Pass::Discover, defend);
        rows.serialize(Field(&mut table, Level::Rows))
            .map_err(EncodeError::new)?;
        // An absent record was met before one that is there: its fields are the columns.
        let nested = |name: &str, of: &str| {
            name.strip_prefix(of)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let columns = table.columns.iter();
        let columns = columns.filter(|c| !table.columns.iter().any(|name| nested(name, c)));
        Ok(Self::with(columns.cloned().collect(), Pass::Write, defend))
    }

    fn with(columns: Vec<Cow<'static, str>>, pass: Pass, defend: bool) -> Self {
        Self {
            cells: columns.iter().map(|_| Cell::default()).collect(),
            columns,
            next: 0,
            path: String::new(),
            pass,
            defend,
            core: WriterBuilder::new().terminator(Terminator::CRLF).build(),
            out: Vec::new(),
        }
    }

    /// Appends the header line.
    pub(super) fn header(&mut self, out: &mut Vec<u8>) {
        let columns = std::mem::take(&mut self.columns);
        for (cell, name) in self.cells.iter_mut().zip(&columns) {
            cell.text.clear();
            defend(self.defend, name, &mut cell.text);
        }
        self.columns = columns;
        std::mem::swap(&mut self.out, out);
        self.line();
        std::mem::swap(&mut self.out, out);
    }

    /// Appends a line for each record in `rows`.
    pub(super) fn write<T>(&mut self, rows: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        self.serialize(rows, Level::Rows, out)
    }

    /// Appends a line for this record.
    pub(super) fn write_record<T>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        self.serialize(row, Level::Row, out)
    }

    fn serialize<T>(&mut self, rows: &T, level: Level, out: &mut Vec<u8>) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        self.begin_line();
        std::mem::swap(&mut self.out, out);
        let done = rows.serialize(Field(self, level));
        std::mem::swap(&mut self.out, out);
        done.map_err(EncodeError::new)
    }

    fn begin_line(&mut self) {
        self.next = 0;
        self.path.clear();
        for cell in &mut self.cells {
            cell.text.clear();
            cell.filled = false;
        }
    }

    fn end_line(&mut self) {
        if self.pass == Pass::Write {
            self.line();
        }
        self.begin_line();
    }

    /// Writes the cells as a line.
    fn line(&mut self) {
        for (at, cell) in self.cells.iter().enumerate() {
            let text = cell.text.as_bytes();
            if at > 0 {
                append(&mut self.out, 4, |room| self.core.delimiter(room).1);
            }
            append(&mut self.out, 2 * text.len() + 2, |room| {
                self.core.field(text, room).2
            });
        }
        append(&mut self.out, 8, |room| self.core.terminator(room).1);
    }

    /// The cell of the field that is being written.
    fn cell(&mut self) -> Result<&mut Cell, TableError> {
        let fits = |name: &Cow<'static, str>| **name == *self.path;
        let known = if self.columns.get(self.next).is_some_and(fits) {
            Some(self.next)
        } else {
            self.columns.iter().position(fits)
        };
        let at = match known {
            Some(at) => at,
            None if self.pass == Pass::Discover => {
                self.columns.push(self.path.clone().into());
                self.cells.push(Cell::default());
                self.columns.len() - 1
            }
            None => return Err(TableError(format!("no column is called {:?}", self.path))),
        };
        self.next = at + 1;
        let cell = &mut self.cells[at];
        if std::mem::replace(&mut cell.filled, true) {
            return Err(TableError(format!("two fields are called {:?}", self.path)));
        }
        Ok(cell)
    }

    /// Runs `write` as the field `name` of the current one.
    fn within<R>(&mut self, name: &str, write: impl FnOnce(&mut Self) -> R) -> R {
        let outer = self.path.len();
        if outer > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        let result = write(self);
        self.path.truncate(outer);
        result
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// Lets `write` fill at most `room` bytes at the end of `out`; it tells how many it filled.
fn append(out: &mut Vec<u8>, room: usize, write: impl FnOnce(&mut [u8]) -> usize) {
    let start = out.len();
    out.resize(start + room, 0);
    let written = write(&mut out[start..]);
    out.truncate(start + written);
}

/// Writes a string that no spreadsheet takes for a formula.
fn defend(defend: bool, text: &str, cell: &mut String) {
    // The last four are the full-width forms of the first four.
    const FORMULA: [char; 11] = [
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ];
    if defend && text.starts_with(FORMULA) {
        cell.push('\'');
    }
    cell.push_str(text);
}

/// Why a value is no table.
#[derive(Debug)]
pub(super) struct TableError(String);

impl TableError {
    fn cell() -> Self {
        Self("a table is made of records, and a cell holds one plain value".into())
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TableError {}

impl ser::Error for TableError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Where in a table a value stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Level {
    Rows,
    Row,
    Cell,
}

/// Writes one value into a table.
struct Field<'a>(&'a mut Table, Level);

impl<'a> Field<'a> {
    fn text(self, text: &str) -> Result<(), TableError> {
        self.plain(|table| {
            let shield = table.defend;
            defend(shield, text, &mut table.cell()?.text);
            Ok(())
        })
    }

    fn number(self, number: impl fmt::Display) -> Result<(), TableError> {
        self.plain(|table| write!(table.cell()?.text, "{number}").map_err(|_| TableError::cell()))
    }

    /// Leaves the cell empty. Where a record is absent, there is no cell.
    fn nothing(self) -> Result<(), TableError> {
        self.plain(|table| {
            if table.pass == Pass::Discover {
                table.cell()?;
            }
            Ok(())
        })
    }

    fn plain(
        self,
        write: impl FnOnce(&mut Table) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        if self.1 == Level::Cell {
            write(self.0)
        } else {
            Err(TableError::cell())
        }
    }

    fn record(self) -> Fields<'a> {
        Fields {
            ends_line: self.1 != Level::Cell,
            table: self.0,
            key: String::new(),
        }
    }
}

macro_rules! numbers {
    ($($method:ident($number:ty);)*) => {
        $(fn $method(self, number: $number) -> Result<(), TableError> {
            self.number(number)
        })*
    };
}

impl<'a> Serializer for Field<'a> {
    type Ok = ();
    type Error = TableError;
    type SerializeSeq = Records<'a>;
    type SerializeTuple = Records<'a>;
    type SerializeTupleStruct = Impossible<(), TableError>;
    type SerializeTupleVariant = Impossible<(), TableError>;
    type SerializeMap = Fields<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Impossible<(), TableError>;

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
    }

    fn serialize_f32(self, number: f32) -> Result<(), TableError> {
        if number.is_finite() {
            self.number(number)
        } else {
            self.nothing()
        }
    }

    fn serialize_f64(self, number: f64) -> Result<(), TableError> {
        if number.is_finite() {
            self.number(number)
        } else {
            self.nothing()
        }
    }

    fn serialize_char(self, char: char) -> Result<(), TableError> {
        self.text(char.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), TableError> {
        self.text(text)
    }

    fn serialize_bytes(self, _bytes: &[u8]) -> Result<(), TableError> {
        Err(TableError::cell())
    }

    fn serialize_none(self) -> Result<(), TableError> {
        self.nothing()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), TableError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), TableError> {
        self.nothing()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), TableError> {
        self.nothing()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), TableError> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), TableError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), TableError> {
        Err(TableError::cell())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Records<'a>, TableError> {
        if self.1 == Level::Rows {
            Ok(Records(self.0))
        } else {
            Err(TableError::cell())
        }
    }

    fn serialize_tuple(self, len: usize) -> Result<Records<'a>, TableError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, TableError> {
        Err(TableError::cell())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, TableError> {
        Err(TableError::cell())
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Fields<'a>, TableError> {
        Ok(self.record())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Fields<'a>, TableError> {
        Ok(self.record())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, TableError> {
        Err(TableError::cell())
    }
}

/// Writes the records of a collection.
struct Records<'a>(&'a mut Table);

impl ser::SerializeSeq for Records<'_> {
    type Ok = ();
    type Error = TableError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        value.serialize(Field(self.0, Level::Row))
    }

    fn end(self) -> Result<(), TableError> {
        Ok(())
    }
}

impl ser::SerializeTuple for Records<'_> {
    type Ok = ();
    type Error = TableError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        ser::SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<(), TableError> {
        Ok(())
    }
}

/// Writes the fields of a record, or of a record in a record.
struct Fields<'a> {
    table: &'a mut Table,
    ends_line: bool,
    key: String,
}

impl Fields<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), TableError> {
        self.table
            .within(name, |table| value.serialize(Field(table, Level::Cell)))
    }

    fn finish(self) -> Result<(), TableError> {
        if self.ends_line {
            self.table.end_line();
        }
        Ok(())
    }
}

impl ser::SerializeStruct for Fields<'_> {
    type Ok = ();
    type Error = TableError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), TableError> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), TableError> {
        self.finish()
    }
}

impl ser::SerializeMap for Fields<'_> {
    type Ok = ();
    type Error = TableError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), TableError> {
        self.key = match serde_json::to_value(key).map_err(ser::Error::custom)? {
            serde_json::Value::String(name) => name,
            other => other.to_string(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        let key = std::mem::take(&mut self.key);
        self.field(&key, value)
    }

    fn end(self) -> Result<(), TableError> {
        self.finish()
    }
}
