//! Every metric with its name, unit and dimensions. `docs/metrics.md` describes when each is emitted.

/// A unit of CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Count,
    Milliseconds,
    Seconds,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Bytes => "Bytes",
            Unit::Count => "Count",
            Unit::Milliseconds => "Milliseconds",
            Unit::Seconds => "Seconds",
        }
    }
}

/// The dimensions of a metric. The function is always one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Function,
    /// By source as well, if the source is declared. Names that senders invent must not create metrics, because CloudWatch bills
    /// each metric.
    Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub unit: Unit,
    pub scope: Scope,
}

macro_rules! metrics {
    ($($(#[$about:meta])* $constant:ident = $name:literal in $unit:ident by $scope:ident;)*) => {
        $($(#[$about])* pub const $constant: Metric =
            Metric { name: $name, unit: Unit::$unit, scope: Scope::$scope };)*
        /// All of them.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    // Every function.
    COLD_START = "ColdStart" in Count by Function;
    /// From the beginning of the invocation to just before its response.
    DURATION = "Duration" in Milliseconds by Function;
    ERRORS = "Errors" in Count by Function;
    ERRORS_CONFIG = "ErrorsConfig" in Count by Function;
    ERRORS_CONTRACT = "ErrorsContract" in Count by Function;
    ERRORS_TRANSIENT = "ErrorsTransient" in Count by Function;
    ERRORS_CONFLICT = "ErrorsConflict" in Count by Function;
    ERRORS_BUG = "ErrorsBug" in Count by Function;
    DATABASE_RETRIES = "DatabaseRetries" in Count by Function;
    DATABASE_RECONNECTS = "DatabaseReconnects" in Count by Function;

    // ingest-csv.
    FILES_LOADED = "FilesLoaded" in Count by Source;
    FILES_CONTINUED = "FilesContinued" in Count by Source;
    FILES_FAILED = "FilesFailed" in Count by Source;
    FILE_BYTES = "FileBytes" in Bytes by Source;
    ROWS_STAGED = "RowsStaged" in Count by Source;
    ROWS_REJECTED = "RowsRejected" in Count by Source;
    ROWS_REPAIRED = "RowsRepaired" in Count by Source;

    // ingest-webhook.
    DELIVERIES_STORED = "DeliveriesStored" in Count by Source;
    DELIVERIES_DUPLICATE = "DeliveriesDuplicate" in Count by Source;
    DELIVERIES_QUEUED = "DeliveriesQueued" in Count by Source;
    DELIVERIES_REFUSED = "DeliveriesRefused" in Count by Source;
    /// Neither the database nor the queue stored the delivery. The sender retries.
    DELIVERIES_TURNED_AWAY = "DeliveriesTurnedAway" in Count by Source;
    EVENTS_STORED = "EventsStored" in Count by Source;
    /// Events in a flush.
    FLUSH_SIZE = "FlushSize" in Count by Function;
    FLUSH_DURATION = "FlushDuration" in Milliseconds by Function;

    // transform.
    CLAIMS = "Claims" in Count by Source;
    EVENTS_PROCESSED = "EventsProcessed" in Count by Source;
    EVENTS_QUARANTINED = "EventsQuarantined" in Count by Source;
    EVENTS_UNMODELLED = "EventsUnmodelled" in Count by Source;
    FACTS_WRITTEN = "FactsWritten" in Count by Source;
    /// Age of a claim's oldest event when its facts were committed.
    TRANSFORM_LAG = "TransformLag" in Seconds by Source;
    /// Pairs of source and event type whose events wait.
    ROUTES_WAITING = "RoutesWaiting" in Count by Function;

    // transform and refresh.
    /// Models that are broken or not deployed, or that read such a model.
    MODELS_STOPPED = "ModelsStopped" in Count by Function;

    // refresh.
    VIEWS_REFRESHED = "ViewsRefreshed" in Count by Function;
    VIEWS_SKIPPED = "ViewsSkipped" in Count by Function;
    VIEWS_FAILED = "ViewsFailed" in Count by Function;
    VIEW_DURATION = "ViewDuration" in Milliseconds by Function;

    // redrive.
    DEAD_LETTERS_REDRIVEN = "DeadLettersRedriven" in Count by Function;
    DEAD_LETTERS_DUPLICATE = "DeadLettersDuplicate" in Count by Function;
    DEAD_LETTERS_VOID = "DeadLettersVoid" in Count by Function;
    DEAD_LETTERS_FAILED = "DeadLettersFailed" in Count by Function;
    DEAD_LETTERS_PENDING = "DeadLettersPending" in Count by Function;
    DEAD_LETTERS_ARCHIVED = "DeadLettersArchived" in Count by Function;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_metrics_have_one_name() {
        let names: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
