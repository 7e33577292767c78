//! Prose and shell commands in lines of a given width.

use super::width::columns;

/// Breaks `text` at blanks. A word that is wider than a line, such as a URL, stays whole. Line breaks are kept.
pub fn prose(text: &str, width: usize) -> Vec<String> {
    text.split('\n').flat_map(|paragraph| fill(paragraph.split(' '), width)).collect()
}

/// Breaks a shell command between its words, so that a shell runs the lines as one command. Quoted text stays whole.
pub fn command(command: &str, width: usize) -> Vec<String> {
    const CONTINUED: &str = " \\";
    if columns(command) <= width {
        return vec![command.to_owned()];
    }
    let mut lines = fill(words(command).into_iter(), width.saturating_sub(CONTINUED.len()));
    let last = lines.len() - 1;
    lines[..last].iter_mut().for_each(|line| line.push_str(CONTINUED));
    lines
}

fn fill<'a>(words: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words {
        let Some(line) = lines.last_mut() else { continue };
        if line.is_empty() {
            line.push_str(word);
        } else if columns(line) + 1 + columns(word) <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            line.truncate(line.trim_end().len());
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The words of a shell command, with their quotes.
fn words(command: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut from, mut quote) = (0, None);
    for (at, character) in command.char_indices() {
        match (quote, character) {
            (None, ' ') => {
                words.push(&command[from..at]);
                from = at + 1;
            }
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    words.push(&command[from..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_broken_at_blanks() {
        assert_eq!(prose("one two three", 8), ["one two", "three"]);
        assert_eq!(prose("one two three", 13), ["one two three"]);
        assert_eq!(prose("a http://127.0.0.1:4566/x b", 8), ["a", "http://127.0.0.1:4566/x", "b"]);
        assert_eq!(prose("one\ntwo three", 20), ["one", "two three"]);
        assert_eq!(prose("", 20), [""]);
    }

    #[test]
    fn a_shell_runs_the_lines_of_a_command_as_one() {
        let text = r#"printf '%s\n' 'a  long text' "and more of it" plain words"#;
        let lines = command(text, 20);
        assert!(lines.len() > 2, "{lines:?}");
        let output = |script: &str| {
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(output(&lines.join("\n")), output(text));
        assert_eq!(output(text).lines().count(), 4, "{text}");
        assert_eq!(command("millrace status", 20), ["millrace status"]);
    }
}
