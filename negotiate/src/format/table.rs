//! Records as lines of cells.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};

use serde::ser::{self, Impossible, Serialize, Serializer};

use super::EncodeError;
use super::shape::{Shape, shape_of};

/// A table under way: its columns, and the cells of the line that is being filled. Cells are used again for every line.
pub(super) struct Table<L> {
    columns: Columns,
    /// Where each column stands.
    places: HashMap<Cow<'static, str>, usize>,
    cells: Vec<Cell>,
    /// The column after the one filled last: fields come in the order of the columns, mostly.
    next: usize,
    /// The name of the field that is being written.
    path: String,
    pass: Pass,
    lines: L,
    out: Vec<u8>,
}

/// The names of columns, in order.
pub(super) type Columns = Vec<Cow<'static, str>>;

/// How a table's lines are written.
pub(super) trait Lines {
    /// Appends what stands before the first line.
    fn header(&mut self, columns: &Columns, out: &mut Vec<u8>);

    /// Appends a line.
    fn line(&mut self, columns: &Columns, cells: &[Cell], out: &mut Vec<u8>);

    /// Appends what stands after the last line.
    fn footer(&mut self, _out: &mut Vec<u8>) {}

    /// Puts text into its cell.
    fn text(&self, text: &str, cell: &mut String) {
        cell.push_str(text);
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pass {
    /// Every field is a column.
    Discover,
    /// The columns are known.
    Write,
}

/// What stands in one column of a line.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) filled: bool,
}

/// Appends a record or a collection as a whole table.
pub(super) fn encode<T, L>(value: &T, lines: L, out: &mut Vec<u8>) -> Result<(), EncodeError>
where
    T: Serialize + ?Sized,
    L: Lines,
{
    if shape_of(value) == Shape::Other {
        return Err(EncodeError::new("a table is made of records"));
    }
    let mut table = Table::discover(value, lines)?;
    table.header(out);
    table.write(value, out)?;
    table.footer(out);
    Ok(())
}

/// The text of what fits a cell.
pub(super) fn plain<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    let mut table = Table::new(&[""], AsIs);
    let written = value.serialize(Field(&mut table, Level::Cell));
    written.map_err(EncodeError::new)?;
    Ok(std::mem::take(&mut table.cells[0].text))
}

/// Cells alone.
struct AsIs;

impl Lines for AsIs {
    fn header(&mut self, _columns: &Columns, _out: &mut Vec<u8>) {}

    fn line(&mut self, _columns: &Columns, _cells: &[Cell], _out: &mut Vec<u8>) {}
}

impl<L: Lines> Table<L> {
    pub(super) fn new(columns: &'static [&'static str], lines: L) -> Self {
        let columns = columns.iter().map(|name| Cow::Borrowed(*name)).collect();
        Self::with(columns, Pass::Write, lines)
    }

    /// A table with the columns of every record in `rows`, in the order they are met.
    pub(super) fn discover<T>(rows: &T, lines: L) -> Result<Self, EncodeError>
    where
        T: Serialize + ?Sized,
    {
        let mut table = Self::with(Vec::new(), Pass::Discover, lines);
        rows.serialize(Field(&mut table, Level::Rows))
            .map_err(EncodeError::new)?;
        let columns = without_absent_records(&table.columns);
        Ok(Self::with(columns, Pass::Write, table.lines))
    }

    fn with(columns: Columns, pass: Pass, lines: L) -> Self {
        let places = columns.iter().cloned().zip(0..).collect();
        Self {
            cells: columns.iter().map(|_| Cell::default()).collect(),
            columns,
            places,
            next: 0,
            path: String::new(),
            pass,
            lines,
            out: Vec::new(),
        }
    }

    /// Appends what stands before the first line.
    pub(super) fn header(&mut self, out: &mut Vec<u8>) {
        self.lines.header(&self.columns, out);
    }

    /// Appends a line for each record in `rows`.
    pub(super) fn write<T>(&mut self, rows: &T, out: &mut Vec<u8>) -> Result<(), EncodeError>
    where
        T: Serialize + ?Sized,
    {
        self.serialize(rows, Level::Rows, out)
    }

    /// Appends what stands after the last line.
    pub(super) fn footer(&mut self, out: &mut Vec<u8>) {
        self.lines.footer(out);
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
            self.lines.line(&self.columns, &self.cells, &mut self.out);
        }
        self.begin_line();
    }

    /// The place of the cell of the field that is being written.
    fn cell(&mut self) -> Result<usize, TableError> {
        let fits = |name: &Cow<'static, str>| **name == *self.path;
        let known = if self.columns.get(self.next).is_some_and(fits) {
            Some(self.next)
        } else {
            self.places.get(&*self.path).copied()
        };
        let at = match known {
            Some(at) => at,
            None if self.pass == Pass::Discover => self.add_column(),
            None => return Err(TableError(format!("no column is called {:?}", self.path))),
        };
        self.next = at + 1;
        if std::mem::replace(&mut self.cells[at].filled, true) {
            return Err(TableError(format!("two fields are called {:?}", self.path)));
        }
        Ok(at)
    }

    fn add_column(&mut self) -> usize {
        let (name, at) = (Cow::<str>::from(self.path.clone()), self.columns.len());
        self.places.insert(name.clone(), at);
        self.columns.push(name);
        self.cells.push(Cell::default());
        at
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

/// An absent record may be met before one that is there: its fields are the columns.
fn without_absent_records(columns: &Columns) -> Columns {
    let dots = |name: &Cow<'static, str>| {
        let name = name.clone();
        let dots: Vec<usize> = name.match_indices('.').map(|(at, _)| at).collect();
        dots.into_iter().map(move |at| name[..at].to_owned())
    };
    let records: HashSet<String> = columns.iter().flat_map(dots).collect();
    let all = columns.iter().filter(|name| !records.contains(&***name));
    all.cloned().collect()
}

