//! What was measured.

use std::error::Error;
use std::fs;
use std::path::Path;

/// Those whose version says nothing about a peer.
const TOOLS: [&str; 3] = ["criterion", "peers", "serde_json"];

/// The versions of those that are compared: what this package depends on, by its lock file.
pub(crate) fn of(lock: &Path) -> Result<String, Box<dyn Error>> {
    Ok(versions_in(&fs::read_to_string(lock)?))
}

fn versions_in(lock: &str) -> String {
    let only = |name: &str| {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let (_, rest) = lock.split_once(&entry)?;
        rest.split('"').next()
    };
    let versions = dependencies(lock).filter_map(|(name, version)| {
        let version = version.or_else(|| only(name))?;
        Some(format!("{name} {version}"))
    });
    versions.collect::<Vec<_>>().join(", ")
}

/// Their names; and their versions, where others depend on another one.
fn dependencies(lock: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let own = lock.split("name = \"peers\"").nth(1).unwrap_or_default();
    let list = own.split("dependencies = [").nth(1).unwrap_or_default();
    let entries = list.split(']').next().unwrap_or_default().lines();
    let entries = entries.filter_map(|line| {
        let mut words = line.trim().trim_matches([',', '"']).split(' ');
        Some((words.next()?, words.next()))
    });
    entries.filter(|(name, _)| !name.is_empty() && !TOOLS.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_one_that_is_depended_on() {
        let lock = r#"
[[package]]
name = "http"
version = "0.2.12"

[[package]]
name = "http"
version = "1.5.0"

[[package]]
name = "moka"
version = "0.12.16"

[[package]]
name = "peers"
version = "0.1.0"
dependencies = [
 "criterion",
 "http 1.5.0",
 "moka",
]

[[package]]
name = "pem"
version = "3.0.0"
"#;
        assert_eq!(versions_in(lock), "http 1.5.0, moka 0.12.16");
    }
}
