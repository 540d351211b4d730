//! `cargo e2e`: whole processes beside each other, over loopback.
//!
//! Each server has one core to itself, and who asks, and what stands behind, has the other.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for"
)]

mod contest;
mod install;
mod load;
mod ours;
mod process;
mod servers;
mod table;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

type Failure = Box<dyn std::error::Error>;

/// Asks gateway, storefront, hyper, nginx, Varnish and Express the same, in turns: requests a second, and how long they took.
///
/// What is not installed is left out, and said at the end; `--install` installs it first. Everything that is asked stays on loopback.
#[derive(Debug, Parser)]
#[command(name = "cargo e2e")]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// For how long each is asked in a round.
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..))]
    millis: u64,
    /// How often all are gone through; the best round of each is told, and each is compared with hyper in the same round.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only the contests whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Asks with the generator of this program also where wrk is installed.
    #[arg(long)]
    no_wrk: bool,
    /// Installs first what is missing beside us, by apt-get, where that may be done without asking.
    #[arg(long)]
    install: bool,
}

/// What this program is when it starts itself again.
#[derive(Clone, Copy, Debug, Subcommand)]
enum Role {
    /// Bare hyper.
    #[command(hide = true)]
    Bare { listen: SocketAddr },
    /// All layers of a server around a hello world.
    #[command(hide = true)]
    Stack { listen: SocketAddr },
    /// The load generator: sends what it reads from standard input.
    #[command(hide = true)]
    Load { to: SocketAddr, millis: u64 },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.role {
        Some(Role::Bare { listen }) => ours::bare(listen),
        Some(Role::Stack { listen }) => ours::stack(listen),
        Some(Role::Load { to, millis }) => load::generate(to, millis),
        None => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo e2e: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut contests = contest::all();
    contests.retain(|contest| contest.id.contains(&arguments.only));
    if contests.is_empty() {
        return Err(format!("no contest has {:?} in its name", arguments.only).into());
    }
    if arguments.install {
        install::missing()?;
    }
    let servers = servers::start()?;
    let load = load::Load::new(arguments.millis, arguments.no_wrk);
    let mut missing = servers.missing.clone();
    for contest in &mut contests {
        contest.check(&servers, &mut missing);
    }
    for round in 1..=arguments.rounds {
        for contest in &mut contests {
            eprintln!("round {round}: {}", contest.id);
            contest.run(&servers, &load);
        }
    }
    print!("{}", table::text(&contests, &missing, load.name()));
    failed(&contests, &missing).map_or(Ok(()), |failed| Err(failed.into()))
}

/// Others may not be installed. Of ours each has to answer, as it should, and to the end.
fn failed(contests: &[contest::Contest], missing: &[String]) -> Option<String> {
    let is_left_out = |missing: &&String| {
        let is_it = |ours| {
            missing.starts_with(&format!("{ours}: ")) || missing.contains(&format!(" of {ours}: "))
        };
        servers::OURS.into_iter().any(is_it)
    };
    let unmeasured = contests.iter().find_map(|contest| {
        let is_it = |entry: &&contest::Entry| {
            entry.best().is_none() && servers::OURS.contains(&entry.server)
        };
        let entry = contest.entries.iter().find(is_it)?;
        Some(format!(
            "{} of {} came to nothing",
            contest.id, entry.server
        ))
    });
    missing.iter().find(is_left_out).cloned().or(unmeasured)
}
