//! What all services of a layer share: its choices, its store, and who is under way.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use buttress_dedup::Flights;
use buttress_wire::key::{KeyBuilder, authority, with_buffer};
use http::header::{HOST, HeaderMap, HeaderName};
use http::{request, response};
use tokio::time::Instant;

use super::dates::Dates;
use super::flight::{Landed, flights, refreshes};
use super::glance::Glance;
use super::key::{Query, SCHEMES, write_primary};
use super::memory::Memory;
use super::query::{Params, SearchRule};
use super::reuse::Wish;
use super::status::Lines;
use super::storability::Rules;
use super::store::search_rule;
use super::stored::{CachedResponse, Marks};
use super::variants::{Normalize, Usual};
use crate::Cache;

pub(super) type PartitionFn = dyn Fn(&request::Parts) -> Cow<'_, [u8]> + Send + Sync;

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) cache: Cache<CachedResponse>,
    pub(super) flights: Flights<Arc<[u8]>, Landed>,
    /// What is asked for anew while it is used, by its key.
    pub(super) refreshes: Flights<Arc<[u8]>, ()>,
    /// Requests whose answers were their client's alone.
    pub(super) private: Memory,
    /// Requests that would have refreshed what was used, and brought nothing that could be stored.
    pub(super) vain: Memory,
    pub(super) partition: Option<Arc<PartitionFn>>,
    pub(super) normalize: Option<Arc<Normalize>>,
    pub(super) hooks: Hooks,
    pub(super) params: Params,
    /// Whether the origin's word on parameters is listened to.
    pub(super) search: bool,
    /// Where responses have tags, and purges too.
    pub(super) tag_header: Option<HeaderName>,
    pub(super) rules: Rules,
    /// Not more than there is room for.
    pub(super) max_object: usize,
    pub(super) max_variants: usize,
    /// How long a stale response is kept.
    pub(super) keep: Duration,
    pub(super) collapse: bool,
    pub(super) store_post: bool,
    pub(super) window: usize,
    pub(super) stall: Duration,
    pub(super) marks: Marks,
    pub(super) lines: Lines,
    pub(super) usual: Usual,
    /// How often something was put into the store.
    pub(super) filed: Filed,
    pub(super) tell_key: bool,
    pub(super) extension: bool,
}

/// A count by which who looked for something, and leads a flight now, sees that it cannot have been stored since.
///
/// It is counted up after something is there, and before the flight ends that put it there.
#[derive(Clone, Debug, Default)]
pub(super) struct Filed(Arc<AtomicU64>);

impl Filed {
    /// What is there, or was, at this count is found by whoever looks after this.
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// How many tags a response may have in its fields, and be stored: each costs every hit a look.
pub(super) const MAX_TAGS: usize = 256;

type OfRequest<T> = Arc<dyn Fn(&request::Parts) -> T + Send + Sync>;
type OfBoth<T> = Arc<dyn Fn(&request::Parts, &response::Parts) -> T + Send + Sync>;

/// What an application decides, by functions of request and response.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) key: Option<OfRequest<Option<Vec<u8>>>>,
    pub(super) purge: Option<OfRequest<bool>>,
    pub(super) cacheable: Option<OfRequest<bool>>,
    pub(super) storable: Option<OfBoth<bool>>,
    pub(super) ttl: Option<OfBoth<Option<Duration>>>,
    pub(super) tags: Option<OfBoth<Vec<String>>>,
    pub(super) depends_on: Option<OfBoth<Vec<Vec<u8>>>>,
}

/// The largest value that is kept in memory.
pub(super) fn largest(cache: &Cache<CachedResponse>) -> usize {
    usize::try_from(cache.l1().largest()).unwrap_or(usize::MAX)
}

