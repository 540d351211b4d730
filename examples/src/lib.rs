//! Runnable apps that compose the crates. This library holds what they share, the two of them that tests also run inside of their own process, and the code in the project's documents, which is compiled, and run, with
//! the documentation tests. (The crates' own READMEs are in their `lib.rs`.)

pub mod conditions;
pub mod connections;
pub mod gateway;
pub mod given;
pub mod path;
mod process;
pub mod retry;
pub mod storefront;
pub mod under_way;

pub use crate::process::{complain, say, told_to_stop, with_causes, within_reason};

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
    Compare = "../../COMPARE.md",
    Contributing = "../../CONTRIBUTING.md",
    Security = "../../SECURITY.md",
    ExamplesReadme = "../README.md",
    ProtectAnUpstream = "../../docs/protect-an-upstream.md",
    CacheAndInvalidate = "../../docs/cache-and-invalidate.md",
    ServeJsonAndCsv = "../../docs/serve-json-and-csv.md",
    TraceAcrossServices = "../../docs/trace-across-services.md",
    FromExpressToAxum = "../../docs/from-express-to-axum.md",
}

// Where there is a database.
#[cfg(feature = "orders")]
documents! { MakePostSafeToRetry = "../../docs/make-post-safe-to-retry.md" }

/// What COMPARE.md and the README say we do is shown by a test: each of their links that has a title leads to a file with a test of that name.
///
/// ```
/// use std::fs::read_to_string;
///
/// let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// let compared = read_to_string(format!("{root}/COMPARE.md")).unwrap();
/// let promised = read_to_string(format!("{root}/README.md")).unwrap();
/// let links = compared.split("](").skip(1).chain(promised.split("](").skip(1)).filter_map(|link| link.split_once(')'));
/// let tests: Vec<_> = links.filter_map(|(link, _)| link.split_once(" \"")).collect();
/// for (path, title) in &tests {
///     let source = read_to_string(format!("{root}/{path}")).unwrap_or_default();
///     let test = format!("fn {}(", title.trim_end_matches('"'));
///     assert!(source.contains(&test), "{path} has no `{test}`");
/// }
/// assert!(tests.len() > 150, "{}", tests.len());
///
/// // And whatever we say of ourselves, but that we do not, has such a link.
/// for table in compared.split("\n\n").filter(|part| part.starts_with("| ")) {
///     let mut rows = table.lines().map(|row| row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect::<Vec<_>>());
///     let ours = rows.next().unwrap().iter().position(|name| *name == "Buttress").unwrap();
///     for row in rows.skip(1) {
///         let is_shown = row[ours].contains("](") && row[ours].contains(" \"");
///         assert!(is_shown || row[ours] == "no", "{row:?}");
///     }
/// }
/// ```
#[cfg(doctest)]
pub struct WhatIsCompared;

/// Every document with Rust in it is compiled: it stands above, or is its crate's front page.
///
/// ```
/// use std::fs::{read_dir, read_to_string};
/// use std::path::Path;
///
/// fn documents(folder: &Path, found: &mut Vec<String>) {
///     for entry in read_dir(folder).unwrap() {
///         let path = entry.unwrap().path();
///         let name = path.file_name().unwrap().to_string_lossy();
///         if path.is_dir() && name != "target" && !name.starts_with('.') {
///             documents(&path, found);
///         } else if name.ends_with(".md") && read_to_string(&path).unwrap().contains("```rust") {
///             found.push(path.to_string_lossy().into_owned());
///         }
///     }
/// }
///
/// let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// let above = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"));
/// let mut found = Vec::new();
/// documents(Path::new(root), &mut found);
/// for document in &found {
///     let short = document.strip_prefix(root).unwrap();
///     let front_page = document.replace("README.md", "src/lib.rs");
///     let is_front_page = read_to_string(front_page).is_ok_and(|page| page.contains("include_str!(\"../README.md\")"));
///     assert!(is_front_page || above.contains(&format!("\"../..{short}\"")), "{short} is not compiled");
/// }
/// assert!(found.len() > 12, "{found:?}");
/// ```
#[cfg(doctest)]
pub struct EveryDocument;

