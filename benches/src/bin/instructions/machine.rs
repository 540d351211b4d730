//! What decides how many instructions the same source is.

use std::process::Command;
use std::{env, fmt, io};

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub(crate) struct Machine {
    /// What `rustc -V` says.
    pub(crate) toolchain: String,
    /// Its architecture, and whether it has the vectors that some look for when they run.
    pub(crate) processor: String,
    /// It has the allocator and the copying.
    pub(crate) libc: String,
}

impl Machine {
    pub(crate) fn here() -> io::Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut libc = Command::new("getconf");
        libc.arg("GNU_LIBC_VERSION");
        Ok(Self {
            toolchain: said_by(Command::new(rustc).arg("-V"))?,
            processor: processor(),
            libc: said_by(&mut libc).unwrap_or_else(|_| "unknown".into()),
        })
    }
}

fn said_by(program: &mut Command) -> io::Result<String> {
    let output = program.output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    let vectors = if is_x86_feature_detected!("avx2") {
        " with AVX2"
    } else {
        ""
    };
    format!("x86_64{vectors}")
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    env::consts::ARCH.to_owned()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            toolchain,
            processor,
            libc,
        } = self;
        write!(f, "{toolchain}, {processor}, {libc}")
    }
}
