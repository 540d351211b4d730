//! What cannot be written, and what cannot be read.

use std::error::Error;
use std::fmt::{self, Write};

use http::Response;

use crate::body::ReplyBody;

/// A value that cannot be written in the format that was chosen.
#[derive(Debug)]
pub struct EncodeError(Box<dyn Error + Send + Sync>);

impl EncodeError {
    /// For a reason, or because of another error.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(reason.into())
    }

    /// A 500 problem. The reason is not in it: it is the server's own.
    #[must_use]
    pub fn response(&self) -> Response<ReplyBody> {
        crate::refusal::not_encodable()
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value cannot be written in the format that was chosen")
    }
}

impl Error for EncodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A body that is not what its `Content-Type` says, or not what is asked for.
#[derive(Debug)]
pub struct Malformed {
    reason: Box<dyn Error + Send + Sync>,
    position: Option<Position>,
}

/// Where in a body something is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Position {
    /// In text: both counted from 1, the column in bytes. Column 0: the end of the line before.
    Line {
        /// The line.
        line: usize,
        /// The byte in it.
        column: usize,
    },
    /// After so many bytes.
    Byte(usize),
}

impl Malformed {
    /// For a reason, or because of another error. The client is told what it displays.
    pub fn new(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            reason: reason.into(),
            position: None,
        }
    }

    /// Says where.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self {
            position: Some(position),
            ..self
        }
    }

    /// Where, if that is known.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position
    }
}

/// Says no more than a client needs: a parser may repeat the body.
impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut start = Start {
            f,
            left: LONGEST_REASON,
        };
        match write!(start, "{}", self.reason) {
            Err(_) if start.left == 0 => f.write_str("\u{2026}"),
            written => written,
        }
    }
}

/// How many bytes of a reason are told.
const LONGEST_REASON: usize = 200;

/// Writes what there is room for, and stops.
struct Start<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    left: usize,
}

impl fmt::Write for Start<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.left {
            self.left -= text.len();
            return self.f.write_str(text);
        }
        let end = text.floor_char_boundary(self.left);
        self.left = 0;
        self.f.write_str(&text[..end])?;
        Err(fmt::Error)
    }
}

impl Error for Malformed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

impl Position {
    /// The line and column of the byte at `offset`.
    pub(crate) fn in_text(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        Self::Line {
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            column: before.len() - line_start + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, column } => write!(f, "line {line}, column {column}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}