impl Shared {
    pub(super) fn new(cache: Cache<CachedResponse>) -> Self {
        Self {
            max_object: (8 << 20).min(largest(&cache)),
            cache,
            flights: flights(),
            refreshes: refreshes(),
            private: Memory::new(Duration::from_secs(10)),
            vain: Memory::new(Duration::from_secs(10)),
            partition: None,
            normalize: None,
            hooks: Hooks::default(),
            params: Params::All,
            search: false,
            tag_header: None,
            rules: Rules::default(),
            max_variants: 64,
            keep: Duration::from_secs(24 * 60 * 60),
            collapse: true,
            store_post: false,
            window: 1 << 20,
            stall: Duration::from_secs(5),
            marks: Marks {
                name: "buttress".into(),
                x_cache: false,
                copies: false,
                dates: Dates::default(),
            },
            lines: Lines::of("buttress"),
            usual: Usual::default(),
            filed: Filed::default(),
            tell_key: false,
            extension: false,
        }
    }

    pub(super) fn partition<'a>(&self, parts: &'a request::Parts) -> Cow<'a, [u8]> {
        self.partition
            .as_ref()
            .map_or(Cow::Borrowed(&[]), |partition| partition(parts))
    }

    /// The primary key of a request.
    pub(super) fn write_primary(&self, key: &mut Vec<u8>, request: &Glance<'_>) {
        if self.is_plain() {
            let (uri, authority) = (&request.parts.uri, request.authority());
            let query = Query::Exact(uri.query().map(Cow::Borrowed));
            return write_primary(key, b"", None, uri, authority, &query);
        }
        let rule = if self.search {
            self.search_rule(request.parts)
        } else {
            None
        };
        let authority = request.authority();
        self.write_primary_at(key, request.parts, authority, rule.as_deref());
    }

    /// The same, where it is known what the origin says of the query.
    pub(super) fn write_primary_by(
        &self,
        key: &mut Vec<u8>,
        parts: &request::Parts,
        rule: Option<&SearchRule>,
    ) {
        self.write_primary_at(key, parts, authority(parts), rule);
    }

    fn write_primary_at(
        &self,
        key: &mut Vec<u8>,
        parts: &request::Parts,
        authority: &[u8],
        rule: Option<&SearchRule>,
    ) {
        let partition = self.partition(parts);
        if let Some(own) = self.own_key(parts) {
            KeyBuilder::new(key).part(partition).part("key").part(own);
            return;
        }
        let query = self.params.of(parts.uri.query());
        let query = match rule {
            Some(rule) => Query::By(rule, query.as_deref()),
            None => Query::Exact(query),
        };
        write_primary(key, &partition, None, &parts.uri, authority, &query);
    }

    /// Where the origin's rule for the queries of a path is kept.
    pub(super) fn write_rule_key(&self, key: &mut Vec<u8>, parts: &request::Parts) {
        let (partition, authority) = (self.partition(parts), authority(parts));
        write_primary(key, &partition, None, &parts.uri, authority, &Query::Rule);
    }

    /// Whether a key is the target, and nobody has a say in it: as most are.
    fn is_plain(&self) -> bool {
        let is_all = matches!(self.params, Params::All);
        is_all && !self.search && self.partition.is_none() && self.hooks.key.is_none()
    }

    fn search_rule(&self, parts: &request::Parts) -> Option<Arc<SearchRule>> {
        with_buffer(|key| {
            self.write_rule_key(key, parts);
            search_rule(&self.cache, key, Instant::now())
        })
    }

    /// What a soft purge of a target makes stale: the primary keys of what is there by the rules that are known here. And what it takes away, since nobody here knows how it is
    /// found: what is there by no rule, where there is one, and all that goes by the rule, where it is not known.
    pub(super) fn soft_and_hard_keys_of(
        &self,
        parts: &request::Parts,
    ) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        if !self.search || self.own_key(parts).is_some() {
            return (self.keys_of(parts), Vec::new());
        }
        let (partition, authority) = (self.partition(parts), authority(parts));
        let query = self.params.of(parts.uri.query());
        let key = |scheme, query: &Query<'_>| {
            let mut key = Vec::new();
            let uri = &parts.uri;
            write_primary(&mut key, &partition, Some(scheme), uri, authority, query);
            key
        };
        let keys = SCHEMES.iter().map(|scheme| {
            let (rule, exact) = (
                key(scheme, &Query::Rule),
                key(scheme, &Query::Exact(query.clone())),
            );
            match search_rule(&self.cache, &rule, Instant::now()) {
                Some(rule) => (key(scheme, &Query::By(&rule, query.as_deref())), exact),
                None => (exact, rule),
            }
        });
        keys.unzip()
    }

    /// The primary keys of what is at a target, by whichever protocol version it was stored; and of the rule for its path, with which all goes
    /// that was stored by it.
    pub(super) fn keys_of(&self, parts: &request::Parts) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        if self.own_key(parts).is_some() {
            let mut key = Vec::new();
            self.write_primary_by(&mut key, parts, None);
            keys.push(key);
            return keys;
        }
        let (partition, authority) = (self.partition(parts), authority(parts));
        let exact = Query::Exact(self.params.of(parts.uri.query()));
        let queries = [exact, Query::Rule];
        for query in queries.iter().take(if self.search { 2 } else { 1 }) {
            for scheme in SCHEMES {
                let mut key = Vec::new();
                write_primary(
                    &mut key,
                    &partition,
                    Some(scheme),
                    &parts.uri,
                    authority,
                    query,
                );
                keys.push(key);
            }
        }
        keys
    }

    /// The tags in the field of choice, apart by commas or spaces.
    pub(super) fn header_tags<'a>(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let lines = self
            .tag_header
            .iter()
            .flat_map(|name| headers.get_all(name));
        let lines = lines.filter_map(|line| line.to_str().ok());
        let tags = lines.flat_map(|line| line.split([',', ' ', '\t']));
        tags.filter(|tag| !tag.is_empty())
    }

    fn own_key(&self, parts: &request::Parts) -> Option<Vec<u8>> {
        self.hooks.key.as_ref().and_then(|key| key(parts))
    }

    /// What sets the groups of one site, and of one tenant, apart from those of others.
    pub(super) fn origin(&self, parts: &request::Parts) -> Vec<u8> {
        let mut origin = Vec::new();
        KeyBuilder::new(&mut origin)
            .part(self.partition(parts))
            .authority(parts);
        origin
    }

    /// What is told of the key, if it is to be: the target.
    pub(super) fn told_key(&self, parts: &request::Parts) -> Option<String> {
        if !self.tell_key {
            return None;
        }
        let host = || parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let authority = authority.or_else(host).unwrap_or_default();
        let target = parts
            .uri
            .path_and_query()
            .map_or("", |target| target.as_str());
        Some(format!("{authority}{target}"))
    }

    /// Whether what other processes have stored may be an answer.
    pub(super) fn looks_below(&self, wish: &Wish) -> bool {
        self.cache.is_shared() && !wish.is_no_cache()
    }

    pub(super) fn has_hooks(&self) -> bool {
        let hooks = &self.hooks;
        self.partition.is_some()
            || hooks.key.is_some()
            || hooks.storable.is_some()
            || hooks.ttl.is_some()
            || hooks.tags.is_some()
            || hooks.depends_on.is_some()
    }

    pub(super) fn is_cacheable(&self, request: &request::Parts) -> bool {
        let hook = self.hooks.cacheable.as_ref();
        hook.is_none_or(|cacheable| cacheable(request))
    }

    pub(super) fn may_store(&self, request: &request::Parts, response: &response::Parts) -> bool {
        let hook = self.hooks.storable.as_ref();
        hook.is_none_or(|storable| storable(request, response))
    }

    pub(super) fn ttl_of(
        &self,
        request: &request::Parts,
        response: &response::Parts,
    ) -> Option<Duration> {
        let hook = self.hooks.ttl.as_ref()?;
        hook(request, response)
    }

    pub(super) fn tags_of(
        &self,
        request: &request::Parts,
        response: &response::Parts,
    ) -> Vec<String> {
        let hook = self.hooks.tags.as_ref();
        hook.map(|tags| tags(request, response)).unwrap_or_default()
    }

    pub(super) fn dependencies_of(
        &self,
        request: &request::Parts,
        response: &response::Parts,
    ) -> Vec<Vec<u8>> {
        let hook = self.hooks.depends_on.as_ref();
        hook.map(|of| of(request, response)).unwrap_or_default()
    }

    /// Dates in fields are by the wall clock; nothing else here is.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks for the date"
    )]
    pub(super) fn date(&self) -> SystemTime {
        SystemTime::now()
    }
}
