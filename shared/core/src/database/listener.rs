//! Receives notifications of a channel.

use std::future::poll_fn;
use std::pin::pin;

use tokio_postgres::AsyncMessage;

use super::Settings;
use super::failure::from_postgres;
use crate::Result;

/// Listens on `channel`, a plain identifier, and passes every payload to `on_payload` until the connection ends. `ready` is
/// called when the session listens.
pub async fn listen(
    settings: &Settings,
    channel: &str,
    ready: impl FnOnce(),
    mut on_payload: impl FnMut(&str),
) -> Result<()> {
    let (client, mut connection) = settings
        .config
        .connect(settings.tls.clone())
        .await
        .map_err(|error| from_postgres("connect to the database", error))?;
    let command = format!("listen {channel}");
    let mut listening = pin!(client.batch_execute(&command));
    let mut ready = Some(ready);
    loop {
        tokio::select! {
            answer = &mut listening, if ready.is_some() => {
                answer.map_err(|error| from_postgres("listen", error))?;
                if let Some(ready) = ready.take() {
                    ready();
                }
            }
            message = poll_fn(|context| connection.poll_message(context)) => match message {
                Some(Ok(AsyncMessage::Notification(notification))) => on_payload(notification.payload()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(from_postgres("listen", error)),
                None => return Ok(()),
            }
        }
    }
}
