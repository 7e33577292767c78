//! Everything that is printed goes through here: steps with their times, tables, figures; colour only on a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use millrace::Error;

/// Where a command prints. Once the reader is gone (`millrace status | head -1`) the rest is dropped: that is no failure
/// of the command.
pub struct Terminal {
    out: Box<dyn Write>,
    colour: bool,
    interactive: bool,
    reader_gone: bool,
}

/// A step that has begun; its line is finished by [`Terminal::done`].
#[must_use]
pub struct Step {
    began: Instant,
}

#[derive(Debug, Clone, Copy)]
pub enum Align {
    Left,
    Right,
}

impl Terminal {
    pub fn stdout() -> Self {
        let out = std::io::stdout();
        Terminal::new(out.is_terminal(), Box::new(out))
    }

    pub fn stderr() -> Self {
        let out = std::io::stderr();
        Terminal::new(out.is_terminal(), Box::new(out))
    }

    /// Prints to any writer, plainly.
    pub fn plain(out: Box<dyn Write>) -> Self {
        Terminal::new(false, out)
    }

    fn new(interactive: bool, out: Box<dyn Write>) -> Self {
        let colour = interactive && std::env::var_os("NO_COLOR").is_none();
        Terminal { out, colour, interactive, reader_gone: false }
    }

    /// Whether a person is looking, so that progress bars make sense.
    pub fn is_interactive(&self) -> bool {
        self.interactive
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

    /// Text without a line's end, before what is typed.
    pub fn prompt(&mut self, text: &str) {
        self.write(text);
    }

    pub fn heading(&mut self, text: &str) {
        let text = self.styled("1", text);
        self.write(&format!("\n{text}\n"));
    }

    /// Good news or bad.
    pub fn status_line(&mut self, is_good: bool, text: &str) {
        if is_good { self.good(text) } else { self.bad(text) }
    }

    pub fn good(&mut self, text: &str) {
        let text = self.styled("32", text);
        self.line(&text);
    }

    pub fn bad(&mut self, text: &str) {
        let text = self.styled("31", text);
        self.line(&text);
    }

    pub fn error(&mut self, error: &Error) {
        let label = self.styled("1;31", "error:");
        self.write(&format!("{label} {}\n", error.chain()));
    }

    /// Begins a line that names what is being done, at once.
    pub fn step(&mut self, name: &str) -> Step {
        self.write(&format!("  {name:<12}"));
        Step { began: Instant::now() }
    }

    /// Ends the line: what came of it, and how long it took.
    pub fn done(&mut self, step: Step, outcome: &str) {
        let time = self.styled("2", &seconds(step.began.elapsed()));
        self.write(&format!("{outcome}  {time}\n"));
    }

    /// Columns as wide as their widest cell. Cells must not hold line breaks.
    pub fn table(&mut self, columns: &[(&str, Align)], rows: &[Vec<String>]) {
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(index, (name, _))| {
                rows.iter()
                    .filter_map(|row| row.get(index))
                    .map(|cell| cell.chars().count())
                    .fold(name.chars().count(), usize::max)
            })
            .collect();
        let layout = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::from(" ");
            for ((cell, (_, align)), width) in cells.zip(columns).zip(&widths) {
                let padding = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => text.push_str(&format!(" {cell}{padding}")),
                    Align::Right => text.push_str(&format!(" {padding}{cell}")),
                }
                text.push(' ');
            }
            text.trim_end().to_owned()
        };
        let header = layout(&mut columns.iter().map(|(name, _)| *name));
        let header = self.styled("2", &header);
        self.line(&header);
        for row in rows {
            let text = layout(&mut row.iter().map(String::as_str));
            self.line(&text);
        }
    }
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

/// One line of at most so many characters: control characters shown as such, the rest cut off with an ellipsis.
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == limit {
            line.push('…');
            break;
        }
        match character {
            '\n' => line.push('⏎'),
            character if character.is_control() => line.push('·'),
            character => line.push(character),
        }
    }
    line
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
    fn a_cell_from_a_file_cannot_write_on_the_screen() {
        assert_eq!(one_line("a\x1b[31mb\nc", 20), "a·[31mb⏎c");
        assert_eq!(one_line("abcdef", 3), "abc…");
    }
}
