//! Sinks made of sinks: filtered, optional, several at once.

use std::convert::Infallible;

use crate::{Finished, Sink, Started};

/// Passes on only the requests that are sampled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SampledOnly<S>(pub S);

impl<S: Sink> Sink for SampledOnly<S> {
    type Span = S::Span;

    const TIMES_HEAD: bool = S::TIMES_HEAD;

    fn begin(&self, started: &Started<'_>) -> Option<S::Span> {
        if started.context.is_sampled() {
            self.0.begin(started)
        } else {
            None
        }
    }

    fn in_scope<R>(&self, span: &mut S::Span, run: impl FnOnce() -> R) -> R {
        self.0.in_scope(span, run)
    }

    fn end(&self, span: S::Span, finished: &Finished<'_>) {
        self.0.end(span, finished);
    }
}

/// A sink that may be switched off when the program starts.
impl<S: Sink> Sink for Option<S> {
    type Span = S::Span;

    const TIMES_HEAD: bool = S::TIMES_HEAD;

    fn begin(&self, started: &Started<'_>) -> Option<S::Span> {
        self.as_ref()?.begin(started)
    }

    fn in_scope<R>(&self, span: &mut S::Span, run: impl FnOnce() -> R) -> R {
        match self {
            Some(sink) => sink.in_scope(span, run),
            None => run(),
        }
    }

    fn end(&self, span: S::Span, finished: &Finished<'_>) {
        if let Some(sink) = self {
            sink.end(span, finished);
        }
    }
}

impl Sink for () {
    type Span = Infallible;

    const TIMES_HEAD: bool = false;

    fn begin(&self, _: &Started<'_>) -> Option<Infallible> {
        None
    }

    fn end(&self, span: Infallible, _: &Finished<'_>) {
        match span {}
    }
}

/// Each sink of a tuple is scoped around those to its right, if it wanted the request.
macro_rules! scoped {
    ($run:ident) => { $run() };
    ($run:ident $name:ident $($rest:ident)*) => {
        scope($name.0, $name.1, || scoped!($run $($rest)*))
    };
}

/// Each sink of a tuple begins in the scopes of those to its left: what it makes there is below theirs.
macro_rules! begun {
    ($started:ident $name:ident) => {{
        *$name.1 = $name.0.begin($started);
    }};
    ($started:ident $name:ident $($rest:ident)+) => {{
        *$name.1 = $name.0.begin($started);
        scope($name.0, $name.1, || begun!($started $($rest)+))
    }};
}

fn scope<S: Sink, R>(sink: &S, span: &mut Option<S::Span>, run: impl FnOnce() -> R) -> R {
    match span {
        Some(span) => sink.in_scope(span, run),
        None => run(),
    }
}

fn end<S: Sink>(sink: &S, span: Option<S::Span>, finished: &Finished<'_>) {
    if let Some(span) = span {
        sink.end(span, finished);
    }
}

macro_rules! tuples {
    ($($name:ident $place:tt)+) => {
        #[expect(non_snake_case, reason = "one name for a type and its value")]
        impl<$($name: Sink),+> Sink for ($($name,)+) {
            type Span = ($(Option<$name::Span>,)+);

            const TIMES_HEAD: bool = $($name::TIMES_HEAD)||+;

            fn begin(&self, started: &Started<'_>) -> Option<Self::Span> {
                let mut spans: Self::Span = ($(None::<$name::Span>,)+);
                {
                    $(let $name = (&self.$place, &mut spans.$place);)+
                    begun!(started $($name)+);
                }
                let wanted = $(spans.$place.is_some())||+;
                wanted.then_some(spans)
            }

            fn in_scope<R>(&self, spans: &mut Self::Span, run: impl FnOnce() -> R) -> R {
                $(let $name = (&self.$place, &mut spans.$place);)+
                scoped!(run $($name)+)
            }

            fn end(&self, spans: Self::Span, finished: &Finished<'_>) {
                $(end(&self.$place, spans.$place, finished);)+
            }
        }
    };
}

tuples!(A 0);
tuples!(A 0 B 1);
tuples!(A 0 B 1 C 2);
tuples!(A 0 B 1 C 2 D 3);
tuples!(A 0 B 1 C 2 D 3 E 4);
tuples!(A 0 B 1 C 2 D 3 E 4 F 5);
