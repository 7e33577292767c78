//! `millrace verify`: would this delivery be accepted?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use millrace::Result;
use millrace::config::WebhookSource;
use millrace::secrets::SecretCache;
use millrace_webhook::verify::{Accepted, Verification, verify};

use super::CommandOutcome;
use crate::arguments::VerifyWebhook;
use crate::checkout::Checkout;
use crate::diagnosis::{RefusedDelivery, diagnose, expectation};
use crate::environment::Variables;
use crate::sources;
use crate::terminal::{Terminal, one_line};

pub async fn run(
    arguments: &VerifyWebhook,
    checkout: &Checkout,
    terminal: &mut Terminal,
) -> Result<CommandOutcome> {
    let variables = Variables::load(checkout)?;
    let source = sources::find_webhook(&arguments.source, checkout, &variables)?;
    let body = sources::read_body(&arguments.body)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &arguments.headers {
        headers.append(name, value.clone());
    }
    let now = match arguments.at {
        Some(seconds) => UNIX_EPOCH + Duration::from_secs(seconds.into()),
        None => SystemTime::now(),
    };
    let cache = SecretCache::new(sources::secrets(&source, checkout, variables).await?);
    let keys = cache.get(&source).await?;

    match verify(&source.scheme, &headers, &body, &keys, now) {
        Verification::Accepted(accepted) => {
            terminal.good(&format!("accepted  {}", how(&source, &accepted)));
            let identity = source.identify(&headers, &body, &body);
            terminal.line(&format!("          delivery id  {}", one_line(&identity.delivery_id, 300)));
            terminal.line(&format!("          event type   {}", source.event_type(&headers, &[&body])));
            Ok(CommandOutcome::Done)
        }
        Verification::Refused(refusal) => {
            terminal.bad(&format!("refused   {}: {refusal}", refusal.code()));
            terminal.prose("expected  ", &expectation(&source.scheme));
            let delivery =
                RefusedDelivery { scheme: &source.scheme, headers: &headers, body: &body, keys: &keys, now };
            for finding in diagnose(&delivery, &refusal) {
                terminal.prose("          ", &finding);
            }
            Ok(CommandOutcome::Bad)
        }
    }
}

fn how(source: &WebhookSource, accepted: &Accepted) -> String {
    let secret = source.secrets.get(accepted.secret).map(ToString::to_string).unwrap_or_default();
    match accepted.signed_at {
        Some(seconds) => format!("with {secret}, signed at {seconds}"),
        None => format!("with {secret}"),
    }
}
