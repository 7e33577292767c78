//! Which dead letters can have a code.

use super::envelope::DeadLetterKind::{self, Delivery, Event, Rows, Upload};
use crate::code::Code;

/// The kinds of dead letters whose reason can be `code`. `docs/dead-letters.md` has a line for each of them, and no other.
pub fn kinds_with(code: Code) -> &'static [DeadLetterKind] {
    match code {
        Code::LoneSurrogate
        | Code::NumberOutOfRange
        | Code::NestedTooDeep
        | Code::MalformedBody
        | Code::UnsupportedMediaType
        | Code::EmptyBody
        | Code::DatabaseUnreachable
        | Code::DatabaseUnavailable
        | Code::DatabaseTimeout
        | Code::DatabaseStalled
        | Code::DatabaseReadOnly
        | Code::DatabaseBusy
        | Code::LockTimeout
        | Code::StatementTimeout
        | Code::TransactionState
        | Code::SchemaMissing
        | Code::PrivilegeMissing
        | Code::DatabaseRefusedAccess
        | Code::DatabaseError
        | Code::Conflict
        | Code::Bug => &[Delivery],
        Code::RefusedByModel | Code::TestFailed => &[Event],
        Code::WrongColumnCount
        | Code::UnclosedQuote
        | Code::MalformedQuotes
        | Code::RecordTooLong
        | Code::FieldTooLong
        | Code::WrongType => &[Rows],
        Code::InvalidUtf8 | Code::NulCharacter | Code::RefusedByDatabase => &[Rows, Delivery],
        Code::DeadLetterObjectMissing => &[Rows, Delivery, Event],
        Code::NoSourceForKey
        | Code::NotANotification
        | Code::ReceivedTooOften
        | Code::InvocationFailed
        | Code::ObjectMissing
        | Code::ObjectReplaced
        | Code::ObjectChanged
        | Code::S3Refused
        | Code::NotText
        | Code::TruncatedGzip
        | Code::TruncatedZstd
        | Code::CorruptGzip
        | Code::CorruptZstd
        | Code::DecompressionBomb
        | Code::HeaderTooLong
        | Code::PreambleTooLong
        | Code::TooManyRejects => &[Upload],
        Code::DatabaseRefusedData => &[Upload, Delivery],
        Code::TooManyColumns => &[Upload, Rows],
        Code::S3AccessDenied
        | Code::S3Unavailable
        | Code::ReadFailed
        | Code::NoProgress
        | Code::NoTime
        | Code::ContinuationNotSent
        | Code::NotAnHttpRequest
        | Code::PartitionMissing
        | Code::MigrationDrift
        | Code::DeadLetterNotSent
        | Code::DeadLettersUnavailable
        | Code::NotADeadLetter
        | Code::RedriveTargetUnavailable
        | Code::BadRequest
        | Code::IdUnknown
        | Code::IdAmbiguous
        | Code::Pending
        | Code::BadEnvironment
        | Code::BadSources
        | Code::UnknownSource
        | Code::MissingSecret
        | Code::BadSecret
        | Code::PipelineMissing
        | Code::ModelRefused
        | Code::ModelRefusesTooMuch
        | Code::ModelBroken
        | Code::ModelUpstreamStopped
        | Code::ModelInUse
        | Code::ModelColumnUnnamed
        | Code::ModelKeyUnknown
        | Code::ModelChanged
        | Code::ModelNameTaken
        | Code::ModelHasDependants
        | Code::ModelHasNoHistory
        | Code::ModelUnknown
        | Code::RefreshFailed
        | Code::EventsWait
        | Code::Config
        | Code::Contract
        | Code::Transient => &[],
    }
}
