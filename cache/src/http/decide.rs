//! What becomes of a request: an answer from the store, or a plan of how it is forwarded (RFC 9111, section 4).

use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Response, request};
use tokio::time::Instant;

use super::answer::{answer, has_parts, only_if_cached};
use super::body::CacheBody;
use super::errand::{Errand, parts_key};
use super::flight::{FlightKey, write_key};
use super::glance::Glance;
use super::purge::purge;
use super::reuse::{Reuse, Why, Wish};
use super::settings::Shared;
use super::status::{CacheOutcome, Forwarded, Told};
use super::store::{Found, Heard, Held, find, tell};
use super::stored::Stored;
use super::variants::{Selecting, Variants};

/// What a request gets from the store. Small, since a hit is so fast that moving it shows.
pub(super) enum Answer<B> {
    Made(Box<Response<CacheBody<B>>>),
    /// All of what is stored, at this age.
    Whole(Held, Duration),
}

impl<B> From<Response<CacheBody<B>>> for Answer<B> {
    fn from(response: Response<CacheBody<B>>) -> Self {
        Self::Made(Box::new(response))
    }
}

/// How a request is forwarded.
pub(super) struct Plan {
    pub(super) why: Forwarded,
    pub(super) primary: Arc<[u8]>,
    pub(super) stale: Option<Arc<Stored>>,
    pub(super) variants: Option<Arc<Variants>>,
    /// By what others who ask for the same know it; `None` if it goes alone.
    pub(super) flight: Option<FlightKey>,
    pub(super) now: Instant,
    /// What had been stored before it was looked for.
    pub(super) filed: u64,
    pub(super) way: Way,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// By itself.
    Alone,
    /// In the background, or at least not before everybody's eyes.
    Refresh,
    /// For all who ask at the same time.
    Shared,
}

impl Plan {
    fn alone(why: Forwarded, primary: &[u8], now: Instant) -> Self {
        Self {
            why,
            primary: primary.into(),
            stale: None,
            variants: None,
            flight: None,
            now,
            filed: 0,
            way: Way::Alone,
        }
    }
}

impl Errand {
    /// Whether what this request gets may take the place of what is used meanwhile. Who wants nothing but what is stored wants nobody to be asked; who wants that nothing is
    /// stored, or has asked for a head, brings nothing; and neither does one whose like has just brought nothing.
    pub(super) fn can_refresh(&self) -> bool {
        let is_vain = |flight: &FlightKey| self.shared.vain.knows(flight.hash, self.begun);
        self.parts.method == Method::GET
            && self.wish.is_plain()
            && !self.wish.is_only_if_cached()
            && !self.flight.as_ref().is_some_and(is_vain)
    }

    /// By what that is known which is used meanwhile.
    pub(super) fn refresh_key(&self) -> Arc<[u8]> {
        let variant = self.stale.as_ref().and_then(|stale| stale.variant.as_ref());
        variant.map_or_else(|| Arc::clone(&self.primary), |(_, key)| Arc::clone(key))
    }

    /// Finds out by what others who ask for the same know this request.
    pub(super) fn look_for_flight(&mut self) {
        // What the target varies by may be known by now.
        let found = self.find(Instant::now());
        let sets = match &found {
            Found::Nothing => None,
            Found::OtherVariant(known) => sets(None, Some(known)),
            Found::Response(stored, known) => sets(Some(stored), known.as_deref()),
        };
        let mut key = self.primary.to_vec();
        write_flight(&mut key, &self.shared, &Glance::at(&self.parts), sets);
        self.flight = Some(FlightKey::new(&key, &self.shared.private));
    }
}

/// Makes the primary key of a request that by which others who ask for the same know it.
fn write_flight(
    key: &mut Vec<u8>,
    shared: &Shared,
    request: &Glance<'_>,
    sets: Option<&[Selecting]>,
) {
    let normalize = shared.normalize.as_deref();
    write_key(key, sets, request, normalize, shared.rules.ignore_cookie);
}

/// What a target is known to vary by.
fn sets<'a>(stored: Option<&'a Stored>, variants: Option<&'a Variants>) -> Option<&'a [Selecting]> {
    let of_one = || stored?.variant.as_ref().map(|(set, _)| from_ref(set));
    variants.map(|known| &known.sets[..]).or_else(of_one)
}

