//! Everything that is printed goes through here: steps with their times, tables, prose, figures.
//!
//! Tables fit the width of the terminal, which is 80 columns where the output is no terminal. Colour is for terminals.
//!
//! - [`table`]: which columns of a table are shown, and how wide; [`wrap`]: prose and commands in several lines.
//! - [`width`]: the columns that text takes up.

pub mod table;
pub mod width;
pub mod wrap;

use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use millrace::Error;

use table::{TableColumn, lay_out};

/// The width where it is not known.
const WIDTH: usize = 80;
/// Narrower lines hold no sentence.
const LEAST_WIDTH: usize = 20;

/// Where a command prints. Once the reader is gone (`millrace status | head -1`) the rest is dropped: that is no failure
/// of the command.
pub struct Terminal {
    out: Box<dyn Write>,
    colour: bool,
    interactive: bool,
    width: usize,
    reader_gone: bool,
}

/// A step that has begun. [`Terminal::done`] completes its line.
#[must_use]
pub struct ProgressStep {
    began: Instant,
}

/// How much of a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableExtent {
    /// What fits the width of the terminal.
    Terminal,
    /// Every column and the whole text, in lines of any width: `--wide`.
    Whole,
}

impl TableExtent {
    pub fn of(wide: bool) -> Self {
        if wide { TableExtent::Whole } else { TableExtent::Terminal }
    }
}

impl Terminal {
    pub fn stdout() -> Self {
        let out = std::io::stdout();
        Terminal::new(out.is_terminal(), terminal_width(&out), Box::new(out))
    }

    pub fn stderr() -> Self {
        let out = std::io::stderr();
        Terminal::new(out.is_terminal(), terminal_width(&out), Box::new(out))
    }

    /// Prints to any writer without colour.
    pub fn plain(out: Box<dyn Write>) -> Self {
        Terminal::new(false, WIDTH, out)
    }

    fn new(interactive: bool, width: usize, out: Box<dyn Write>) -> Self {
        let colour = interactive && std::env::var_os("NO_COLOR").is_none();
        Terminal { out, colour, interactive, width, reader_gone: false }
    }

    /// Whether the output is a terminal, so that progress bars are useful.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// The columns of a line.
    pub fn width(&self) -> usize {
        self.width
    }

    fn write(&mut self, text: &str) {
        if self.reader_gone {
            return;
        }
        self.reader_gone = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()).is_err();
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Prints a prompt without a line end.
    pub fn prompt(&mut self, text: &str) {
        self.write(text);
    }

    /// What else could be shown, dimmed.
    pub fn hint(&mut self, text: &str) {
        let text = self.styled("2", text);
        self.line(&text);
    }

    pub fn heading(&mut self, text: &str) {
        let text = self.styled("1", text);
        self.write(&format!("\n{text}\n"));
    }

    /// Prose after `label`, wrapped. Its other lines begin below its first word.
    pub fn prose(&mut self, label: &str, text: &str) {
        for line in hang(label, text, self.width) {
            self.line(&line);
        }
    }

    /// A shell command after `label`: in several lines where it is too wide, as the shell reads them.
    pub fn command(&mut self, label: &str, command: &str) {
        let indent = width::columns(label);
        let lines = wrap::command(command, self.width.saturating_sub(indent + 2).max(LEAST_WIDTH));
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { label.to_owned() } else { " ".repeat(indent + 2) };
            self.line(&format!("{label}{line}"));
        }
    }

    /// Good news or bad.
    pub fn status_line(&mut self, is_good: bool, text: &str) {
        if is_good { self.good(text) } else { self.bad(text) }
    }

    pub fn good(&mut self, text: &str) {
        self.coloured("32", self.message(text));
    }

    pub fn bad(&mut self, text: &str) {
        self.coloured("31", self.message(text));
    }

    /// Neither good nor bad.
    pub fn note(&mut self, text: &str) {
        self.message(text).iter().for_each(|line| self.line(line));
    }

    /// Good news as prose after `label`, wrapped.
    pub fn good_prose(&mut self, label: &str, text: &str) {
        self.coloured("32", hang(label, text, self.width));
    }

    /// A message is wrapped for a person. It stays one line in a log or a pipe, where programs look for it.
    fn message(&self, text: &str) -> Vec<String> {
        let (label, rest) = text.split_at(label_of(text));
        if self.interactive { hang(label, rest, self.width) } else { vec![text.to_owned()] }
    }

    fn coloured(&mut self, code: &str, lines: Vec<String>) {
        for line in lines {
            let line = self.styled(code, &line);
            self.line(&line);
        }
    }

    pub fn error(&mut self, error: &Error) {
        const LABEL: &str = "error: ";
        let text = error.chain();
        let lines =
            if self.interactive { hang(LABEL, &text, self.width) } else { vec![format!("{LABEL}{text}")] };
        for line in lines {
            let line = match line.strip_prefix(LABEL.trim_end()) {
                Some(rest) => format!("{}{rest}", self.styled("1;31", LABEL.trim_end())),
                None => line,
            };
            self.line(&line);
        }
    }

    /// Begins a line with the name of a step, and flushes it.
    pub fn step(&mut self, name: &str) -> ProgressStep {
        self.write(&format!("  {name:<12}"));
        ProgressStep { began: Instant::now() }
    }

    /// Completes the line with the result of the step and its duration.
    pub fn done(&mut self, step: ProgressStep, outcome: &str) {
        let time = self.styled("2", &seconds(step.began.elapsed()));
        self.write(&format!("{outcome}  {time}\n"));
    }

    /// Prints a table, and returns whether something of it is not shown.
    pub fn table(&mut self, columns: &[TableColumn], rows: &[Vec<String>], extent: TableExtent) -> bool {
        let width = match extent {
            TableExtent::Terminal => Some(self.width),
            TableExtent::Whole => None,
        };
        let layout = lay_out(columns, rows, width);
        for (index, line) in layout.lines.iter().enumerate() {
            let line = if index == 0 { self.styled("2", line) } else { line.clone() };
            self.line(&line);
        }
        layout.is_cut
    }
}

