//! How a request is passed on, refused, cut short or answered instead: what the services of this crate have in common, whichever breaker it
//! belongs to.

use tower_service::Service;

use crate::adapter::Adapter;
use crate::breaker::Breaker;
use crate::error::Rejected;
use crate::event::Event;
use crate::fallback::{Fallback, NoFallback};
use crate::future::ResponseFuture;
use crate::permit::{Panicked, Permit};
use crate::timeout::{Limit, NoTimeout};

/// How calls are made, refused, cut short and replaced.
#[derive(Clone, Debug)]
pub(crate) struct Manner<A, F = NoFallback, T = NoTimeout> {
    pub(crate) adapter: A,
    pub(crate) fallback: F,
    pub(crate) timeout: T,
}

impl<A> Manner<A> {
    pub(crate) fn new(adapter: A) -> Self {
        Self {
            adapter,
            fallback: NoFallback,
            timeout: NoTimeout,
        }
    }
}

/// The future of a call through `A`, `F` and `T` to `S`.
pub(crate) type Answer<S, Req, A, F, T> = ResponseFuture<
    <S as Service<Req>>::Future,
    <A as Adapter<Req>>::Call,
    <F as Fallback<Req, <S as Service<Req>>::Response, <S as Service<Req>>::Error>>::Spare,
    <F as Fallback<Req, <S as Service<Req>>::Response, <S as Service<Req>>::Error>>::Future,
    <T as Limit>::Timer,
>;

impl<A, F, T: Limit> Manner<A, F, T> {
    #[inline]
    pub(crate) fn pass<S, Req>(
        &self,
        inner: &mut S,
        request: Req,
        permit: Permit,
    ) -> Answer<S, Req, A, F, T>
    where
        S: Service<Req>,
        A: Adapter<Req>,
        F: Fallback<Req, S::Response, S::Error>,
    {
        let exchange = self.adapter.begin(&request);
        let spare = self.fallback.keep(&request);
        let timer = self.timeout.start();
        let mut permit = Some(permit);
        let panicked = Panicked::unless_returned(&mut permit);
        let inner = inner.call(request);
        panicked.returned();
        ResponseFuture::called(inner, timer, permit, exchange, spare)
    }

    pub(crate) fn reject<S, Req>(
        &self,
        breaker: &Breaker,
        request: Req,
        rejected: Rejected,
    ) -> Answer<S, Req, A, F, T>
    where
        S: Service<Req>,
        A: Adapter<Req>,
        F: Fallback<Req, S::Response, S::Error>,
    {
        let exchange = self.adapter.begin(&request);
        match self.fallback.instead(request) {
            Some(future) => {
                breaker.watch(|breaker| Event::FellBack(breaker));
                ResponseFuture::diverted(future, rejected)
            }
            None => ResponseFuture::rejected(rejected, exchange),
        }
    }
}