/// Foreign types in what is public are a decided list: the table in CONTRIBUTING.md. What is public is in docs/api.
///
/// ```
/// use std::fs::read_to_string;
///
/// let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// let rules = read_to_string(format!("{root}/CONTRIBUTING.md")).unwrap();
/// let table = rules.split("| crate | always |").nth(1).unwrap();
/// for crate_ in ["wire", "circuit", "dedup", "idempotency", "cache", "negotiate", "trace-ctx"] {
///     let row = table.lines().find(|row| row.starts_with(&format!("| `{crate_}` |"))).unwrap().replace('-', "_");
///     let columns: Vec<_> = row.split('|').collect();
///     // What stands before a colon is features.
///     let with_features = columns[3].split("; `").map(|part| part.split_once("`: ").map_or(part, |(_, crates)| crates));
///     let listed: Vec<_> = std::iter::once(columns[2]).chain(with_features).collect();
///     // Any type of a crate that stands there without brackets, or whose brackets name none.
///     let is_listed = |name: &str, path: &str| {
///         let name = format!("`{name}`");
///         listed.iter().flat_map(|part| part.split(name.as_str()).skip(1)).any(|rest| {
///             let brackets = rest.strip_prefix(" (").and_then(|rest| rest.split(')').next()).unwrap_or_default();
///             let mut types = brackets.split('`').skip(1).step_by(2).map(|name| name.rsplit("::").next().unwrap()).peekable();
///             types.peek().is_none() || types.any(|name| path.split("::").any(|part| part == name))
///         })
///     };
///     let public = read_to_string(format!("{root}/docs/api/{crate_}.txt")).unwrap();
///     let own = format!("buttress_{crate_}").replace('-', "_");
///     let mut seen = 0;
///     for path in public.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':') {
///         let Some((first, _)) = path.trim_start_matches(':').split_once("::") else { continue };
///         // As their users name them.
///         let name = match first {
///             "core" | "alloc" | "std" | "" => continue,
///             parameter if parameter.starts_with(char::is_uppercase) => continue,
///             // A private type of trace-ctx, which nobody can name.
///             "read" if crate_ == "trace-ctx" => continue,
///             "sqlx_core" | "sqlx_postgres" | "sqlx_sqlite" => "sqlx",
///             "serde_core" => "serde",
///             "tracing_core" => "tracing",
///             "axum_core" if crate_ == "trace-ctx" => "axum",
///             other => other,
///         };
///         seen += 1;
///         assert!(name == own || is_listed(name.trim_start_matches("buttress_"), path), "{crate_}: {path}");
///     }
///     assert!(seen > 100, "{crate_}: {seen}");
/// }
/// ```
#[cfg(doctest)]
pub struct ForeignTypes;

/// There is one way to serve, in which nobody holds a connection for ever without asking.
///
/// ```
/// use std::fs::{read_dir, read_to_string};
/// use std::path::Path;
///
/// fn look(folder: &Path) {
///     for entry in read_dir(folder).unwrap() {
///         let path = entry.unwrap().path();
///         if path.is_dir() {
///             look(&path);
///         } else if !path.ends_with("src/lib.rs") {
///             let source = read_to_string(&path).unwrap();
///             assert!(!source.contains("axum::serve("), "{} waits for heads for ever", path.display());
///         }
///     }
/// }
///
/// look(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
/// ```
#[cfg(doctest)]
pub struct OneWayToServe;

/// Each reason that ARCHITECTURE.md gives for the order of layers names a test that there is, and each test of the order is named there.
///
/// ```
/// use std::fs::read_to_string;
///
/// let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// let reasons = read_to_string(format!("{root}/ARCHITECTURE.md")).unwrap();
/// let mut tests = 0;
/// for place in ["server/access", "server/browsers", "server/forms", "server/effects", "client"] {
///     let path = format!("examples/tests/order/{place}.rs");
///     let source = read_to_string(format!("{root}/{path}")).unwrap();
///     let named = reasons.split("[`").filter_map(|link| link.split_once(&format!("`]({path})")));
///     for (name, _) in named {
///         assert!(source.contains(&format!("async fn {name}(")), "{path} has no `{name}`");
///     }
///     for test in source.split("#[tokio::test").skip(1) {
///         let name = test.split("async fn ").nth(1).and_then(|test| test.split('(').next()).unwrap();
///         assert!(reasons.contains(&format!("`{name}`]({path})")), "`{name}` is not named");
///         tests += 1;
///     }
/// }
/// assert!(tests > 15, "{tests}");
/// ```
#[cfg(doctest)]
pub struct ReasonsForTheOrder;

/// What ARCHITECTURE.md says of several processes is shown by tests that there are, and each of those tests is named there.
///
/// ```
/// use std::fs::read_to_string;
///
/// let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// let promises = read_to_string(format!("{root}/ARCHITECTURE.md")).unwrap();
/// let mut tests = 0;
/// for place in ["sharing", "chaos", "rolling", "tokens", "listening", "silence"] {
///     let path = format!("examples/tests/processes/{place}.rs");
///     let source = read_to_string(format!("{root}/{path}")).unwrap();
///     for test in source.split("#[tokio::test").skip(1) {
///         let name = test.split("async fn ").nth(1).and_then(|test| test.split('(').next()).unwrap();
///         assert!(promises.contains(&format!("`{name}`]({path})")), "`{name}` is not named");
///         tests += 1;
///     }
///     for (name, _) in promises.split("[`").filter_map(|link| link.split_once(&format!("`]({path})"))) {
///         assert!(source.contains(&format!("async fn {name}(")), "{path} has no `{name}`");
///     }
/// }
/// assert!(tests > 10, "{tests}");
/// ```
#[cfg(doctest)]
pub struct PromisesOfSeveralProcesses;
