//! Runnable apps that compose the crates; this library holds nothing but the code in the project's README, which is compiled with the
//! documentation tests.

#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct RootReadme;
