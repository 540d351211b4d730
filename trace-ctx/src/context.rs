//! Where one request stands in its trace.

use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderValue;

use crate::carry::Carried;
use crate::{
    Baggage, Flags, IdGenerator, MAX_NOTES, Note, Remote, RequestId, SpanId, TraceId, TraceParent,
    TraceState,
};

/// Where one request stands in its trace: what logs, records and outgoing calls carry.
///
/// The layers put it into the extensions of the request, and it is [`current()`](crate::current) while they
/// poll. Cloning allocates nothing.
///
/// It is small, since a request has two of them, and calls made for it more. What few requests have beside their ids is behind one shared
/// allocation.
#[derive(Debug)]
pub struct TraceContext {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent_id: Option<SpanId>,
    pub(crate) sampling: Sampling,
    pub(crate) random: bool,
    pub(crate) origin: Origin,
    /// Whether a sink is to be told of this very span: of others no notes are kept.
    pub(crate) is_told: bool,
    pub(crate) request_id: RequestId,
    rare: Option<Arc<Rare>>,
}

/// What few contexts have.
#[derive(Clone, Debug, Default)]
struct Rare {
    state: TraceState,
    correlation_id: Option<RequestId>,
    link: Option<Link>,
    baggage: Baggage,
    client_ip: Option<IpAddr>,
    user: Option<Arc<str>>,
    carried: Carried,
    /// Of this span, and not of those below it.
    notes: Vec<Note>,
}

/// What was decided about recording a trace.
///
/// Kept apart from [`Flags`], which can say only two of the four: some formats can also defer the decision to
/// the receiver, or demand that everything be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// Nobody has decided yet. In every format those we call are told that the trace is not sampled.
    Defer,
    /// Not to be recorded.
    Deny,
    /// To be recorded.
    Accept,
    /// To be recorded whatever any sampler says.
    Debug,
}

/// How a context came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Nothing came in: a new trace.
    New,
    /// The caller's trace goes on.
    Continued,
    /// The caller's trace was not to be continued: a new one, which remembers it as its
    /// [`link`](TraceContext::link).
    Linked,
    /// The caller's trace was not to be looked at: a new one.
    Ignored,
    /// What came in was not valid: a new trace.
    Invalid,
    /// Made from another context of this process by [`TraceContext::child`].
    Local,
}

/// A span of another trace that has to do with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The other trace.
    pub trace_id: TraceId,
    /// The span in it.
    pub span_id: SpanId,
}

impl Sampling {
    /// Whether the trace is to be recorded.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        matches!(self, Self::Accept | Self::Debug)
    }
}

impl Rare {
    /// Nothing, where there is nothing to keep.
    #[inline]
    fn with(state: &mut TraceState) -> Option<Arc<Self>> {
        if state.is_empty() {
            return None;
        }
        Some(Arc::new(Self {
            state: mem::take(state),
            ..Self::default()
        }))
    }

    fn without_notes(&self) -> Self {
        Self {
            state: self.state.clone(),
            correlation_id: self.correlation_id.clone(),
            link: self.link,
            baggage: self.baggage.clone(),
            client_ip: self.client_ip,
            user: self.user.clone(),
            carried: self.carried.clone(),
            notes: Vec::new(),
        }
    }
}

impl Clone for TraceContext {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            request_id: self.request_id.clone(),
            rare: self.rare.clone(),
            ..*self
        }
    }

    /// Field by field to where it stays: whole ones would be copied once more on the way.
    #[inline]
    fn clone_from(&mut self, other: &Self) {
        self.trace_id = other.trace_id;
        self.span_id = other.span_id;
        self.parent_id = other.parent_id;
        self.sampling = other.sampling;
        self.random = other.random;
        self.origin = other.origin;
        self.is_told = other.is_told;
        self.request_id.clone_from(&other.request_id);
        self.rare.clone_from(&other.rare);
    }
}

impl TraceContext {
    /// A new trace with its first span and a new request id. Nothing is decided about sampling yet.
    #[must_use]
    pub fn root(ids: &dyn IdGenerator) -> Self {
        Self::open(ids, None)
    }

    /// A new trace, for the request with this valid id or with a new one.
    #[inline]
    pub(crate) fn open(ids: &dyn IdGenerator, request_id: Option<&HeaderValue>) -> Self {
        Self {
            trace_id: ids.trace_id(),
            span_id: ids.span_id(),
            parent_id: None,
            sampling: Sampling::Defer,
            random: ids.is_random(),
            origin: Origin::New,
            is_told: false,
            request_id: RequestId::of(request_id, ids),
            rare: None,
        }
    }

