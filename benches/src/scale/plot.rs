//! A curve as a line, both axes logarithmic, readable on light and on dark.

use std::fmt::Write;

const STYLE: &str = include_str!("../../plot.css");
const LEFT: f64 = 70.0;
const TOP: f64 = 34.0;
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 200.0;

/// The cost at each size.
#[must_use]
pub fn svg(id: &str, unit: &str, costs: &[(usize, f64)]) -> String {
    let axes = Axes::of(costs);
    let mut marks = String::new();
    for decade in axes.decades() {
        grid(&mut marks, &axes, decade);
    }
    for &(size, cost) in costs {
        mark(&mut marks, &axes, size, cost);
    }
    let points = costs.iter().map(|&(size, cost)| {
        let (x, y) = axes.place(size, cost);
        format!("{x:.1},{y:.1}")
    });
    let line = points.collect::<Vec<_>>().join(" ");
    let (width, height) = (LEFT + WIDTH + 60.0, TOP + HEIGHT + 60.0);
    let (middle, bottom) = (LEFT + WIDTH / 2.0, TOP + HEIGHT + 46.0);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{id}">
<style>
{STYLE}</style>
<text x="10" y="18">{id}: nanoseconds for a call</text>
{marks}<polyline class="line" points="{line}"/>
<text x="{middle}" y="{bottom}" text-anchor="middle">{unit}</text>
</svg>
"#
    )
}

/// What the edges stand for, as powers of ten.
struct Axes {
    sizes: (f64, f64),
    costs: (f64, f64),
}

impl Axes {
    fn of(costs: &[(usize, f64)]) -> Self {
        let sizes = costs.iter().map(|&(size, _)| (size as f64).log10());
        let costs = costs.iter().map(|&(_, cost)| cost.max(0.1).log10());
        let (least, most) = range(costs);
        Self {
            sizes: range(sizes),
            // At least a decade, so that noise does not look like growth.
            costs: (least.floor(), most.ceil().max(least.floor() + 1.0)),
        }
    }

    fn place(&self, size: usize, cost: f64) -> (f64, f64) {
        let across = share((size as f64).log10(), self.sizes);
        let up = share(cost.max(0.1).log10(), self.costs);
        (LEFT + WIDTH * across, TOP + HEIGHT * (1.0 - up))
    }

    fn decades(&self) -> impl Iterator<Item = i32> + use<> {
        self.costs.0 as i32..=self.costs.1 as i32
    }
}

fn range(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    (least, values.fold(f64::NEG_INFINITY, f64::max))
}

fn share(value: f64, (least, most): (f64, f64)) -> f64 {
    (value - least) / (most - least).max(f64::EPSILON)
}

fn grid(marks: &mut String, axes: &Axes, decade: i32) {
    let cost = 10_f64.powi(decade);
    let (_, y) = axes.place(1, cost);
    let (right, base, edge) = (LEFT + WIDTH, y + 4.0, LEFT - 10.0);
    let _ = writeln!(
        marks,
        r#"<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/><text x="{edge}" y="{base:.1}" text-anchor="end">{cost}</text>"#
    );
}

/// A point with its cost above, and its size at the edge below.
fn mark(marks: &mut String, axes: &Axes, size: usize, cost: f64) {
    let (x, y) = axes.place(size, cost);
    let (above, below) = (y - 9.0, TOP + HEIGHT + 22.0);
    let digits = if cost < 100.0 { 1 } else { 0 };
    let size = short(size);
    let _ = writeln!(
        marks,
        r#"<circle class="ours" cx="{x:.1}" cy="{y:.1}" r="4"/><text x="{x:.1}" y="{above:.1}" text-anchor="middle">{cost:.digits$}</text><text x="{x:.1}" y="{below}" text-anchor="middle">{size}</text>"#
    );
}

/// As in `10k`, `256 Ki`.
fn short(size: usize) -> String {
    match size {
        _ if size >= 1 << 20 && size.is_multiple_of(1 << 20) => format!("{} Mi", size >> 20),
        _ if size >= 1 << 10 && size.is_multiple_of(1 << 10) => format!("{} Ki", size >> 10),
        _ if size >= 1_000_000 && size.is_multiple_of(1_000_000) => {
            format!("{}M", size / 1_000_000)
        }
        _ if size >= 1000 && size.is_multiple_of(1000) => format!("{}k", size / 1000),
        _ => size.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let cases = [
            (64, "64"),
            (1024, "1 Ki"),
            (1 << 22, "4 Mi"),
            (10_000, "10k"),
            (1_000_000, "1M"),
        ];
        for (size, text) in cases {
            assert_eq!(short(size), text);
        }
    }

    #[test]
    fn a_flat_curve_is_drawn_within_its_frame() {
        let axes = Axes::of(&[(10, 50.0), (1000, 50.0)]);
        let (x, y) = axes.place(1000, 50.0);
        assert!((LEFT..=LEFT + WIDTH).contains(&x) && (TOP..=TOP + HEIGHT).contains(&y));
    }
}
