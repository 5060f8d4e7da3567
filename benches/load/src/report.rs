//! What was measured, for people and for programs.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::machine::{self, Places};
use crate::measure::{Line, Measured};
use crate::proxies::{Found, Proxy};
use crate::scenario::Load;

const BEGIN: &str = "<!-- bench load: begin; written by `cargo xtask bench load --write` -->";
const END: &str = "<!-- bench load: end -->";

/// What ran where.
pub(crate) struct Facts {
    machine: String,
    proxies: Vec<(Proxy, String)>,
    places: Places,
}

impl Facts {
    pub(crate) fn gather(places: &Places, found: &[Found]) -> Self {
        Self {
            machine: machine::describe(),
            proxies: found
                .iter()
                .filter(|found| found.proxy != Proxy::Forgetful)
                .map(|found| (found.proxy, found.version.clone()))
                .collect(),
            places: *places,
        }
    }

    pub(crate) fn describe(&self) -> String {
        let versions: Vec<_> = self
            .proxies
            .iter()
            .map(|(proxy, version)| format!("{} {version}", proxy.name()))
            .collect();
        format!(
            "{}; proxies on CPU {}, origin and load on CPU {}; {}",
            self.machine,
            self.places.proxies,
            self.places.load,
            versions.join(", ")
        )
    }
}

/// Ours beside the best peer, pair by pair of the same round.
struct Ratio {
    best: Proxy,
    /// The middle one, the least, the largest.
    middle: f64,
    least: f64,
    largest: f64,
}

impl Ratio {
    fn of(measured: &Measured) -> Option<Self> {
        let ours = measured
            .lines
            .iter()
            .find(|line| line.proxy == Proxy::Portcullis)?;
        let best = measured
            .lines
            .iter()
            .filter(|line| !line.proxy.is_ours() && !line.samples.is_empty())
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
        let mut ratios: Vec<f64> = ours
            .samples
            .iter()
            .zip(&best.samples)
            .map(|(ours, theirs)| ours.cost / theirs.cost)
            .collect();
        ratios.sort_by(f64::total_cmp);
        Some(Self {
            best: best.proxy,
            middle: middle(&ratios),
            least: *ratios.first()?,
            largest: *ratios.last()?,
        })
    }
}

