//! What other processes say to this one.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::watch;

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
    by_hash: HashMap<Hash, Vec<(u64, Mouth)>>,
    next: u64,
}

/// What an [`Ear`] listens to.
type Mouth = watch::Sender<Option<Said>>;

/// What a holder says of its flight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// The result is not for others.
    Declined,
    /// The connection broke, or Redis does not answer: nothing will be said.
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
        let (mouth, said) = watch::channel(None);
        let mut ears = lock(&self.ears);
        ears.next += 1;
        let id = ears.next;
        ears.by_hash.entry(hash).or_default().push((id, mouth));
        Ear {
            inbox: Arc::clone(self),
            hash,
            id,
            said,
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
                    self.tell(|of| *of == hash, &said);
                }
            }
            PushKind::Disconnection => self.down(),
            _ => {}
        }
    }

    /// Nothing will be said any more: tells all who listen.
    pub(super) fn down(&self) {
        self.tell(|_| true, &Said::Down);
    }

    fn tell(&self, is_for: impl Fn(&Hash) -> bool, said: &Said) {
        let ears = lock(&self.ears);
        let these = ears.by_hash.iter().filter(|(hash, _)| is_for(hash));
        let mouths: Vec<Mouth> = these
            .flat_map(|(_, ears)| ears.iter().map(|(_, mouth)| mouth.clone()))
            .collect();
        drop(ears);
        for mouth in mouths {
            mouth.send_if_modified(|last| {
                let is_news = matches!(last, None | Some(Said::Gone));
                if is_news {
                    *last = Some(said.clone());
                }
                is_news
            });
        }
    }
}

/// Listens for what is said of a key, also while nobody looks. A result, or that there will be none, is kept until it is heard, and what is said after it is of
/// another flight.
///
/// # Cancellation
///
/// Dropping it takes it out of the inbox.
pub(super) struct Ear {
    inbox: Arc<Inbox>,
    hash: Hash,
    id: u64,
    said: watch::Receiver<Option<Said>>,
}

impl Ear {
    pub(super) async fn heard(&mut self) -> Said {
        match self.said.changed().await {
            Ok(()) => self.said.borrow_and_update().clone().unwrap_or(Said::Gone),
            Err(_) => Said::Down,
        }
    }

    /// The result, if it has come since the last look.
    pub(super) fn has_value(&mut self) -> Option<Bytes> {
        match &*self.said.borrow_and_update() {
            Some(Said::Value(value)) => Some(value.clone()),
            _ => None,
        }
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
    use std::task::Poll;

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

    fn push(inbox: &Inbox, hash: Hash, said: &Said) {
        let data = [&b"t"[..], &said.encode(&hash)].map(|data| Value::BulkString(data.into()));
        inbox.hear(PushInfo {
            kind: PushKind::Message,
            data: data.into(),
        });
    }

    #[test]
    fn what_is_said_between_two_looks_is_heard() {
        let inbox = Arc::new(Inbox::new("t"));
        let mut ear = inbox.listen([1; 32]);
        let mut heard = || tokio_test::task::spawn(ear.heard()).poll();
        assert!(heard().is_pending());
        push(&inbox, [2; 32], &Said::Declined);
        assert!(heard().is_pending(), "it is of another key");
        push(&inbox, [1; 32], &Said::Gone);
        assert_eq!(heard(), Poll::Ready(Said::Gone));
        assert!(heard().is_pending(), "it was heard");
        push(&inbox, [1; 32], &Said::Gone);
        push(&inbox, [1; 32], &Said::Value("v".into()));
        push(&inbox, [1; 32], &Said::Gone);
        assert_eq!(ear.has_value(), Some("v".into()));
    }

    #[test]
    fn an_ear_that_is_dropped_leaves_nothing_behind() {
        let inbox = Arc::new(Inbox::new("t"));
        let ears = [inbox.listen([1; 32]), inbox.listen([1; 32])];
        drop(ears);
        assert!(lock(&inbox.ears).by_hash.is_empty());
    }
}
