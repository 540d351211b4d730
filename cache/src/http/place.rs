//! Where a response is put.

use std::sync::Arc;

use buttress_wire::Recorded;
use bytes::Bytes;
use http::StatusCode;
use http::header::{DATE, ETAG, HeaderMap};
use tokio::time::Instant;

use super::freshness::date;
use super::pieces::Pieces;
use super::settings::Shared;
use super::store::{Heard, MARKER_TTL, peek, remove, tell};
use super::stored::{CachedResponse, Kind, Made, Stored};
use super::validation::updated;
use super::variants::{Said, Variant, Variants};
use crate::{Cache, Stamp};

/// Where a response is to be stored, and what is known of it before its body is there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) primary: Arc<[u8]>,
    /// With these it goes too.
    pub(super) under: Vec<Vec<u8>>,
    pub(super) variant: Option<Variant>,
    /// What the request says in them.
    pub(super) said: Option<Said>,
    /// When the origin was asked.
    pub(super) begun: Instant,
    pub(super) stamp: Stamp,
    pub(super) made: Made,
}

impl Place {
    /// Stores a response with the fields that are to be stored of it.
    pub(super) fn store(&self, shared: &Shared, recorded: &Recorded) -> Arc<Stored> {
        let stored = Stored::new(recorded, self.made.clone(), &shared.marks);
        self.file(shared, stored)
    }

    /// Stores a response whose fields are marked already.
    pub(super) fn store_ready(&self, shared: &Shared, recorded: Recorded, is_only_teller: bool) {
        let made = self.made.clone();
        let stored = Stored::ready(recorded, is_only_teller, made, &shared.marks);
        self.file(shared, stored);
    }

    /// Stores a part of a response, with these fields, with what is stored of it already. Gives the whole, once it is there.
    ///
    /// The fields of the earlier parts stay where the newer one has none in their place (RFC 9111, 3.4).
    pub(super) fn store_part(
        &self,
        shared: &Shared,
        mut fields: HeaderMap,
        part: Pieces,
    ) -> Option<Recorded> {
        let mut pieces = part;
        if let Some(stored) = self.earlier(&shared.cache, &fields, pieces.total) {
            fields = updated(&stored.headers(), &fields);
            let (earlier, limit) = (stored.pieces.as_ref(), shared.max_object);
            pieces = earlier.map_or(pieces.clone(), |earlier| pieces.with(earlier, limit));
        }
        let recorded = |body| Recorded::new(StatusCode::OK, fields.clone(), body, None);
        let made = self.made.clone();
        let mut stored = Stored::new(&recorded(Bytes::new()), made, &shared.marks);
        let whole = pieces.whole().map(recorded);
        stored.pieces = Some(pieces);
        self.file(shared, stored);
        whole
    }

    /// The parts that are stored of the same representation: of that entity tag, and so many bytes.
    pub(super) fn earlier(
        &self,
        cache: &Cache<CachedResponse>,
        fields: &HeaderMap,
        total: u64,
    ) -> Option<Arc<Stored>> {
        self.held(cache).filter(|stored| {
            stored.recorded.headers().get(ETAG) == fields.get(ETAG)
                && stored
                    .pieces
                    .as_ref()
                    .is_some_and(|pieces| pieces.total == total)
        })
    }

    /// What has come while the origin was asked, and is stored where this is to be: another representation than the one with these fields.
    pub(super) fn overtaken_by(
        &self,
        cache: &Cache<CachedResponse>,
        fields: &HeaderMap,
    ) -> Option<Arc<Stored>> {
        if !cache.has(&self.primary) {
            return None;
        }
        self.held(cache).filter(|there| {
            let (own, other) = (fields.get(ETAG), there.recorded.headers().get(ETAG));
            there.received > self.begun && (own.is_none() || own != other)
        })
    }

