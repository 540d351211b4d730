//! One body, many readers, while it streams.

#[cfg(test)]
#[cfg(buttress_loom)]
mod loom;
mod stall;
#[cfg(test)]
#[cfg(not(buttress_loom))]
mod tests;
mod wakers;
mod window;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use self::stall::Stall;
pub use self::stall::{Laggards, Timer};
use self::wakers::Wakers;
use self::window::{Next, Window};
use crate::recorder::into_bytes;
use crate::sync::{Mutex, MutexGuard};

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
pub struct Tape<B> {
    shared: Arc<Shared<B>>,
}

/// Reads a [`Tape`]. A clone is another reader at the same place.
///
/// # Cancellation
///
/// Dropping a reader takes its place out of the window and wakes those whom it held up. Dropping the last one drops the body.
pub struct TapeReader<B> {
    shared: Arc<Shared<B>>,
    id: u64,
    position: u64,
    /// Data bytes read so far.
    read: u64,
    /// The end or an error has been given out.
    done: bool,
}

struct Shared<B> {
    state: Mutex<State<B>>,
    wakers: Arc<Wakers>,
    /// `wakers` again, as the waker that the body is polled with.
    waker: Waker,
    /// What stalls are measured by, if they are.
    clock: Option<fn() -> Instant>,
}

struct State<B> {
    window: Window<Item>,
    source: Source<B>,
    /// How many data bytes the whole stream has, if known.
    total: Option<u64>,
    /// How many have been fetched.
    fetched: u64,
    /// A reader found the window full and waits for room.
    blocked: bool,
    /// Since when nobody does any more: for whoever takes the body next, to tell the stall.
    unblocked_at: Option<Instant>,
    joinable: bool,
    on_closed: Option<Box<dyn FnOnce() + Send>>,
    next_id: u64,
}

/// Where the body is.
enum Source<B> {
    /// With nobody.
    Idle(Driver<B>),
    /// With a reader that polls it.
    Taken,
    /// Gone.
    Ended(Result<(), TapeError>),
}

struct Driver<B> {
    body: Pin<Box<B>>,
    stall: Stall,
}

#[derive(Clone)]
enum Item {
    Data(Bytes),
    Trailers(Box<HeaderMap>),
}

impl<B> Tape<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Puts `body` on a tape with a window of so many bytes, and gives the first reader.
    ///
    /// A window of no bytes holds one frame at a time.
    pub fn new(body: B, window: usize, laggards: Laggards) -> (Self, TapeReader<B>) {
        let wakers = Arc::new(Wakers::default());
        let ended = body.is_end_stream();
        let total = body.size_hint().exact();
        let clock = laggards.clock();
        let driver = Driver {
            body: Box::pin(body),
            stall: Stall::new(laggards),
        };
        let mut state = State {
            window: Window::new(window.max(1)),
            source: if ended {
                Source::Ended(Ok(()))
            } else {
                Source::Idle(driver)
            },
            total,
            fetched: 0,
            blocked: false,
            unblocked_at: None,
            joinable: !ended,
            on_closed: None,
            next_id: 1,
        };
        state.window.join(0);
        let waker = Waker::from(Arc::clone(&wakers));
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wakers,
            waker,
            clock,
        });
        let reader = TapeReader {
            shared: Arc::clone(&shared),
            id: 0,
            position: 0,
            read: 0,
            done: false,
        };
        (Self { shared }, reader)
    }
}

