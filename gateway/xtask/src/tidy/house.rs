//! The house as ARCHITECTURE.md draws it: which room may import which, and who alone may name a crate.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, quoted, table_row};

/// Where the house is drawn.
pub(crate) const FILE: &str = "ARCHITECTURE.md";
const FLOORS: &str = "## Floors";
const WRAPPERS: &str = "## Sole wrappers";

/// Which room may import which, and who alone may name a crate.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct House {
    /// Per room the rooms it may import; rooms by their short name, the binary's package as `app`.
    pub imports: BTreeMap<String, BTreeSet<String>>,
    /// Per crate the rooms that may name it.
    pub wrappers: BTreeMap<String, BTreeSet<String>>,
}

/// A package's name in the house: `portcullis-routing` is `routing`, `portcullis` is `app`.
pub(crate) fn room_of(package: &str) -> Option<&str> {
    match package {
        "portcullis" => Some("app"),
        _ => package.strip_prefix("portcullis-"),
    }
}

/// Reads both tables; what cannot be read is a finding.
pub(crate) fn parse(text: &str, findings: &mut Vec<Finding>) -> House {
    let mut house = House::default();
    for (line, cells) in rows_below(text, FLOORS) {
        let [floor, rooms, imports] = cells.as_slice() else {
            findings.push(Finding::refused(
                FILE,
                line,
                "a row of the floors has three cells: floor, rooms, imports",
            ));
            continue;
        };
        if floor.parse::<u8>().is_err() || quoted(rooms).is_empty() {
            findings.push(Finding::refused(
                FILE,
                line,
                "a floor is a number, and its rooms stand in backticks",
            ));
        }
        for room in quoted(rooms) {
            let imports = quoted(imports).into_iter().map(str::to_owned).collect();
            house.imports.insert(room.to_owned(), imports);
        }
    }
    for (line, cells) in rows_below(text, WRAPPERS) {
        let (Some(crates), Some(rooms)) = (cells.first(), cells.get(1)) else {
            continue;
        };
        if quoted(crates).is_empty() || quoted(rooms).is_empty() {
            findings.push(Finding::refused(
                FILE,
                line,
                "crates and rooms stand in backticks",
            ));
        }
        for name in quoted(crates) {
            let rooms = quoted(rooms).into_iter().map(str::to_owned).collect();
            house.wrappers.insert(name.to_owned(), rooms);
        }
    }
    if house.imports.is_empty() {
        findings.push(Finding::refused(
            FILE,
            0,
            format!("has no table below \"{FLOORS}\""),
        ));
    }
    if house.wrappers.is_empty() {
        findings.push(Finding::refused(
            FILE,
            0,
            format!("has no table below \"{WRAPPERS}\""),
        ));
    }
    house
}

/// The rows of the first table below a heading, without its head, each with its line.
fn rows_below<'a>(text: &'a str, heading: &str) -> Vec<(usize, Vec<&'a str>)> {
    text.lines()
        .enumerate()
        .skip_while(|(_, line)| !line.starts_with(heading))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter_map(|(index, line)| table_row(line).map(|cells| (index + 1, cells)))
        .skip(2)
        .collect()
}

#[cfg(test)]
pub(crate) const SAMPLE: &str = "\
# The house

## Floors: who may import whom

| floor | rooms | may import |
|---|---|---|
| 2 | `app` | `proxy`, `model` |
| 1 | `proxy`, `config` | `model` |
| 0 | `model` | nothing of ours |

## Sole wrappers

| crates | named only in | why |
|---|---|---|
| `clap`, `clap_complete` | `app` | arguments |

## Else

| 9 | `x` | `y` |
";

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn both_tables_are_read_and_others_are_not() {
        let mut findings = Vec::new();

        let house = parse(SAMPLE, &mut findings);

        assert_eq!(findings, []);
        assert_eq!(house.imports["app"], set(&["proxy", "model"]));
        assert_eq!(house.imports["config"], set(&["model"]));
        assert_eq!(house.imports["model"], set(&[]));
        assert_eq!(house.imports.len(), 4);
        assert_eq!(house.wrappers["clap_complete"], set(&["app"]));
    }

    #[test]
    fn a_document_without_the_tables_is_a_finding() {
        let mut findings = Vec::new();

        parse("# Nothing here", &mut findings);

        assert_eq!(findings.len(), 2);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_a_finding() {
        let mut findings = Vec::new();

        parse(
            &SAMPLE.replace("| 0 | `model` |", "| zero | model |"),
            &mut findings,
        );

        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 9);
    }

    #[test]
    fn packages_have_their_rooms_name() {
        assert_eq!(room_of("portcullis-routing"), Some("routing"));
        assert_eq!(room_of("portcullis"), Some("app"));
        assert_eq!(room_of("serde"), None);
    }
}