    /// What is stored where this is to be.
    fn held(&self, cache: &Cache<CachedResponse>) -> Option<Arc<Stored>> {
        let now = Instant::now();
        let own = self.variant.as_ref().map(|(_, key)| key);
        match &cache.peek(&self.primary, now)?.0 {
            Kind::Response(stored) => {
                let of = stored.variant.as_ref().map(|(_, key)| key);
                (of == own).then(|| Arc::clone(stored))
            }
            Kind::Variants(_) => peek(cache, own?, now),
            Kind::Search(_) => None,
        }
    }

    fn file(&self, shared: &Shared, mut stored: Stored) -> Arc<Stored> {
        let (made, cache, now) = (&self.made, &shared.cache, Instant::now());
        // The most recent one is to be used (RFC 9111, 4), whichever came last.
        let made_at = |fields: &HeaderMap| date(fields, DATE);
        let own = stored.recorded.headers();
        if let Some(there) = self.overtaken_by(cache, own)
            && made_at(there.recorded.headers()) > made_at(own)
        {
            return there;
        }
        let fresh = made.policy.left(made.policy.initial_age);
        let keep = shared.keep.max(made.policy.stale_use());
        let ttl = fresh
            .saturating_add(keep)
            .saturating_sub(now.saturating_duration_since(made.received));
        stored.variant.clone_from(&self.variant);
        stored.said.clone_from(&self.said);
        let stored = Arc::new(stored);
        let response = CachedResponse(Kind::Response(Arc::clone(&stored)));
        let apart = self.variant.as_ref();
        let apart = apart.filter(|own| self.is_apart(shared, own, now));
        let key = apart.map_or(&self.primary, |(_, key)| key);
        let mut set = cache.set_shared(key, response).at(self.stamp).ttl(ttl);
        set = set.now(now).tags(stored.tags.iter());
        for key in stored.depends_on.iter() {
            set = set.depends_on(key);
        }
        for key in &self.under {
            set = set.depends_on(key);
        }
        // What removes the target removes all its variants, and what removes a variant finds it wherever it is. What is under its own key goes with that in any case.
        if apart.is_some() {
            set = set.beside(&self.primary);
        } else if let Some((_, own)) = &self.variant {
            set = set.beside(own);
        }
        if stored.pieces.is_some() {
            set.store();
        } else {
            set.store_for_all();
        }
        tell(cache, key, Heard::Filled);
        shared.filed.add();
        stored
    }

    /// The same response, for one answer.
    pub(super) fn unstored(&self, shared: &Shared, recorded: &Recorded) -> Arc<Stored> {
        let made = self.made.clone();
        Arc::new(Stored::new(recorded, made, &shared.marks))
    }

    /// Whether a variant has a place of its own, and is among those that are known of the target. The first one has none: it takes that of the target, until
    /// there is a second.
    ///
    /// Who does the same at the same time may win: then once more, and if that fails too, the variant is not found, which is a miss.
    fn is_apart(&self, shared: &Shared, (selecting, key): &Variant, mut now: Instant) -> bool {
        let (cache, max_variants) = (&shared.cache, shared.max_variants);
        if !cache.has(&self.primary) {
            return false;
        }
        for _ in 0..3 {
            let Some(there) = cache.peek(&self.primary, now) else {
                return false;
            };
            let known = match &there.0 {
                Kind::Variants(known) if known.has(selecting, key) => return true,
                Kind::Variants(known) => Variants::clone(known),
                Kind::Response(other) => match &other.variant {
                    Some((fields, of)) if of != key && max_variants > 1 => {
                        cache.copy_to(of, &there);
                        Variants::one(fields, of)
                    }
                    _ => return false,
                },
                Kind::Search(_) => return false,
            };
            let (variants, gone) = known.with(selecting, key, max_variants);
            let marker = CachedResponse(Kind::Variants(Arc::new(variants)));
            let set = cache.set_shared(&self.primary, marker);
            set.at(self.stamp).ttl(MARKER_TTL).store_for_all();
            for key in gone {
                remove(cache, &key);
            }
            now = Instant::now();
        }
        true
    }
}
