//! How a file is read and cut: decided once, stored with its load, and the same for every later attempt.

use std::io::Read;

use millrace::Result;
use millrace::batch::Bounds;
use millrace::config::CsvOptions;
use millrace::config::csv as declared;
use millrace::config::sources::CsvRoute;
use serde::{Deserialize, Serialize};

use crate::csv::{self, Declared, Decoded, Header, Invalid, Limits, Mark, Opened, Position, Ragged, Records};

/// The plan of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    pub source: String,
    pub event_type: String,
    pub options: CsvOptions,
    pub chunk_rows: usize,
    pub chunk_bytes: usize,
    /// Compression, encoding and dialect, as declared or detected.
    pub file: csv::Plan,
}

impl LoadPlan {
    /// Opens a file for the first time and decides its plan; what is not declared is detected.
    pub fn open<R: Read>(
        route: CsvRoute,
        bounds: Bounds,
        reader: R,
        limits: &Limits,
    ) -> Result<(Records<Decoded<R>>, LoadPlan)> {
        let options = route.options;
        let Opened { plan: file, records } =
            csv::open(reader, &to_declared(&options), limits, ragged(&options), invalid(&options))?;
        let plan = LoadPlan {
            source: route.source,
            event_type: route.event_type,
            options,
            chunk_rows: bounds.rows,
            chunk_bytes: bounds.bytes,
            file,
        };
        Ok((records, plan))
    }

    /// Opens a file again, to read on from `position`; `reader` begins at [`Self::resume_offset`].
    pub fn reopen<R: Read>(
        &self,
        reader: R,
        limits: &Limits,
        position: Position,
    ) -> Result<Records<Decoded<R>>> {
        csv::reopen(reader, &self.file, limits, ragged(&self.options), invalid(&self.options), position)
    }

    /// Where the first row begins.
    pub fn start(&self) -> Position {
        self.file.dialect.start()
    }

    /// The byte of the stored object from which reading on at `position` needs it.
    pub fn resume_offset(&self, position: Position) -> u64 {
        csv::resume_offset(&self.file, position)
    }

    pub fn columns(&self) -> &[String] {
        &self.file.dialect.columns
    }

    pub fn bounds(&self) -> Bounds {
        Bounds { rows: self.chunk_rows, bytes: self.chunk_bytes, age: None }
    }
}

fn to_declared(options: &CsvOptions) -> Declared {
    let mark = |mark: declared::Mark| match mark {
        declared::Mark::None => Mark::None,
        declared::Mark::Byte(byte) => Mark::Byte(byte),
    };
    Declared {
        encoding: options
            .encoding
            .as_deref()
            .map(|name| if name == "latin-1" { "latin1" } else { name }.to_owned()),
        delimiter: options.delimiter.clone(),
        quote: options.quote.map(mark),
        escape: options.escape.map(mark),
        comment: options.comment.map(mark),
        header: options.header.clone().map(|header| match header {
            declared::Header::Rows(rows) => Header::Rows(rows),
            declared::Header::Names(names) => Header::Names(names),
        }),
        skip_lines: options.skip_lines,
    }
}

fn ragged(options: &CsvOptions) -> Ragged {
    match options.ragged {
        declared::Ragged::Reject => Ragged::Reject,
        declared::Ragged::Fill => Ragged::Fill,
    }
}

fn invalid(options: &CsvOptions) -> Invalid {
    match options.invalid_characters {
        declared::InvalidCharacters::Reject => Invalid::Reject,
        declared::InvalidCharacters::Replace => Invalid::Replace,
    }
}