    /// The first span of ours in a trace that somebody else began, whose state it takes over.
    #[inline]
    pub(crate) fn continuing(
        remote: &mut Remote,
        sampling: Sampling,
        ids: &dyn IdGenerator,
        request_id: Option<&HeaderValue>,
    ) -> Self {
        Self {
            trace_id: remote.parent.trace_id,
            span_id: ids.span_id(),
            parent_id: Some(remote.parent.span_id),
            sampling,
            random: remote.parent.flags.is_random(),
            origin: Origin::Continued,
            is_told: false,
            request_id: RequestId::of(request_id, ids),
            rare: Rare::with(&mut remote.state),
        }
    }

    /// A new span in the same trace, for the same request, whose parent is this one.
    #[must_use]
    pub fn child(&self, ids: &dyn IdGenerator) -> Self {
        self.clone().into_child(ids)
    }

    pub(crate) fn into_child(mut self, ids: &dyn IdGenerator) -> Self {
        self.descend(ids);
        self
    }

    /// Becomes a child of itself, where it is.
    #[inline]
    pub(crate) fn descend(&mut self, ids: &dyn IdGenerator) {
        if !self.notes().is_empty() {
            self.forget_notes();
        }
        self.parent_id = Some(self.span_id);
        self.span_id = ids.span_id();
        self.origin = Origin::Local;
    }

    /// The same context with this decision.
    #[must_use]
    pub fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// The same context for the request with this id.
    #[must_use]
    pub fn with_request_id(self, request_id: RequestId) -> Self {
        Self { request_id, ..self }
    }

    /// The same context as part of the business transaction with this id.
    #[must_use]
    pub fn with_correlation_id(mut self, correlation_id: RequestId) -> Self {
        self.set_correlation_id(correlation_id);
        self
    }

    pub(crate) fn set_correlation_id(&mut self, correlation_id: RequestId) {
        self.rare_mut().correlation_id = Some(correlation_id);
    }

    pub(crate) fn with_link(mut self, link: Link) -> Self {
        self.rare_mut().link = Some(link);
        self
    }

    /// The address of the client, where the layer was told [how to find it](crate::ServerLayer::client_ip).
    #[must_use]
    pub fn client_ip(&self) -> Option<IpAddr> {
        self.rare.as_ref()?.client_ip
    }

    pub(crate) fn set_client_ip(&mut self, client_ip: IpAddr) {
        self.rare_mut().client_ip = Some(client_ip);
    }

