//! Several formats as one tuple.

use std::error::Error;
use std::pin::Pin;

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::format::{EncodeError, Format, Malformed, MediaType, Record, RowEncoder};
use crate::stream::{Encoding, Opening};

/// A tuple of one to twelve [`Format`]s, the server's favourite first.
pub trait Formats: sealed::Sealed + Send + Sync + 'static {
    /// Calls `each` for every media type: the place of its format, the format's name, whether it is for files, and the type.
    #[doc(hidden)]
    fn each(&self, each: impl FnMut(usize, &'static str, bool, MediaType));

    /// Calls `each` for every format that reads: its place, how its text is written, the media types it reads, and their suffix.
    #[doc(hidden)]
    fn each_reader(
        &self,
        each: impl FnMut(usize, Writing, &'static [&'static str], Option<&'static str>),
    );

    /// Reads a value in the format at `place`.
    #[doc(hidden)]
    fn decode<T: DeserializeOwned>(&self, place: usize, body: &[u8]) -> Result<T, Malformed>;

    /// Writes a value in the format at `place`.
    #[doc(hidden)]
    fn encode<T: Serialize + ?Sized>(
        &self,
        place: usize,
        value: &T,
    ) -> Result<Vec<u8>, EncodeError>;

    /// Writes a collection in the format at `place`.
    #[doc(hidden)]
    fn encode_rows<'a, T: Record + 'a>(
        &self,
        place: usize,
        rows: impl Iterator<Item = &'a T>,
    ) -> Result<Vec<u8>, EncodeError>;

    /// Writes a collection in the format at `place`, as it comes.
    #[doc(hidden)]
    fn open<S, T, E>(&self, place: usize, rows: S) -> Result<Pin<Box<dyn Opening<E>>>, EncodeError>
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Record,
        E: Into<Box<dyn Error + Send + Sync>>;
}

/// How a format's text is written.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Writing {
    /// In the charset that the media type names.
    Named,
    /// In UTF-8.
    Utf8,
    /// It is no text.
    Binary,
}

impl Writing {
    fn of(format: &impl Format) -> Self {
        match (format.is_text(), format.has_charset()) {
            (true, true) => Self::Named,
            (true, false) => Self::Utf8,
            (false, _) => Self::Binary,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

fn encode_all<'a, T: Record + 'a>(
    format: &impl Format,
    rows: impl Iterator<Item = &'a T>,
) -> Result<Vec<u8>, EncodeError> {
    let (mut encoder, mut out) = (format.rows(T::COLUMNS), Vec::new());
    encoder.begin(&mut out)?;
    for row in rows {
        encoder.row(row, &mut out)?;
    }
    encoder.end(&mut out)?;
    Ok(out)
}

fn nowhere() -> EncodeError {
    EncodeError::new("there is no such format")
}

macro_rules! formats {
    ($($format:ident $place:tt),*) => {
        impl<$($format: Format),*> sealed::Sealed for ($($format,)*) {}

        impl<$($format: Format),*> Formats for ($($format,)*) {
            fn each(&self, mut each: impl FnMut(usize, &'static str, bool, MediaType)) {
                $(for media_type in self.$place.media_types() {
                    each($place, self.$place.name(), self.$place.is_file(), *media_type);
                })*
            }

            fn each_reader(
                &self,
                mut each: impl FnMut(usize, Writing, &'static [&'static str], Option<&'static str>),
            ) {
                $(if !self.$place.reads().is_empty() {
                    let writing = Writing::of(&self.$place);
                    each($place, writing, self.$place.reads(), self.$place.suffix());
                })*
            }

            fn decode<T: DeserializeOwned>(&self, place: usize, body: &[u8]) -> Result<T, Malformed> {
                match place {
                    $($place => self.$place.decode(body),)*
                    _ => Err(Malformed::new("there is no such format")),
                }
            }

            fn encode<T: Serialize + ?Sized>(
                &self,
                place: usize,
                value: &T,
            ) -> Result<Vec<u8>, EncodeError> {
                let mut out = Vec::new();
                match place {
                    $($place => self.$place.encode(value, &mut out)?,)*
                    _ => return Err(nowhere()),
                }
                Ok(out)
            }

            fn encode_rows<'a, T: Record + 'a>(
                &self,
                place: usize,
                rows: impl Iterator<Item = &'a T>,
            ) -> Result<Vec<u8>, EncodeError> {
                match place {
                    $($place => encode_all(&self.$place, rows),)*
                    _ => Err(nowhere()),
                }
            }

            fn open<S, T, E>(
                &self,
                place: usize,
                rows: S,
            ) -> Result<Pin<Box<dyn Opening<E>>>, EncodeError>
            where
                S: Stream<Item = Result<T, E>> + Send + 'static,
                T: Record,
                E: Into<Box<dyn Error + Send + Sync>>,
            {
                match place {
                    $($place => Ok(Box::pin(Encoding::new(rows, self.$place.rows(T::COLUMNS)))),)*
                    _ => Err(nowhere()),
                }
            }
        }
    };
}

formats!(F0 0);
formats!(F0 0, F1 1);
formats!(F0 0, F1 1, F2 2);
formats!(F0 0, F1 1, F2 2, F3 3);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4, F5 5);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4, F5 5, F6 6);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4, F5 5, F6 6, F7 7);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4, F5 5, F6 6, F7 7, F8 8);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4, F5 5, F6 6, F7 7, F8 8, F9 9);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4, F5 5, F6 6, F7 7, F8 8, F9 9, F10 10);
formats!(F0 0, F1 1, F2 2, F3 3, F4 4, F5 5, F6 6, F7 7, F8 8, F9 9, F10 10, F11 11);
