//! What happens in a shop's other processes, over a channel of Redis: whoever listens to one hears of all.
//!
//! Nothing is kept there. Without Redis each process tells what happens in itself; what the others missed meanwhile they are not told later.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, ErrorKind, RedisError};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::complain;
use crate::storefront::events::Happening;
use crate::storefront::shop::Shop;
use crate::storefront::tenant::Tenant;

const CHANNEL: &str = "storefront:events:v1";
/// A message that is longer is none of ours.
const LONGEST: usize = 4096;
/// How long connecting may take, and how long is waited until it is tried again.
const CONNECT: Duration = Duration::from_secs(2);
const REST: Duration = Duration::from_millis(500);
/// How often a process says that it is there. It hears itself, and so whether others can be heard.
const BEAT: Duration = Duration::from_secs(2);

#[derive(Deserialize, Serialize)]
struct Message {
    /// Who tells it.
    from: u64,
    /// Nothing, to be heard.
    what: Option<(String, Happening)>,
}

/// Tells the others what happens here, and those who listen here what happens in the others, for as long as it is polled.
///
/// # Cancellation
///
/// What has not been sent is not told.
pub(crate) async fn share(shop: Arc<Shop>, redis: Client) {
    let me = rand::random();
    let mut is_lost = false;
    loop {
        // From here on, and not from when Redis was lost: what is told late is no news.
        let ours = shop.feed.ours();
        let error = match connect(&redis).await {
            Ok(channel) => {
                if is_lost {
                    shop.stats.tell(
                        "events",
                        "Redis is there again: who listens here hears of the other processes, too.",
                    );
                }
                is_lost = false;
                let Err(error) = talk(&shop, me, channel, ours).await;
                error
            }
            Err(error) => error,
        };
        if !is_lost {
            complain("storefront", &format_args!("others are not heard: {error}"));
            shop.stats.tell("events", "Redis is lost: until it is there again, who listens here hears only of this process.");
        }
        is_lost = true;
        sleep(REST).await;
    }
}

struct Channel {
    speaker: MultiplexedConnection,
    listener: PubSub,
}

async fn connect(redis: &Client) -> Result<Channel, RedisError> {
    let connect = async {
        // As long as it may be silent itself.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(3 * BEAT));
        let speaker = redis.get_multiplexed_async_connection_with_config(&config);
        let speaker = speaker.await?;
        let mut listener = redis.get_async_pubsub().await?;
        listener.subscribe(CHANNEL).await?;
        Ok(Channel { speaker, listener })
    };
    let connected = timeout(CONNECT, connect).await;
    connected.unwrap_or_else(|_| Err(lost("connecting took too long")))
}

/// Until the channel is lost.
async fn talk(
    shop: &Shop,
    me: u64,
    Channel {
        mut speaker,
        listener,
    }: Channel,
    mut ours: Receiver<(Tenant, Happening)>,
) -> Result<std::convert::Infallible, RedisError> {
    let mut listener = listener.into_on_message();
    let mut beat = interval(BEAT);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            happened = ours.recv() => match happened {
                Ok((tenant, happening)) => {
                    let what = Some((tenant.as_str().to_owned(), happening));
                    say(&mut speaker, &Message { from: me, what }).await?;
                }
                Err(RecvError::Lagged(missed)) => shop.stats.tell("events", missed_words(missed)),
                // The shop, and its feed, live as long as we do.
                Err(RecvError::Closed) => {}
            },
            message = listener.next() => {
                let message = message.ok_or_else(|| lost("the connection was closed"))?;
                heard = Instant::now();
                hear(shop, me, message.get_payload_bytes());
            }
            _ = beat.tick() => {
                if heard.elapsed() > 3 * BEAT {
                    return Err(lost("nothing is heard, not even oneself"));
                }
                say(&mut speaker, &Message { from: me, what: None }).await?;
            }
        }
    }
}

async fn say(speaker: &mut MultiplexedConnection, message: &Message) -> Result<(), RedisError> {
    // A message is a plain struct: it always has a JSON form.
    let message = serde_json::to_vec(message).unwrap_or_default();
    speaker.publish(CHANNEL, message).await
}

/// What cannot be read may be of a version to come.
fn hear(shop: &Shop, me: u64, message: &[u8]) {
    if message.len() > LONGEST {
        return;
    }
    let Ok(Message {
        from,
        what: Some((tenant, happening)),
    }) = serde_json::from_slice(message)
    else {
        return;
    };
    if let Some(tenant) = Tenant::parse(&tenant).filter(|_| from != me) {
        shop.feed.tell(tenant, happening);
    }
}

fn missed_words(missed: u64) -> String {
    format!("More happened than could be told: the other processes do not hear of {missed} events.")
}

fn lost(what: &'static str) -> RedisError {
    (ErrorKind::Io, what).into()
}
