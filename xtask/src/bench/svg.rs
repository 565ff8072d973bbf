//! Plots: bars, spans and lines as SVG, drawn by hand.
//!
//! Invariants: text is escaped; nothing lies outside the picture; a plot brings its own background,
//! light or dark as its reader wants it, so that it is legible wherever it is shown.

use std::fmt::Write as _;

/// Width of a picture, in its own units.
const WIDTH: f64 = 840.0;
/// Where bars begin: before that are their names.
const LEFT: f64 = 210.0;
/// Room for the numbers behind bars.
const RIGHT: f64 = 90.0;
const ROW: f64 = 22.0;
const STYLE: &str = "\
.back{fill:#ffffff}.ink{fill:#1f2328}.soft{fill:#59636e}.grid{stroke:#d1d9e0;stroke-width:1}\
.ours{fill:#0969da}.other{fill:#9aa4af}.floor{fill:#c69026}\
.l0{stroke:#0969da}.l1{stroke:#bc4c00}.l2{stroke:#1a7f37}.l3{stroke:#8250df}\
.d0{fill:#0969da}.d1{fill:#bc4c00}.d2{fill:#1a7f37}.d3{fill:#8250df}\
@media (prefers-color-scheme:dark){.back{fill:#0d1117}.ink{fill:#e6edf3}.soft{fill:#9198a1}\
.grid{stroke:#3d444d}.ours{fill:#4493f8}.other{fill:#656c76}.floor{fill:#d29922}\
.l0{stroke:#4493f8}.l1{stroke:#f0883e}.l2{stroke:#3fb950}.l3{stroke:#ab7df8}\
.d0{fill:#4493f8}.d1{fill:#f0883e}.d2{fill:#3fb950}.d3{fill:#ab7df8}}";

/// A picture: panels one under the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Plot {
    pub(super) title: String,
    /// Under the title: where and how it was measured.
    pub(super) note: String,
    pub(super) panels: Vec<Panel>,
}

/// One part of a picture.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) marks: Marks,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) enum Marks {
    /// From zero to a value each.
    Bars(Vec<Bar>),
    /// From one value over a second to a third, on a scale of powers of ten.
    Spans(Vec<Span>),
    /// Values over a number of something, on a scale of powers of ten.
    Lines { over: String, lines: Vec<Line> },
}

/// Whose mark it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Others,
    /// What bounds everybody.
    Floor,
}

impl Whose {
    fn class(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Others => "other",
            Self::Floor => "floor",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) text: String,
    pub(super) whose: Whose,
}

#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: String,
    /// Ascending.
    pub(super) values: [f64; 3],
    pub(super) text: String,
    pub(super) whose: Whose,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Where on the picture a value lies.
