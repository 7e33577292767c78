//! NDJSON: one JSON value per line. Blank lines are skipped.

use std::borrow::Cow;

use millrace_jsonb::Scanner;

use super::collect::Collector;
use super::error::BodyError;

/// The document is the first line.
///
/// # Errors
/// A line that is not JSON. The whole delivery is then refused, because it may be truncated or mixed up.
pub(super) fn read<'b>(collector: &mut Collector<'b>, start: usize) -> Result<Cow<'b, [u8]>, BodyError> {
    let body = collector.body();
    let mut document = None;
    let mut line_start = start;
    for (index, line) in body[start..].split(|byte| *byte == b'\n').enumerate() {
        let line_end = line_start + line.len();
        if !line.trim_ascii().is_empty() {
            let mut scanner = Scanner::starting_at(&body[..line_end], line_start);
            let value = scanner.value().and_then(|value| scanner.end().map(|()| value)).map_err(|error| {
                let (line, column) = (index + 1, error.offset - line_start + 1);
                BodyError::malformed(format!(
                    "Line {line} is not JSON: {}, at byte {column} of it.",
                    error.reason
                ))
            })?;
            collector.add(&value);
            document.get_or_insert(&body[value.range]);
        }
        line_start = line_end + 1;
    }
    Ok(Cow::Borrowed(document.unwrap_or_default()))
}
