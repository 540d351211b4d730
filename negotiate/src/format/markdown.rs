//! Markdown (RFC 7763; tables as in GitHub's dialect).

use serde::Serialize;

use super::shape::{Shape, shape_of};
use super::table::{self, Cell, Columns, Lines, Table};
use super::{EncodeError, Format, MediaType, Record, RowEncoder};

/// Markdown: `text/markdown`, in UTF-8, which programs that feed language models ask for. Records are a table, and fields of nested structs
/// columns called `outer.inner`. A string is a document of the server's own, and sent as it is.
///
/// Cells are text: what Markdown or HTML would take for markup is escaped. Readers of GitHub's dialect show an address as a link to itself,
/// wherever it stands; no escape keeps them from it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Markdown;

impl Format for Markdown {
    type Rows = MarkdownRows;

    fn name(&self) -> &'static str {
        "md"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const { &[MediaType::new("text/markdown;charset=utf-8")] }
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
        table::encode(value, Pipes, out)
    }

    fn rows(&self, columns: &'static [&'static str]) -> MarkdownRows {
        MarkdownRows {
            table: Table::new(columns, Pipes),
        }
    }
}

/// Writes the head of a table, and a line for each record.
#[derive(Debug)]
pub struct MarkdownRows {
    table: Table<Pipes>,
}

impl RowEncoder for MarkdownRows {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.header(out);
        Ok(())
    }

    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.write_record(row, out)
    }
}

struct Pipes;

impl Lines for Pipes {
    fn header(&mut self, columns: &Columns, out: &mut Vec<u8>) {
        if columns.is_empty() {
            return; // A table of nothing is no table.
        }
        line(columns.iter().map(|name| &**name), out);
        out.extend_from_slice(b"|");
        columns
            .iter()
            .for_each(|_| out.extend_from_slice(b" --- |"));
        out.push(b'\n');
    }

    fn line(&mut self, _columns: &Columns, cells: &[Cell], out: &mut Vec<u8>) {
        line(cells.iter().map(|cell| cell.text.as_str()), out);
    }
}

fn line<'a>(cells: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    out.push(b'|');
    for cell in cells {
        out.push(b' ');
        escape(cell, out);
        out.extend_from_slice(b" |");
    }
    out.push(b'\n');
}

/// A cell is one line, and a backslash takes its meaning from any punctuation (CommonMark, 2.4).
fn escape(text: &str, out: &mut Vec<u8>) {
    let mut last = 0;
    for byte in text.bytes() {
        match byte {
            // Of the two that are one line break, the first was written.
            b'\n' if last == b'\r' => {}
            b'\n' | b'\r' => out.extend_from_slice(b"<br>"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'\\' | b'`' | b'*' | b'_' | b'[' | b']' | b'|' | b'~' | b'!' | b'$' => {
                out.extend_from_slice(&[b'\\', byte]);
            }
            _ => out.push(byte),
        }
        last = byte;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(value: Value, expected: &str) {
        let mut out = Vec::new();
        Markdown.encode(&value, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn records_are_a_table_and_a_string_is_a_document() {
        check(
            json!([{"a": 1, "b": {"c": "x"}}, {"a": null, "b": {"c": 2}}]),
            "| a | b.c |\n| --- | --- |\n| 1 | x |\n|  | 2 |\n",
        );
        check(json!("# Title\n\n*text*"), "# Title\n\n*text*");
        check(json!([]), "");
    }

    #[test]
    fn a_cell_is_text_and_one_line() {
        check(
            json!({"a": "x|y\r\n<b>&_z_ [l](u) `c` \\"}),
            "| a |\n| --- |\n| x\\|y<br>&lt;b>&amp;\\_z\\_ \\[l\\](u) \\`c\\` \\\\ |\n",
        );
        check(
            json!({"a": "*b* ~~c~~ ![d](e) $f$ \\* g\rh\n\ni"}),
            "| a |\n| --- |\n| \\*b\\* \\~\\~c\\~\\~ \\!\\[d\\](e) \\$f\\$ \\\\\\* g<br>h<br><br>i |\n",
        );
    }
}