fn middle(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn of(line: &Line, value: impl Fn(&crate::measure::Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = line.samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    middle(&values)
}

fn cost(line: &Line) -> f64 {
    of(line, |sample| sample.cost)
}

fn is_disturbed(line: &Line) -> bool {
    line.samples.iter().any(crate::measure::Sample::is_disturbed)
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

/// A scenario as it is done, for whoever waits.
pub(crate) fn scenario_lines(measured: &Measured) -> String {
    let unit = if measured.scenario.load == Load::Idle {
        "KiB"
    } else {
        "µs"
    };
    let mut text = format!(
        "{} ({} requests a round)\n",
        measured.scenario.name, measured.requests
    );
    for line in &measured.lines {
        let _ = writeln!(
            text,
            "  {:<11} {:>7} {unit}  {:>8.0}/s  p50 {:>6.0} µs  p99 {:>6.0} µs  {:>7.1} MiB  others {:.2}{}",
            line.proxy.name(),
            number(cost(line)),
            of(line, |sample| sample.per_second),
            of(line, |sample| sample.p50.as_secs_f64() * 1e6),
            of(line, |sample| sample.p99.as_secs_f64() * 1e6),
            line.rss_kib as f64 / 1024.0,
            of(line, |sample| sample.others),
            if is_disturbed(line) { " *" } else { "" },
        );
    }
    if let Some(ratio) = Ratio::of(measured) {
        let _ = writeln!(
            text,
            "  ratio to {}: {:.2} ({:.2}-{:.2})",
            ratio.best.name(),
            ratio.middle,
            ratio.least,
            ratio.largest
        );
    }
    for note in &measured.notes {
        let _ = writeln!(text, "  {note}");
    }
    text
}

/// The tables.
pub(crate) fn markdown(facts: &Facts, results: &[Measured]) -> String {
    let columns: Vec<Proxy> = facts.proxies.iter().map(|(proxy, _)| *proxy).collect();
    let names = columns
        .iter()
        .map(|proxy| proxy.name())
        .collect::<Vec<_>>()
        .join(" | ");
    let rules = "---|".repeat(columns.len());
    let mut text = format!(
        "{}.\n\nCPU µs of a request, the middle one of the rounds:\n\n",
        facts.describe()
    );
    let _ = writeln!(
        text,
        "| scenario | {names} | ratio to the best peer (least – largest) | goal |\n|---|{rules}---|---|"
    );
    for measured in results {
        let cells = cells(measured, &columns, |line| {
            let unit = if measured.scenario.load == Load::Idle {
                " KiB"
            } else {
                ""
            };
            format!(
                "{}{unit}{}",
                number(cost(line)),
                if is_disturbed(line) { "\\*" } else { "" }
            )
        });
        let ratio = Ratio::of(measured).map_or("–".to_owned(), |ratio| {
            let many = format!(" ({:.2} – {:.2})", ratio.least, ratio.largest);
            let few = String::new();
            let range = if ratio.least < ratio.largest { many } else { few };
            format!("{:.2}{range} {}", ratio.middle, ratio.best.name())
        });
        let goal = measured
            .scenario
            .goal
            .map_or("–".to_owned(), |goal| format!("{goal:.2}"));
        let _ = writeln!(
            text,
            "| {} | {cells} | {ratio} | {goal} |",
            measured.scenario.name
        );
    }
    let _ = writeln!(
        text,
        "\nRequests per second, p50 / p99 in µs, and memory in MiB after the last round:\n"
    );
    let _ = writeln!(text, "| scenario | {names} |\n|---|{rules}");
    for measured in results
        .iter()
        .filter(|measured| measured.scenario.load != Load::Idle)
    {
        let cells = cells(measured, &columns, |line| {
            format!(
                "{:.0}/s, {:.0} / {:.0}, {:.0}",
                of(line, |sample| sample.per_second),
                of(line, |sample| sample.p50.as_secs_f64() * 1e6),
                of(line, |sample| sample.p99.as_secs_f64() * 1e6),
                line.rss_kib as f64 / 1024.0
            )
        });
        let _ = writeln!(text, "| {} | {cells} |", measured.scenario.name);
    }
    text.push_str(&remarks(results));
    text
}

/// What stands below the tables.
fn remarks(results: &[Measured]) -> String {
    let mut text = String::new();
    for measured in results {
        if let Some(line) = measured.lines.iter().find(|line| line.proxy == Proxy::Forgetful) {
            let cost = number(cost(line));
            let _ = writeln!(
                text,
                "\n{}: {cost} µs when the policy is evaluated every time.",
                measured.scenario.name
            );
        }
        for note in &measured.notes {
            let _ = writeln!(text, "\n{}: {note}.", measured.scenario.name);
        }
    }
    if results
        .iter()
        .flat_map(|measured| &measured.lines)
        .any(is_disturbed)
    {
        text.push_str("\n\\* others used more than 0.3 CPUs beside a round of it, three times in a row.\n");
    }
    text
}

fn cells(measured: &Measured, columns: &[Proxy], cell: impl Fn(&Line) -> String) -> String {
    let cells: Vec<_> = columns
        .iter()
        .map(|column| {
            measured
                .lines
                .iter()
                .find(|line| line.proxy == *column)
                .map_or("–".to_owned(), &cell)
        })
        .collect();
    cells.join(" | ")
}

/// Everything, round by round.
pub(crate) fn json(facts: &Facts, results: &[Measured]) -> Value {
    let scenarios: Vec<Value> = results
        .iter()
        .map(|measured| {
            let lines: Vec<Value> = measured.lines.iter().map(line_json).collect();
            let ratio = Ratio::of(measured).map(|ratio| {
                json!({ "best_peer": ratio.best.name(), "median": ratio.middle,
                    "least": ratio.least, "largest": ratio.largest })
            });
            json!({ "scenario": measured.scenario.name, "about": measured.scenario.about,
                "requests": measured.requests, "goal": measured.scenario.goal, "ratio": ratio,
                "proxies": lines, "notes": measured.notes })
        })
        .collect();
    let versions: serde_json::Map<String, Value> = facts
        .proxies
        .iter()
        .map(|(proxy, version)| (proxy.name().to_owned(), json!(version)))
        .collect();
    json!({ "machine": facts.machine, "cpu_of_proxies": facts.places.proxies, "cpu_of_load": facts.places.load,
        "versions": versions, "scenarios": scenarios })
}

fn line_json(line: &Line) -> Value {
    let rounds: Vec<Value> = line
        .samples
        .iter()
        .map(|sample| {
            json!({ "cost": sample.cost, "per_second": sample.per_second,
                "p50_us": sample.p50.as_secs_f64() * 1e6, "p99_us": sample.p99.as_secs_f64() * 1e6,
                "others_cpus": sample.others, "disturbed": sample.is_disturbed() })
        })
        .collect();
    json!({ "proxy": line.proxy.name(), "cost": cost(line), "rss_kib": line.rss_kib, "rounds": rounds })
}

/// Puts a table between the file's markers.
pub(crate) fn write(file: &Path, table: &str) -> Result<()> {
    let text =
        fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let text = replaced(&text, table).ok_or_else(|| format!("{} has no markers", file.display()))?;
    fs::write(file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

fn replaced(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Sample;
    use crate::scenario::ALL;

    fn line(proxy: Proxy, costs: &[f64]) -> Line {
        let samples = costs
            .iter()
            .map(|cost| Sample {
                cost: *cost,
                per_second: 1.0,
                p50: Duration::ZERO,
                p99: Duration::ZERO,
                others: 0.0,
            })
            .collect();
        Line {
            proxy,
            samples,
            rss_kib: 1024,
        }
    }

    fn measured(lines: Vec<Line>) -> Measured {
        Measured {
            scenario: &ALL[0],
            requests: 10,
            lines,
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_ratio_pairs_rounds_with_the_best_peer() {
        let measured = measured(vec![
            line(Proxy::Portcullis, &[9.0, 10.0, 22.0]),
            line(Proxy::Nginx, &[10.0, 10.0, 20.0]),
            line(Proxy::Envoy, &[20.0, 20.0, 20.0]),
        ]);

        let ratio = Ratio::of(&measured).unwrap();

        assert_eq!(ratio.best, Proxy::Nginx);
        assert!(
            (ratio.least - 0.9).abs() < 1e-9
                && (ratio.middle - 1.0).abs() < 1e-9
                && (ratio.largest - 1.1).abs() < 1e-9
        );
    }

    #[test]
    fn without_a_peer_there_is_no_ratio() {
        assert!(Ratio::of(&measured(vec![line(Proxy::Portcullis, &[1.0])])).is_none());
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter\n");

        let new = replaced(&text, "new\n").unwrap();

        assert_eq!(new, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(replaced(&new, "new").unwrap(), new);
        assert!(replaced("no markers", "new").is_none());
    }
}
