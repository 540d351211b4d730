//! Behaviour of the handle and the layer.
#![allow(clippy::unwrap_used)]

mod flights;
