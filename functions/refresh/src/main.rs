//! Creates the clients once and passes each invocation to [`Refresh::handle`].

use millrace::runtime::{self, Invocation};
use refresh::{Refresh, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let mut function = runtime::start(Settings::read, async |settings| Refresh::new(settings)).await?;
    // The content of the event does not matter.
    runtime::run(async |Invocation { request_id, deadline, .. }: Invocation| {
        function.handle(&request_id, deadline).await
    })
    .await
}
