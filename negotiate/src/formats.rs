//! Several formats as one tuple.

use serde::Serialize;

use crate::format::{EncodeError, Format, MediaType, Record, RowEncoder};

/// A tuple of one to eight [`Format`]s, the server's favourite first.
pub trait Formats: sealed::Sealed + Send + Sync + 'static {
    /// Calls `each` for every media type: the place of its format, the format's name, whether it is for files, and the type.
    #[doc(hidden)]
    fn each(&self, each: impl FnMut(usize, &'static str, bool, MediaType));

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
        }
    };
}

formats!(A 0);
formats!(A 0, B 1);
formats!(A 0, B 1, C 2);
formats!(A 0, B 1, C 2, D 3);
formats!(A 0, B 1, C 2, D 3, E 4);
formats!(A 0, B 1, C 2, D 3, E 4, F 5);
formats!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
formats!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
