//! Creates the clients once and passes each invocation to [`Transform::handle`].

use millrace::runtime::{self, Invocation};
use transform::{Settings, Transform};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let mut function = runtime::start(Settings::read, Transform::new).await?;
    runtime::run(async |Invocation { event, request_id, deadline }| {
        function.handle(&event, &request_id, deadline).await
    })
    .await
}
