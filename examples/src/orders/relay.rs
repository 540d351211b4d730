//! Telling of what was committed.

use std::time::Duration;

use crate::database::{Database, Error};
use crate::serve::{Shop, complain};

/// How long it rests when nothing was placed; an order wakes it at once.
const REST: Duration = Duration::from_secs(1);

/// Publishes the events of the outbox, one after the other, for as long as it is polled.
///
/// Killed between telling and marking, it tells again. It does so under the same key, the number of the event, by which the subscriber knows that it has heard it.
pub(crate) async fn run<D: Database>(shop: Shop<D>) {
    loop {
        if let Err(error) = tell(&shop).await {
            complain(&*error);
        }
        let _ = tokio::time::timeout(REST, shop.placed.notified()).await;
    }
}

async fn tell<D: Database>(shop: &Shop<D>) -> Result<(), Error> {
    loop {
        let untold = shop.database.untold().await?;
        if untold.is_empty() {
            return Ok(());
        }
        for event in untold {
            let key = format!("order-event-{}", event.number);
            shop.subscriber.post(&key, event.event).await?;
            shop.database.mark_told(event.number).await?;
        }
    }
}
