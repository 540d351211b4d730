//! HTML.

use serde::Serialize;

use super::shape::{Shape, shape_of};
use super::table::{self, Cell, Columns, Lines, Table};
use super::{EncodeError, Format, MediaType, Record, RowEncoder};

/// HTML: `text/html`, in UTF-8: a page with one table for people who look at an API with a browser. Fields of nested structs are columns
/// called `outer.inner`; a single value is a paragraph.
///
/// Everything that comes from a value is text, whatever is in it: no value is ever markup.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Html {
    title: &'static str,
}

impl Html {
    /// With a page title.
    pub const fn title(title: &'static str) -> Self {
        Self { title }
    }
}

impl Format for Html {
    type Rows = HtmlRows;

    fn name(&self) -> &'static str {
        "html"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const { &[MediaType::new("text/html;charset=utf-8")] }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if shape_of(value) != Shape::Other {
            return table::encode(value, Page(self.title), out);
        }
        let text = table::plain(value)?;
        head(self.title, out);
        out.extend_from_slice(b"<p>");
        escape(&text, out);
        out.extend_from_slice(b"</p></body></html>\n");
        Ok(())
    }

    fn rows(&self, columns: &'static [&'static str]) -> HtmlRows {
        HtmlRows {
            table: Table::new(columns, Page(self.title)),
        }
    }
}

/// Writes a page with a table, and a row of it for each record.
#[derive(Debug)]
pub struct HtmlRows {
    table: Table<Page>,
}

impl RowEncoder for HtmlRows {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.header(out);
        Ok(())
    }

    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.write_record(row, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.footer(out);
        Ok(())
    }
}

struct Page(&'static str);

impl Lines for Page {
    fn header(&mut self, columns: &Columns, out: &mut Vec<u8>) {
        head(self.0, out);
        out.extend_from_slice(b"<table><thead><tr>");
        for name in columns {
            out.extend_from_slice(b"<th scope=\"col\">");
            escape(name, out);
            out.extend_from_slice(b"</th>");
        }
        out.extend_from_slice(b"</tr></thead><tbody>\n");
    }

    fn line(&mut self, _columns: &Columns, cells: &[Cell], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<tr>");
        for cell in cells {
            out.extend_from_slice(b"<td>");
            escape(&cell.text, out);
            out.extend_from_slice(b"</td>");
        }
        out.extend_from_slice(b"</tr>\n");
    }

    fn footer(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"</tbody></table></body></html>\n");
    }
}

fn head(title: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>");
    escape(title, out);
    out.extend_from_slice(b"</title></head><body>");
}

fn escape(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            // A parser would make a line feed of it.
            b'\r' => out.extend_from_slice(b"&#13;"),
            b'\0' => out.extend_from_slice("\u{fffd}".as_bytes()),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(value: Value, expected: &str) {
        let mut out = Vec::new();
        Html::title("A & B").encode(&value, &mut out).unwrap();
        let page = String::from_utf8(out).unwrap();
        let head = "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>A &amp; B</title></head><body>";
        let body = page.strip_prefix(head).unwrap();
        assert_eq!(body.strip_suffix("</body></html>\n").unwrap(), expected);
    }

    #[test]
    fn records_are_a_table_and_nothing_in_them_is_markup() {
        check(
            json!([{"a": 1, "<b>": "<script>'\"&\0\r"}]),
            "<table><thead><tr><th scope=\"col\">&lt;b&gt;</th><th scope=\"col\">a</th></tr></thead><tbody>\n\
             <tr><td>&lt;script&gt;&#39;&quot;&amp;\u{fffd}&#13;</td><td>1</td></tr>\n</tbody></table>",
        );
        check(json!("<b>"), "<p>&lt;b&gt;</p>");
    }
}
