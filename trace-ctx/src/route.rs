//! The template of a route, for names with few values.

use std::fmt;
use std::sync::Arc;

use http::{Extensions, StatusCode};

use crate::Head;

/// The template of a route (`/orders/{id}`), never the path that matched it: a name has few values.
///
/// Who knows the template puts it into the extensions of the request or of the response, or a [`Route`] finds it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RouteName(Name);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Static(&'static str),
    Shared(Arc<str>),
}

impl RouteName {
    /// A template known when the program is built.
    #[must_use]
    pub const fn from_static(template: &'static str) -> Self {
        Self(Name::Static(template))
    }

    /// The template.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Static(name) => name,
            Name::Shared(name) => name,
        }
    }
}

impl From<&str> for RouteName {
    fn from(template: &str) -> Self {
        Self(Name::Shared(template.into()))
    }
}

impl From<Arc<str>> for RouteName {
    fn from(template: Arc<str>) -> Self {
        Self(Name::Shared(template))
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RouteName({self})")
    }
}

/// Finds the route's template. Asked only when a sink wants the request.
///
/// A closure `Fn(&Head<'_>) -> Option<RouteName>` looks at the request alone, as for axum's `MatchedPath`:
///
/// ```
/// # struct MatchedPath;
/// # impl MatchedPath { fn as_str(&self) -> &str { "/" } }
/// # let _ = buttress_trace_ctx::TraceLayer::server().route(
/// |head: &buttress_trace_ctx::Head<'_>| {
///     head.extensions.get::<MatchedPath>().map(|matched| matched.as_str().into())
/// }
/// # );
/// ```
pub trait Route: Send + Sync + 'static {
    /// Before the request is handled: for a layer inside the router.
    fn of_request(&self, head: &Head<'_>) -> Option<RouteName> {
        head.extensions.get().cloned()
    }

    /// When the response is there: for a layer outside the router. It counts before the other.
    fn of_response(&self, status: StatusCode, extensions: &Extensions) -> Option<RouteName> {
        let _ = status;
        extensions.get().cloned()
    }
}

/// Looks for a [`RouteName`] in the extensions of the request and of the response. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromExtensions;

impl Route for FromExtensions {}

impl<F> Route for F
where
    F: Fn(&Head<'_>) -> Option<RouteName> + Send + Sync + 'static,
{
    fn of_request(&self, head: &Head<'_>) -> Option<RouteName> {
        self(head)
    }
}