/// The width of a terminal: `COLUMNS` if that is set, else what the terminal says.
fn terminal_width(out: &impl AsFd) -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let said = || terminal_size::terminal_size_of(out).map(|(width, _)| usize::from(width.0));
    columns.filter(|columns| *columns > 0).or_else(said).unwrap_or(WIDTH).max(LEAST_WIDTH)
}

/// `text` after `label`, in lines of `width` columns.
fn hang(label: &str, text: &str, width: usize) -> Vec<String> {
    let indent = width::columns(label);
    let lines = wrap::prose(text, width.saturating_sub(indent).max(LEAST_WIDTH));
    let mut label = label.to_owned();
    let line = |line: String| format!("{}{line}", std::mem::replace(&mut label, " ".repeat(indent)));
    lines.into_iter().map(line).collect()
}

/// The length of the label of a message: `  failed    ` of `  failed    orders: why`, else its indentation.
fn label_of(text: &str) -> usize {
    let indent = text.len() - text.trim_start().len();
    let word = text[indent..].find(' ').map_or(text.len(), |at| indent + at);
    let blanks = text[word..].len() - text[word..].trim_start().len();
    if blanks >= 2 { word + blanks } else { indent }
}

/// `336,776`
pub fn figure(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `1,198 rows`
pub fn counted(number: impl Into<i128>, one: &str, many: &str) -> String {
    let number: i128 = number.into();
    format!("{} {}", figure(number), if number == 1 { one } else { many })
}

/// `0.4 s`, `2 min 5 s`
pub fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(60) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

/// `3 s`, `4 min`, `5 h`, `6 d`
pub fn age(seconds: f64) -> String {
    let (figure, unit) = match seconds {
        s if s < 60.0 => (s, "s"),
        s if s < 3_600.0 => (s / 60.0, "min"),
        s if s < 86_400.0 => (s / 3_600.0, "h"),
        s => (s / 86_400.0, "d"),
    };
    format!("{figure:.0} {unit}")
}

/// `104.3 kB`
pub fn bytes(count: u64) -> String {
    let mut figure = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if figure < 1_000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{figure:.1} {unit}") };
        }
        figure /= 1_000.0;
    }
    format!("{figure:.1} TB")
}

/// One line of at most the given number of characters. Control characters are escaped, and the rest is replaced by an ellipsis.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line: String = text.chars().take(limit).collect();
    if line.len() < text.len() {
        line.push('…');
    }
    width::visible(&line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_grouped_in_thousands() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (336_776, "336,776"), (-1_234_567, "-1,234,567")]
        {
            assert_eq!(figure(number), text);
        }
    }

    #[test]
    fn one_is_counted_as_one() {
        for (number, text) in [(0, "0 rows"), (1, "1 row"), (1_198, "1,198 rows")] {
            assert_eq!(counted(number, "row", "rows"), text);
        }
    }

    #[test]
    fn the_label_of_a_message_is_its_indentation() {
        for (text, label) in [
            ("  failed    orders: a b", "  failed    "),
            ("reconciled  1 read", "reconciled  "),
            ("  a b  c", "  "),
            ("The counts", ""),
            ("word", ""),
            ("", ""),
        ] {
            assert_eq!(&text[..label_of(text)], label, "{text}");
        }
        assert_eq!(hang("  a  ", "one two three four five", 25), ["  a  one two three four", "     five"]);
    }

    #[test]
    fn a_cell_from_a_file_cannot_write_on_the_screen() {
        assert_eq!(one_line("a\x1b[31mb\nc", 20), "a·[31mb⏎c");
        assert_eq!(one_line("abcdef", 3), "abc…");
    }
}
