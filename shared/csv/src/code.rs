//! The stable codes of rejects and errors.

use std::fmt;

/// Why a record cannot be loaded, or a file cannot be read. `docs/csv.md` describes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CsvCode {
    // Of records.
    WrongColumnCount,
    /// Of a record, and of a header.
    TooManyColumns,
    UnclosedQuote,
    MalformedQuotes,
    RecordTooLong,
    FieldTooLong,
    InvalidUtf8,
    NulCharacter,
    /// For callers that check the types of columns.
    WrongType,
    // Of files.
    NotText,
    TruncatedGzip,
    TruncatedZstd,
    CorruptGzip,
    CorruptZstd,
    DecompressionBomb,
    HeaderTooLong,
    PreambleTooLong,
    ObjectChanged,
    /// The reader below failed.
    ReadFailed,
    /// A declared option is invalid.
    Config,
}

impl CsvCode {
    pub const fn name(self) -> &'static str {
        match self {
            CsvCode::WrongColumnCount => "wrong_column_count",
            CsvCode::TooManyColumns => "too_many_columns",
            CsvCode::UnclosedQuote => "unclosed_quote",
            CsvCode::MalformedQuotes => "malformed_quotes",
            CsvCode::RecordTooLong => "record_too_long",
            CsvCode::FieldTooLong => "field_too_long",
            CsvCode::InvalidUtf8 => "invalid_utf8",
            CsvCode::NulCharacter => "nul_character",
            CsvCode::WrongType => "wrong_type",
            CsvCode::NotText => "not_text",
            CsvCode::TruncatedGzip => "truncated_gzip",
            CsvCode::TruncatedZstd => "truncated_zstd",
            CsvCode::CorruptGzip => "corrupt_gzip",
            CsvCode::CorruptZstd => "corrupt_zstd",
            CsvCode::DecompressionBomb => "decompression_bomb",
            CsvCode::HeaderTooLong => "header_too_long",
            CsvCode::PreambleTooLong => "preamble_too_long",
            CsvCode::ObjectChanged => "object_changed",
            CsvCode::ReadFailed => "read_failed",
            CsvCode::Config => "config",
        }
    }
}

impl fmt::Display for CsvCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
