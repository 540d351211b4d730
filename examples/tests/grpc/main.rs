//! The services of the example `grpc` over real sockets, called by its own client and by one that knows nothing but HTTP/2.
#![allow(clippy::unwrap_used)]

#[path = "../../src/grpc/deadline.rs"]
mod deadline;
#[path = "../../src/grpc/messages.rs"]
mod messages;
#[path = "../../src/grpc/orders.rs"]
mod orders;
#[allow(dead_code, reason = "some of it is the program's alone")]
#[path = "../../src/grpc/records.rs"]
mod records;
#[path = "../../src/grpc/rpc.rs"]
mod rpc;
#[path = "../../src/grpc/serve.rs"]
mod serve;
#[path = "../../src/grpc/stack.rs"]
mod stack;
#[path = "../../src/grpc/stock.rs"]
mod stock;
#[path = "../../src/grpc/timeout.rs"]
mod timeout;
#[path = "../../src/grpc/until.rs"]
mod until;

mod calls;
mod circuit;
mod deadlines;
mod idempotency;
mod story;
mod streams;
mod traces;
