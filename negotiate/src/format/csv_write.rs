//! Cells between separators, quoted where they have to be, and none of them a formula.

use super::table::{Cell, Columns, Lines};

/// Lines of cells with a separator between them (RFC 4180).
#[derive(Debug)]
pub(super) struct Separated {
    delimiter: u8,
    defend: bool,
}

impl Separated {
    pub(super) const fn new(delimiter: u8, defend: bool) -> Self {
        Self { delimiter, defend }
    }

    fn write<'a>(&self, cells: impl ExactSizeIterator<Item = &'a str>, out: &mut Vec<u8>) {
        // A line without cells is no line, and a line of one empty cell would look like one.
        let is_lone = match cells.len() {
            0 => return,
            cells => cells == 1,
        };
        for (at, text) in cells.enumerate() {
            if at > 0 {
                out.push(self.delimiter);
            }
            if is_quoted(text) || is_lone && text.is_empty() {
                quote(text, out);
            } else {
                out.extend_from_slice(text.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether some reader would see more than one cell here, whatever it takes for a separator.
fn is_quoted(text: &str) -> bool {
    let separates = |byte: u8| matches!(byte, b'"' | b',' | b';' | b'\t' | b'\r' | b'\n');
    text.bytes().any(separates)
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for (at, piece) in text.split('"').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(piece.as_bytes());
    }
    out.push(b'"');
}

impl Lines for Separated {
    fn header(&mut self, columns: &Columns, out: &mut Vec<u8>) {
        let defended = columns.iter().map(|name| {
            let mut cell = String::with_capacity(name.len() + 1);
            self.text(name, &mut cell);
            cell
        });
        let names: Vec<String> = defended.collect();
        self.write(names.iter().map(String::as_str), out);
    }

    fn line(&mut self, _columns: &Columns, cells: &[Cell], out: &mut Vec<u8>) {
        self.write(cells.iter().map(|cell| cell.text.as_str()), out);
    }

    /// Puts down a string that no spreadsheet takes for a formula.
    fn text(&self, text: &str, cell: &mut String) {
        if self.defend && text.contains(is_formula) {
            defuse(text, cell);
        } else {
            cell.push_str(text);
        }
    }
}

/// What a formula may begin with (OWASP, "CSV Injection"). The last four are the full-width forms of the first four.
const fn is_formula(char: char) -> bool {
    matches!(
        char,
        '=' | '+'
            | '-'
            | '@'
            | '\t'
            | '\r'
            | '\n'
            | '\u{ff1d}'
            | '\u{ff0b}'
            | '\u{ff0d}'
            | '\u{ff20}'
    )
}

/// Spreadsheets that separate cells by something else do not see our quotes, and find cells inside of one: each of them is led by an
/// apostrophe where it would be a formula.
fn defuse(text: &str, cell: &mut String) {
    if text.starts_with(['\t', '\r', '\n']) {
        cell.push('\'');
    }
    for inner in text.split_inclusive([',', ';', '\t', '\r', '\n']) {
        let seen = inner.trim_start_matches(is_passed_over);
        if seen.starts_with(is_formula) {
            cell.push('\'');
        }
        cell.push_str(inner);
    }
}

/// White space, and what is not seen at all.
fn is_passed_over(char: char) -> bool {
    let is_unseen = matches!(
        char,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
    );
    char.is_whitespace() || char.is_control() || is_unseen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defused(text: &str) -> String {
        let mut cell = String::new();
        Separated::new(b',', true).text(text, &mut cell);
        cell
    }

    #[test]
    fn no_cell_is_a_formula_for_whoever_reads_it() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("\u{ff0b}1", "'\u{ff0b}1"),
            ("\u{ff0d}1", "'\u{ff0d}1"),
            ("\u{ff20}1", "'\u{ff20}1"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("\nx", "'\nx"),
            (" =1", "' =1"),
            ("\u{a0}=1", "'\u{a0}=1"),
            ("\0=1", "'\0=1"),
            ("\u{b}=1", "'\u{b}=1"),
            ("\u{feff}\u{200b}=1", "'\u{feff}\u{200b}=1"),
            // A reader that separates by others than we do.
            ("x;=1+1;y", "x;'=1+1;y"),
            ("x; @1", "x;' @1"),
            ("x\t=1", "x\t'=1"),
            ("x,-1", "x,'-1"),
            ("x\r\n=1", "x\r\n'=1"),
            ("\t=1", "'\t'=1"),
            // What is none.
            ("a=1", "a=1"),
            ("a - b", "a - b"),
            ("a;b,c\td", "a;b,c\td"),
            ("x;\ty", "x;\ty"),
            ("2026-10-02", "2026-10-02"),
            ("'=1", "'=1"),
            ("", ""),
        ] {
            assert_eq!(defused(text), expected, "{text:?}");
        }
        let mut cell = String::new();
        Separated::new(b',', false).text("=1", &mut cell);
        assert_eq!(cell, "=1");
    }

    #[test]
    fn a_cell_is_quoted_that_could_be_two() {
        let line = |cells: &[&str]| {
            let mut out = Vec::new();
            Separated::new(b',', true).write(cells.iter().copied(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(&["a", "b c", "'d"]), "a,b c,'d\r\n");
        assert_eq!(
            line(&["a,b", "c;d", "e\tf"]),
            "\"a,b\",\"c;d\",\"e\tf\"\r\n"
        );
        assert_eq!(
            line(&["a\r", "b\n", "\"c\""]),
            "\"a\r\",\"b\n\",\"\"\"c\"\"\"\r\n"
        );
        assert_eq!(line(&["", ""]), ",\r\n");
        assert_eq!(line(&[""]), "\"\"\r\n");
        assert_eq!(line(&[]), "");
    }
}
