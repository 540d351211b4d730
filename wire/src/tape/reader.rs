//! One reader of a tape.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::error::TapeError;
use super::shared::{Driver, Item, Shared, Source, State, call};
use super::window::Next;
use crate::recorder::into_bytes;

/// Reads a [`Tape`](super::Tape). A clone is another reader at the same place.
///
/// Its [`size_hint`](Body::size_hint) is what the body says of its rest, and what this reader has yet to read of what was fetched: exact when the body's
/// is, and once the body has ended well and without trailers. (A server announces an exact hint as the length: half of a body that broke would look whole, and
/// trailers would be lost.)
///
/// # Cancellation
///
/// Dropping a reader takes its place out of the window and wakes those whom it held up. Dropping the last one drops the body.
pub struct TapeReader<B: ?Sized> {
    shared: Arc<Shared<B>>,
    id: u64,
    position: u64,
    /// Data bytes read so far.
    read: u64,
    /// The round in which this reader was held up, if it was; see [`Held`](super::shared::Held).
    held: Option<u64>,
    /// It may be among those who are to be woken.
    asleep: bool,
    /// The end or an error has been given out, and the place in the window given back.
    done: bool,
}

impl<B: ?Sized> TapeReader<B> {
    pub(super) fn first(shared: &Arc<Shared<B>>) -> Self {
        Self::at_start(shared, &mut shared.lock())
    }

    pub(super) fn at_start(shared: &Arc<Shared<B>>, state: &mut State<B>) -> Self {
        Self::at(shared, state, 0, 0)
    }

    fn at(shared: &Arc<Shared<B>>, state: &mut State<B>, position: u64, read: u64) -> Self {
        let id = state.next_id;
        state.next_id += 1;
        state.window.join(position);
        Self {
            shared: Arc::clone(shared),
            id,
            position,
            read,
            held: None,
            asleep: false,
            done: false,
        }
    }
}

impl<B: ?Sized> Body for TapeReader<B>
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
            // A waker may own whoever reads: it goes when nothing is locked, and when the body is back.
            let mut replaced = None;
            match self.next(cx, &mut replaced) {
                Step::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Step::Drive(driver, Room::Some) => ready!(self.fetch(driver)),
                Step::Drive(driver, Room::None) => ready!(self.stall(driver)),
                Step::Again => {}
                Step::Sleep => return Poll::Pending,
                Step::End(result) => {
                    self.done = true;
                    // Whoever is cut off has no more use for the body, and might be kept for long.
                    self.depart();
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
        if self.done {
            return SizeHint::with_exact(0);
        }
        self.shared.lock().size_hint(self.read)
    }
}

/// What a reader does next.
enum Step<B: ?Sized> {
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

impl<B: ?Sized> TapeReader<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn next(&mut self, cx: &Context<'_>, replaced: &mut Option<Waker>) -> Step<B> {
        let mut state = self.shared.lock();
        match state.window.read(&mut self.position) {
            Next::Frame(item) => {
                let freed = go_on(&mut self.held, &mut state);
                drop(state);
                if freed {
                    self.shared.unblocked();
                }
                return Step::Frame(self.give(item));
            }
            Next::Lagged => return Step::End(Err(TapeError::LAGGED)),
            Next::Nothing => {}
        }
        if let Some(evicted) = state.window.evict() {
            let closed = state.close();
            drop(state);
            drop(evicted);
            call(closed);
            return Step::Again;
        }
        // The body, if nobody has it. Otherwise the reader sleeps, or has come to the end.
        if let Source::Ended(result) = &state.source {
            return Step::End(result.clone());
        }
        let room = look_for_room(&mut self.held, &mut state);
        self.asleep = true;
        // Before the body is polled, so that a wake in the middle of the poll is not lost.
        let is_idle = matches!(state.source, Source::Idle(_));
        *replaced = self.shared.wakers.sleep(self.id, cx.waker(), is_idle);
        let Source::Idle(mut driver) = std::mem::replace(&mut state.source, Source::Taken) else {
            return Step::Sleep;
        };
        if let Some(at) = state.unblocked_at.take() {
            driver.stall.ended(at);
        }
        Step::Drive(driver, room)
    }

    fn give(&mut self, item: Item) -> Frame<Bytes> {
        self.read += item.len() as u64;
        match item {
            Item::Data(data) => Frame::data(data),
            Item::Trailers(trailers) => Frame::trailers(*trailers),
        }
    }

    /// Polls the body, for everybody.
    fn fetch(&self, driver: Driver<B>) -> Poll<()> {
        let on_panic = EndOnPanic(&self.shared);
        // Dropped before the readers hear of a panic: what they may do then must not meet a body that is still there.
        let mut driver = driver;
        driver.stall.over();
        let mut cx = Context::from_waker(&self.shared.waker);
        let poll = driver.body.as_mut().poll_frame(&mut cx);
        let pending = match poll {
            Poll::Pending => Some(driver),
            Poll::Ready(Some(Ok(frame))) => {
                self.push(into_bytes(frame), driver);
                None
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(record) = &mut driver.record {
                    record.abort();
                }
                self.end(Err(TapeError::of_body(error.into())), driver);
                None
            }
            Poll::Ready(None) => {
                self.end(Ok(()), driver);
                None
            }
        };
        std::mem::forget(on_panic);
        match pending {
            Some(driver) => self.put_back(driver),
            None => Poll::Ready(()),
        }
    }