struct Scale {
    low: f64,
    high: f64,
    /// Between two ticks; of a scale of powers, nothing.
    step: Option<f64>,
    from: f64,
    to: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let share = match self.step {
            None => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            Some(_) => (value - self.low) / (self.high - self.low),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// From zero to a round number at or above `most`.
    fn linear(most: f64, from: f64, to: f64) -> Self {
        let step = step(most);
        let high = (most / step).ceil().max(1.0) * step;
        Self { low: 0.0, high, step: Some(step), from, to }
    }

    /// Whole powers of ten around all values.
    fn powers(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        let low = if least.is_finite() { 10_f64.powf(least.log10().floor()) } else { 1.0 };
        let high = 10_f64.powf(most.max(low * 1.001).log10().ceil());
        Self { low, high, step: None, from, to }
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut tick = self.low;
        while tick <= self.high * 1.0001 {
            ticks.push(tick);
            tick = self.step.map_or(tick * 10.0, |step| tick + step);
        }
        ticks
    }
}

/// A round distance of which three to seven reach `most`.
fn step(most: f64) -> f64 {
    let rough = if most > 0.0 && most.is_finite() { most / 4.0 } else { 0.25 };
    let power = 10_f64.powf(rough.log10().floor());
    let digit = rough / power;
    power
        * if digit < 1.5 {
            1.0
        } else if digit < 3.5 {
            2.0
        } else if digit < 7.5 {
            5.0
        } else {
            10.0
        }
}

/// A tick as people write it.
fn number(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{}M", trim(value / 1e6)),
        value if value >= 1e3 => format!("{}k", trim(value / 1e3)),
        value => trim(value),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What is written so far, and how far down it reaches.
struct Paper {
    out: String,
    y: f64,
}

impl Paper {
    fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, size: u32, text: &str) {
        let text = escape(text);
        writeln!(
            self.out,
            r#"<text x="{x:.1}" y="{y:.1}" class="{class}" text-anchor="{anchor}" font-size="{size}">{text}</text>"#
        )
        .expect("a string takes everything");
    }

    fn rule(&mut self, x: (f64, f64), y: (f64, f64)) {
        writeln!(
            self.out,
            r#"<line x1="{:.1}" x2="{:.1}" y1="{:.1}" y2="{:.1}" class="grid"/>"#,
            x.0, x.1, y.0, y.1
        )
        .expect("a string takes everything");
    }

    fn bar(&mut self, x: (f64, f64), y: (f64, f64), class: &str) {
        writeln!(
            self.out,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="2" class="{class}"/>"#,
            x.0,
            y.0,
            (x.1 - x.0).max(1.0),
            y.1 - y.0
        )
        .expect("a string takes everything");
    }

    fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str) {
        writeln!(self.out, r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" class="{class}"/>"#)
            .expect("a string takes everything");
    }

    /// Vertical lines and their numbers for `rows` rows from here on.
    fn grid(&mut self, scale: &Scale, rows: usize) {
        let end = self.y + rows as f64 * ROW;
        for tick in scale.ticks() {
            let x = scale.at(tick);
            self.rule((x, x), (self.y, end + 4.0));
            self.text(x, end + 18.0, "soft", "middle", 11, &number(tick));
        }
    }

    fn row(&mut self, name: &str, whose: Whose) {
        let class = if whose == Whose::Ours { "ink" } else { "soft" };
        self.text(LEFT - 8.0, self.y + 15.0, class, "end", 12, name);
    }

    fn bars(&mut self, bars: &[Bar]) {
        let most = bars.iter().map(|bar| bar.value).filter(|v| v.is_finite()).fold(0.0, f64::max);
        let scale = Scale::linear(most, LEFT, WIDTH - RIGHT);
        self.grid(&scale, bars.len());
        for bar in bars {
            self.row(&bar.name, bar.whose);
            let end = if bar.value.is_finite() { scale.at(bar.value) } else { LEFT };
            self.bar((LEFT, end), (self.y + 4.0, self.y + 18.0), bar.whose.class());
            self.text(end + 6.0, self.y + 15.0, "ink", "start", 12, &bar.text);
            self.y += ROW;
        }
        self.y += 26.0;
    }

    fn spans(&mut self, spans: &[Span]) {
        let values = spans.iter().flat_map(|span| span.values);
        let scale = Scale::powers(values, LEFT, WIDTH - RIGHT);
        self.grid(&scale, spans.len());
        for span in spans {
            self.row(&span.name, span.whose);
            let [low, middle, high] = span.values.map(|value| scale.at(value));
            let class = span.whose.class();
            self.bar((low, high), (self.y + 9.5, self.y + 12.5), class);
            for (x, radius) in [(low, 5.0), (middle, 4.0), (high, 3.0)] {
                self.dot(x, self.y + 11.0, radius, class);
            }
            self.text(high + 8.0, self.y + 15.0, "ink", "start", 12, &span.text);
            self.y += ROW;
        }
        self.y += 26.0;
    }

    fn lines(&mut self, over: &str, lines: &[Line]) {
        const HEIGHT: f64 = 190.0;
        let (left, right) = (70.0, WIDTH - 200.0);
        let points = || lines.iter().flat_map(|line| line.points.iter());
        let across = Scale::powers(points().map(|point| point.0), left, right);
        let most = points().map(|point| point.1).fold(0.0, f64::max);
        let up = Scale::linear(most, self.y + HEIGHT, self.y);
        for tick in up.ticks() {
            let y = up.at(tick);
            self.rule((left, right), (y, y));
            self.text(left - 8.0, y + 4.0, "soft", "end", 11, &number(tick));
        }
        for tick in across.ticks() {
            let x = across.at(tick);
            self.text(x, self.y + HEIGHT + 17.0, "soft", "middle", 11, &number(tick));
        }
        self.text((left + right) / 2.0, self.y + HEIGHT + 34.0, "soft", "middle", 12, over);
        for (at, line) in lines.iter().enumerate() {
            let places: Vec<(f64, f64)> =
                line.points.iter().map(|(x, y)| (across.at(*x), up.at(*y))).collect();
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let path = path.join(" ");
            writeln!(
                self.out,
                r#"<polyline points="{path}" fill="none" stroke-width="2" class="l{}"/>"#,
                at % 4
            )
            .expect("a string takes everything");
            let class = format!("d{}", at % 4);
            for (x, y) in places {
                self.dot(x, y, 3.0, &class);
            }
            let y = self.y + 14.0 + at as f64 * 20.0;
            self.dot(right + 22.0, y - 4.0, 4.0, &class);
            self.text(right + 34.0, y, "ink", "start", 12, &line.name);
        }
        self.y += HEIGHT + 44.0;
    }
}

impl Plot {
    /// The picture.
    pub(super) fn render(&self) -> String {
        let mut paper = Paper { out: String::new(), y: 30.0 };
        paper.text(20.0, paper.y, "ink", "start", 17, &self.title);
        for line in self.note.lines() {
            paper.y += 19.0;
            paper.text(20.0, paper.y, "soft", "start", 12, line);
        }
        paper.y += 18.0;
        for panel in &self.panels {
            paper.y += 14.0;
            paper.text(20.0, paper.y, "ink", "start", 13, &panel.title);
            paper.y += 12.0;
            match &panel.marks {
                Marks::Bars(bars) => paper.bars(bars),
                Marks::Spans(spans) => paper.spans(spans),
                Marks::Lines { over, lines } => paper.lines(over, lines),
            }
        }
        let (height, marks) = (paper.y + 6.0, paper.out);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             width=\"{WIDTH}\" height=\"{height:.0}\" font-family=\"system-ui, sans-serif\">\n\
             <style>{STYLE}</style>\n\
             <rect width=\"100%\" height=\"100%\" rx=\"6\" class=\"back\"/>\n{marks}</svg>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        for (most, high, count) in [(140_003.0, 150_000.0, 4), (9.0, 10.0, 6), (0.0, 0.2, 2)] {
            let scale = Scale::linear(most, 0.0, 1.0);
            assert_eq!((scale.high, scale.ticks().len()), (high, count), "{most}");
        }
        let powers = Scale::powers([23.0, 178_389.0].into_iter(), 0.0, 1.0);
        assert_eq!(powers.ticks().len(), 6);
        assert!(powers.low <= 23.0 && powers.high >= 178_389.0);
    }

    #[test]
    fn a_strangers_name_does_not_break_the_picture() {
        let bar = Bar {
            name: "<a&b>".into(),
            value: f64::NAN,
            text: "\"none\"".into(),
            whose: Whose::Others,
        };
        let panels = vec![Panel { title: "rate".into(), marks: Marks::Bars(vec![bar]) }];
        let text = Plot { title: "t".into(), note: "one\ntwo".into(), panels }.render();
        assert!(text.contains("&lt;a&amp;b&gt;") && !text.contains("NaN"), "{text}");
    }
}
