//! A raw connection of somebody who need not speak HTTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::upstream::reset;

pub(crate) struct Link(TcpStream);

impl Link {
    /// From an address of the client's own: one address alone has not enough ports for all the connections that are made and dropped here.
    pub(crate) async fn open(from: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        Self::open_with(from, to, None).await
    }

    /// With a small buffer for what is received, so that the peer notices that nobody reads.
    pub(crate) async fn open_narrow(from: Ipv4Addr, to: SocketAddr) -> io::Result<Self> {
        Self::open_with(from, to, Some(4096)).await
    }

    async fn open_with(from: Ipv4Addr, to: SocketAddr, buffer: Option<u32>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(buffer) = buffer {
            socket.set_recv_buffer_size(buffer)?;
        }
        socket.bind((from, 0).into())?;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    /// Says that no more will be sent.
    pub(crate) async fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    /// Reads up to so many bytes, and says how many there were: fewer only at the end.
    pub(crate) async fn read(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.0).take(most as u64);
        limited.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    /// Reads whatever there is next.
    pub(crate) async fn read_some(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 1024];
        self.0.read(&mut bytes).await
    }

    /// Ends it in a way that the peer sees as an error.
    pub(crate) fn reset(self) {
        reset(&self.0);
    }
}
