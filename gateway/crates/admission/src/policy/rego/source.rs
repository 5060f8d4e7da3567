//! What is checked in a Rego file's text before the parser sees it, and where the parser's errors point.

use portcullis_model::{Origin, Problem};

use crate::plan::RegoModule;

/// The parser's time doubles and more with every level of nested literals (18 levels: 20 s), so it never gets more.
const MAX_LITERAL_DEPTH: usize = 8;

/// A place in a Rego file, one-based.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::policy) struct Place {
    /// The line.
    pub(in crate::policy) line: u32,
    /// The column.
    pub(in crate::policy) column: u32,
}

/// The origin of something in a Rego file of the policy that `policy` defines.
pub(super) fn origin_in(policy: &Origin, file: &str, place: Place) -> Origin {
    Origin {
        path: policy.path.clone(),
        file: file.into(),
        line: place.line,
        column: place.column,
    }
}

/// Refuses a module whose literals are nested so deeply that parsing it would take seconds or more.
pub(super) fn check_nesting(policy: &Origin, module: &RegoModule) -> Result<(), Problem> {
    let Some(place) = too_deep(&module.text) else {
        return Ok(());
    };
    Err(Problem::error(
        "rego-nesting",
        &origin_in(policy, &module.file, place),
        format!("arrays, sets and objects are nested more than {MAX_LITERAL_DEPTH} deep"),
    )
    .with_hint("give the inner parts names, or move them to data"))
}

/// The problem for what the parser or the analyser said, placed where it points.
pub(super) fn engine_problem(policy: &Origin, file: &str, error: &str) -> Problem {
    let place = error.lines().find_map(|line| pointed_place(line, file));
    let message = error.lines().rev().find_map(|line| line.split_once("error: "));
    let message = message.map_or_else(
        || error.trim().replace('\n', " "),
        |(_, text)| text.trim_end_matches('.').into(),
    );
    let origin = origin_in(policy, file, place.unwrap_or_default());
    Problem::error("rego-invalid", &origin, message)
}

/// The file that an error points at, when it is one of these.
pub(super) fn pointed_file<'a>(error: &str, modules: &'a [RegoModule]) -> Option<&'a str> {
    error
        .lines()
        .find_map(|line| {
            modules
                .iter()
                .find(|module| pointed_place(line, &module.file).is_some())
        })
        .map(|module| &*module.file)
}

/// Reads `--> file:line:column`, or the same without the arrow and with the message behind it.
fn pointed_place(line: &str, file: &str) -> Option<Place> {
    let line = line.strip_prefix("--> ").unwrap_or(line);
    let (line, rest) = line.strip_prefix(file)?.strip_prefix(':')?.split_once(':')?;
    let column = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some(Place {
        line: line.parse().ok()?,
        column: column.parse().ok()?,
    })
}

/// The first bracket that opens one literal too many.
///
/// Counts what the parser takes for a literal or a comprehension: not the index in `a[i]`, and not the body after
/// `if`. It reads strings, raw strings and comments as the lexer does, so that brackets in them do not count.
fn too_deep(text: &str) -> Option<Place> {
    let mut scan = Scan {
        line: 1,
        column: 0,
        open: Vec::new(),
        before: Before::Other,
        word: String::new(),
    };
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        scan.advance(c);
        match c {
            '#' => scan.skip_past(&mut chars, '\n', false),
            '"' => scan.skip_past(&mut chars, '"', true),
            '`' => scan.skip_past(&mut chars, '`', false),
            '[' | '{' => {
                if scan.opens_too_deep(c) {
                    return Some(Place {
                        line: scan.line,
                        column: scan.column,
                    });
                }
            }
            ']' | '}' => scan.close(),
            _ => scan.remember(c),
        }
    }
    None
}

struct Scan {
    line: u32,
    column: u32,
    /// For every open bracket, whether it counts.
    open: Vec<bool>,
    before: Before,
    word: String,
}

/// What stands directly before a bracket.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Before {
    /// A word or a closing bracket, without a space in between: `[` is an index.
    Operand,
    /// The word `if`: `{` is a body.
    If,
    Other,
}

impl Scan {
    fn advance(&mut self, c: char) {
        if c == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 0;
        } else {
            self.column = self.column.saturating_add(1);
        }
    }

    fn skip_past(&mut self, chars: &mut std::str::Chars<'_>, end: char, escapes: bool) {
        let mut is_escaped = false;
        for c in chars.by_ref() {
            self.advance(c);
            if c == end && !is_escaped {
                break;
            }
            is_escaped = escapes && c == '\\' && !is_escaped;
        }
        self.word.clear();
        self.before = if end == '\n' {
            Before::Other
        } else {
            Before::Operand
        };
    }

    fn opens_too_deep(&mut self, bracket: char) -> bool {
        let is_literal = match (bracket, self.before) {
            ('[', Before::Operand) | ('{', Before::If) => false,
            (_, Before::Operand | Before::If | Before::Other) => true,
        };
        self.open.push(is_literal);
        self.word.clear();
        self.before = Before::Other;
        self.open.iter().filter(|counts| **counts).count() > MAX_LITERAL_DEPTH
    }

    fn close(&mut self) {
        self.open.pop();
        self.word.clear();
        self.before = Before::Operand;
    }

    fn remember(&mut self, c: char) {
        if c.is_alphanumeric() || c == '_' {
            self.word.push(c);
            self.before = Before::Operand;
        } else if c.is_whitespace() {
            if self.word == "if" {
                self.before = Before::If;
            } else if self.before == Before::Operand {
                self.before = Before::Other;
            }
            self.word.clear();
        } else {
            self.before = if c == ')' { Before::Operand } else { Before::Other };
            self.word.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_levels_pass_and_the_ninth_is_pointed_at() {
        let eight = format!("package a\nx := {}1{}\n", "[".repeat(8), "]".repeat(8));
        let nine = format!("package a\nx := {}1{}\n", "[".repeat(9), "]".repeat(9));

        assert_eq!(too_deep(&eight), None);
        assert_eq!(too_deep(&nine), Some(Place { line: 2, column: 14 }));
    }

    #[test]
    fn objects_and_sets_count_like_arrays() {
        assert!(too_deep(&"{\"a\":".repeat(9)).is_some());
        assert!(too_deep(&"{[".repeat(5)).is_some());
        assert!(too_deep(&"{[".repeat(4)).is_none());
    }

    #[test]
    fn indexes_bodies_strings_and_comments_do_not_count() {
        let text = "package a\nallow if {\n x[y[z[1]]]\n s := \"[[[[[[[[[\\\"[\"\n r := `[[[[[[[[[[`\n # [[[[[[[[[[\n}\n";

        assert_eq!(too_deep(text), None);
        assert!(too_deep(&format!("{text}{}", "[".repeat(9))).is_some());
    }

    #[test]
    fn a_body_does_not_shelter_what_is_in_it() {
        assert!(too_deep(&format!("allow if {{ x := {}", "[".repeat(9))).is_some());
        assert!(too_deep(&format!("allow if {{ x := {}", "[".repeat(8))).is_none());
    }

    #[test]
    fn a_parser_error_becomes_a_problem_where_it_points() {
        let error = "\n--> dir/b.rego:2:7\n  |\n2 | allow { true }\n  |       ^\nerror: `if` keyword is required before rule body";

        let problem = engine_problem(&Origin::of("policies.p"), "dir/b.rego", error);

        assert_eq!(
            problem.to_string(),
            "dir/b.rego:2:7 policies.p: `if` keyword is required before rule body"
        );
    }
}
