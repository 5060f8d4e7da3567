//! Problems in words: with the snippet and a caret for people, as JSON for tools.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Place, Renderer, Snippet};
use portcullis_model::{Problem, Problems, Severity};
use serde_json::{Value, json};

use crate::sources::Sources;

/// Nobody reads more in one go, and the count at the end still tells of the rest.
const MOST_SHOWN: usize = 200;
/// A line is shown up to here; a file on one line is no reason to print megabytes.
const LONGEST_LINE: usize = 400;

/// Problems as text, each with its place, the snippet and what to try, and a line that counts them.
#[must_use]
pub fn render(problems: &Problems, sources: &Sources, color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut text = String::new();
    for problem in problems.iter().take(MOST_SHOWN) {
        text.push_str(&renderer.render(&[group(problem, sources)]));
        text.push_str("\n\n");
    }
    let more = problems.iter().count().saturating_sub(MOST_SHOWN);
    if more > 0 {
        text.push_str(&format!("… and {more} more\n\n"));
    }
    text.push_str(&summary(problems));
    text.push('\n');
    text
}

/// `2 errors, 1 warning`, or that there is nothing.
fn summary(problems: &Problems) -> String {
    let (errors, warnings) = counts(problems);
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (errors, 0) => plural(errors, "error"),
        (0, warnings) => plural(warnings, "warning"),
        (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

fn counts(problems: &Problems) -> (usize, usize) {
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    (errors, problems.iter().count() - errors)
}

fn group<'a>(problem: &'a Problem, sources: &'a Sources) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let origin = &problem.origin;
    let title = level.primary_title(problem.message.as_str()).id(problem.code);
    let line = usize::try_from(origin.line).unwrap_or(0);
    let source = sources
        .text(&origin.file)
        .and_then(|text| text.lines().nth(line.checked_sub(1)?));
    let mut group = match source {
        Some(source) => {
            let source = cut(source);
            let span = span(source, usize::try_from(origin.column).unwrap_or(0));
            let annotation = AnnotationKind::Primary.span(span).label(origin.path.as_ref());
            title.element(
                Snippet::source(source)
                    .line_start(line)
                    .path(origin.file.as_ref())
                    .annotation(annotation),
            )
        }
        None if origin.file.is_empty() => title.element(Level::NOTE.message(origin.path.as_ref())),
        None if line == 0 => title.element(Place::path(origin.file.as_ref())),
        None => title.element(
            Place::path(origin.file.as_ref())
                .line(line)
                .char_column(usize::try_from(origin.column).unwrap_or(0)),
        ),
    };
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    group
}

fn cut(line: &str) -> &str {
    let end = line
        .char_indices()
        .nth(LONGEST_LINE)
        .map_or(line.len(), |(index, _)| index);
    line.get(..end).unwrap_or(line)
}

/// The bytes of the word that starts at a one-based column.
fn span(line: &str, column: usize) -> Range<usize> {
    let start = line
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(line.len(), |(index, _)| index);
    let rest = line.get(start..).unwrap_or_default();
    let length = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest
            .get(1..)
            .and_then(|inner| inner.find(quote))
            .map_or(rest.len(), |end| end + 2),
        Some(bracket @ ('{' | '[')) => bracket.len_utf8(),
        Some(_) => word_length(rest),
        None => 0,
    };
    start..start + length
}

fn word_length(rest: &str) -> usize {
    let mut previous = ' ';
    for (index, c) in rest.char_indices() {
        let ends_key = previous == ':' && c == ' ';
        if matches!(c, ',' | '}' | ']' | '#') || ends_key {
            return rest
                .get(..index)
                .map_or(index, |word| word.trim_end().trim_end_matches(':').len());
        }
        previous = c;
    }
    rest.trim_end().trim_end_matches(':').len()
}

/// Problems as JSON: every one with its severity, code, place, message and hint, and their counts.
#[must_use]
pub fn problems_to_json(problems: &Problems) -> Value {
    let (errors, warnings) = counts(problems);
    json!({ "errors": errors, "warnings": warnings, "problems": problems })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_covers_the_word() {
        let word = |line: &'static str, column| &line[span(line, column)];

        assert_eq!(word("    pool: ordrs # note", 11), "ordrs");
        assert_eq!(word("    pool: ordrs", 5), "pool");
        assert_eq!(word("a: { b: \"x y\", c: 1 }", 9), "\"x y\"");
        assert_eq!(word("a: { b: 1 }", 4), "{");
        assert_eq!(word("a: 1", 40), "");
    }

    #[test]
    fn columns_count_characters() {
        let line = "ä: ö";
        assert_eq!(&line[span(line, 4)], "ö");
    }
}
