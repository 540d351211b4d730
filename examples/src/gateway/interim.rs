//! Interim responses (1xx), which hyper's server cannot send: they are written onto the connection, between the requests that it has read and the response that it will write.
//!
//! hyper writes responses one after the other, and flushes when all is written. So a place at which its last call was a flush, or at which it has written nothing yet, is one
//! between two responses. What cannot be written at once goes before the next thing that hyper writes. Only for HTTP/1.1: an interim response to HTTP/1.0 is forbidden (RFC 9110,
//! section 15.2), and hyper has no way for HTTP/2.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderValue, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A connection onto which others than its owner may put interim responses.
pub(crate) struct Connection {
    /// Its owner's alone, and read as tokio's own stream is: that one knows after a read which did not fill its buffer that there is no more, and does not ask the
    /// kernel once again.
    reads: OwnedReadHalf,
    /// What is put together of small slices.
    together: Vec<u8>,
    shared: Arc<Shared>,
}

/// Who asks for one response: puts interim responses to that onto its connection. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Asker {
    shared: Arc<Shared>,
    /// Which of the connection's requests it is, or [`OF_NONE`].
    number: u64,
}

/// The number of a request whose client would not understand interim responses: it is over before it begins.
const OF_NONE: u64 = 0;

/// Ends the time for interim responses when it is dropped: before hyper gets the final response.
pub(crate) struct Until(Asker);

struct Shared {
    /// Its address, as upstreams are told of it.
    client: HeaderValue,
    writes: OwnedWriteHalf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is to be written before anything else.
    waiting: VecDeque<u8>,
    /// Whether hyper has begun to write something that it has not flushed yet.
    writing: bool,
    /// How many requests there were.
    requests: u64,
    /// How many of them have their final response on its way, or nobody who waits for it any more: whoever still asks an upstream for those asks for others.
    over: u64,
}

/// An upstream that floods us with interim responses which the client does not read: the rest are dropped, as they may be.
const MAX_WAITING: usize = 64 * 1024;

impl Connection {
    pub(crate) fn new(stream: TcpStream, client: HeaderValue) -> Self {
        let (reads, writes) = stream.into_split();
        let shared = Shared {
            client,
            writes,
            state: Mutex::default(),
        };
        Self {
            reads,
            together: Vec::new(),
            shared: Arc::new(shared),
        }
    }

    /// For each request on this connection, one after the other, by what version of HTTP it speaks.
    pub(crate) fn asker(&self) -> impl Fn(Version) -> Asker + Send + Sync + Clone + use<> {
        let shared = Arc::clone(&self.shared);
        move |version| {
            let understands = version == Version::HTTP_11;
            Asker {
                number: if understands { shared.next() } else { OF_NONE },
                shared: Arc::clone(&shared),
            }
        }
    }
}

impl Asker {
    /// The address of the client, as upstreams are told of it.
    pub(crate) fn client(&self) -> &HeaderValue {
        &self.shared.client
    }

    /// Sends an interim response as soon as that is possible, if they are understood.
    pub(crate) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let shared = &self.shared;
        let mut state = shared.state();
        if self.number <= state.over {
            return;
        }
        if state.waiting.len() < MAX_WAITING {
            write_head(&mut state.waiting, status, headers);
        }
        if !state.writing {
            // An error is seen by whoever reads or writes next.
            let _ = shared.write_waiting(&mut state);
        }
    }

    /// They may be sent for as long as this lives.
    pub(crate) fn until(&self) -> Until {
        Until(self.clone())
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        let Asker { shared, number } = &self.0;
        // Under the lock: what is being sent just now is before the final response.
        let mut state = shared.state();
        state.over = state.over.max(*number);
    }
}

impl Shared {
    fn next(&self) -> u64 {
        let mut state = self.state();
        state.requests += 1;
        state.requests
    }

    fn stream(&self) -> &TcpStream {
        self.writes.as_ref()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_waiting(&self, state: &mut State) -> io::Result<()> {
        while !state.waiting.is_empty() {
            let (first, _) = state.waiting.as_slices();
            let written = self.stream().try_write(first)?;
            state.waiting.drain(..written);
        }
        Ok(())
    }

    fn poll_waiting(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.write_waiting(state) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream().poll_write_ready(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if !state.writing {
            ready!(self.poll_waiting(&mut state, cx))?;
            state.writing = true;
        }
        loop {
            match write(self.stream()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream().poll_write_ready(cx))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

/// What is no larger than this is copied: the kernel takes longer to look at two slices than it is to put them together.
const TOGETHER: usize = 2048;

/// All of the slices, one after the other, where they are small.
fn gather<'a>(slices: &[io::IoSlice<'_>], together: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    together.clear();
    for slice in slices {
        if together.len() + slice.len() > TOGETHER {
            return None;
        }
        together.extend_from_slice(slice);
    }
    Some(together)
}

/// `HTTP/1.1 103 Early Hints`, and its fields.
fn write_head(to: &mut VecDeque<u8>, status: StatusCode, headers: &HeaderMap) {
    let reason = status.canonical_reason().unwrap_or_default();
    to.extend(b"HTTP/1.1 ");
    to.extend(status.as_str().as_bytes());
    to.push_back(b' ');
    to.extend(reason.as_bytes());
    to.extend(b"\r\n");
    for (name, value) in headers {
        to.extend(name.as_str().as_bytes());
        to.extend(b": ");
        to.extend(value.as_bytes());
        to.extend(b"\r\n");
    }
    to.extend(b"\r\n");
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().reads).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared
            .poll_write_with(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let together = gather(slices, &mut this.together);
        this.shared.poll_write_with(cx, |stream| match together {
            Some(bytes) => stream.try_write(bytes),
            None => stream.try_write_vectored(slices),
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.shared.state();
        state.writing = false;
        self.shared.poll_waiting(&mut state, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Both halves are ours until we are dropped; the peer is to hear of the end now.
        let socket = socket2::SockRef::from(self.shared.stream());
        match socket.shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            done => Poll::Ready(done),
        }
    }
}
