//! The table for people and the file for programs.
//!
//! Medians over rounds; a ratio is the median of the rounds' ratios, so that both sides of each
//! were measured seconds apart.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::gateway::Effort;
use super::machine::Machine;
use super::rounds::{Row, Sample};

/// Share of its processor from which the load generator itself may be the limit.
const LOAD_CPU_MOST: f64 = 0.95;
/// Share of the server's processor that others may use before a row is in doubt.
const OTHERS_MOST: f64 = 0.10;

/// Prints one table for each number of connections.
pub(super) fn print(rows: &[Row], effort: Effort) {
    let first = rows.iter().flat_map(|row| &row.samples);
    let bytes = |name: &str| -> Vec<f64> {
        first.clone().map(|sample| sample.get(name)).filter(|bytes| *bytes > 0.0).collect()
    };
    let range = |values: Vec<f64>| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        format!("{least:.0} to {:.0} B", values.iter().copied().fold(0.0, f64::max))
    };
    println!(
        "medians of {} rounds of {:.1} s; requests {}, answers {} (with heads)",
        effort.rounds,
        effort.duration.as_secs_f64(),
        range(bytes("request_bytes")),
        range(bytes("answer_bytes")),
    );
    let mut connections: Vec<usize> = rows.iter().map(|row| row.connections).collect();
    connections.dedup();
    for connections in connections {
        println!();
        println!(
            "{:<24} {:>9} {:>4} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>6} {:>7} ",
            format!("{connections} connections"),
            "requests",
            "±%",
            "×floor",
            "×direct",
            "p50",
            "p99",
            "p99.9",
            "+p50",
            "CPU",
            "RSS",
            "load",
            "others"
        );
        println!(
            "{:<24} {:>9} {:>4} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>6} {:>7} ",
            "", "/s", "", "", "", "µs", "µs", "µs", "µs", "µs/req", "MiB", "CPU %", "%"
        );
        for row in rows.iter().filter(|row| row.connections == connections) {
            println!("{}", line(&Figures::of(row, rows)));
        }
    }
    print_doubts(rows);
}

fn print_doubts(rows: &[Row]) {
    let figures: Vec<Figures> = rows.iter().map(|row| Figures::of(row, rows)).collect();
    let limited = figures.iter().filter(|row| row.is_load_bound()).count();
    let disturbed = figures.iter().filter(|row| row.is_disturbed()).count();
    if limited > 0 {
        println!("! {limited} rows: the load generator is at its limit, the server may be faster");
    }
    if disturbed > 0 {
        println!(
            "! {disturbed} rows: others used more than {:.0} % of the server's processor; only \
             CPU per request means something, and it is too high",
            OTHERS_MOST * 100.0
        );
    }
}

/// The medians of one row.
#[derive(Debug)]
struct Figures {
    name: &'static str,
    rate: f64,
    /// Half the distance between the fastest and the slowest round, as a share of the median.
    spread: f64,
    of_floor: Option<f64>,
    of_direct: Option<f64>,
    p50: f64,
    p99: f64,
    p999: f64,
    /// What a proxy adds to its upstream's median.
    added_p50: Option<f64>,
    cpu_us: f64,
    rss_mib: f64,
    load_cpu: f64,
    others: f64,
}

impl Figures {
    fn of(row: &Row, rows: &[Row]) -> Self {
        let samples = &row.samples;
        let over = |value: &dyn Fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        let rate = over(&Sample::rate);
        let rates = || samples.iter().map(Sample::rate);
        let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let find = |name: &str| {
            let other = rows
                .iter()
                .find(|other| other.entry.name == name && other.connections == row.connections);
            other.filter(|other| other.entry.name != row.entry.name)
        };
        let pairs = |other: &Row, value: &dyn Fn(&Sample, &Sample) -> f64| {
            median(samples.iter().zip(&other.samples).map(|(a, b)| value(a, b)).collect())
        };
        let ratio = |other: &Row| pairs(other, &|a, b| a.rate() / b.rate());
        let direct = row.entry.direct.and_then(find);
        Self {
            name: row.entry.name,
            rate,
            spread: (high - low) / 2.0 / rate,
            of_floor: find(row.entry.floor).map(ratio),
            of_direct: direct.map(ratio),
            p50: over(&|sample| sample.get("p50_us")),
            p99: over(&|sample| sample.get("p99_us")),
            p999: over(&|sample| sample.get("p999_us")),
            added_p50: direct.map(|other| pairs(other, &|a, b| a.get("p50_us") - b.get("p50_us"))),
            cpu_us: over(&Sample::cpu_us),
            rss_mib: over(&|sample| sample.get("rss_kib") / 1024.0),
            load_cpu: over(&|sample| sample.share("load_cpu_s")),
            others: over(&|sample| sample.share("others_cpu_s")),
        }
    }

    fn is_load_bound(&self) -> bool {
        self.load_cpu > LOAD_CPU_MOST
    }

    fn is_disturbed(&self) -> bool {
        self.others > OTHERS_MOST
    }

    fn to_json(&self) -> Value {
        json!({
            "requests_per_s": self.rate,
            "spread": self.spread,
            "of_floor": self.of_floor,
            "of_direct": self.of_direct,
            "p50_us": self.p50,
            "p99_us": self.p99,
            "p999_us": self.p999,
            "added_p50_us": self.added_p50,
            "cpu_us_per_request": self.cpu_us,
            "rss_mib": self.rss_mib,
            "load_cpu": self.load_cpu,
            "others_cpu": self.others,
            "load_bound": self.is_load_bound(),
            "disturbed": self.is_disturbed(),
        })
    }
}

fn line(figures: &Figures) -> String {
    let ratio = |value: Option<f64>| value.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
    let added = figures.added_p50.map(|added| format!("{added:.0}")).unwrap_or_default();
    format!(
        "{:<24} {:>9} {:>4.0} {:>7} {:>8} {:>8.0} {:>8.0} {:>9.0} {:>9} {:>7.2} {:>7.1} {:>6.0} {:>7.0}{}",
        figures.name,
        thousands(figures.rate),
        figures.spread * 100.0,
        ratio(figures.of_floor),
        ratio(figures.of_direct),
        figures.p50,
        figures.p99,
        figures.p999,
        added,
        figures.cpu_us,
        figures.rss_mib,
        figures.load_cpu * 100.0,
        figures.others * 100.0,
        if figures.is_load_bound() || figures.is_disturbed() { " !" } else { "" },
    )
}

/// `12345.6` as `12,346`.
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Writes medians and every round.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(
    path: &Path,
    machine: &Machine,
    rows: &[Row],
    effort: Effort,
) -> Result<(), String> {
    let listed: Vec<Value> = rows
        .iter()
        .map(|row| {
            let rounds: Vec<&Value> = row.samples.iter().map(|sample| &sample.raw).collect();
            json!({
                "name": row.entry.name,
                "connections": row.connections,
                "median": Figures::of(row, rows).to_json(),
                "rounds": rounds,
            })
        })
        .collect();
    let whole = json!({
        "machine": machine.to_json(),
        "rounds": effort.rounds,
        "duration_s": effort.duration.as_secs_f64(),
        "text_bytes": effort.text_bytes,
        "rows": listed,
    });
    fs::write(path, format!("{whole:#}\n"))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_for_people() {
        for (number, text) in [(0.4, "0"), (999.6, "1,000"), (144_544.0, "144,544")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        for (values, middle) in [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0], 2.5)] {
            assert_eq!(median(values), middle);
        }
    }
}
