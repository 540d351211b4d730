//! Trips over the pub/sub of a Redis.

use std::fmt;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncCommands, Client, ErrorKind, RedisError};

use super::{Feed, Trip};

/// Publishes trips on one channel of a Redis and listens to it. Nothing is stored there: who was away hears nothing of what he missed.
///
/// It has two connections of its own, since one that listens cannot speak.
///
/// Whoever may publish on the channel can open breakers, for as long as [`Sharing::at_most`](super::Sharing::at_most) lets him: keep strangers
/// out by Redis' access control.
pub struct RedisFeed {
    client: Client,
    channel: String,
    connected: Option<Connected>,
}

struct Connected {
    speaker: MultiplexedConnection,
    listener: PubSub,
}

impl RedisFeed {
    /// A feed over the channel of this name, of the Redis at this URL. It connects when [`Sharing`](super::Sharing) says so.
    ///
    /// ```
    /// use buttress_circuit::feed::RedisFeed;
    ///
    /// let feed = RedisFeed::open("redis://127.0.0.1/", "shop:trips")?;
    /// # drop(feed);
    /// # Ok::<(), redis::RedisError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed. That Redis cannot be reached is no error.
    pub fn open(url: &str, channel: impl Into<String>) -> Result<Self, RedisError> {
        Ok(Self::new(Client::open(url)?, channel))
    }

    /// The same over a client that is there already.
    pub fn new(client: Client, channel: impl Into<String>) -> Self {
        Self {
            client,
            channel: channel.into(),
            connected: None,
        }
    }

    fn connected(&mut self) -> Result<&mut Connected, RedisError> {
        self.connected.as_mut().ok_or_else(|| lost("not connected"))
    }
}

fn lost(what: &'static str) -> RedisError {
    (ErrorKind::Io, what).into()
}

impl Feed for RedisFeed {
    type Error = RedisError;

    async fn connect(&mut self) -> Result<(), RedisError> {
        self.connected = None;
        let speaker = self.client.get_multiplexed_async_connection().await?;
        let mut listener = self.client.get_async_pubsub().await?;
        listener.subscribe(&self.channel).await?;
        self.connected = Some(Connected { speaker, listener });
        Ok(())
    }

    /// It hears its own channel.
    fn echoes(&self) -> bool {
        true
    }

    async fn publish(&mut self, trip: &Trip) -> Result<(), RedisError> {
        let message = trip.encode();
        let channel = self.channel.clone();
        self.connected()?.speaker.publish(channel, message).await
    }

    async fn receive(&mut self) -> Result<Trip, RedisError> {
        let mut messages = self.connected()?.listener.on_message();
        while let Some(message) = messages.next().await {
            // What is not ours to understand may be of a version to come.
            if let Some(trip) = Trip::decode(message.get_payload_bytes()) {
                return Ok(trip);
            }
        }
        Err(lost("the connection was closed"))
    }
}

impl fmt::Debug for RedisFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFeed")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}
