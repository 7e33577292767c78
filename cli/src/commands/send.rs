//! `millrace send`: sign as the sender would, then post.

use std::time::{Instant, SystemTime};

use http::header::RETRY_AFTER;
use millrace::{Error, Kind, Result};
use millrace_webhook::UNNAMED_EVENT_TYPE;
use uuid::Uuid;

use super::CommandOutcome;
use crate::arguments::SendWebhook;
use crate::checkout::Checkout;
use crate::delivery::{self, Choice};
use crate::environment::Variables;
use crate::post::post;
use crate::sources;
use crate::terminal::{Terminal, bytes, one_line, seconds};

pub async fn run(
    arguments: &SendWebhook,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let variables = Variables::load(checkout)?;
    let source = sources::find_webhook(&arguments.source, checkout, &variables)?;
    let (url, host) = match (&arguments.url, variables.webhooks()) {
        (Some(url), _) => (url.clone(), None),
        (None, Some((url, host))) => (url.to_owned(), host.map(str::to_owned)),
        (None, None) => {
            let advice =
                "MILLRACE_WEBHOOK_URL: missing; start the local stack with `make dev`, or give --url";
            return Err(Error::new(Kind::Config, advice));
        }
    };
    let url = format!("{}/{}", url.trim_end_matches('/'), source.name);
    let body = sources::read_body(&arguments.file)?;

    let secret = sources::signing_secret(&source, checkout, variables).await?;
    let new_id = Uuid::now_v7().to_string();
    let choice =
        Choice { id: arguments.id.as_deref(), event_type: arguments.event_type.as_deref(), new_id: &new_id };
    let headers = delivery::headers(&source, &secret, &arguments.file, &body, choice, SystemTime::now())
        .map_err(|error| sources::unusable_secret(&source, error))?;
    if let (Some(header), None) = (delivery::event_type_header(&source), &arguments.event_type) {
        let note =
            format!("without --event-type there is no {header}: the event type is `{UNNAMED_EVENT_TYPE}`");
        terminal.prose("note      ", &note);
    }

    let began = Instant::now();
    terminal.line(&format!("post      {} to {url}", bytes(body.len() as u64)));
    let Some(answer) = post(&url, host.as_deref(), headers, body).await? else {
        terminal.bad(&format!("no answer after {}", seconds(began.elapsed())));
        return Ok(CommandOutcome::TimedOut);
    };
    let is_good = answer.status.is_success();
    terminal.status_line(is_good, &format!("answer    {} in {}", answer.status, seconds(began.elapsed())));
    if let Some(after) = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()) {
        terminal.line(&format!("          Retry-After: {}", one_line(after, 40)));
    }
    let text = String::from_utf8_lossy(&answer.body);
    if !text.trim().is_empty() {
        terminal.line(&format!("          {}", one_line(text.trim(), 2_000)));
    }
    Ok(if is_good { CommandOutcome::Done } else { CommandOutcome::Bad })
}
