//! What is chosen of a policy, and what it is where nothing is.

use std::sync::Arc;

use http::HeaderName;

use super::{Policy, Rare};
use crate::baggage::BAGGAGE;
use crate::{
    Always, ClientIp, FastIds, Hosts, IdGenerator, ParentBased, Propagator, Sampler, Trust,
    TrustPolicy, W3c,
};

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Policy {
    /// The formats to read and write.
    #[must_use]
    pub fn propagator(self, propagator: impl Propagator) -> Self {
        let mut reads_baggage = false;
        propagator.fields(&mut |name| reads_baggage |= *name == BAGGAGE);
        Self {
            propagator: Arc::new(propagator),
            reads_baggage,
            ..self
        }
    }

    /// Whose context and request id are kept.
    #[must_use]
    pub fn trust(self, trust: impl TrustPolicy) -> Self {
        Self {
            trust: Arc::new(trust),
            ..self
        }
    }

    /// What is recorded.
    #[must_use]
    pub fn sampler(self, sampler: impl Sampler) -> Self {
        Self {
            sampler: Arc::new(sampler),
            ..self
        }
    }

    /// Where new ids come from.
    #[must_use]
    pub fn ids(self, ids: impl IdGenerator) -> Self {
        Self {
            ids: Arc::new(ids),
            ..self
        }
    }

    /// The field of the request id, `x-request-id` by default.
    #[must_use]
    pub fn request_id(self, name: HeaderName) -> Self {
        Self {
            request_id: name,
            ..self
        }
    }

    /// The field of the correlation id; there is none by default.
    #[must_use]
    pub fn correlation_id(self, name: HeaderName) -> Self {
        Self {
            correlation_id: Some(name),
            ..self
        }
    }

    /// How the address of a client is found; it is not looked for by default.
    #[must_use]
    pub fn client_ip(self, client_ip: ClientIp) -> Self {
        self.change(|rare| rare.client_ip = Some(client_ip))
    }

    /// Keeps these fields of what comes in, for [`forward_to`](Self::forward_to).
    #[must_use]
    pub fn carry(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.change(|rare| rare.carry.extend(names))
    }

    /// Writes contexts and ids only into calls to these hosts, and removes what is there from calls to others. All hosts by default.
    #[must_use]
    pub fn propagate_to(self, hosts: Hosts) -> Self {
        self.change(|rare| rare.propagate_to = Some(hosts))
    }

    /// Adds the fields [carried](Self::carry) by the context to calls to these hosts, unless they say otherwise themselves, and removes
    /// copies of them from calls to others. No host by default, and nothing is removed.
    #[must_use]
    pub fn forward_to(self, hosts: Hosts) -> Self {
        self.change(|rare| rare.forward_to = Some(hosts))
    }

    /// Leaves requests as they come, to the byte, also what is not valid: for a proxy that is to be seen in no trace but its own records.
    #[must_use]
    pub fn passthrough(self) -> Self {
        self.change(|rare| rare.is_passthrough = true)
    }

    fn change(mut self, change: impl FnOnce(&mut Rare)) -> Self {
        change(Arc::make_mut(self.rare.get_or_insert_default()));
        self
    }
}

impl Default for Policy {
    /// W3C, every caller trusted, the caller's sampling decision or else recorded, `x-request-id`.
    fn default() -> Self {
        Self {
            propagator: Arc::new(W3c),
            trust: Arc::new(Trust::Continue),
            sampler: Arc::new(ParentBased(Always)),
            ids: Arc::new(FastIds),
            request_id: X_REQUEST_ID.clone(),
            correlation_id: None,
            reads_baggage: false,
            rare: None,
        }
    }
}
