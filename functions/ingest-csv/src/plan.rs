//! The plan of a load: how its file is read and chunked. It is decided once, stored with the load, and used by every
//! later attempt.

use std::io::Read;

use millrace::Result;
use millrace::batch::BatchBounds;
use millrace::config::CsvOptions;
use millrace::config::sources::CsvRoute;
use serde::{Deserialize, Serialize};

use millrace_csv::{self as csv, CsvLimits, CsvPosition, Declared, DeclaredHeader, Decoded, Opened, Records};

/// The plan of a load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPlan {
    pub source: String,
    pub event_type: String,
    pub options: CsvOptions,
    pub chunk_rows: usize,
    pub chunk_bytes: usize,
    /// Compression, encoding and dialect, declared or detected.
    pub file: csv::Plan,
}

impl LoadPlan {
    /// Opens a file for the first time and decides its plan. Options that are not declared are detected.
    pub fn open<R: Read>(
        route: CsvRoute,
        bounds: BatchBounds,
        reader: R,
        limits: &CsvLimits,
    ) -> Result<(Records<Decoded<R>>, LoadPlan)> {
        let options = route.options;
        let Opened { plan: file, records } =
            csv::open(reader, &to_declared(&options), limits, options.ragged, options.invalid_characters)?;
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

    /// Opens a file again to continue at `position`. `reader` starts at [`Self::resume_offset`].
    pub fn reopen<R: Read>(
        &self,
        reader: R,
        limits: &CsvLimits,
        position: CsvPosition,
    ) -> Result<Records<Decoded<R>>> {
        let (ragged, invalid_characters) = (self.options.ragged, self.options.invalid_characters);
        Ok(csv::reopen(reader, &self.file, limits, ragged, invalid_characters, position)?)
    }

    /// The plan under the source's current declaration, for one record that is redriven by itself.
    #[must_use]
    pub fn under(mut self, route: CsvRoute) -> LoadPlan {
        let CsvRoute { source, event_type, options } = route;
        let dialect = &mut self.file.dialect;
        if let Some(delimiter) = &options.delimiter {
            dialect.delimiter.clone_from(delimiter);
        }
        if let Some(quote) = options.quote {
            dialect.quote = quote.byte();
        }
        if let Some(escape) = options.escape {
            dialect.escape = escape.byte();
        }
        if let Some(comment) = options.comment {
            dialect.comment = comment.byte();
        }
        if let Some(DeclaredHeader::Names(names)) = &options.header {
            dialect.columns.clone_from(names);
        }
        if options.encoding.is_some() {
            self.file.fallback_encoding = None;
        }
        LoadPlan { source, event_type, options, ..self }
    }

    /// The position of the first row.
    pub fn start(&self) -> CsvPosition {
        self.file.dialect.start()
    }

    /// The byte of the stored object from which it must be read to continue at `position`.
    pub fn resume_offset(&self, position: CsvPosition) -> u64 {
        csv::resume_offset(&self.file, position)
    }

    pub fn columns(&self) -> &[String] {
        &self.file.dialect.columns
    }

    pub fn bounds(&self) -> BatchBounds {
        BatchBounds { rows: self.chunk_rows, bytes: self.chunk_bytes }
    }
}

fn to_declared(options: &CsvOptions) -> Declared {
    // The WHATWG standard, which the reader follows, has this label without a hyphen.
    let encoding = options.encoding.as_deref().map(|name| if name == "latin-1" { "latin1" } else { name });
    Declared {
        encoding: encoding.map(str::to_owned),
        delimiter: options.delimiter.clone(),
        quote: options.quote,
        escape: options.escape,
        comment: options.comment,
        header: options.header.clone(),
        skip_lines: options.skip_lines,
    }
}
