//! The stable codes of errors and dead letters: every code of the product, once.
//!
//! Logs, alarms, dead letters and the JSON of the CLI contain them, so a code is never renamed. `docs/dead-letters.md` says
//! what to do about those of dead letters.

use std::fmt;

macro_rules! codes {
    ($($(#[$attribute:meta])* $variant:ident => $name:literal,)*) => {
        /// A stable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$attribute])* $variant,)*
        }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The code in logs and in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    // Files: dead letters of kind `upload`.
    NoSourceForKey => "no_source_for_key",
    NotANotification => "not_a_notification",
    ReceivedTooOften => "received_too_often",
    InvocationFailed => "invocation_failed",
    ObjectMissing => "object_missing",
    ObjectReplaced => "object_replaced",
    ObjectChanged => "object_changed",
    S3Refused => "s3_refused",
    S3AccessDenied => "s3_access_denied",
    S3Unavailable => "s3_unavailable",
    NotText => "not_text",
    TruncatedGzip => "truncated_gzip",
    TruncatedZstd => "truncated_zstd",
    CorruptGzip => "corrupt_gzip",
    CorruptZstd => "corrupt_zstd",
    DecompressionBomb => "decompression_bomb",
    HeaderTooLong => "header_too_long",
    PreambleTooLong => "preamble_too_long",
    TooManyColumns => "too_many_columns",
    TooManyRejects => "too_many_rejects",
    ReadFailed => "read_failed",
    NoProgress => "no_progress",
    NoTime => "no_time",
    ContinuationNotSent => "continuation_not_sent",
    // Records: dead letters of kind `rows`.
    WrongColumnCount => "wrong_column_count",
    UnclosedQuote => "unclosed_quote",
    MalformedQuotes => "malformed_quotes",
    RecordTooLong => "record_too_long",
    FieldTooLong => "field_too_long",
    InvalidUtf8 => "invalid_utf8",
    NulCharacter => "nul_character",
    WrongType => "wrong_type",
    RefusedByDatabase => "refused_by_database",
    // Deliveries: dead letters of kind `delivery`.
    LoneSurrogate => "lone_surrogate",
    NumberOutOfRange => "number_out_of_range",
    NestedTooDeep => "nested_too_deep",
    MalformedBody => "malformed_body",
    UnsupportedMediaType => "unsupported_media_type",
    EmptyBody => "empty_body",
    NotAnHttpRequest => "not_an_http_request",
    // Events: dead letters of kind `event`.
    RefusedByModel => "refused_by_model",
    TestFailed => "test_failed",
    // The database.
    PartitionMissing => "partition_missing",
    DatabaseUnreachable => "database_unreachable",
    DatabaseUnavailable => "database_unavailable",
    DatabaseTimeout => "database_timeout",
    DatabaseStalled => "database_stalled",
    DatabaseReadOnly => "database_read_only",
    DatabaseBusy => "database_busy",
    LockTimeout => "lock_timeout",
    StatementTimeout => "statement_timeout",
    TransactionState => "transaction_state",
    SchemaMissing => "schema_missing",
    PrivilegeMissing => "privilege_missing",
    DatabaseRefusedAccess => "database_refused_access",
    DatabaseRefusedData => "database_refused_data",
    DatabaseError => "database_error",
    MigrationDrift => "migration_drift",
    // Dead letters and their queue.
    DeadLetterObjectMissing => "dead_letter_object_missing",
    DeadLetterNotSent => "dead_letter_not_sent",
    DeadLettersUnavailable => "dead_letters_unavailable",
    NotADeadLetter => "not_a_dead_letter",
    RedriveTargetUnavailable => "redrive_target_unavailable",
    BadRequest => "bad_request",
    IdUnknown => "id_unknown",
    IdAmbiguous => "id_ambiguous",
    Pending => "pending",
    // Settings and secrets.
    BadEnvironment => "bad_environment",
    BadSources => "bad_sources",
    UnknownSource => "unknown_source",
    MissingSecret => "missing_secret",
    BadSecret => "bad_secret",
    PipelineMissing => "pipeline_missing",
    // Models.
    ModelRefused => "model_refused",
    ModelRefusesTooMuch => "model_refuses_too_much",
    ModelBroken => "model_broken",
    ModelUpstreamStopped => "model_upstream_stopped",
    ModelInUse => "model_in_use",
    ModelColumnUnnamed => "model_column_unnamed",
    ModelKeyUnknown => "model_key_unknown",
    ModelChanged => "model_changed",
    ModelNameTaken => "model_name_taken",
    ModelHasDependants => "model_has_dependants",
    ModelHasNoHistory => "model_has_no_history",
    ModelUnknown => "model_unknown",
    RefreshFailed => "refresh_failed",
    EventsWait => "events_wait",
    // The kinds, for an error without a code of its own.
    Config => "config",
    Contract => "contract",
    Transient => "transient",
    Conflict => "conflict",
    Bug => "bug",
}

impl Code {
    /// The code of this name; `None` for that of another version.
    pub fn parse(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.name().to_owned()
    }
}

impl PartialEq<Code> for String {
    fn eq(&self, code: &Code) -> bool {
        self == code.name()
    }
}

/// The codes of the CSV reader are those of the product.
impl From<millrace_csv::CsvCode> for Code {
    fn from(code: millrace_csv::CsvCode) -> Code {
        match code {
            millrace_csv::CsvCode::WrongColumnCount => Code::WrongColumnCount,
            millrace_csv::CsvCode::TooManyColumns => Code::TooManyColumns,
            millrace_csv::CsvCode::UnclosedQuote => Code::UnclosedQuote,
            millrace_csv::CsvCode::MalformedQuotes => Code::MalformedQuotes,
            millrace_csv::CsvCode::RecordTooLong => Code::RecordTooLong,
            millrace_csv::CsvCode::FieldTooLong => Code::FieldTooLong,
            millrace_csv::CsvCode::InvalidUtf8 => Code::InvalidUtf8,
            millrace_csv::CsvCode::NulCharacter => Code::NulCharacter,
            millrace_csv::CsvCode::WrongType => Code::WrongType,
            millrace_csv::CsvCode::NotText => Code::NotText,
            millrace_csv::CsvCode::TruncatedGzip => Code::TruncatedGzip,
            millrace_csv::CsvCode::TruncatedZstd => Code::TruncatedZstd,
            millrace_csv::CsvCode::CorruptGzip => Code::CorruptGzip,
            millrace_csv::CsvCode::CorruptZstd => Code::CorruptZstd,
            millrace_csv::CsvCode::DecompressionBomb => Code::DecompressionBomb,
            millrace_csv::CsvCode::HeaderTooLong => Code::HeaderTooLong,
            millrace_csv::CsvCode::PreambleTooLong => Code::PreambleTooLong,
            millrace_csv::CsvCode::ObjectChanged => Code::ObjectChanged,
            millrace_csv::CsvCode::ReadFailed => Code::ReadFailed,
            millrace_csv::CsvCode::Config => Code::Config,
        }
    }
}

/// The codes of rejected webhook records are those of the product.
impl From<millrace_webhook::content::RejectCode> for Code {
    fn from(code: millrace_webhook::content::RejectCode) -> Code {
        match code {
            millrace_webhook::content::RejectCode::InvalidUtf8 => Code::InvalidUtf8,
            millrace_webhook::content::RejectCode::NulCharacter => Code::NulCharacter,
            millrace_webhook::content::RejectCode::LoneSurrogate => Code::LoneSurrogate,
            millrace_webhook::content::RejectCode::NumberOutOfRange => Code::NumberOutOfRange,
            millrace_webhook::content::RejectCode::NestedTooDeep => Code::NestedTooDeep,
        }
    }
}
