//! What the rows came to, and whether it was promised.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::race::Race;
use super::served::no_account;
use super::{
    Budget, Call, Contest, Figures, Memory, REFERENCE_NANOS, Row, Share, Span, calibration,
};

/// All rows, measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What the calibration took here and now.
    pub calibration_nanos: f64,
    /// What it took on the machine of the budgets.
    pub reference_nanos: f64,
    /// By how much budgets of time are longer here. Never below one: a fast machine excuses nothing.
    pub scale: f64,
    /// The rows.
    pub lines: Vec<Line>,
    /// What has a budget and cannot be measured here, and why.
    pub not_here: Vec<(&'static str, String)>,
    /// What could be measured here, and does not work: it was not built, or answers with errors.
    pub failed: Vec<(&'static str, String)>,
}

/// A row, measured.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Of the row.
    pub id: &'static str,
    /// `ns`, `B` or `%`.
    pub unit: &'static str,
    /// What the budget is for: without the bare service where the budget says "over".
    pub measured: f64,
    /// What was promised, scaled.
    pub budget: Option<f64>,
    /// The bare service in the same run.
    pub bare: Option<f64>,
    /// Whether `bare` was taken away.
    pub is_over_bare: bool,
    /// Of one call.
    pub allocations: Option<u64>,
    /// What was promised.
    pub allocation_budget: Option<u64>,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of a promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Kept.
    Pass,
    /// Broken.
    Miss,
    /// Nothing was promised; shown to compare with.
    Shown,
}

/// How often the rows are gone through. A slow second then spoils a part of each of them and not all of one.
const PASSES: u32 = 5;

impl Report {
    /// Measures the rows, each for this long in all, and calls `progress` before each step with how far it has come.
    pub fn measure(rows: &[Row], span: Span, mut progress: impl FnMut(u32, &str)) -> Self {
        let mut trials: Vec<_> = rows.iter().map(Row::trial).collect();
        for pass in 0..PASSES {
            for (row, trial) in rows.iter().zip(&mut trials) {
                progress(100 * pass / PASSES, row.id());
                trial.run(Span(span.0 / PASSES));
            }
        }
        Self::of(rows, trials)
    }

    fn of(rows: &[Row], trials: Vec<Trial>) -> Self {
        let outcomes: Vec<_> = trials.into_iter().map(Trial::outcome).collect();
        let calibrations = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Times([calibration, ..]) => Some(calibration.nanos),
            _ => None,
        });
        let calibration_nanos = calibrations.fold(f64::INFINITY, f64::min);
        let scale = scale(calibration_nanos);
        let (mut lines, mut not_here, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (row, outcome) in rows.iter().zip(outcomes) {
            match row.line(outcome, scale) {
                Ok(line) => lines.push(line),
                Err(Unmeasured::NotHere(why)) => not_here.push((row.id(), why)),
                Err(Unmeasured::Failed(why)) => failed.push((row.id(), why)),
            }
        }
        Self {
            calibration_nanos,
            reference_nanos: REFERENCE_NANOS,
            scale,
            lines,
            not_here,
            failed,
        }
    }

    /// Whether every promise was kept that can be measured here. What does not work keeps none.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.failed.is_empty() && self.lines.iter().all(|line| line.verdict != Verdict::Miss)
    }
}

fn scale(calibration_nanos: f64) -> f64 {
    let scale = calibration_nanos / REFERENCE_NANOS;
    // Also where nothing was calibrated: no row is about time.
    if scale.is_finite() {
        scale.max(1.0)
    } else {
        1.0
    }
}

/// What is being measured of a row.
enum Trial {
    /// The calibration, the bare service and the call, in this order.
    Times(Contest),
    Race(Box<Race>),
    /// What is known at once.
    Bytes(u64),
    Impossible(Unmeasured),
}

/// Why there are no figures.
#[derive(Debug)]
enum Unmeasured {
    /// It is not to be had on this machine.
    NotHere(String),
    /// It could be measured, and does not work.
    Failed(String),
}

/// What has come of it.
enum Outcome {
    Times([Figures; 3]),
    /// What ours can do of what the bare one can.
    Share(f64),
    Bytes(u64),
    Impossible(Unmeasured),
}

impl Trial {
    fn race(share: &Share) -> Self {
        match Race::start(share) {
            Ok(race) => Self::Race(Box::new(race)),
            Err(error) => Self::Impossible(Unmeasured::Failed(error.to_string())),
        }
    }

    fn run(&mut self, span: Span) {
        let failed = match self {
            Self::Times(contest) => return contest.run(span),
            Self::Race(race) => race.run(span),
            Self::Bytes(_) | Self::Impossible(_) => return,
        };
        if let Err(error) = failed {
            *self = Self::Impossible(Unmeasured::Failed(error.to_string()));
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Times(mut contest) => {
                let figures = contest.figures().try_into();
                Outcome::Times(figures.expect("three take part"))
            }
            Self::Race(race) => Outcome::Share(race.share()),
            Self::Bytes(bytes) => Outcome::Bytes(bytes),
            Self::Impossible(why) => Outcome::Impossible(why),
        }
    }
}

impl Row {
    fn trial(&self) -> Trial {
        match self {
            Self::Call(call) => {
                let works = [calibration(), call.zero.work(), (call.work)()];
                Trial::Times(Contest::new(works))
            }
            Self::Memory(memory) => Trial::Bytes((memory.bytes)()),
            Self::Share(share) => match no_account() {
                Some(why) => Trial::Impossible(Unmeasured::NotHere(why)),
                None => Trial::race(share),
            },
        }
    }

