//! `benches/INSTRUCTIONS.toml`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::{fs, io};

use serde::Deserialize;

use crate::machine::Machine;

/// What was counted when somebody last said that it may be so much.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) machine: Machine,
    /// By name, of one call.
    pub(crate) rows: BTreeMap<String, u64>,
}

impl Record {
    pub(crate) fn new(machine: Machine, counted: Vec<(&str, u64)>) -> Self {
        let rows = counted.into_iter();
        Self {
            machine,
            rows: rows.map(|(id, count)| (id.to_owned(), count)).collect(),
        }
    }

    /// An empty one if there is none.
    pub(crate) fn read() -> Result<Self, Box<dyn Error>> {
        match fs::read_to_string(file()) {
            Ok(text) => Ok(toml::from_str(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn write(&self) -> io::Result<()> {
        fs::write(file(), self.text())
    }

    fn text(&self) -> String {
        let Machine {
            toolchain,
            processor,
            libc,
        } = &self.machine;
        let mut text = format!(
            "# Instructions of one call, by `cargo instructions --write`. `./ci/test` compares with them where these three are the same.\n\
             toolchain = \"{toolchain}\"\nprocessor = \"{processor}\"\nlibc = \"{libc}\"\n\n[rows]\n"
        );
        for (id, count) in &self.rows {
            let _ = writeln!(text, "\"{id}\" = {count}");
        }
        text
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("INSTRUCTIONS.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let machine = Machine {
            toolchain: "rustc 1.95.0 (59807616e 2026-04-14)".into(),
            processor: "x86_64".into(),
            libc: "glibc 2.36".into(),
        };
        let text = Record::new(machine.clone(), vec![("a/b/c", 7)]).text();
        let read: Record = toml::from_str(&text).expect("it is TOML");
        assert_eq!((read.machine, read.rows["a/b/c"]), (machine, 7));
    }
}
