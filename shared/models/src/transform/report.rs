//! The log line and the metrics of a committed claim.

use std::time::{Duration, SystemTime};

use millrace::metrics::{self, names};
use tracing::info;

use super::claim::Claimed;
use crate::model::EventRoute;
use crate::project::Project;

impl Claimed {
    pub(super) fn report(&self, project: &Project, route: &EventRoute, duration: Duration) {
        // The age of its oldest event when its facts are committed.
        let lag = SystemTime::now().duration_since(self.first_received_at).unwrap_or_default();
        let row_count = self.rows.values().sum::<u64>();
        info!(
            source = route.source,
            event_type = route.event_type,
            first_batch_id = %self.first_batch_id,
            last_batch_id = %self.last_batch_id,
            batch_count = self.batches,
            event_count = self.events,
            row_count,
            quarantined_count = self.quarantined,
            unmodelled_count = self.unmodelled,
            lag_ms = lag.as_millis() as u64,
            duration_ms = duration.as_millis() as u64,
            "transformed"
        );
        // Any program may insert events of any source. Only a source that a model reads is a dimension.
        let source = Some(route.source.as_str()).filter(|source| project.takes(source));
        metrics::add_of(source, names::CLAIMS, 1);
        metrics::add_of(source, names::EVENTS_PROCESSED, self.events);
        metrics::add_of(source, names::EVENTS_QUARANTINED, self.quarantined);
        metrics::add_of(source, names::EVENTS_UNMODELLED, self.unmodelled);
        metrics::add_of(source, names::FACTS_WRITTEN, row_count);
        metrics::record_of(source, names::TRANSFORM_LAG, metrics::millis(lag) / 1_000.0);
    }
}
