//! `millrace tail`: what is notified on channel `millrace`, as it happens.

use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

use millrace::Result;
use millrace::database::{Settings, listener};
use millrace_models::notify::CHANNEL;
use serde_json::Value;

use super::{CommandOutcome, asked_to_stop};
use crate::checkout::Checkout;
use crate::environment;
use crate::terminal::width::cut;
use crate::terminal::{Terminal, figure, one_line};

pub async fn run(checkout: &Checkout, terminal: &mut Terminal) -> Result<CommandOutcome> {
    let url = environment::database_url(checkout)?;
    let settings = Settings::parse(&url)?.application_name("millrace tail");
    let (sender, lines) = mpsc::channel();
    let listening = listen(&settings, sender);
    let printing = async {
        loop {
            while let Ok(line) = lines.try_recv() {
                // Programs read whole lines.
                let line = if terminal.is_interactive() { cut(&line, terminal.width()) } else { line };
                terminal.line(&line);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        ended = listening => ended.map(|()| CommandOutcome::Done),
        () = printing => Ok(CommandOutcome::Done),
        stop = asked_to_stop() => stop.map(|()| CommandOutcome::Done),
    }
}

/// Sends a line for each notification. After the first connection it connects again whenever the connection ends.
///
/// # Errors
/// The first connection fails.
async fn listen(settings: &Settings, sender: mpsc::Sender<String>) -> Result<()> {
    let mut was_connected = false;
    loop {
        let is_connected = Cell::new(false);
        let ready = || {
            is_connected.set(true);
            let again = if was_connected { " again" } else { "" };
            drop(sender.send(format!("listening{again} on channel {CHANNEL}; Ctrl-C ends")));
        };
        let print = |payload: &str| drop(sender.send(describe(payload)));
        let ended = listener::listen(settings, CHANNEL, ready, print).await;
        match ended {
            Err(error) if !was_connected && !is_connected.get() => return Err(error),
            ended if is_connected.get() => {
                let cause = ended.map_or_else(|error| error.chain(), |()| "the server closed it".to_owned());
                let text =
                    format!("the connection ended ({cause}); what is notified until the next one is missed");
                drop(sender.send(text));
                was_connected = true;
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A message of ours in words; any other as it is.
fn describe(payload: &str) -> String {
    let Ok(message) = serde_json::from_str::<Value>(payload) else { return one_line(payload, 200) };
    let number = |name: &str| figure(message[name].as_i64().unwrap_or_default());
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    match message["kind"].as_str() {
        Some("transform") => {
            let rows = message["rows"].as_object().map_or_else(String::new, |rows| {
                rows.iter().map(|(model, count)| format!("  {model} +{count}")).collect()
            });
            let quarantined = match message["quarantined"].as_i64() {
                Some(0) | None => String::new(),
                Some(_) => format!("  {} quarantined", number("quarantined")),
            };
            format!(
                "transform  {}/{}  {} events{rows}{quarantined}",
                text("source"),
                text("event_type"),
                number("events")
            )
        }
        Some("refresh") => format!("refresh    {}  {} rows", text("model"), number("rows")),
        _ => one_line(payload, 200),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_in_words() {
        let message = r#"{"kind":"transform","source":"shop","event_type":"orders","batches":1,"events":1200,"quarantined":2,"rows":{"orders":1198}}"#;
        assert_eq!(describe(message), "transform  shop/orders  1,200 events  orders +1198  2 quarantined");
        assert_eq!(describe("hello\n"), "hello⏎");
    }
}
