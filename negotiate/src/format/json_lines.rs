//! JSON, a value at a time: in lines, and as text sequences (RFC 7464).

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;

use super::json_lines_read::{Separator, decode};
use super::shape::{Shape, shape_of};
use super::{EncodeError, Format, Json, Malformed, MediaType, Record, RowEncoder};

/// NDJSON: `application/x-ndjson`. A collection is a line of JSON for each member, anything else is one line; so it is read, too.
///
/// As in every format, a stream that fails breaks its body off; with [`error_line`](Self::error_line) it says so in its last line.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct NdJson {
    error_line: Option<&'static str>,
}

/// JSON text sequences: `application/json-seq`. Before each member there is a record separator (U+001E), so that a reader knows one that was
/// cut off, and refuses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonSeq;

impl NdJson {
    /// A stream that fails breaks its body off.
    pub const fn new() -> Self {
        Self { error_line: None }
    }

    /// Ends a stream that fails with this line, and the body as if nothing had happened: for clients that cannot see a body break.
    /// It should look like no record.
    ///
    /// # Panics
    ///
    /// `line` has a line break in it, or is blank: readers skip that.
    pub const fn error_line(self, line: &'static str) -> Self {
        let bytes = line.as_bytes();
        assert!(!bytes.trim_ascii().is_empty(), "a blank line tells nothing");
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                !matches!(bytes[at], b'\n' | b'\r'),
                "a line has no line break in it"
            );
            at += 1;
        }
        Self {
            error_line: Some(line),
        }
    }
}

impl Format for NdJson {
    type Rows = JsonLineRows;

    fn name(&self) -> &'static str {
        "ndjson"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const {
            &[
                MediaType::new("application/x-ndjson"),
                MediaType::new("application/ndjson"),
                MediaType::new("application/jsonl"),
            ]
        }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        encode(value, b"", out)
    }

    fn rows(&self, _columns: &'static [&'static str]) -> JsonLineRows {
        JsonLineRows {
            before: b"",
            error_line: self.error_line,
        }
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
        ]
    }

    fn has_charset(&self) -> bool {
        false
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Malformed> {
        decode(body, Separator::LineFeed)
    }
}

impl Format for JsonSeq {
    type Rows = JsonLineRows;

    fn name(&self) -> &'static str {
        "json-seq"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const { &[MediaType::new("application/json-seq")] }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        encode(value, SEPARATOR, out)
    }

    fn rows(&self, _columns: &'static [&'static str]) -> JsonLineRows {
        JsonLineRows {
            before: SEPARATOR,
            error_line: None,
        }
    }

    fn reads(&self) -> &'static [&'static str] {
        &["application/json-seq"]
    }

    fn has_charset(&self) -> bool {
        false
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Malformed> {
        decode(body, Separator::Record)
    }
}

const SEPARATOR: &[u8] = b"\x1e";

/// Writes a line of JSON for each record.
#[derive(Debug)]
pub struct JsonLineRows {
    before: &'static [u8],
    error_line: Option<&'static str>,
}

impl RowEncoder for JsonLineRows {
    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(self.before);
        Json.encode(row, out)?;
        out.push(b'\n');
        Ok(())
    }

    fn break_off(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(line) = self.error_line else {
            return false;
        };
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
        true
    }
}