/// The answer from the store; else there is a plan of how the request is forwarded.
#[inline(always)]
pub(super) fn decide<B>(
    shared: &Shared,
    request: &Glance<'_>,
    has_body: bool,
    primary: &mut Vec<u8>,
    plan: &mut Option<Plan>,
) -> Option<Answer<B>> {
    // One by one: what is put together is moved.
    let wish = Wish::at(request);
    let (parts, now) = (request.parts, Instant::now());
    if let Some(why) = passes_by(shared, request, has_body) {
        return pass_by(shared, parts, &wish, why, primary, now)
            .map_err(|passing| *plan = Some(passing))
            .ok();
    }
    let filed = shared.filed.count();
    let mut miss = match look(shared, request, &wish, primary, now) {
        Ok(answer) => return Some(answer),
        Err(miss) => miss,
    };
    if !miss.is_usable && request.has_range() && parts.method == Method::GET {
        match from_parts(shared, request, &wish, primary, now) {
            Some(Ok(response)) => return Some(response.into()),
            Some(Err(partial)) if miss.stale.is_none() => miss.why = partial,
            _ => {}
        }
    }
    if wish.is_only_if_cached() && !miss.is_usable && !shared.looks_below(&wish) {
        return Some(only_if_cached(&parts.headers).into());
    }
    if !miss.is_usable {
        tell(&shared.cache, primary, Heard::Miss);
    }
    let forward = miss.plan(shared, request, &wish, primary, now);
    *plan = Some(Plan { filed, ..forward });
    None
}

/// What becomes of a request that is not answered from the store.
fn pass_by<B>(
    shared: &Shared,
    parts: &request::Parts,
    wish: &Wish,
    why: Forwarded,
    primary: &[u8],
    now: Instant,
) -> Result<Answer<B>, Plan> {
    if why == Forwarded::Method
        && let Some(purged) = purge(shared, parts)
    {
        return Ok(purged.into());
    }
    if why == Forwarded::Bypass && wish.is_only_if_cached() {
        return Ok(only_if_cached(&parts.headers).into());
    }
    Err(Plan::alone(why, primary, now))
}

/// Why the store has no answer by itself.
struct Miss {
    why: Forwarded,
    stale: Option<Arc<Stored>>,
    variants: Option<Arc<Variants>>,
    /// What is stale may be used while it is asked for anew.
    is_usable: bool,
}

impl Miss {
    fn of(why: Forwarded, variants: Option<Arc<Variants>>) -> Self {
        Self {
            why,
            stale: None,
            variants,
            is_usable: false,
        }
    }

    /// How the request is forwarded. `key` is its primary one, and is not needed any more.
    fn plan(
        self,
        shared: &Shared,
        request: &Glance<'_>,
        wish: &Wish,
        key: &mut Vec<u8>,
        now: Instant,
    ) -> Plan {
        let way = self.way(shared, request, wish);
        let mut plan = Plan::alone(self.why, key, now);
        if way != Way::Alone {
            let sets = sets(self.stale.as_deref(), self.variants.as_deref());
            write_flight(key, shared, request, sets);
            // Who asks for the like of what could not be shared waits for nobody.
            let hash = shared.private.hash(key);
            if way == Way::Refresh || !shared.private.knows(hash, now) {
                (plan.way, plan.flight) = (way, Some(FlightKey::hashed(key, hash)));
            }
        }
        Plan {
            stale: self.stale,
            variants: self.variants,
            ..plan
        }
    }

    fn way(&self, shared: &Shared, request: &Glance<'_>, wish: &Wish) -> Way {
        if self.is_usable {
            Way::Refresh
        } else if shared.collapse
            && !wish.is_only_if_cached()
            && is_shareable(request, wish, self.stale.is_some())
        {
            Way::Shared
        } else {
            Way::Alone
        }
    }
}

/// The answer from the store, if what it has will do.
#[inline(always)]
fn look<B>(
    shared: &Shared,
    request: &Glance<'_>,
    wish: &Wish,
    primary: &[u8],
    now: Instant,
) -> Result<Answer<B>, Miss> {
    let normalize = shared.normalize.as_deref();
    let found = find(&shared.cache, primary, request, normalize, now);
    let (stored, variants) = match found {
        Found::Nothing => return Err(Miss::of(Forwarded::UriMiss, None)),
        Found::OtherVariant(known) => return Err(Miss::of(Forwarded::VaryMiss, Some(known))),
        Found::Response(stored, variants) => (stored, variants),
    };
    // Looked at once where it is held.
    let response: &Stored = &stored;
    let age = response.age(now);
    let reuse = wish.reuse(&response.policy, age);
    let why = match reuse {
        Reuse::Fresh | Reuse::Stale => {
            tell(&shared.cache, primary, Heard::Hit);
            if reuse == Reuse::Fresh && is_whole(shared, request, response) {
                return Ok(Answer::Whole(stored, age));
            }
            return Ok(hit(shared, request, response, age, reuse).into());
        }
        Reuse::Validate(Why::Request) => Forwarded::Request,
        Reuse::Validate(Why::Response) | Reuse::WhileRevalidating => Forwarded::Stale,
    };
    Err(Miss {
        stale: Some(stored.into_stored()),
        is_usable: reuse == Reuse::WhileRevalidating,
        ..Miss::of(why, variants)
    })
}