impl<B> Tape<B> {
    /// Another reader, from the first frame on. `None` once the first frame has left the window, the stream has ended, or nobody
    /// reads any more.
    #[must_use]
    pub fn join(&self) -> Option<TapeReader<B>> {
        let mut state = self.shared.lock();
        state.joinable.then(|| state.reader(&self.shared, 0, 0))
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
}

impl<B> Body for TapeReader<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = TapeError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TapeError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        loop {
            match self.next(cx) {
                Step::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Step::Drive(driver, Room::Some) => std::task::ready!(self.fetch(driver)),
                Step::Drive(driver, Room::None) => std::task::ready!(self.stall(driver)),
                Step::Again => {}
                Step::Sleep => return Poll::Pending,
                Step::End(result) => {
                    self.done = true;
                    return Poll::Ready(result.err().map(Err));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.lock();
        let ended = matches!(state.source, Source::Ended(Ok(())));
        self.done || ended && state.window.is_at_end(self.position)
    }

    fn size_hint(&self) -> SizeHint {
        let total = self.shared.lock().total;
        total.map_or_else(SizeHint::default, |total| {
            SizeHint::with_exact(total.saturating_sub(self.read))
        })
    }
}

/// What a reader does next.
enum Step<B> {
    Again,
    Drive(Driver<B>, Room),
    End(Result<(), TapeError>),
    Frame(Frame<Bytes>),
    Sleep,
}

enum Room {
    None,
    Some,
}

impl<B> TapeReader<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn next(&mut self, cx: &Context<'_>) -> Step<B> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        match state.window.read(&mut self.position) {
            Next::Frame(item) => {
                let wake = state.unblock();
                drop(state);
                if wake {
                    shared.unblocked();
                }
                return Step::Frame(self.give(item));
            }
            Next::Lagged => return Step::End(Err(TapeError(Kind::Lagged))),
            Next::Nothing => {}
        }
        if let Some(evicted) = state.window.evict() {
            let closed = state.close();
            drop(state);
            drop(evicted);
            call(closed);
            return Step::Again;
        }
        state.take(&shared.wakers, self.id, cx.waker())
    }

    fn give(&mut self, item: Item) -> Frame<Bytes> {
        match item {
            Item::Data(data) => {
                self.read += data.len() as u64;
                Frame::data(data)
            }
            Item::Trailers(trailers) => Frame::trailers(*trailers),
        }
    }

    /// Polls the body, for everybody.
    fn fetch(&self, mut driver: Driver<B>) -> Poll<()> {
        driver.stall.over();
        let on_panic = EndOnPanic(&self.shared);
        let mut cx = Context::from_waker(&self.shared.waker);
        let poll = driver.body.as_mut().poll_frame(&mut cx);
        let ends = driver.body.is_end_stream();
        std::mem::forget(on_panic);
        match poll {
            Poll::Pending => return self.put_back(driver),
            Poll::Ready(Some(Ok(frame))) => self.push(into_bytes(frame), driver, ends),
            Poll::Ready(Some(Err(error))) => {
                let error = TapeError(Kind::Body(Arc::from(error.into())));
                self.shared.end(Err(error), self.id);
                drop(driver);
            }
            Poll::Ready(None) => {
                self.shared.end(Ok(()), self.id);
                drop(driver);
            }
        }
        Poll::Ready(())
    }

    fn push(&self, frame: Frame<Bytes>, driver: Driver<B>, ends: bool) {
        let (item, bytes) = match frame.into_data() {
            Ok(data) => {
                let bytes = data.len();
                (Item::Data(data), bytes)
            }
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                (Item::Trailers(Box::new(trailers)), 0)
            }
        };
        let mut state = self.shared.lock();
        state.window.push(item, bytes);
        state.fetched += bytes as u64;
        if ends {
            drop(state);
            self.shared.end(Ok(()), self.id);
            drop(driver);
            return;
        }
        state.source = Source::Idle(driver);
        drop(state);
        self.wake_others();
    }

    /// The window is full of what laggards have not read: waits for them, and then no longer.
    fn stall(&self, mut driver: Driver<B>) -> Poll<()> {
        let on_panic = EndOnPanic(&self.shared);
        let poll = driver
            .stall
            .poll(&mut Context::from_waker(&self.shared.waker));
        std::mem::forget(on_panic);
        if poll.is_pending() {
            return self.put_back(driver);
        }
        let mut state = self.shared.lock();
        // They may have read on while we looked at the clock.
        let cut = if state.blocked {
            state.window.cut_off()
        } else {
            None
        };
        state.blocked = false;
        state.source = Source::Idle(driver);
        let closed = cut.is_some().then(|| state.close()).flatten();
        drop(state);
        drop(cut);
        call(closed);
        self.wake_others();
        Poll::Ready(())
    }

    /// The body has nothing yet. Its waker is all of ours; if it was used while the body was with us, those who came by in the
    /// meantime have to hear of it.
    fn put_back(&self, driver: Driver<B>) -> Poll<()> {
        self.shared.lock().source = Source::Idle(driver);
        if self.shared.wakers.was_notified() {
            self.shared.wakers.wake_all();
        }
        Poll::Pending
    }

    /// This reader is awake: it goes on by itself.
    fn wake_others(&self) {
        self.shared.wakers.forget(self.id);
        self.shared.wakers.wake_all();
    }
}

