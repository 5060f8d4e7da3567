//! Where commands print: standard output for the answer, standard error for what went wrong.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// The two streams of a command. A reader that went away (`| head`) ends the printing, not the process.
pub struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    color: bool,
}

impl Output {
    /// The process's own streams; colour when standard error is a terminal and `NO_COLOR` is unset.
    #[must_use]
    pub fn standard() -> Self {
        let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            color,
        }
    }

    /// Two given streams without colour, for tests.
    pub fn to(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            color: false,
        }
    }

    /// Whether problems may be coloured.
    #[must_use]
    pub const fn color(&self) -> bool {
        self.color
    }

    /// A line of the answer.
    pub fn line(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.out, "{}", text.as_ref());
        let _ = self.out.flush();
    }

    /// A part of the answer, as it is.
    pub fn text(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.out.write_all(text.as_ref());
        let _ = self.out.flush();
    }

    /// The answer as indented JSON.
    pub fn json(&mut self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.error(format!("cannot print this as JSON: {error}")),
        }
    }

    /// A table with aligned columns; the first row is its head.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        self.text(table(rows));
    }

    /// What went wrong, in one line.
    pub fn error(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.err, "portcullis: {}", text.as_ref());
    }

    /// What went wrong, already laid out.
    pub fn error_text(&mut self, text: impl AsRef<str>) {
        let _ = write!(self.err, "{}", text.as_ref());
        let _ = self.err.flush();
    }
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_spaces() {
        let rows = [
            vec!["NAME".into(), "POOL".into()],
            vec!["appointments".into(), "a".into()],
        ];

        assert_eq!(table(&rows), "NAME          POOL\nappointments  a\n");
    }
}
