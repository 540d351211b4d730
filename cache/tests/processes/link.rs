//! The way to Redis: it can be made slow.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Hands on what is said between the processes and Redis. Its threads end with the test.
pub(crate) struct Link {
    address: SocketAddr,
    /// How many more pieces take [`SLOW`] each.
    slow: Arc<AtomicU64>,
}

/// What a piece takes: some times as long as an answer is waited for.
const SLOW: Duration = Duration::from_millis(40);
const SLOW_PIECES: u64 = 100;

impl Link {
    pub(crate) fn to(redis: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let link = Self {
            address: listener.local_addr().unwrap(),
            slow: Arc::default(),
        };
        let slow = Arc::clone(&link.slow);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who finds nobody behind it is hung up on.
                if let Ok(server) = TcpStream::connect(redis) {
                    connect(&client, &server, &slow);
                }
            }
        });
        link
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    pub(crate) fn slow_down(&self) {
        self.slow.store(SLOW_PIECES, Ordering::Relaxed);
    }
}

fn connect(client: &TcpStream, server: &TcpStream, slow: &Arc<AtomicU64>) {
    for (from, to) in [(client, server), (server, client)] {
        let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        let _ = to.set_nodelay(true);
        let slow = Arc::clone(slow);
        std::thread::spawn(move || hand_on(from, to, &slow));
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, slow: &AtomicU64) {
    let (_open, nothing) = mpsc::channel::<()>();
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let is_slow = slow.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if is_slow.is_ok() {
            let _ = nothing.recv_timeout(SLOW);
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
