//! `millrace dead-letters export`

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use millrace::dead_letter::{DeadLetter, Filter};
use millrace::{Error, Kind, Result};
use uuid::Uuid;

use super::context::DeadLetterContext;
use super::ids;
use super::output::{print_incomplete, stopped};
use crate::arguments::dead_letters::ExportDeadLetters;
use crate::commands::{CommandOutcome, Stop};
use crate::dead_letters::ScanProgress;
use crate::dead_letters::entry::Entry;
use crate::dead_letters::summary::counted_dead_letters;
use crate::terminal::{Terminal, counted};

pub(super) async fn run(
    arguments: &ExportDeadLetters,
    context: &DeadLetterContext<'_>,
    stop: &mut Stop,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    // Standard output is for dead letters; what else there is to say goes beside it.
    let mut aside = Terminal::stderr();
    let Some(filter) = stop.unless_asked(ids::filter(&arguments.filter, false, context)).await? else {
        return Ok(stopped("no dead letter is exported", &mut aside));
    };
    let mut exported = Exported::default();
    let ended = match &arguments.output {
        Some(path) => {
            let mut file = NewFile::create(path)?;
            let write = async |line: &str| file.line(line);
            let ended = stop.unless_asked(dead_letters(context, &filter, &mut exported, write)).await?;
            if ended.is_some() {
                file.keep()?;
            }
            ended
        }
        None => {
            let write = async |line: &str| {
                terminal.line(line);
                Ok(())
            };
            stop.unless_asked(dead_letters(context, &filter, &mut exported, write)).await?
        }
    };
    let Some(complete) = ended else {
        let what = match &arguments.output {
            Some(path) => format!("{} was not written", path.display()),
            None => "not all dead letters are exported".to_owned(),
        };
        return Ok(stopped(&what, &mut aside));
    };
    if let Some(path) = &arguments.output {
        let dead_letters = exported.ids.len();
        aside.line(&format!(
            "{} in {}",
            counted_dead_letters(dead_letters, dead_letters as u64),
            path.display()
        ));
    }
    if exported.unreadable > 0 {
        let left_out = counted(exported.unreadable, "message", "messages");
        aside.bad(&format!(
            "{left_out} left out because they are not dead letters: `millrace dead-letters list` shows them"
        ));
    }
    for id in &exported.gone {
        aside.bad(&format!("{id} is written without its payload: its object is missing from the bucket"));
    }
    if !complete {
        print_incomplete(&mut aside);
    }
    Ok(if exported.gone.is_empty() { CommandOutcome::Done } else { CommandOutcome::Bad })
}

#[derive(Default)]
struct Exported {
    /// Copies are left out.
    ids: HashSet<Uuid>,
    /// Dead letters whose object is not in the bucket any more.
    gone: Vec<Uuid>,
    unreadable: u64,
}

/// Writes every dead letter that is meant as it comes.
async fn dead_letters(
    context: &DeadLetterContext<'_>,
    filter: &Filter,
    exported: &mut Exported,
    mut write: impl AsyncFnMut(&str) -> Result<()>,
) -> Result<bool> {
    let progress = ScanProgress::new("exporting dead letters");
    let mut scan = context.reader.scan();
    while let Some(messages) = scan.next().await? {
        progress.add(messages.len());
        for message in messages {
            let entry = Entry::of_message(message, context.reader.sources());
            if !entry.is_meant(filter) {
                continue;
            }
            let Some(dead_letter) = entry.dead_letter else {
                exported.unreadable += 1;
                continue;
            };
            if !exported.ids.insert(dead_letter.id) {
                continue;
            }
            let opened = match context.reader.open(&dead_letter).await {
                Err(error) if error.kind() == Kind::Contract => {
                    exported.gone.push(dead_letter.id);
                    dead_letter
                }
                opened => opened?,
            };
            write(&line(&opened)?).await?;
        }
    }
    let complete = scan.is_complete();
    scan.finish().await?;
    Ok(complete)
}

fn line(dead_letter: &DeadLetter) -> Result<String> {
    serde_json::to_string(dead_letter)
        .map_err(|error| Error::new(Kind::Bug, "write a dead letter as JSON").with_source(error))
}

/// A file that is there whole or not at all.
struct NewFile {
    writer: BufWriter<File>,
    beside: PathBuf,
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    fn create(path: &Path) -> Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        let beside = PathBuf::from(beside);
        let file = File::create(&beside).map_err(|error| failed(&beside, error))?;
        Ok(NewFile { writer: BufWriter::new(file), beside, path: path.to_owned(), kept: false })
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.writer, "{line}").map_err(|error| failed(&self.beside, error))
    }

    fn keep(mut self) -> Result<()> {
        self.writer
            .flush()
            .and_then(|()| self.writer.get_ref().sync_all())
            .and_then(|()| std::fs::rename(&self.beside, &self.path))
            .map_err(|error| failed(&self.path, error))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.beside)
        {
            tracing::warn!(%error, "cannot remove {}", self.beside.display());
        }
    }
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Config, format!("write {}", path.display())).with_source(error)
}
