//! Signed webhooks, one of them sent again and one forged.

use std::path::Path;
use std::time::{Instant, SystemTime};

use millrace::config::WebhookSource;
use millrace::config::environment::Secret;
use millrace::{Error, Kind, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::checkout::Checkout;
use crate::delivery::{self, Choice};
use crate::environment::{Environment, Variables, WebhookAddress};
use crate::post::{PostResponse, post};
use crate::sources;
use crate::terminal::{Terminal, one_line, seconds};

/// Source, the sender's event type, and a body under tests/data/webhooks.
const SAMPLES: [(&str, &str, &str); 2] =
    [("github", "push", "github-push.json"), ("shopify", "orders/create", "shopify-orders-create.json")];

/// Posts the samples; true when each was answered as it must be.
pub async fn show(checkout: &Checkout, environment: &Environment, terminal: &mut Terminal) -> Result<bool> {
    let address = environment
        .webhooks
        .as_ref()
        .ok_or_else(|| Error::new(Kind::Bug, "the stack has no address for webhooks"))?;
    let mut good = true;
    for (source, event_type, file) in SAMPLES {
        let file = checkout.root().join("tests/data/webhooks").join(file);
        let mut body = sources::read_body(&file)?;
        // Not the delivery of an earlier run.
        let id = Uuid::now_v7().to_string();
        if body.first() == Some(&b'{') {
            body.splice(1..1, format!("\"demo_run\":\"{id}\",").into_bytes());
        }
        let variables = Variables::load(checkout)?;
        let source = sources::find_webhook(source, checkout, &variables)?;
        let secret = sources::signing_secret(&source, checkout, variables).await?;
        let mut sender = SampleSender { address, source, secret, event_type, file: &file, id: &id };
        good &= sender.send(&body, &body, 202, "stored", "", terminal).await?;
        good &= sender.send(&body, &body, 202, "duplicate", "sent again", terminal).await?;
        let mut forged = body.clone();
        if let Some(byte) = forged.last_mut() {
            *byte ^= 1;
        }
        sender.id = "forged";
        good &= sender.send(&body, &forged, 401, "could not be verified", "one bit forged", terminal).await?;
    }
    Ok(good)
}

struct SampleSender<'a> {
    address: &'a WebhookAddress,
    source: WebhookSource,
    secret: Secret,
    event_type: &'a str,
    file: &'a Path,
    id: &'a str,
}

impl SampleSender<'_> {
    /// Signs one body, posts another, and says whether the answer is what it must be.
    async fn send(
        &self,
        signed: &[u8],
        posted: &[u8],
        status: u16,
        word: &str,
        how: &str,
        terminal: &mut Terminal,
    ) -> Result<bool> {
        let choice = Choice { id: Some(self.id), event_type: Some(self.event_type), new_id: self.id };
        let headers =
            delivery::headers(&self.source, &self.secret, self.file, signed, choice, SystemTime::now())?;
        let began = Instant::now();
        let url = format!("{}/{}", self.address.url, self.source.name);
        let answer = post(&url, self.address.host.as_deref(), headers, posted.to_vec()).await?;
        let (text, good) = match &answer {
            Some(PostResponse { status: answered, body, .. }) => {
                let body = String::from_utf8_lossy(body);
                let good = answered.as_u16() == status && body.contains(word);
                (format!("{}  {}", answered.as_u16(), outcome(&body)), good)
            }
            None => ("no answer".to_owned(), false),
        };
        let name = format!("{} {}", self.source.name, self.event_type);
        terminal
            .status_line(good, &format!("  {name:<22} {how:<15} {text:<17}  {}", seconds(began.elapsed())));
        Ok(good)
    }
}

/// The word that an answer is about: `stored`, `duplicate`, or the end of the problem's URN.
fn outcome(body: &str) -> String {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let word = answer["status"].as_str().or_else(|| answer["type"].as_str()?.rsplit(':').next());
    one_line(word.unwrap_or(body), 40)
}