    /// Whose request it is, where somebody [said so](crate::user).
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.rare.as_ref()?.user.as_deref()
    }

    /// The same context as the request of this user.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<Arc<str>>) -> Self {
        self.set_user(user.into());
        self
    }

    pub(crate) fn set_user(&mut self, user: Arc<str>) {
        self.rare_mut().user = Some(user);
    }

    /// Takes over what was [said](crate::user) of the same request since this copy of its context was made.
    #[inline]
    pub(crate) fn catch_up(&mut self, current: &Self) {
        if self.span_id == current.span_id
            && let Some(Rare {
                user: Some(user), ..
            }) = current.rare.as_deref()
            && self.user() != Some(user)
        {
            self.set_user(Arc::clone(user));
        }
    }

    pub(crate) fn carried(&self) -> &Carried {
        static EMPTY: Carried = Carried::EMPTY;
        self.rare.as_ref().map_or(&EMPTY, |rare| &rare.carried)
    }

    pub(crate) fn carry(&mut self, carried: Carried) {
        self.rare_mut().carried = carried;
    }

    /// What travels with the request beside its trace.
    #[must_use]
    pub fn baggage(&self) -> &Baggage {
        static EMPTY: Baggage = Baggage::EMPTY;
        self.rare.as_ref().map_or(&EMPTY, |rare| &rare.baggage)
    }

    /// What travels with the request beside its trace, to add to it. Other clones of this context do not change.
    pub fn baggage_mut(&mut self) -> &mut Baggage {
        &mut self.rare_mut().baggage
    }

    #[inline]
    pub(crate) fn notes(&self) -> &[Note] {
        self.rare.as_ref().map_or(&[], |rare| &rare.notes)
    }

    pub(crate) fn note(&mut self, note: Note) {
        let notes = &mut self.rare_mut().notes;
        if notes.len() < MAX_NOTES {
            notes.push(note);
        }
    }

    /// What is shared with others, as with the request that a call is made for, is made anew without them rather than copied with all of them.
    fn forget_notes(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        match Arc::get_mut(rare) {
            Some(rare) => rare.notes.clear(),
            None => *rare = Arc::new(rare.without_notes()),
        }
    }

    /// Gives back what is behind the shared allocation.
    pub(crate) fn forget_rare(&mut self) {
        self.rare = None;
    }

    fn rare_mut(&mut self) -> &mut Rare {
        Arc::make_mut(self.rare.get_or_insert_default())
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// Our span in it.
    #[must_use]
    pub fn span_id(&self) -> SpanId {
        self.span_id
    }

    /// The span above ours: the caller's, or that of the context this is a child of.
    #[must_use]
    pub fn parent_id(&self) -> Option<SpanId> {
        self.parent_id
    }

    /// What was decided about recording.
    #[must_use]
    pub fn sampling(&self) -> Sampling {
        self.sampling
    }

    /// Whether the trace is to be recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampling.is_sampled()
    }

    /// How this context came to be.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The `trace-flags` to send: the sampling decision, and `random` as the trace was started with it.
    #[must_use]
    pub fn flags(&self) -> Flags {
        let sampled = if self.is_sampled() {
            Flags::SAMPLED
        } else {
            Flags::default()
        };
        let random = if self.random {
            Flags::RANDOM
        } else {
            Flags::default()
        };
        sampled.with(random)
    }

    /// What vendors keep about the trace.
    #[must_use]
    pub fn state(&self) -> &TraceState {
        static EMPTY: TraceState = TraceState::EMPTY;
        self.rare.as_ref().map_or(&EMPTY, |rare| &rare.state)
    }

    /// What vendors keep about the trace, to change our own member.
    pub fn state_mut(&mut self) -> &mut TraceState {
        &mut self.rare_mut().state
    }

    /// The id of the request this is part of.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// The id of the business transaction; the request's own where there is no other.
    #[must_use]
    pub fn correlation_id(&self) -> &RequestId {
        self.own_correlation_id().unwrap_or(&self.request_id)
    }

    pub(crate) fn own_correlation_id(&self) -> Option<&RequestId> {
        self.rare.as_ref()?.correlation_id.as_ref()
    }

    /// The caller's span, where its trace was not continued but is remembered.
    #[must_use]
    pub fn link(&self) -> Option<Link> {
        self.rare.as_ref()?.link
    }

    /// What goes out as `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> TraceParent {
        TraceParent {
            trace_id: self.trace_id,
            span_id: self.span_id,
            flags: self.flags(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SequentialIds;

    #[test]
    fn a_child_is_a_new_span_of_the_same_request() {
        let ids = SequentialIds::new();
        let root = TraceContext::root(&ids).with_sampling(Sampling::Accept);
        let (one, two) = (root.child(&ids), root.child(&ids));
        for child in [&one, &two] {
            assert_eq!(child.trace_id(), root.trace_id());
            assert_eq!(child.parent_id(), Some(root.span_id()));
            assert_eq!(child.request_id(), root.request_id());
            assert_eq!(child.sampling(), Sampling::Accept);
            assert_eq!(child.origin(), Origin::Local);
        }
        assert_ne!(one.span_id(), two.span_id());
        assert_ne!(one.span_id(), root.span_id());
    }

    #[test]
    fn flags_say_sampled_and_random_apart() {
        for (sampling, random, bits) in [
            (Sampling::Defer, false, 0),
            (Sampling::Deny, true, 2),
            (Sampling::Accept, false, 1),
            (Sampling::Debug, true, 3),
        ] {
            let mut cx = TraceContext::root(&SequentialIds::new()).with_sampling(sampling);
            cx.random = random;
            assert_eq!(cx.flags().bits(), bits, "{sampling:?} {random}");
        }
    }

    #[test]
    fn a_context_stays_small() {
        assert_eq!(size_of::<TraceContext>(), 96);
        assert_eq!(size_of::<Option<TraceContext>>(), 96);
    }

    #[test]
    fn the_request_id_stands_in_for_the_correlation_id() {
        let cx = TraceContext::root(&SequentialIds::new());
        assert_eq!(cx.correlation_id(), cx.request_id());
        let cx = cx.with_correlation_id("order-7".parse().unwrap());
        assert_eq!(cx.correlation_id().to_string(), "order-7");
    }
}
