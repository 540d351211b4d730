//! `cargo scale`: how costs grow with what there is much of.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for"
)]

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use benches::kit::{Contest, Counted, Span, Uncounted, count_instructions};
use benches::machine;
use benches::scale::{self, Curve, steepest};
use clap::Parser;

/// Measures how costs grow, and writes benches/SCALE.md with a plot for each curve.
///
/// With `--check` it counts instructions in place of time, writes nothing, and exits with 1 if a cost grows faster than it may.
#[derive(Debug, Parser)]
#[command(name = "cargo scale")]
struct Arguments {
    /// Counts instructions, and decides by them whether each grows as it may. Needs valgrind.
    #[arg(long)]
    check: bool,
    /// Only sizes up to this, where it takes as long to prepare for one as it is big.
    #[arg(long, value_name = "SIZE", default_value_t = usize::MAX, hide_default_value = true)]
    up_to: usize,
    /// Only the curves whose name contains this. Nothing is written then.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// For how long each point is measured.
    #[arg(long, value_name = "MS", default_value_t = 200)]
    millis: u64,
}

/// A curve with its costs, by size.
type Measured = (Curve, Vec<(usize, f64)>);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.curves().is_empty() {
        eprintln!("cargo scale: no curve has {:?} in its name", arguments.only);
        return ExitCode::from(2);
    }
    let done = if arguments.check {
        check(&arguments)
    } else {
        measure(&arguments)
    };
    done.unwrap_or_else(|error| {
        eprintln!("cargo scale: {error}");
        ExitCode::from(2)
    })
}

impl Arguments {
    fn curves(&self) -> Vec<Curve> {
        let mut curves = scale::all();
        curves.retain(|curve| curve.id.contains(&self.only));
        curves
    }

    fn sizes(&self, curve: &Curve) -> Vec<usize> {
        let mut sizes = curve.sizes.to_vec();
        sizes.retain(|&size| !curve.is_filled || size <= self.up_to);
        sizes
    }
}

fn check(arguments: &Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let curves = match count(arguments) {
        Err(Uncounted::NoValgrind) => {
            println!("skipped: no valgrind");
            return Ok(ExitCode::SUCCESS);
        }
        counted => counted?,
    };
    println!(
        "{:<32} {:<12} {:>7}  instructions",
        "curve", "may be", "power"
    );
    let mut all_hold = true;
    for (curve, costs) in &curves {
        let holds = curve.order.holds(costs);
        all_hold &= holds;
        let verdict = if holds { "" } else { "GROWS FASTER" };
        let (order, power) = (curve.order.as_str(), steepest(costs));
        let points = costs
            .iter()
            .map(|(size, cost)| format!("{size}: {cost:.0}"));
        let points = points.collect::<Vec<_>>().join("  ");
        println!(
            "{:<32} {order:<12} {power:>7.2}  {points}  {verdict}",
            curve.id
        );
    }
    Ok(ExitCode::from(u8::from(!all_hold)))
}

/// In instructions.
fn count(arguments: &Arguments) -> Result<Vec<Measured>, Uncounted> {
    let curves = arguments.curves();
    let mut works = Vec::new();
    for curve in &curves {
        for size in arguments.sizes(curve) {
            works.push(Counted::new(curve.times(size), move || (curve.work)(size)));
        }
    }
    let mut counts = count_instructions(&works, env::args_os().skip(1))?.into_iter();
    let points = |curve: Curve| {
        let sizes = arguments.sizes(&curve).into_iter();
        let costs = sizes.zip(counts.by_ref()).collect();
        (curve, costs)
    };
    Ok(curves.iter().copied().map(points).collect())
}

fn measure(arguments: &Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let span = Span(Duration::from_millis(arguments.millis.max(1)));
    let mut measured: Vec<Measured> = Vec::new();
    for curve in arguments.curves() {
        eprintln!("measuring {}", curve.id);
        // One at a time: a million of keys need not be there while something else is measured.
        let costs = arguments.sizes(&curve).into_iter().map(|size| {
            let mut contest = Contest::new([(curve.work)(size)]);
            contest.run(span);
            (size, contest.figures()[0].nanos)
        });
        measured.push((curve, costs.collect()));
    }
    // Before anything is written: whether there is more than the commit is asked of the work tree.
    let text = text(&measured);
    println!("{text}");
    if arguments.only.is_empty() {
        write(&measured, &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(measured: &[Measured], text: &str) -> std::io::Result<()> {
    let benches = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let plots = benches.join("plots/scale");
    fs::create_dir_all(&plots)?;
    for (curve, costs) in measured {
        let svg = scale::svg(curve.id, curve.unit, costs);
        fs::write(plots.join(plot(curve)), svg)?;
    }
    fs::write(benches.join("SCALE.md"), text)
}

fn plot(curve: &Curve) -> String {
    format!("{}.svg", curve.id.replace('/', "-"))
}

fn text(measured: &[Measured]) -> String {
    let mut text = String::from(
        "# How costs grow\n\n\
         Written by `cargo scale`: nanoseconds of one call, the minimum of many short batches. *May be* is the order of growth that `cargo scale --check` \
         holds the instructions of each to.\n\n",
    );
    let _ = writeln!(text, "Measured on {}.", machine::describe());
    for (curve, costs) in measured {
        section(&mut text, curve, costs);
    }
    text
}

fn section(text: &mut String, curve: &Curve, costs: &[(usize, f64)]) {
    let row = |cell: &dyn Fn(&(usize, f64)) -> String| {
        costs.iter().map(cell).collect::<Vec<_>>().join(" | ")
    };
    let sizes = row(&|(size, _)| size.to_string());
    let nanos = row(&|(_, nanos)| format!("{nanos:.1}"));
    let rules = "--:|".repeat(costs.len());
    let (id, unit, order) = (curve.id, curve.unit, curve.order.as_str());
    let plot = plot(curve);
    let _ = write!(
        text,
        "\n## {id}\n\n| {unit} | {sizes} |\n|---|{rules}\n| ns | {nanos} |\n\nMay be {order}.\n\n![{id}](plots/scale/{plot})\n"
    );
}