fn encode<T>(value: &T, before: &'static [u8], out: &mut Vec<u8>) -> Result<(), EncodeError>
where
    T: Serialize + ?Sized,
{
    if shape_of(value) == Shape::Sequence {
        let members = Members { before, depth: 0 };
        let mut serializer = serde_json::Serializer::with_formatter(out, members);
        return value.serialize(&mut serializer).map_err(EncodeError::new);
    }
    out.extend_from_slice(before);
    Json.encode(value, out)?;
    out.push(b'\n');
    Ok(())
}

/// Writes the members of the outermost array as lines, and what is in them as ever.
struct Members {
    before: &'static [u8],
    /// How many arrays are open.
    depth: usize,
}

impl Formatter for Members {
    fn begin_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        if self.depth == 1 {
            return Ok(());
        }
        out.write_all(b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.depth == 0 {
            return Ok(());
        }
        out.write_all(b"]")
    }

    fn begin_array_value<W>(&mut self, out: &mut W, first: bool) -> io::Result<()>
    where
        W: io::Write + ?Sized,
    {
        match (self.depth, first) {
            (1, _) => out.write_all(self.before),
            (_, true) => Ok(()),
            (_, false) => out.write_all(b","),
        }
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        if self.depth == 1 {
            return out.write_all(b"\n");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::format::Position;

    fn written(format: &impl Format, value: &Value) -> String {
        let mut out = Vec::new();
        format.encode(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn members_are_lines_and_anything_else_is_one() {
        let nested = json!([{"a": [1, [2, 3]]}, [4, []], null, "x\ny"]);
        let lines = "{\"a\":[1,[2,3]]}\n[4,[]]\nnull\n\"x\\ny\"\n";
        assert_eq!(written(&NdJson::new(), &nested), lines);
        assert_eq!(written(&NdJson::new(), &json!({"a": 1})), "{\"a\":1}\n");
        assert_eq!(written(&NdJson::new(), &json!([])), "");
        assert_eq!(written(&JsonSeq, &json!([1, [2]])), "\u{1e}1\n\u{1e}[2]\n");
        assert_eq!(written(&JsonSeq, &json!(true)), "\u{1e}true\n");
    }

    #[test]
    fn what_is_around_a_sequence_does_not_hide_it() {
        #[derive(serde::Serialize)]
        struct New(Option<Vec<u8>>);
        #[derive(serde::Serialize)]
        struct Pair(u8, u8);
        let written = |value: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            value(&mut out);
            String::from_utf8(out).unwrap()
        };
        let lines = NdJson::new();
        assert_eq!(
            written(&|out| lines.encode(&New(Some(vec![1, 2])), out).unwrap()),
            "1\n2\n"
        );
        assert_eq!(
            written(&|out| lines.encode(&New(None), out).unwrap()),
            "null\n"
        );
        assert_eq!(
            written(&|out| lines.encode(&Pair(1, 2), out).unwrap()),
            "1\n2\n"
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let value = json!([{"a": [1, [2, 3]]}, [4, []], null, "x\ny"]);
        let back: Value = NdJson::new()
            .decode(written(&NdJson::new(), &value).as_bytes())
            .unwrap();
        assert_eq!(back, value);
        let back: Value = JsonSeq
            .decode(written(&JsonSeq, &value).as_bytes())
            .unwrap();
        assert_eq!(back, value);
        let last_line_open: Vec<u8> = NdJson::new().decode(b"1\r\n\n2").unwrap();
        assert_eq!(last_line_open, [1, 2]);
    }

    #[test]
    fn an_error_is_told_with_its_line() {
        let error = NdJson::new()
            .decode::<Vec<u8>>(b"1\n\n2\n{\n4")
            .unwrap_err();
        assert!(
            matches!(error.position(), Some(Position::Line { line: 4, .. })),
            "{error:?}"
        );
        let error = NdJson::new().decode::<Vec<u8>>(b"1 2\n").unwrap_err();
        assert_eq!(
            error.position(),
            Some(Position::Line { line: 1, column: 3 })
        );
        let error = JsonSeq
            .decode::<Vec<u8>>(b"\x1e1\n\x1e2\n\x1e\n x\n")
            .unwrap_err();
        assert_eq!(
            error.position(),
            Some(Position::Line { line: 4, column: 2 })
        );
    }

    #[test]
    fn an_error_line_is_one_line_that_is_seen() {
        for bad in ["", " ", "a\nb", "a\rb"] {
            let made = std::panic::catch_unwind(|| NdJson::new().error_line(bad));
            assert!(made.is_err(), "{bad:?}");
        }
    }
}
