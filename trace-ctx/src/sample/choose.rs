//! Samplers that choose another one, by the route or by a field.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::secret::Secret;
use crate::{Decision, FromExtensions, Route, SampleRequest, Sampler, Sampling};

/// A sampler for each of some routes, and one for all others.
///
/// The route has to be known from the request, which it is inside a router.
#[derive(Clone)]
#[must_use]
pub struct PerRoute {
    routes: HashMap<String, Arc<dyn Sampler>>,
    others: Arc<dyn Sampler>,
    find: Arc<dyn Route>,
}

impl PerRoute {
    /// All routes by this one, until others are named.
    pub fn new(others: impl Sampler) -> Self {
        Self {
            routes: HashMap::new(),
            others: Arc::new(others),
            find: Arc::new(FromExtensions),
        }
    }

    /// The route with this template by this one.
    pub fn route(mut self, template: impl Into<String>, sampler: impl Sampler) -> Self {
        self.routes.insert(template.into(), Arc::new(sampler));
        self
    }

    /// How the template is found; in the extensions of the request, by default.
    pub fn find(self, find: impl Route) -> Self {
        Self {
            find: Arc::new(find),
            ..self
        }
    }
}

impl Sampler for PerRoute {
    fn sample(&self, request: &SampleRequest<'_>) -> Decision {
        let route = self.find.of_request(&request.head);
        let own = route.and_then(|route| self.routes.get(route.as_str()));
        own.unwrap_or(&self.others).sample(request)
    }
}

/// Records a request whose caller knows a secret, whatever else is decided; others by the sampler inside.
///
/// The field stays in the request. Put this around [`ParentBased`](crate::ParentBased): a caller's denial would count otherwise.
#[derive(Clone, Debug)]
pub struct DebugHeader<S> {
    name: HeaderName,
    secret: Secret,
    others: S,
}

impl<S> DebugHeader<S> {
    /// A request with exactly this value in this field is recorded. The values are compared in a time that tells nothing of the secret
    /// but its length. An empty secret matches nothing.
    pub fn new(name: HeaderName, secret: &HeaderValue, others: S) -> Self {
        Self {
            name,
            secret: Secret::new(secret),
            others,
        }
    }
}

impl<S: Sampler> Sampler for DebugHeader<S> {
    fn sample(&self, request: &SampleRequest<'_>) -> Decision {
        if self.secret.is_in(request.head.headers, &self.name) {
            Sampling::Debug.into()
        } else {
            self.others.sample(request)
        }
    }
}

impl fmt::Debug for PerRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerRoute")
            .field("routes", &self.routes.keys())
            .finish_non_exhaustive()
    }
}