impl<B> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody is held up any more: stops the stall's clock, and wakes those who were.
    fn unblocked(&self) {
        // A user's clock: not under our lock.
        if let Some(now) = self.clock {
            let at = now();
            let mut state = self.lock();
            if !state.blocked {
                state.unblocked_at = Some(at);
            }
        }
        self.wakers.wake_all();
    }

    /// The stream is over; everybody but the reader `awake` is told.
    fn end(&self, result: Result<(), TapeError>, awake: u64) {
        let mut state = self.lock();
        if result.is_ok() {
            state.total = Some(state.fetched);
        }
        state.source = Source::Ended(result);
        let closed = state.close();
        drop(state);
        call(closed);
        self.wakers.forget(awake);
        self.wakers.wake_all();
    }
}

impl<B> State<B> {
    fn reader(&mut self, shared: &Arc<Shared<B>>, position: u64, read: u64) -> TapeReader<B> {
        let id = self.next_id;
        self.next_id += 1;
        self.window.join(position);
        TapeReader {
            shared: Arc::clone(shared),
            id,
            position,
            read,
            done: false,
        }
    }

    /// The body, if nobody has it. Otherwise the reader sleeps, or has come to the end.
    fn take(&mut self, wakers: &Wakers, id: u64, waker: &Waker) -> Step<B> {
        if let Source::Ended(result) = &self.source {
            return Step::End(result.clone());
        }
        // Before the body is polled, so that a wake in the middle of the poll is not lost.
        wakers.sleep(id, waker);
        let Source::Idle(mut driver) = std::mem::replace(&mut self.source, Source::Taken) else {
            return Step::Sleep;
        };
        wakers.expect();
        if let Some(at) = self.unblocked_at.take() {
            driver.stall.ended(at);
        }
        self.blocked = !self.window.has_room();
        Step::Drive(driver, if self.blocked { Room::None } else { Room::Some })
    }

    /// Whether someone who waited for room has it now, or is gone.
    fn unblock(&mut self) -> bool {
        let freed =
            self.blocked && (self.window.is_front_unneeded() || !self.window.has_reader_at_end());
        self.blocked &= !freed;
        freed
    }

    /// Nobody can join any more. Gives the hook to call once the lock is free.
    fn close(&mut self) -> Option<Box<dyn FnOnce() + Send>> {
        self.joinable = false;
        self.on_closed.take()
    }
}

/// A body that panics is over; its readers are not left waiting.
struct EndOnPanic<'a, B>(&'a Arc<Shared<B>>);

impl<B> Drop for EndOnPanic<'_, B> {
    fn drop(&mut self) {
        self.0.end(Err(TapeError(Kind::Panicked)), u64::MAX);
    }
}

impl<B> Clone for TapeReader<B> {
    fn clone(&self) -> Self {
        let mut state = self.shared.lock();
        let mut reader = state.reader(&self.shared, self.position, self.read);
        reader.done = self.done;
        reader
    }
}

impl<B> Drop for TapeReader<B> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let left = state.window.leave(self.position);
        let wake = state.unblock();
        let (closed, source) = if left == 0 {
            let gone = Source::Ended(Err(TapeError(Kind::Lagged)));
            (
                state.close(),
                Some(std::mem::replace(&mut state.source, gone)),
            )
        } else {
            (None, None)
        };
        drop(state);
        drop(source);
        call(closed);
        self.shared.wakers.forget(self.id);
        if wake {
            self.shared.unblocked();
        }
    }
}

fn call(hook: Option<Box<dyn FnOnce() + Send>>) {
    if let Some(hook) = hook {
        hook();
    }
}

impl<B> Clone for Tape<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<B> fmt::Debug for Tape<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Tape")
            .field("readers", &state.window.readers())
            .field("joinable", &state.joinable)
            .finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for TapeReader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapeReader")
            .field("position", &self.position)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

/// Why a [`TapeReader`] could not go on. All readers of a body that breaks get the same one.
#[derive(Clone, Debug)]
pub struct TapeError(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Body(Arc<dyn Error + Send + Sync>),
    Lagged,
    Panicked,
}

impl TapeError {
    /// Whether this reader was cut off because it was too far behind.
    #[must_use]
    pub fn is_lagged(&self) -> bool {
        matches!(self.0, Kind::Lagged)
    }
}

impl fmt::Display for TapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Body(_) => "the shared body broke",
            Kind::Lagged => "this reader was too far behind the others",
            Kind::Panicked => "the shared body panicked",
        })
    }
}

impl Error for TapeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Body(error) => Some(&**error),
            Kind::Lagged | Kind::Panicked => None,
        }
    }
}
