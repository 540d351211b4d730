//! Where a response is put.

use std::sync::Arc;
use std::time::Duration;

use buttress_wire::Recorded;
use bytes::Bytes;
use http::StatusCode;
use http::header::{ETAG, HeaderMap};
use tokio::time::Instant;

use super::pieces::Pieces;
use super::store::{Heard, MARKER_TTL, peek, remove, tell};
use super::stored::{CachedResponse, Kind, Made, Marks, Stored};
use super::validation::updated;
use super::variants::{Said, Variant, Variants};
use crate::{Cache, Stamp};

/// Where a response is to be stored, and what is known of it before its body is there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) cache: Cache<CachedResponse>,
    pub(super) primary: Vec<u8>,
    /// With these it goes too.
    pub(super) under: Vec<Vec<u8>>,
    pub(super) variant: Option<Variant>,
    /// What the request says in them.
    pub(super) said: Option<Said>,
    pub(super) max_variants: usize,
    pub(super) stamp: Stamp,
    /// How long it is kept after it has become stale.
    pub(super) keep: Duration,
    pub(super) made: Made,
    pub(super) marks: Marks,
}

impl Place {
    /// Stores a response with the fields that are to be stored of it.
    pub(super) fn store(&self, recorded: &Recorded) -> Arc<Stored> {
        self.file(Stored::new(recorded, self.made.clone(), &self.marks))
    }

    /// Stores a part of a response, with these fields, with what is stored of it already. Gives the whole, once it is there.
    ///
    /// The fields of the earlier parts stay where the newer one has none in their place (RFC 9111, 3.4).
    pub(super) fn store_part(
        &self,
        mut fields: HeaderMap,
        part: Pieces,
        limit: usize,
    ) -> Option<Recorded> {
        let mut pieces = part;
        if let Some(stored) = self.earlier(&fields, pieces.total) {
            fields = updated(&stored.headers(), &fields);
            let earlier = stored.pieces.as_ref();
            pieces = earlier.map_or(pieces.clone(), |earlier| pieces.with(earlier, limit));
        }
        let recorded = |body| Recorded::new(StatusCode::OK, fields.clone(), body, None);
        let mut stored = Stored::new(&recorded(Bytes::new()), self.made.clone(), &self.marks);
        let whole = pieces.whole().map(recorded);
        stored.pieces = Some(pieces);
        self.file(stored);
        whole
    }

    /// The parts that are stored of the same representation: of that entity tag, and so many bytes.
    pub(super) fn earlier(&self, fields: &HeaderMap, total: u64) -> Option<Arc<Stored>> {
        self.held().filter(|stored| {
            stored.recorded.headers().get(ETAG) == fields.get(ETAG)
                && stored
                    .pieces
                    .as_ref()
                    .is_some_and(|pieces| pieces.total == total)
        })
    }

    /// What is stored where this is to be.
    fn held(&self) -> Option<Arc<Stored>> {
        let now = Instant::now();
        let own = self.variant.as_ref().map(|(_, key)| key);
        match &self.cache.peek(&self.primary, now)?.0 {
            Kind::Response(stored) => {
                let of = stored.variant.as_ref().map(|(_, key)| key);
                (of == own).then(|| Arc::clone(stored))
            }
            Kind::Variants(_) => peek(&self.cache, own?, now),
            Kind::Search(_) => None,
        }
    }

    fn file(&self, mut stored: Stored) -> Arc<Stored> {
        let made = &self.made;
        let fresh = made.policy.left(made.policy.initial_age);
        let keep = self.keep.max(made.policy.stale_use());
        let ttl = fresh
            .saturating_add(keep)
            .saturating_sub(made.received.elapsed());
        stored.variant.clone_from(&self.variant);
        stored.said.clone_from(&self.said);
        let stored = Arc::new(stored);
        let response = CachedResponse(Kind::Response(Arc::clone(&stored)));
        let apart = self.variant.as_ref().filter(|own| self.is_apart(own));
        let key = apart.map_or(&self.primary[..], |(_, key)| &key[..]);
        let mut set = self.cache.set(key, response).at(self.stamp).ttl(ttl);
        set = set.tags(stored.tags.iter());
        for key in stored.depends_on.iter() {
            set = set.depends_on(key);
        }
        for key in &self.under {
            set = set.depends_on(key);
        }
        // What removes the target removes all its variants, and what removes a variant finds it wherever it is.
        set = set.beside(&self.primary);
        if let Some((_, own)) = &self.variant {
            set = set.beside(own);
        }
        if stored.pieces.is_some() {
            set.store();
        } else {
            set.store_for_all();
        }
        tell(&self.cache, key, Heard::Filled);
        stored
    }

    /// The same response, for one answer.
    pub(super) fn unstored(&self, recorded: &Recorded) -> Arc<Stored> {
        Arc::new(Stored::new(recorded, self.made.clone(), &self.marks))
    }

    /// Whether a variant has a place of its own, and is among those that are known of the target. The first one has none: it takes that of the target, until
    /// there is a second.
    ///
    /// Who does the same at the same time may win: then once more, and if that fails too, the variant is not found, which is a miss.
    fn is_apart(&self, (selecting, key): &Variant) -> bool {
        for _ in 0..3 {
            let Some(there) = self.cache.peek(&self.primary, Instant::now()) else {
                return false;
            };
            let known = match &there.0 {
                Kind::Variants(known) if known.has(selecting, key) => return true,
                Kind::Variants(known) => Variants::clone(known),
                Kind::Response(other) => match &other.variant {
                    Some((fields, of)) if of != key && self.max_variants > 1 => {
                        self.cache.copy_to(of, &there);
                        Variants::one(fields, of)
                    }
                    _ => return false,
                },
                Kind::Search(_) => return false,
            };
            let (variants, gone) = known.with(selecting, key, self.max_variants);
            let marker = CachedResponse(Kind::Variants(Arc::new(variants)));
            let set = self.cache.set(&self.primary, marker);
            set.at(self.stamp).ttl(MARKER_TTL).store_for_all();
            for key in gone {
                remove(&self.cache, &key);
            }
        }
        true
    }
}
