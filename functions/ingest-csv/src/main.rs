//! Creates the clients once and passes each invocation to [`IngestCsv::handle`].

use ingest_csv::{IngestCsv, Settings};
use millrace::runtime::{self, Invocation};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let function = runtime::start(Settings::read, IngestCsv::new).await?;
    runtime::run(async |Invocation { event, request_id, deadline }| {
        function.handle(event, &request_id, deadline).await
    })
    .await
}
