//! Plain text.

use serde::Serialize;

use super::shape::{Shape, shape_of};
use super::table::{self, Cell, Columns, Lines, Table};
use super::{EncodeError, Format, MediaType, Record, RowEncoder};

/// Plain text: `text/plain`, in UTF-8. A record is a line `name: value` for each field that has a value, and an empty line; fields of nested
/// structs are called `outer.inner`. A single value is its text alone.
///
/// In records, control characters and those that turn the direction of text are replaced by U+FFFD, and lines after the first of a value are indented: no value looks like a field, and
/// none is a command to a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Text;

impl Format for Text {
    type Rows = TextRows;

    fn name(&self) -> &'static str {
        "txt"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const { &[MediaType::new("text/plain;charset=utf-8")] }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if shape_of(value) == Shape::Other {
            out.extend_from_slice(table::plain(value)?.as_bytes());
            return Ok(());
        }
        table::encode(value, Named, out)
    }

    fn rows(&self, columns: &'static [&'static str]) -> TextRows {
        TextRows {
            table: Table::new(columns, Named),
        }
    }
}

/// Writes a paragraph for each record.
#[derive(Debug)]
pub struct TextRows {
    table: Table<Named>,
}

impl RowEncoder for TextRows {
    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.write_record(row, out)
    }
}

struct Named;

impl Lines for Named {
    fn header(&mut self, _columns: &Columns, _out: &mut Vec<u8>) {}

    fn line(&mut self, columns: &Columns, cells: &[Cell], out: &mut Vec<u8>) {
        let named = columns.iter().zip(cells);
        for (name, cell) in named.filter(|(_, cell)| cell.filled) {
            harmless(name, out);
            out.extend_from_slice(b": ");
            harmless(&cell.text, out);
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

fn harmless(text: &str, out: &mut Vec<u8>) {
    for char in text.chars() {
        match char {
            '\n' | '\u{2028}' | '\u{2029}' => out.extend_from_slice(b"\n  "),
            '\t' => out.push(b'\t'),
            _ if char.is_control() || turns(char) => out.extend_from_slice("\u{fffd}".as_bytes()),
            _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether what follows is shown in another direction: text could be made to look like other text.
const fn turns(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(value: Value, expected: &str) {
        let mut out = Vec::new();
        Text.encode(&value, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_record_is_a_paragraph_and_a_value_is_its_text() {
        check(json!({"a": 1, "b": {"c": "x"}}), "a: 1\nb.c: x\n\n");
        check(json!([{"a": 1}, {"b": true}]), "a: 1\n\nb: true\n\n");
        check(json!("as it is\n"), "as it is\n");
        check(json!(1.5), "1.5");
        check(json!(null), "");
    }

    #[test]
    fn no_value_looks_like_a_field_or_is_a_command() {
        check(json!({"a": "1\r\nb: 2"}), "a: 1\u{fffd}\n  b: 2\n\n");
        check(
            json!({"a": "\u{1b}[2J\u{9b}"}),
            "a: \u{fffd}[2J\u{fffd}\n\n",
        );
        check(
            json!({"a": "1\u{2028}b: 2\u{2029}c\td\u{202e}e\u{2066}"}),
            "a: 1\n  b: 2\n  c\td\u{fffd}e\u{fffd}\n\n",
        );
    }
}
