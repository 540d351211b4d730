//! The plain machine of a tape: which frames are kept, and for whom.

use std::collections::VecDeque;

/// How many frames are kept, however small they are: each costs more than its bytes.
const MAX_FRAMES: usize = 4096;

/// Frames that some reader still needs, in a window of `limit` bytes. A frame without bytes counts for one.
///
/// Positions count frames from the start of the stream. The window knows how many readers stand at each position, not which
/// ones: whoever finds itself behind the first kept frame has been cut off.
#[derive(Debug)]
pub(super) struct Window<T> {
    limit: usize,
    frames: VecDeque<Kept<T>>,
    /// The position of `frames[0]`.
    base: u64,
    bytes: usize,
    /// Readers that have read everything there is.
    at_end: usize,
    readers: usize,
}

#[derive(Debug)]
struct Kept<T> {
    frame: T,
    bytes: usize,
    /// Readers whose next frame this is.
    waiting: usize,
}

/// What a reader finds at its position.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Next<T> {
    /// The next frame; the reader has moved on.
    Frame(T),
    /// It was cut off.
    Lagged,
    /// It has read everything so far.
    Nothing,
}

impl<T: Clone> Window<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            frames: VecDeque::new(),
            base: 0,
            bytes: 0,
            at_end: 0,
            readers: 0,
        }
    }

    pub(super) fn readers(&self) -> usize {
        self.readers
    }

    #[cfg(test)]
    #[cfg(not(buttress_loom))]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Another reader at `position`.
    pub(super) fn join(&mut self, position: u64) {
        self.readers += 1;
        if let Some(waiting) = self.waiting_at(position) {
            *waiting += 1;
        }
    }

    /// A reader at `position` goes away. Tells how many are left.
    pub(super) fn leave(&mut self, position: u64) -> usize {
        self.readers -= 1;
        if let Some(waiting) = self.waiting_at(position) {
            *waiting -= 1;
        }
        self.readers
    }

    /// What a reader at `position` reads next; moves it on.
    pub(super) fn read(&mut self, position: &mut u64) -> Next<T> {
        let Some(index) = position.checked_sub(self.base) else {
            return Next::Lagged;
        };
        let Some(kept) = self.frames.get_mut(index as usize) else {
            return Next::Nothing;
        };
        let frame = kept.frame.clone();
        kept.waiting -= 1;
        *position += 1;
        if let Some(waiting) = self.waiting_at(*position) {
            *waiting += 1;
        }
        Next::Frame(frame)
    }

    /// Whether a reader at `position` has read everything so far.
    pub(super) fn is_at_end(&self, position: u64) -> bool {
        position == self.base + self.frames.len() as u64
    }

    /// Whether the first frame is needed by nobody.
    pub(super) fn is_front_unneeded(&self) -> bool {
        self.frames.front().is_none_or(|first| first.waiting == 0)
    }

    /// Adds a frame at the end.
    pub(super) fn push(&mut self, frame: T, bytes: usize) {
        let bytes = bytes.max(1);
        self.bytes += bytes;
        self.frames.push_back(Kept {
            frame,
            bytes,
            waiting: std::mem::take(&mut self.at_end),
        });
    }

    /// Whether one more frame may be fetched: so never more than `limit` bytes and one frame are kept, nor more than
    /// [`MAX_FRAMES`].
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.limit && self.frames.len() < MAX_FRAMES
    }

    /// Takes out the first frame, if the window is full and nobody needs it.
    pub(super) fn evict(&mut self) -> Option<T> {
        if self.has_room() || !self.is_front_unneeded() {
            return None;
        }
        self.pop()
    }

    /// Takes out the first frame, although readers need it: they are cut off.
    pub(super) fn cut_off(&mut self) -> Option<T> {
        self.pop()
    }

    fn pop(&mut self) -> Option<T> {
        let kept = self.frames.pop_front()?;
        self.base += 1;
        self.bytes -= kept.bytes;
        Some(kept.frame)
    }

    fn waiting_at(&mut self, position: u64) -> Option<&mut usize> {
        let index = position.checked_sub(self.base)? as usize;
        match self.frames.get_mut(index) {
            Some(kept) => Some(&mut kept.waiting),
            None => Some(&mut self.at_end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: usize) -> Window<&'static str> {
        Window::new(limit)
    }

    #[test]
    fn each_reader_reads_everything_in_order_at_its_own_pace() {
        let mut window = window(100);
        let (mut fast, mut slow) = (0, 0);
        window.join(fast);
        window.join(slow);
        window.push("a", 1);
        assert_eq!(window.read(&mut fast), Next::Frame("a"));
        assert_eq!(window.read(&mut fast), Next::Nothing);
        window.push("b", 1);
        assert_eq!(window.read(&mut slow), Next::Frame("a"));
        assert_eq!(window.read(&mut slow), Next::Frame("b"));
        assert_eq!(window.read(&mut fast), Next::Frame("b"));
    }

    #[test]
    fn a_frame_goes_when_the_window_is_full_and_nobody_needs_it() {
        let mut window = window(2);
        let (mut fast, mut slow) = (0, 0);
        window.join(fast);
        window.join(slow);
        window.push("a", 1);
        assert_eq!(window.read(&mut fast), Next::Frame("a"));
        assert_eq!(window.read(&mut slow), Next::Frame("a"));
        assert_eq!(
            window.evict(),
            None,
            "there is room, so a newcomer can still join"
        );
        window.push("b", 1);
        assert!(!window.has_room());
        assert_eq!(window.evict(), Some("a"));
        assert!(window.has_room());
    }

    #[test]
    fn frames_without_bytes_fill_a_window_too() {
        let mut window = window(2);
        let mut reader = 0;
        window.join(reader);
        for frame in ["a", "b"] {
            assert!(window.has_room());
            window.push(frame, 0);
            assert_eq!(window.read(&mut reader), Next::Frame(frame));
        }
        assert!(!window.has_room());
        assert_eq!(window.evict(), Some("a"));
    }

    #[test]
    fn a_window_is_full_when_it_has_too_many_frames_although_they_are_small() {
        let mut window = window(usize::MAX);
        let mut reader = 0;
        window.join(reader);
        for _ in 0..MAX_FRAMES {
            assert!(window.has_room());
            window.push("a", 1);
            window.read(&mut reader);
        }
        assert!(!window.has_room());
        assert_eq!(window.evict(), Some("a"));
    }

    #[test]
    fn a_full_window_waits_for_the_slowest() {
        let mut window = window(1);
        let (mut fast, mut slow) = (0, 0);
        window.join(fast);
        window.join(slow);
        window.push("a", 5);
        assert_eq!(window.read(&mut fast), Next::Frame("a"));
        assert_eq!(window.evict(), None);
        assert!(!window.has_room());
        assert_eq!(window.read(&mut slow), Next::Frame("a"));
        assert_eq!(window.evict(), Some("a"));
    }

    #[test]
    fn who_is_cut_off_gets_no_frame_any_more_and_holds_nobody_up() {
        let mut window = window(1);
        let (mut fast, mut slow) = (0, 0);
        window.join(fast);
        window.join(slow);
        window.push("a", 1);
        assert_eq!(window.read(&mut fast), Next::Frame("a"));
        assert_eq!(window.cut_off(), Some("a"));
        window.push("b", 1);
        assert_eq!(window.read(&mut slow), Next::Lagged);
        assert_eq!(window.read(&mut fast), Next::Frame("b"));
        assert_eq!(window.evict(), Some("b"));
        assert_eq!(window.leave(slow), 1);
        assert_eq!(window.leave(fast), 0);
    }

    #[test]
    fn a_reader_that_leaves_holds_nobody_up() {
        let mut window = window(1);
        let (mut fast, slow) = (0, 0);
        window.join(fast);
        window.join(slow);
        window.push("a", 1);
        assert_eq!(window.read(&mut fast), Next::Frame("a"));
        assert_eq!(window.leave(slow), 1);
        assert_eq!(window.evict(), Some("a"));
    }
}
