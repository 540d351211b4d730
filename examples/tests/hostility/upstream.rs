//! Servers that do whatever a server can do wrong, each on a port of its own, so that a breaker knows them apart.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::fault::{FAULTS, Fault, Then};
use crate::tally::Tally;

pub(crate) struct Upstream {
    addresses: Vec<(Fault, SocketAddr)>,
    connections: Connections,
    pub(crate) tally: Tally,
    _accepting: JoinSet<()>,
}

/// All connections that there are now end with what is inside.
#[derive(Clone, Default)]
struct Connections(Arc<Mutex<CancellationToken>>);

impl Connections {
    fn token(&self) -> CancellationToken {
        self.0.lock().unwrap().clone()
    }

    fn end(&self) {
        let now = std::mem::take(&mut *self.0.lock().unwrap());
        now.cancel();
    }
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let (connections, tally) = (Connections::default(), Tally::default());
        let (mut accepting, mut addresses) = (JoinSet::new(), Vec::new());
        for fault in FAULTS {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push((fault, listener.local_addr().unwrap()));
            accepting.spawn(accept(listener, fault, connections.clone(), tally.clone()));
        }
        Self {
            addresses,
            connections,
            tally,
            _accepting: accepting,
        }
    }

    pub(crate) fn address(&self, fault: Fault) -> SocketAddr {
        let found = self.addresses.iter().find(|(of, _)| *of == fault);
        found.expect("each has one").1
    }

    /// Ends all connections; there may be new ones.
    pub(crate) fn hang_up(&self) {
        self.connections.end();
    }
}

async fn accept(listener: TcpListener, fault: Fault, connections: Connections, tally: Tally) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (token, tally) = (connections.token(), tally.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = serve(stream, fault, &tally) => {}
            }
        });
    }
}

/// Answers until there is nothing more to be said on this connection.
async fn serve(stream: TcpStream, fault: Fault, tally: &Tally) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream).await {
        match fault.answer(&head, stream.get_mut(), tally).await {
            Ok(Then::Listen) => {}
            Ok(Then::Close) | Err(_) => return,
            Ok(Then::Reset) => return reset(&stream.into_inner()),
        }
    }
}

/// The end that the peer sees as an error.
pub(crate) fn reset(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Up to the empty line; `None` when there is none.
async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read_until(b'\n', &mut head).await.ok()?;
        if read == 0 || head.len() > 1 << 20 {
            return None;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}
