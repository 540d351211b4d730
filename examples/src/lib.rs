//! Runnable apps that compose the crates; this library holds nothing but the code in the project's documents, which is compiled, and run, with the
//! documentation tests. (The crates' own READMEs are in their `lib.rs`.)

/// Compiles the Rust in documents of the project, each under a name of its own.
macro_rules! documents {
    ($($name:ident = $path:literal),* $(,)?) => {
        $(
            #[doc = include_str!($path)]
            #[cfg(doctest)]
            pub struct $name;
        )*
    };
}

documents! {
    RootReadme = "../../README.md",
    Architecture = "../../ARCHITECTURE.md",
    Compare = "../../COMPARE.md",
    Contributing = "../../CONTRIBUTING.md",
    Security = "../../SECURITY.md",
    ExamplesReadme = "../README.md",
    ProtectAnUpstream = "../../docs/protect-an-upstream.md",
    MakePostSafeToRetry = "../../docs/make-post-safe-to-retry.md",
    CacheAndInvalidate = "../../docs/cache-and-invalidate.md",
    ServeJsonAndCsv = "../../docs/serve-json-and-csv.md",
    TraceAcrossServices = "../../docs/trace-across-services.md",
    FromExpressToAxum = "../../docs/from-express-to-axum.md",
}
