//! What it was measured on, and what.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Those whose version says nothing about a peer.
const TOOLS: [&str; 3] = ["criterion", "peers", "serde_json"];

/// Date, processor, compiler, commit.
pub(crate) fn describe() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}, an {} with {threads} hardware threads, {}, commit `{}`",
        output("date", &["-u", "+%F"]),
        model.map_or("unknown processor", |(_, model)| model.trim()),
        output("rustc", &["-V"]),
        output("git", &["rev-parse", "--short", "HEAD"]),
    )
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| format!("{program} unknown"))
}

/// The versions of those that are compared: what this package depends on, by its lock file.
pub(crate) fn versions(lock: &Path) -> Result<String, Box<dyn Error>> {
    let lock = fs::read_to_string(lock)?;
    let version = |name: &str| {
        let entry = format!("name = \"{name}\"\nversion = \"");
        let (_, rest) = lock.split_once(&entry)?;
        rest.split('"').next()
    };
    let versions =
        dependencies(&lock).filter_map(|name| Some(format!("{name} {}", version(name)?)));
    Ok(versions.collect::<Vec<_>>().join(", "))
}

fn dependencies(lock: &str) -> impl Iterator<Item = &str> {
    let own = lock.split("name = \"peers\"").nth(1).unwrap_or_default();
    let list = own.split("dependencies = [").nth(1).unwrap_or_default();
    let names = list.split(']').next().unwrap_or_default().lines();
    let names = names.filter_map(|line| {
        line.trim()
            .trim_end_matches(',')
            .trim_matches('"')
            .split(' ')
            .next()
    });
    names.filter(|name| !name.is_empty() && !TOOLS.contains(name))
}
