//! What other processes say to this one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::oneshot;

use crate::sync::{Mutex, lock};

/// The hash that a key is known by.
pub(super) type Hash = [u8; 32];

/// One channel for the whole process, and those who listen for a key. Their number is that of the flights that wait.
pub(super) struct Inbox {
    channel: String,
    ears: Mutex<Ears>,
}

#[derive(Default)]
struct Ears {
    by_hash: HashMap<Hash, Vec<(u64, oneshot::Sender<Said>)>>,
    next: u64,
}

/// What a holder says of its flight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// The result is not for others.
    Declined,
    /// The connection broke: nothing will be said.
    Down,
    /// The holder gave up.
    Gone,
    /// The result.
    Value(Bytes),
}

impl Said {
    /// As it travels: the hash, one byte, the value.
    pub(super) fn encode(&self, hash: &Hash) -> Vec<u8> {
        let (kind, value): (u8, &[u8]) = match self {
            Self::Declined => (b'd', &[]),
            Self::Gone | Self::Down => (b'g', &[]),
            Self::Value(value) => (b'v', value),
        };
        [&hash[..], &[kind], value].concat()
    }

    /// `None` when it is nothing of ours.
    pub(super) fn decode(message: Vec<u8>) -> Option<(Hash, Self)> {
        let mut message = Bytes::from(message);
        if message.len() <= size_of::<Hash>() {
            return None;
        }
        let hash = Hash::try_from(&*message.split_to(size_of::<Hash>())).ok()?;
        let said = match message.split_to(1)[0] {
            b'd' => Self::Declined,
            b'g' => Self::Gone,
            b'v' => Self::Value(message),
            _ => return None,
        };
        Some((hash, said))
    }
}

impl Inbox {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            channel: format!("{prefix}:{:032x}", rand::random::<u128>()),
            ears: Mutex::default(),
        }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Listens for what is said of a key, from here on.
    pub(super) fn listen(self: &Arc<Self>, hash: Hash) -> Ear {
        let (sender, receiver) = oneshot::channel();
        let mut ears = lock(&self.ears);
        ears.next += 1;
        let id = ears.next;
        ears.by_hash.entry(hash).or_default().push((id, sender));
        Ear {
            inbox: Arc::clone(self),
            hash,
            id,
            receiver,
        }
    }

    /// The connection says something.
    pub(super) fn hear(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message => {
                // The channel, which is ours, and the message.
                if let Some(Value::BulkString(message)) = push.data.into_iter().nth(1)
                    && let Some((hash, said)) = Said::decode(message)
                {
                    let ears = lock(&self.ears).by_hash.remove(&hash);
                    tell(ears.into_iter().flatten(), &said);
                }
            }
            PushKind::Disconnection => {
                let all = std::mem::take(&mut lock(&self.ears).by_hash);
                tell(all.into_values().flatten(), &Said::Down);
            }
            _ => {}
        }
    }
}

fn tell(ears: impl Iterator<Item = (u64, oneshot::Sender<Said>)>, said: &Said) {
    for (_, ear) in ears {
        // Whoever does not listen any more misses nothing.
        let _ = ear.send(said.clone());
    }
}

/// Listens for one thing to be said.
///
/// # Cancellation
///
/// Dropping it takes it out of the inbox.
pub(super) struct Ear {
    inbox: Arc<Inbox>,
    hash: Hash,
    id: u64,
    receiver: oneshot::Receiver<Said>,
}

impl Ear {
    pub(super) async fn heard(&mut self) -> Said {
        (&mut self.receiver).await.unwrap_or(Said::Down)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut ears = lock(&self.inbox.ears);
        if let Some(of_key) = ears.by_hash.get_mut(&self.hash) {
            of_key.retain(|(id, _)| *id != self.id);
            if of_key.is_empty() {
                ears.by_hash.remove(&self.hash);
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(buttress_loom))]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_arrives_as_it_was_and_nothing_else_does() {
        let hash = [7; 32];
        for said in [Said::Declined, Said::Gone, Said::Value("v".into())] {
            assert_eq!(Said::decode(said.encode(&hash)), Some((hash, said)));
        }
        for broken in [vec![], vec![7; 32], vec![7; 33]] {
            assert_eq!(Said::decode(broken), None);
        }
    }

    #[test]
    fn an_ear_that_is_dropped_leaves_nothing_behind() {
        let inbox = Arc::new(Inbox::new("t"));
        let ears = [inbox.listen([1; 32]), inbox.listen([1; 32])];
        drop(ears);
        assert!(lock(&inbox.ears).by_hash.is_empty());
    }
}
