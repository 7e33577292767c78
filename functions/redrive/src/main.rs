//! Creates the clients once and passes each invocation to [`Redrive::handle`].

use millrace::runtime::{self, Invocation};
use redrive::{Redrive, Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), runtime::Error> {
    let function = runtime::start(Settings::read, Redrive::new).await?;
    runtime::run(async |Invocation { event, deadline, .. }| function.handle(event, deadline).await).await
}
