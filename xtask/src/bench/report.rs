//! The table for people and the file for programs.
//!
//! Medians over rounds; a ratio is the median of the rounds' ratios, so that both sides of each
//! were measured seconds apart.

use serde_json::{Value, json};

use super::effort::Effort;
use super::machine::Machine;
use super::rounds::{Condition, Row, Sample};

/// Share of its processor from which the load generator itself may be the limit.
const LOAD_CPU_MOST: f64 = 0.95;
/// Share of the server's processor that others may use before a row is in doubt.
const OTHERS_MOST: f64 = 0.10;

/// Prints one table for each condition.
pub(super) fn print(rows: &[Row], effort: Effort) {
    println!(
        "medians of {} rounds of {:.1} s; ±% is half the distance of the extremes",
        effort.rounds,
        effort.duration.as_secs_f64(),
    );
    let mut conditions: Vec<Condition> = rows.iter().map(|row| row.condition).collect();
    conditions.dedup();
    for condition in conditions {
        let Condition { connections, text_bytes } = condition;
        println!();
        println!(
            "{:<26} {:>9} {:>4} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>6} {:>7} ",
            format!("{connections} connections, {text_bytes} B"),
            "requests",
            "±%",
            "×floor",
            "×direct",
            "p50",
            "p99",
            "p99.9",
            "+p50",
            "CPU",
            "memory",
            "load",
            "others"
        );
        println!(
            "{:<26} {:>9} {:>4} {:>7} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>6} {:>7} ",
            "", "/s", "", "", "", "µs", "µs", "µs", "µs", "µs/req", "MiB", "CPU %", "%"
        );
        for row in rows.iter().filter(|row| row.condition == condition) {
            match &row.failed {
                None => println!("{}", line(&Figures::of(row, rows))),
                Some(why) => {
                    let why = why.lines().next().unwrap_or_default();
                    println!("{:<26} failed: {why}", row.entry.name);
                }
            }
        }
    }
    print_doubts(rows);
}

fn print_doubts(rows: &[Row]) {
    let measured = rows.iter().filter(|row| row.failed.is_none());
    let figures: Vec<Figures> = measured.map(|row| Figures::of(row, rows)).collect();
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
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) rate: f64,
    /// Half the distance between the fastest and the slowest round, as a share of the median.
    spread: f64,
    pub(super) of_floor: Option<f64>,
    pub(super) of_direct: Option<f64>,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// What a proxy adds to its upstream's median.
    pub(super) added_p50: Option<f64>,
    pub(super) cpu_us: f64,
    pub(super) rss_mib: f64,
    load_cpu: f64,
    others: f64,
}

impl Figures {
    /// Of a row, next to those it is compared with.
    pub(super) fn of(row: &Row, rows: &[Row]) -> Self {
        let samples = &row.samples;
        let over = |value: &dyn Fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        let rate = over(&Sample::rate);
        let rates = || samples.iter().map(Sample::rate);
        let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let find = |name: &str| {
            let other = rows
                .iter()
                .find(|other| other.entry.name == name && other.condition == row.condition);
            other.filter(|other| other.entry.name != row.entry.name && other.failed.is_none())
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
            of_floor: row.entry.floor.and_then(find).map(ratio),
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
        "{:<26} {:>9} {:>4.0} {:>7} {:>8} {:>8.0} {:>8.0} {:>9.0} {:>9} {:>7.2} {:>7.1} {:>6.0} {:>7.0}{}",
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
pub(super) fn thousands(number: f64) -> String {
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

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Medians and every round, for programs.
pub(super) fn to_json(machine: &Machine, rows: &[Row], effort: Effort) -> Value {
    let listed = rows.iter().map(|row| {
        let rounds: Vec<&Value> = row.samples.iter().map(|sample| &sample.raw).collect();
        let median = row.failed.is_none().then(|| Figures::of(row, rows).to_json());
        json!({
            "name": row.entry.name,
            "connections": row.condition.connections,
            "text_bytes": row.condition.text_bytes,
            "median": median,
            "failed": row.failed,
            "rounds": rounds,
        })
    });
    json!({
        "machine": machine.to_json(),
        "rounds": effort.rounds,
        "duration_s": effort.duration.as_secs_f64(),
        "rows": listed.collect::<Vec<_>>(),
    })
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
