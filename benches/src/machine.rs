//! What something was measured on.

use std::fs;
use std::process::Command;

/// Date, processor, compiler, commit, and whether there is more than that in the work tree.
#[must_use]
pub fn describe() -> String {
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
        output(
            "git",
            &["describe", "--always", "--dirty", "--exclude", "*"]
        ),
    )
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_else(|_| format!("{program} unknown"))
}
