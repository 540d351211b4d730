//! What Buttress's tests share. Not published; only dev-dependencies point here.
//!
//! - [`tower_laws!`]: what every layer must hold, as a module of tests.
//! - [`probe`]: a scripted service, its futures and its bodies, and who is awake.
//! - [`body`]: a body that a test feeds by hand.
//! - [`server`]: private Redis and Postgres servers, killable in a test.
//! - `program`: a program of ours as a child, with the feature of that name.
//! - [`alloc`]: allocations per call, as an assertion.
//! - `told`: what observers log and count, with the feature of that name.

pub mod alloc;
pub mod body;
pub mod laws;
pub mod probe;
#[cfg(feature = "program")]
pub mod program;
pub mod server;
#[cfg(feature = "told")]
pub mod told;

#[doc(hidden)]
pub mod __private {
    pub use tower_layer::Layer;
}