    fn push(&self, frame: Frame<Bytes>, mut driver: Driver<B>) {
        if let Some(record) = &mut driver.record {
            record.frame(&frame);
        }
        let (ends, rest) = (driver.body.is_end_stream(), driver.body.size_hint());
        let is_trailers = frame.is_trailers();
        let item = Item::from(frame);
        let bytes = item.len();
        let mut state = self.shared.lock();
        state.window.push(item, bytes);
        state.fetched = Some(state.fetched.unwrap_or(0) + bytes as u64);
        if is_trailers {
            state.has_trailers = true;
        } else {
            state.rest = rest;
        }
        if ends {
            drop(state);
            return self.end(Ok(()), driver);
        }
        state.source = Source::Idle(driver);
        drop(state);
        self.wake_others();
    }

    /// The body is over: first for the record, then for the readers, when nothing of it is left.
    fn end(&self, result: Result<(), TapeError>, mut driver: Driver<B>) {
        if let Some(record) = &mut driver.record {
            record.end();
        }
        drop(driver);
        self.shared.end(result, self.id);
    }

    /// The window is full of what laggards have not read: waits for them, and then no longer.
    fn stall(&self, driver: Driver<B>) -> Poll<()> {
        let on_panic = EndOnPanic(&self.shared);
        let mut driver = driver;
        let poll = driver
            .stall
            .poll(&mut Context::from_waker(&self.shared.waker));
        std::mem::forget(on_panic);
        if poll.is_pending() {
            return self.put_back(driver);
        }
        let mut state = self.shared.lock();
        // They may have read on while we looked at the clock.
        let cut = if state.held.is_some() {
            state.window.cut_off()
        } else {
            None
        };
        state.held.clear();
        state.source = Source::Idle(driver);
        let closed = cut.is_some().then(|| state.close()).flatten();
        drop(state);
        drop(cut);
        call(closed);
        self.wake_others();
        Poll::Ready(())
    }

    /// The body has nothing yet, or there is no room. Its waker is all of ours; if it was used while the body was with us, or if there is room by now, those who came
    /// by in the meantime have to hear of it.
    fn put_back(&self, driver: Driver<B>) -> Poll<()> {
        let mut state = self.shared.lock();
        state.source = Source::Idle(driver);
        let has_room = state.unblocked_at.is_some();
        drop(state);
        if has_room || self.shared.wakers.was_notified() {
            self.shared.wakers.wake_all();
        }
        Poll::Pending
    }

    /// This reader is awake: it goes on by itself.
    fn wake_others(&self) {
        self.shared.wakers.wake_others(self.id);
    }
}

/// A reader that finds none is held up, whoever has the body.
fn look_for_room<B: ?Sized>(held: &mut Option<u64>, state: &mut State<B>) -> Room {
    if state.window.has_room() {
        return Room::Some;
    }
    *held = state.held.enter(*held);
    Room::None
}

/// A reader has read on, or goes away. Tells whether those who are held up have room now, or whether nobody is any more.
fn go_on<B: ?Sized>(held: &mut Option<u64>, state: &mut State<B>) -> bool {
    let was_held = state.held.is_some();
    state.held.leave(held.take());
    state.unblock(was_held)
}

/// A body that panics is over; its readers are not left waiting.
struct EndOnPanic<'a, B: ?Sized>(&'a Arc<Shared<B>>);

impl<B: ?Sized> Drop for EndOnPanic<'_, B> {
    fn drop(&mut self) {
        self.0.end(Err(TapeError::PANICKED), u64::MAX);
    }
}

impl<B: ?Sized> Clone for TapeReader<B> {
    fn clone(&self) -> Self {
        if self.done {
            return Self {
                shared: Arc::clone(&self.shared),
                ..*self
            };
        }
        Self::at(
            &self.shared,
            &mut self.shared.lock(),
            self.position,
            self.read,
        )
    }
}

impl<B: ?Sized> Drop for TapeReader<B> {
    fn drop(&mut self) {
        if !self.done {
            self.depart();
        }
    }
}

impl<B: ?Sized> TapeReader<B> {
    /// Gives its place in the window back, once.
    fn depart(&mut self) {
        let shared = &self.shared;
        let mut state = shared.lock();
        let left = state.window.leave(self.position);
        let freed = go_on(&mut self.held, &mut state);
        let last = (left == 0).then(|| {
            let gone = Source::Ended(Err(TapeError::LAGGED));
            (state.close(), std::mem::replace(&mut state.source, gone))
        });
        drop(state);
        if let Some((closed, source)) = last {
            drop(source);
            call(closed);
        }
        if self.asleep {
            shared.wakers.forget(self.id);
        }
        if freed {
            shared.unblocked();
        }
    }
}

impl<B: ?Sized> fmt::Debug for TapeReader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapeReader")
            .field("position", &self.position)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
