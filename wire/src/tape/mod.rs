//! One body, many readers, while it streams.
//!
//! A [`Tape`] is of use wherever one stream is to reach several: a cache that fills while it serves, a proxy that collapses requests, a body that
//! is sent and logged. It needs no runtime and knows no HTTP beyond [`Body`]: [`Tape::new`] takes any body and gives the
//! first [`TapeReader`], which is a body again; [`Tape::join`] and [`Clone`] give more of them.
//!
//! What to decide:
//!
//! - **The window**: how many bytes are kept for those who are behind. It is the memory that one stream may cost, whatever its length.
//! - **[`Laggards`]**: what becomes of a reader that is a window behind. [`Laggards::CutOff`] needs no clock; [`Laggards::HoldUp`] is fair to
//!   clients that are slow for a moment, and wants a [`Timer`] from your runtime.
//! - **The record**, if the whole is wanted as well: [`Tape::record`] keeps it, up to a cap of its own, while the live stream goes on.

mod error;
#[cfg(all(test, buttress_loom))]
mod loom;
mod reader;
mod record;
mod shared;
mod stall;
#[cfg(all(test, not(buttress_loom)))]
mod tests;
mod wakers;
mod window;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use http_body::Body;

pub use self::error::TapeError;
pub use self::reader::TapeReader;
use self::record::{Record, Until};
use self::shared::{Shared, Source};
pub use self::stall::{Laggards, Timer};
use crate::recorder::{Outcome, Recording};

/// One body that many read, each at its own pace, while it streams.
///
/// ```text
///   body ──► [ f3 f4 f5 ] ──► readers, each at its own place
///             └ window ┘
/// ```
///
/// - Every reader gets every frame once and in order, then the trailers, the end, or the error. A reader that is cut off gets an
///   error after a prefix; never a frame too few or one twice.
/// - At most the window and one frame are kept, and never more than 4096 frames. When the window is full, the body is not polled until the slowest reader moves on,
///   leaves, or is cut off as [`Laggards`] says.
/// - Whichever reader is polled polls the body, outside every lock, with a waker that wakes all of them: so no reader depends on
///   another one's task.
/// - A `Tape` is a place to join from; it does not keep the body alive. When the last reader goes, the body is dropped.
///
/// ```
/// use buttress_wire::tape::{Laggards, Tape};
/// use http_body_util::{BodyExt, Full};
///
/// # tokio_test::block_on(async {
/// let body = Full::<bytes::Bytes>::from("shared");
/// let (tape, first) = Tape::new(body, 64 * 1024, Laggards::CutOff);
/// let second = tape.join().expect("the first frame is still there");
/// assert_eq!(first.collect().await?.to_bytes(), "shared");
/// assert_eq!(second.collect().await?.to_bytes(), "shared");
/// # Ok::<_, buttress_wire::tape::TapeError>(())
/// # }).unwrap();
/// ```
pub struct Tape<B: ?Sized> {
    shared: Arc<Shared<B>>,
}

impl<B: ?Sized> Tape<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Puts `body` on a tape with a window of so many bytes, and gives the first reader.
    ///
    /// A window of no bytes holds one frame at a time.
    pub fn new(body: B, window: usize, laggards: Laggards) -> (Self, TapeReader<B>)
    where
        B: Sized,
    {
        Self::boxed(Box::pin(body), window, laggards)
    }

    /// The same for a body that is in a box already, of a type that may not be known.
    pub fn boxed(body: Pin<Box<B>>, window: usize, laggards: Laggards) -> (Self, TapeReader<B>) {
        let shared = Arc::new(Shared::new(body, window, laggards));
        let reader = TapeReader::first(&shared);
        (Self { shared }, reader)
    }
}

impl<B: ?Sized> Tape<B> {
    /// Another reader, from the first frame on. `None` once the first frame has left the window, the stream has ended, or nobody
    /// reads any more.
    #[must_use]
    pub fn join(&self) -> Option<TapeReader<B>> {
        let mut state = self.shared.lock();
        state
            .joinable
            .then(|| TapeReader::at_start(&self.shared, &mut state))
    }

    /// Whether [`join`](Self::join) would succeed now. What was once closed stays closed.
    #[must_use]
    pub fn is_joinable(&self) -> bool {
        self.shared.lock().joinable
    }

    /// Calls `hook` once, when the tape is closed to newcomers: at once if it is already. Never under a lock. A later hook
    /// replaces one that has not been called.
    pub fn on_closed(&self, hook: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        if state.joinable {
            let replaced = state.on_closed.replace(Box::new(hook));
            drop(state);
            drop(replaced);
        } else {
            drop(state);
            hook();
        }
    }

    /// Keeps the whole stream in `recording` while it goes on, up to that recording's limit and whatever the window is. `on_end` gets the
    /// [`Outcome`] once, never under a lock: at the end of the body and before its readers learn of it, as soon as the limit is passed,
    /// or when the body breaks, panics, or is dropped because nobody reads it any more.
    ///
    /// Call it before the first reader is polled: a record of a stream that has begun is [`Outcome::Aborted`] at once. A later record
    /// replaces an earlier one, which is aborted.
    ///
    /// ```
    /// use buttress_wire::tape::{Laggards, Tape};
    /// use buttress_wire::{Outcome, Recording};
    /// use http_body_util::{BodyExt, Full};
    ///
    /// # tokio_test::block_on(async {
    /// let (tape, reader) = Tape::new(Full::<bytes::Bytes>::from("kept"), 1024, Laggards::CutOff);
    /// let recording = Recording::new(http::StatusCode::OK, http::HeaderMap::new(), 1 << 20);
    /// tape.record(recording, |outcome| match outcome {
    ///     Outcome::Complete(recorded) => assert_eq!(recorded.body(), "kept"),
    ///     other => panic!("{other:?}"),
    /// });
    /// assert_eq!(reader.collect().await?.to_bytes(), "kept");
    /// # Ok::<_, buttress_wire::tape::TapeError>(())
    /// # }).unwrap();
    /// ```
    pub fn record(&self, recording: Recording, on_end: impl FnOnce(Outcome) + Send + 'static) {
        let mut record: Box<dyn Record> = Box::new(Until::new(recording, on_end));
        let mut state = self.shared.lock();
        let is_fresh = state.fetched.is_none();
        let replaced = match &mut state.source {
            Source::Idle(driver) if is_fresh => driver.record.replace(record),
            // A body without frames is at its end before it is polled.
            Source::Ended(Ok(())) if is_fresh => {
                drop(state);
                return record.end();
            }
            _ => Some(record),
        };
        drop(state);
        drop(replaced);
    }
}

impl<B: ?Sized> Clone for Tape<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<B: ?Sized> fmt::Debug for Tape<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Tape")
            .field("readers", &state.window.readers())
            .field("joinable", &state.joinable)
            .finish_non_exhaustive()
    }
}
