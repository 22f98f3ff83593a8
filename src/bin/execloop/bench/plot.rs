//! Draws the figures of a bench: a panel for each, a bar for each engine.
//! Unaware of how they were measured.

use std::fmt::Write as _;

use super::Figures;

const PANEL_WIDTH: usize = 250;
const HEAD_HEIGHT: usize = 66;
const BAR_HEIGHT: usize = 44;
/// The first is this engine's.
const COLOURS: [&str; 4] = ["#3d8bd4", "#8a8f99", "#c9a45c", "#7aa87a"];

type Panel = (&'static str, fn(&Figures) -> f64);

const PANELS: [Panel; 4] = [
    ("commands a second", |figures| figures.per_second),
    ("reported after, p50 us", |figures| figures.p50_us),
    ("reported after, p99 us", |figures| figures.p99_us),
    ("parent's CPU us a command", |figures| {
        figures.cpu_us_per_command
    }),
];

/// An SVG. `title` has nothing that XML would act upon.
pub(super) fn draw(title: &str, all: &[Figures]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
        <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"16\" y=\"24\" font-size=\"15\">{title}</text>\n",
        PANEL_WIDTH * PANELS.len(),
        HEAD_HEIGHT + BAR_HEIGHT * all.len(),
    );
    for (number, (name, figure)) in PANELS.iter().enumerate() {
        let x = 16 + number * PANEL_WIDTH;
        let most = all.iter().map(figure).fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"54\" fill=\"#687083\">{name}</text>"
        );
        for (at, figures) in all.iter().enumerate() {
            let (value, y) = (figure(figures), HEAD_HEIGHT + at * BAR_HEIGHT);
            let long = value / most * (PANEL_WIDTH - 40) as f64;
            let colour = COLOURS[at % COLOURS.len()];
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{long:.1}\" height=\"18\" fill=\"{colour}\"/>\n\
                <text x=\"{x}\" y=\"{}\">{}: {value:.0}</text>",
                y + 32,
                figures.engine
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}
