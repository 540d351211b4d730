//! Histories and inputs at random, against references too simple to be wrong.

mod exactly_once;
mod traceparent;
mod tracestate;