/// The answer from the parts of a response that are stored; or why they do not do.
fn from_parts<B>(
    shared: &Shared,
    request: &Glance<'_>,
    wish: &Wish,
    primary: &[u8],
    now: Instant,
) -> Option<Result<Response<CacheBody<B>>, Forwarded>> {
    let normalize = shared.normalize.as_deref();
    let key = parts_key(primary);
    let found = find(&shared.cache, &key, request, normalize, now);
    let Found::Response(stored, _) = found else {
        return None;
    };
    let age = stored.age(now);
    let reuse = wish.reuse(&stored.policy, age);
    match reuse {
        Reuse::Fresh | Reuse::Stale if has_parts(request.parts, &stored) => {
            tell(&shared.cache, primary, Heard::Hit);
            Some(Ok(hit(shared, request, &stored, age, reuse)))
        }
        Reuse::Fresh | Reuse::Stale => Some(Err(Forwarded::Partial)),
        _ => Some(Err(Forwarded::Stale)),
    }
}

/// Whether others may wait for what this request gets: then it is asked for whole and without conditions of its client's.
fn is_shareable(request: &Glance<'_>, wish: &Wish, is_known: bool) -> bool {
    let is_whole = !request.is_conditional() && !request.has_range();
    request.parts.method == Method::GET && wish.is_plain() && (is_whole || is_known)
}

/// Whether a request gets all of a stored response, and nothing else is told of it than is told of any.
fn is_whole(shared: &Shared, request: &Glance<'_>, stored: &Stored) -> bool {
    request.parts.method == Method::GET
        && !request.is_conditional()
        && !request.has_range()
        && !shared.tell_key
        && !shared.extension
        && shared.marks.x_cache == stored.tells_x_cache
}

fn hit<B>(
    shared: &Shared,
    request: &Glance<'_>,
    stored: &Stored,
    age: Duration,
    reuse: Reuse,
) -> Response<CacheBody<B>> {
    let told = Told {
        detail: (reuse == Reuse::Stale).then_some("max-stale"),
        ..Told::default()
    };
    answer(shared, request, stored, age, CacheOutcome::Hit, told)
}

/// What a request gets that does not wait for the refresh.
pub(super) fn stale_answer<B>(errand: &Errand) -> Response<CacheBody<B>> {
    let stale = errand.stale.as_ref();
    let stale = stale.expect("what is refreshed is there");
    let told = Told {
        detail: Some("stale-while-revalidate"),
        ..Told::default()
    };
    let (age, outcome) = (stale.age(Instant::now()), CacheOutcome::Stale);
    let request = Glance::at(&errand.parts);
    answer(&errand.shared, &request, stale, age, outcome, told)
}

/// The answer from the store, if there is one by now.
pub(super) fn look_again<B>(errand: &Errand) -> Option<Response<CacheBody<B>>> {
    let (shared, now) = (&errand.shared, Instant::now());
    let Found::Response(stored, _) = errand.find(now) else {
        return None;
    };
    let age = stored.age(now);
    let reuse = errand.wish.reuse(&stored.policy, age);
    if reuse != Reuse::Fresh {
        return None;
    }
    tell(&shared.cache, &errand.primary, Heard::Joined);
    let told = Told {
        why: Some(errand.why),
        collapsed: true,
        ..Told::default()
    };
    let outcome = CacheOutcome::Collapsed(errand.why);
    let request = Glance::at(&errand.parts);
    Some(answer(shared, &request, &stored, age, outcome, told))
}

/// Why a request is not answered from the store, whatever is in it.
fn passes_by(shared: &Shared, request: &Glance<'_>, has_body: bool) -> Option<Forwarded> {
    if !matches!(request.parts.method, Method::GET | Method::HEAD) {
        return Some(Forwarded::Method);
    }
    // A body is not in the key, although the answer may depend on it.
    let bypass = has_body || request.is_beyond() || !shared.is_cacheable(request.parts);
    bypass.then_some(Forwarded::Bypass)
}
