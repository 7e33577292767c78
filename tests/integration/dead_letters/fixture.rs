//! A dead-letter queue with dead letters, and the program `millrace`.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::QueueAttributeName;
use millrace::Code;
use millrace::dead_letter::{DeadLetter, DeadLetterKind, DeadLetterQueue, Origin, Payload, Reason};
use millrace_tests::aws::Aws;
use millrace_tests::process;
use millrace_tests::runtime_api::binary;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::process::{Child, Command};
use uuid::Uuid;

pub struct DeadLetterFixture {
    pub aws: Aws,
}

impl DeadLetterFixture {
    pub async fn new() -> DeadLetterFixture {
        DeadLetterFixture { aws: Aws::new().await }
    }

    /// Sends dead letters as the functions do, with a limit for the size of a message.
    pub async fn send_within(&self, dead_letters: &[DeadLetter], message_bytes: usize) {
        let clients = self.aws.clients.clone();
        let settings = millrace::dead_letter::Settings {
            queue_url: self.aws.dead_letter_queue_url.clone(),
            bucket: self.aws.bucket.clone(),
            message_bytes,
        };
        let queue = DeadLetterQueue::new(clients.sqs, clients.objects, settings);
        queue.send(dead_letters).await.unwrap();
    }

    pub async fn send(&self, dead_letters: &[DeadLetter]) {
        self.send_within(dead_letters, 1 << 20).await;
    }

    /// Sends a message that is not a dead letter of Millrace, and returns its id.
    pub async fn send_body(&self, body: &str) -> String {
        let send = self.aws.clients.sqs.send_message().queue_url(&self.aws.dead_letter_queue_url);
        send.message_body(body).send().await.unwrap().message_id.unwrap()
    }

    /// Runs `millrace dead-letters …`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("millrace"));
        command
            .arg("dead-letters")
            .args(arguments)
            .env_clear()
            // Dead letters need no database.
            .envs(self.aws.variables("").into_iter().filter(|(name, _)| name != "DATABASE_URL"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub async fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.unwrap()
    }

    /// The output of a command that must succeed.
    pub async fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.said(arguments).await).unwrap()
    }

    /// The number of visible messages, and of hidden ones.
    pub async fn counts(&self) -> (usize, usize) {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let ask = self.aws.clients.sqs.get_queue_attributes().queue_url(&self.aws.dead_letter_queue_url);
        let answer = ask.set_attribute_names(Some(names.to_vec())).send().await.unwrap();
        let attributes = answer.attributes.unwrap();
        let count = |name| attributes.get(&name).unwrap().parse().unwrap();
        let [visible, hidden] = names;
        (count(visible), count(hidden))
    }

    /// Waits until the counts are `counts`. Fails after two minutes.
    pub async fn until(&self, what: &str, counts: impl Fn(usize, usize) -> bool) {
        let began = Instant::now();
        loop {
            let (visible, hidden) = self.counts().await;
            if counts(visible, hidden) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{what}: {visible} there, {hidden} hidden");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Receives every visible message, and returns the ids of the dead letters. They are hidden afterwards.
    pub async fn receive_all(&self) -> Vec<Uuid> {
        let reader = self.aws.reader();
        let mut ids = Vec::new();
        loop {
            let received = reader.receive(Duration::from_secs(600), Duration::ZERO).await.unwrap();
            if received.is_empty() {
                return ids;
            }
            ids.extend(received.iter().map(|message| millrace_tests::dead_letters::read(message).id));
        }
    }

    /// Each of `dead_letters`, and nothing else, can be received now exactly once.
    pub async fn holds(&self, dead_letters: &[DeadLetter]) {
        let received = self.receive_all().await;
        assert_eq!(received.len(), dead_letters.len());
        assert!(ids(dead_letters) == received.into_iter().collect::<BTreeSet<_>>());
    }
}

/// Sends a signal to a program, as Ctrl-C does.
pub fn signal(child: &Child, name: &str) {
    process::signal(child.id().expect("it runs"), name);
}

/// The whole output.
pub fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), output.stderr.as_slice()].concat()).unwrap()
}

pub fn ids(dead_letters: &[DeadLetter]) -> BTreeSet<Uuid> {
    dead_letters.iter().map(|dead_letter| dead_letter.id).collect()
}

/// The ids of a page of `list --json`, in its order.
pub fn page_ids(page: &Value) -> Vec<Uuid> {
    let id = |dead_letter: &Value| dead_letter["id"].as_str().unwrap().parse().unwrap();
    page["dead_letters"].as_array().unwrap().iter().map(id).collect()
}

/// A dead letter of a record, as ingest-csv sends it.
pub fn rows_dead_letter(number: u64, code: Code, payload: Payload) -> DeadLetter {
    let origin = Origin {
        bucket: Some("bucket".to_owned()),
        key: Some("incoming/shop/orders/a.csv".to_owned()),
        version: Some("v1".to_owned()),
        record: Some(number),
        line: Some(number + 2),
        offset: Some(number * 10),
        ..Origin::default()
    };
    let name = format!("s3://bucket/incoming/shop/orders/a.csv?version=v1@{number}");
    let reason = Reason::new(code, "3 columns where 4 are expected");
    let mut dead_letter =
        DeadLetter::new(DeadLetterKind::Rows, &name, Some("shop"), Some("orders"), reason, origin, payload);
    dead_letter.first_failed_at = minutes_ago(number);
    dead_letter
}

/// Makes `count` dead letters, each with a first failure one minute before the next.
pub fn many(count: u64) -> Vec<DeadLetter> {
    (0..count)
        .map(|number| {
            rows_dead_letter(number, Code::WrongColumnCount, Payload::raw(format!("{number},a").as_bytes()))
        })
        .collect()
}

pub fn minutes_ago(minutes: u64) -> String {
    let at = OffsetDateTime::now_utc() - Duration::from_secs(60 * minutes);
    at.format(&Rfc3339).unwrap()
}
