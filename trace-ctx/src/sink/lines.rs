//! Whole lines, into a writer that may fail.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Writes line by line, and counts what is refused.
pub(super) struct Lines<W> {
    out: Mutex<Out<W>>,
    lost: AtomicU64,
}

struct Out<W> {
    writer: W,
    /// Whether the last line broke off in the middle: the next one must not be its end.
    is_torn: bool,
}

impl<W: Write> Lines<W> {
    pub(super) const fn new(writer: W) -> Self {
        Self {
            out: Mutex::new(Out {
                writer,
                is_torn: false,
            }),
            lost: AtomicU64::new(0),
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// A line with its end. The writer is called under the lock, since lines must not mix: one that comes back here waits for itself.
    pub(super) fn write(&self, line: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.write(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<W: Write> Out<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.writer.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            // Also if the writer panics now, or fails.
            self.is_torn = !rest.is_empty();
        }
        self.writer.flush()
    }
}

impl<W> fmt::Debug for Lines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes this many bytes of each call, and at each zero fails.
    struct Moody(Vec<usize>, Vec<u8>);

    impl Write for Moody {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = if self.0.is_empty() {
                usize::MAX
            } else {
                self.0.remove(0)
            };
            match room.min(bytes.len()) {
                0 => Err(io::ErrorKind::StorageFull.into()),
                taken => {
                    self.1.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_breaks_off_does_not_begin_the_next_one() {
        for (moods, lost, expected) in [
            (&[][..], 0, "one\ntwo\nthree\n"),
            (&[1, 1, 9], 0, "one\ntwo\nthree\n"),
            (&[0], 1, "two\nthree\n"),
            (&[2, 0], 1, "on\ntwo\nthree\n"),
            (&[2, 0, 0], 2, "on\nthree\n"),
            (&[9, 2, 0], 1, "one\ntw\nthree\n"),
        ] {
            let lines = Lines::new(Moody(moods.to_vec(), Vec::new()));
            for line in ["one\n", "two\n", "three\n"] {
                lines.write(line.as_bytes());
            }
            let written = lines.out.into_inner().unwrap().writer.1;
            assert_eq!(String::from_utf8(written).unwrap(), expected, "{moods:?}");
            assert_eq!(lines.lost.into_inner(), lost);
        }
    }
}