    fn line(&self, outcome: Outcome, scale: f64) -> Result<Line, Unmeasured> {
        match (self, outcome) {
            (_, Outcome::Impossible(why)) => Err(why),
            (Self::Call(call), Outcome::Times([_, bare, all])) => Ok(call.line(bare, all, scale)),
            (Self::Memory(memory), Outcome::Bytes(bytes)) => Ok(memory.line(bytes)),
            (Self::Share(share), Outcome::Share(reached)) => Ok(share.line(reached)),
            _ => unreachable!("a row has the outcome of its own trial"),
        }
    }
}

impl Call {
    fn line(&self, bare: Figures, all: Figures, scale: f64) -> Line {
        let over = self.zero.is_over();
        let (nanos, of_bare) = if over {
            (bare.nanos, bare.allocations)
        } else {
            (0.0, 0)
        };
        let measured = all.nanos - nanos;
        let allocations = all.allocations.saturating_sub(of_bare);
        Line {
            id: self.id,
            unit: "ns",
            measured,
            budget: self.budget.map(|budget| budget.nanos * scale),
            bare: Some(bare.nanos),
            is_over_bare: over,
            allocations: Some(allocations),
            allocation_budget: self.budget.map(|budget| budget.allocations),
            verdict: Verdict::of(self.budget, measured / scale, allocations),
        }
    }
}

impl Memory {
    fn line(&self, measured: u64) -> Line {
        Line {
            id: self.id,
            unit: "B",
            measured: measured as f64,
            budget: Some(self.budget as f64),
            bare: None,
            is_over_bare: false,
            allocations: None,
            allocation_budget: None,
            verdict: Verdict::kept(measured <= self.budget),
        }
    }
}

impl Share {
    fn line(&self, reached: f64) -> Line {
        Line {
            id: self.id,
            unit: "%",
            measured: 100.0 * reached,
            budget: Some(100.0 * self.budget),
            bare: None,
            is_over_bare: false,
            allocations: None,
            allocation_budget: None,
            verdict: Verdict::kept(reached >= self.budget),
        }
    }
}

impl Verdict {
    fn of(budget: Option<Budget>, nanos: f64, allocations: u64) -> Self {
        budget.map_or(Self::Shown, |budget| {
            Self::kept(nanos <= budget.nanos && allocations <= budget.allocations)
        })
    }

    fn kept(kept: bool) -> Self {
        if kept { Self::Pass } else { Self::Miss }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Miss => "MISS",
            Self::Shown => "-",
        }
    }
}

/// A table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<34} {:>12} {:>12} {:>12} {:>7} {:>7}  verdict",
            "row", "measured", "budget", "bare", "allocs", "budget"
        )?;
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        for (row, why) in &self.not_here {
            writeln!(f, "{row:<34} not here: {why}")?;
        }
        for (row, why) in &self.failed {
            writeln!(f, "{row:<34} FAILED: {why}")?;
        }
        // Only rows of time are held against it.
        if self.calibration_nanos.is_infinite() {
            return Ok(());
        }
        write!(
            f,
            "\ncalibration {:.1} ns, reference {:.1} ns: budgets of time x {:.2}",
            self.calibration_nanos, self.reference_nanos, self.scale
        )
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |value: f64| match self.unit {
            "B" => format!("{value:.0} B"),
            unit => format!("{value:.1} {unit}"),
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let minus = if self.is_over_bare { "- " } else { "" };
        write!(
            f,
            "{:<34} {:>12} {:>12} {:>12} {:>7} {:>7}  {}",
            self.id,
            amount(self.measured),
            or_dash(self.budget.map(amount)),
            or_dash(self.bare.map(|bare| format!("{minus}{}", amount(bare)))),
            or_dash(self.allocations.map(|count| count.to_string())),
            or_dash(self.allocation_budget.map(|count| count.to_string())),
            self.verdict.as_str(),
        )
    }
}

/// What measuring takes, for who waits for it.
impl Span {
    /// Enough for stable figures, and the table in well under a minute.
    pub const DEFAULT: Self = Self(Duration::from_millis(650));
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::StatusCode;

    use super::*;
    use crate::kit::{Served, serve};
    use crate::rows::http::Fixed;
    use crate::rows::stack::hello;

    fn share(ours: fn() -> io::Result<Served>) -> Row {
        Row::Share(Share {
            id: "stack/of-a-test",
            budget: 0.001,
            ours,
            bare: || serving(StatusCode::OK),
        })
    }

    fn serving(status: StatusCode) -> io::Result<Served> {
        serve(move || {
            let mut response = hello();
            *response.status_mut() = status;
            Fixed::new(response)
        })
    }

    fn measured(ours: fn() -> io::Result<Served>) -> Report {
        Report::measure(&[share(ours)], Span(Duration::from_millis(1)), |_, _| {})
    }

    #[test]
    fn a_server_that_is_not_built_or_answers_errors_keeps_no_promise() {
        if let Some(why) = no_account() {
            let report = measured(|| Err(io::Error::other("it was not built")));
            assert_eq!(report.not_here, [("stack/of-a-test", why)]);
            assert!(report.is_kept(), "nothing can be said of it");
            return;
        }
        for (ours, words) in [
            (
                (|| Err(io::Error::other("it was not built"))) as fn() -> _,
                "not built",
            ),
            (|| serving(StatusCode::INTERNAL_SERVER_ERROR), "500"),
        ] {
            let report = measured(ours);
            assert!(!report.is_kept(), "{report}");
            assert!(report.not_here.is_empty() && report.lines.is_empty());
            let [(row, why)] = &report.failed[..] else {
                panic!("{report:?}");
            };
            assert!(*row == "stack/of-a-test" && why.contains(words), "{why}");
            assert!(report.to_string().contains("FAILED: "), "{report}");
        }
        let report = measured(|| serving(StatusCode::OK));
        assert_eq!(report.lines.len(), 1, "{report}");
    }
}