impl<L> fmt::Debug for Table<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
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
struct Field<'a, L>(&'a mut Table<L>, Level);

impl<'a, L: Lines> Field<'a, L> {
    fn text(self, text: &str) -> Result<(), TableError> {
        self.plain(|table| {
            let at = table.cell()?;
            table.lines.text(text, &mut table.cells[at].text);
            Ok(())
        })
    }

    fn number(self, number: impl fmt::Display) -> Result<(), TableError> {
        self.plain(|table| {
            let at = table.cell()?;
            write!(table.cells[at].text, "{number}").map_err(|_| TableError::cell())
        })
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
        write: impl FnOnce(&mut Table<L>) -> Result<(), TableError>,
    ) -> Result<(), TableError> {
        if self.1 == Level::Cell {
            write(self.0)
        } else {
            Err(TableError::cell())
        }
    }

    fn record(self) -> Fields<'a, L> {
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

impl<'a, L: Lines> Serializer for Field<'a, L> {
    type Ok = ();
    type Error = TableError;
    type SerializeSeq = Records<'a, L>;
    type SerializeTuple = Records<'a, L>;
    type SerializeTupleStruct = Impossible<(), TableError>;
    type SerializeTupleVariant = Impossible<(), TableError>;
    type SerializeMap = Fields<'a, L>;
    type SerializeStruct = Fields<'a, L>;
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

    fn serialize_seq(self, _len: Option<usize>) -> Result<Records<'a, L>, TableError> {
        if self.1 == Level::Rows {
            Ok(Records(self.0))
        } else {
            Err(TableError::cell())
        }
    }

    fn serialize_tuple(self, len: usize) -> Result<Records<'a, L>, TableError> {
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

    fn serialize_map(self, _len: Option<usize>) -> Result<Fields<'a, L>, TableError> {
        Ok(self.record())
    }

    fn serialize_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Fields<'a, L>, TableError> {
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
struct Records<'a, L>(&'a mut Table<L>);

impl<L: Lines> ser::SerializeSeq for Records<'_, L> {
    type Ok = ();
    type Error = TableError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), TableError> {
        value.serialize(Field(self.0, Level::Row))
    }

    fn end(self) -> Result<(), TableError> {
        Ok(())
    }
}

impl<L: Lines> ser::SerializeTuple for Records<'_, L> {
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
struct Fields<'a, L> {
    table: &'a mut Table<L>,
    ends_line: bool,
    key: String,
}

impl<L: Lines> Fields<'_, L> {
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

impl<L: Lines> ser::SerializeStruct for Fields<'_, L> {
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

impl<L: Lines> ser::SerializeMap for Fields<'_, L> {
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
