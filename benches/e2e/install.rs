//! Those beside us, by Debian's packages.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use crate::Failure;
use crate::process::is_installed;

/// What each program is in.
const PACKAGES: [(&str, &str); 7] = [
    ("nginx", "nginx"),
    ("varnishd", "varnish"),
    ("wrk", "wrk"),
    ("redis-server", "redis-server"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("timeout", "coreutils"),
];

/// The package that a program is in.
pub(crate) fn package(program: &str) -> &str {
    let known = PACKAGES.iter().find(|(name, _)| *name == program);
    known.map_or(program, |(_, package)| package)
}

/// Installs what is missing, and starts nothing of it.
pub(crate) fn missing() -> Result<(), Failure> {
    let is_missing = |(program, _): &&(&str, &str)| !is_installed(program);
    let missing = PACKAGES.iter().filter(is_missing);
    let missing: Vec<_> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    apt_get(&["update"])?;
    apt_get(&[&["install", "-y", "--no-install-recommends"], &*missing].concat())
}

/// As root, or as one who may become root without being asked.
fn apt_get(words: &[&str]) -> Result<(), Failure> {
    let is_root = std::fs::metadata("/proc/self")?.uid() == 0;
    let mut command = Command::new(if is_root { "env" } else { "sudo" });
    command.args((!is_root).then_some(["-n", "env"]).into_iter().flatten());
    // Without a runlevel to start services in, Debian's packages start none.
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "RUNLEVEL=1",
        "apt-get",
        "-qq",
    ]);
    let status = command.args(words).stdout(Stdio::null()).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("apt-get {} failed", words[0])).into())
    }
}
