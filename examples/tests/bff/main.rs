//! The example `bff` over real sockets, between browsers and two services that are broken, held and healed.
#![allow(clippy::unwrap_used)]

#[path = "../../src/bff/args.rs"]
mod args;
#[path = "../../src/bff/pages.rs"]
mod pages;
#[path = "../../src/bff/parts.rs"]
mod parts;
#[path = "../../src/bff/remote.rs"]
mod remote;
#[allow(dead_code, reason = "some of it is the program's alone")]
#[path = "../../src/bff/serve.rs"]
mod serve;
#[path = "../../src/bff/upstream.rs"]
mod upstream;

mod calls;
mod partial;
mod program;
mod stack;
mod whole;
