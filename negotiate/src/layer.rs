//! Settings.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::formats::Formats;
use crate::offers::{Limits, TieBreak};
use crate::service::Negotiate;
use crate::shared::Shared;
use crate::weight::QValue;

/// Chooses a format before the handler runs.
///
/// - The choice is in the request's extensions ([`Negotiated`](crate::Negotiated)) and in the response's ([`Selected`](crate::Selected)).
/// - Inner layers see an `Accept` that names the choice alone, so that a cache keeps one variant per format and not one per
///   browser. What the client sent is in the extensions ([`OriginalAccept`](crate::OriginalAccept)).
/// - Where nothing is acceptable, the inner service is not called, and the answer is a 406 problem that lists what is available; its
///   extensions hold [`NotAcceptable`](crate::NotAcceptable).
/// - Every response says `Vary: accept`. What the inner service answers is not changed in any other way, errors least of all, but for two
///   things: the body is left out where the request is a HEAD, and a problem (RFC 9457) that a handler or a layer inside left as
///   `buttress_wire::Problem` in the extensions is sent in XML to a client that prefers that.
///
/// Services of one layer, and clones of it, share its formats.
#[must_use]
pub struct NegotiateLayer<F> {
    shared: Arc<Shared<F>>,
}

/// What becomes of a request that accepts nothing on offer. RFC 9110, section 12.4.1, allows both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Unacceptable {
    /// A 406 problem.
    #[default]
    Reject,
    /// It is served what a request without `Accept` would get.
    ServeDefault,
}

impl<F: Formats> NegotiateLayer<F> {
    /// Offers these formats, the server's favourite first.
    ///
    /// # Panics
    ///
    /// A user's format states a media type that is malformed, or one that cannot be a field value.
    pub fn new(formats: F) -> Self {
        Self {
            shared: Arc::new(Shared::new(formats)),
        }
    }
}

impl<F> NegotiateLayer<F> {
    /// What becomes of a request that accepts nothing on offer. Default: a 406 problem.
    pub fn unacceptable(self, unacceptable: Unacceptable) -> Self {
        self.set(|shared| shared.unacceptable = unacceptable)
    }

    /// Decides between equally wanted formats. Default: the one named most specifically, then the one named first.
    pub fn tie_break(self, tie_break: TieBreak) -> Self {
        self.set(|shared| shared.offers = shared.offers.clone().tie_break(tie_break))
    }

    /// States how good the server's representation in the format called `name` is: the client's weight is multiplied by it.
    /// A name that no format has changes nothing.
    pub fn quality(self, name: &str, quality: QValue) -> Self {
        self.set(|shared| {
            let variants = 0..shared.offers.len();
            let named = variants.filter(|at| shared.variant(*at).name == name);
            shared.offers = named.fold(shared.offers.clone(), |o, at| o.quality(at, quality));
        })
    }

    /// How much of the field is read. Default: 8192 bytes, 256 ranges; over them, it counts as absent.
    pub fn limits(self, limits: Limits) -> Self {
        self.set(|shared| shared.offers = shared.offers.clone().limits(limits))
    }

    /// Lets a parameter of the query choose the format by its short name, whatever `Accept` and the path say: with `"format"`, `?format=csv`
    /// is CSV. A name that no format has changes nothing. Default: no parameter does.
    pub fn override_query(self, parameter: &str) -> Self {
        self.set(|shared| shared.query = Some(parameter.into()))
    }

    /// Lets the extension of the path choose the format by its short name, whatever `Accept` says: `/sales.csv` is `/sales` as CSV, and
    /// that is the target that inner services see. An extension that is no format's name is left where it is, and so is one behind dots
    /// alone. Default: off.
    ///
    /// The layer has to see a request before its route is chosen: in axum it goes around the `Router`, as in
    /// `layer.layer(Router::new())`, and not into it by `Router::layer`, where `/sales.csv` would be a 404.
    pub fn override_extension(self) -> Self {
        self.set(|shared| shared.extension = true)
    }

    /// How many bytes of a request's body [`Negotiated::decode`](crate::Negotiated::decode) reads at most. Default: 1 MiB. A layer outside
    /// that undoes content codings does so before they are counted.
    pub fn body_limit(self, bytes: usize) -> Self {
        self.set(|shared| shared.body_limit = bytes)
    }

    /// Reads media types by their suffix too (RFC 6839): `application/vnd.shop.order+json` as JSON. Default: off, since not everything
    /// that is JSON is what a handler expects.
    pub fn read_suffixes(self) -> Self {
        self.set(|shared| shared.suffixes = true)
    }

    /// Refuses requests that have a body which no format reads, by their `Content-Type` and `Content-Encoding`, with a 415 before the
    /// handler runs. A request counts as having a body if it has a `Content-Type`, is neither GET nor HEAD, and does not say `Content-Length: 0`. Default: off; [`Negotiated::decode`](crate::Negotiated::decode) refuses what it
    /// cannot read, and handlers can read other bodies in their own way.
    pub fn only_readable(self) -> Self {
        self.set(|shared| shared.only_readable = true)
    }

    fn set(mut self, change: impl FnOnce(&mut Shared<F>)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }
}

impl<S, F> Layer<S> for NegotiateLayer<F> {
    type Service = Negotiate<S, F>;

    fn layer(&self, inner: S) -> Negotiate<S, F> {
        Negotiate::new(inner, Arc::clone(&self.shared))
    }
}

/// A clone shares the formats.
impl<F> Clone for NegotiateLayer<F> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F> fmt::Debug for NegotiateLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NegotiateLayer")
            .field("offers", &self.shared.offers)
            .field("unacceptable", &self.shared.unacceptable)
            .finish_non_exhaustive()
    }
}
