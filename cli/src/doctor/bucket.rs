//! Checks the versioning and the notifications of the bucket.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, FilterRuleName, QueueConfiguration};
use millrace::Result;

use super::finding::Finding;
use crate::environment::aws_failure;

/// Checks versioning, because a load reads one version of an object.
pub async fn versioning(s3: &Client, bucket: &str) -> Result<Vec<Finding>> {
    const CHECK: &str = "versioning";
    let answer = s3
        .get_bucket_versioning()
        .bucket(bucket)
        .send()
        .await
        .map_err(|error| aws_failure("read the versioning of the bucket", &error))?;
    if answer.status == Some(BucketVersioningStatus::Enabled) {
        return Ok(vec![Finding::ok(CHECK, "the bucket keeps versions")]);
    }
    let found = format!(
        "versioning is not enabled on the bucket {bucket}: a file that is overwritten while it is loaded is lost"
    );
    let action = format!(
        "aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled"
    );
    Ok(vec![Finding::problem(CHECK, found, action)])
}

/// Checks that the bucket notifies the upload queue of objects under `incoming/`.
pub async fn notifications(s3: &Client, bucket: &str, queue_arn: &str) -> Result<Vec<Finding>> {
    const CHECK: &str = "notifications";
    let answer = s3
        .get_bucket_notification_configuration()
        .bucket(bucket)
        .send()
        .await
        .map_err(|error| aws_failure("read the notifications of the bucket", &error))?;
    if answer.queue_configurations().iter().any(|queue| announces(queue, queue_arn)) {
        return Ok(vec![Finding::ok(CHECK, "incoming/ is announced to the upload queue")]);
    }
    let found = "incoming/ is not announced to the upload queue: no file will be loaded";
    let configuration = serde_json::json!({ "QueueConfigurations": [{
        "QueueArn": queue_arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": { "Key": { "FilterRules": [{ "Name": "prefix", "Value": "incoming/" }] } },
    }] });
    let action = format!(
        "aws s3api put-bucket-notification-configuration --bucket {bucket} --notification-configuration '{configuration}'"
    );
    Ok(vec![Finding::problem(CHECK, found, action)])
}

/// Whether a rule matches every object that is created under `incoming/`, without a suffix.
fn announces(queue: &QueueConfiguration, queue_arn: &str) -> bool {
    let rules = queue.filter().and_then(|filter| filter.key()).map_or(&[][..], |key| key.filter_rules());
    queue.queue_arn() == queue_arn
        && queue.events().iter().any(|event| event.as_str() == "s3:ObjectCreated:*")
        && rules.iter().all(|rule| {
            let value = rule.value().unwrap_or_default();
            match rule.name() {
                // AWS returns the name of the rule in a different case.
                Some(name) if name.as_str().eq_ignore_ascii_case(FilterRuleName::Prefix.as_str()) => {
                    "incoming/".starts_with(value)
                }
                _ => value.is_empty(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::types::{Event, FilterRule, NotificationConfigurationFilter, S3KeyFilter};

    fn queue(arn: &str, event: &str, rules: &[(&str, &str)]) -> QueueConfiguration {
        let rules = rules.iter().map(|(name, value)| {
            FilterRule::builder().name(FilterRuleName::from(*name)).value(*value).build()
        });
        let key = S3KeyFilter::builder().set_filter_rules(Some(rules.collect())).build();
        QueueConfiguration::builder()
            .queue_arn(arn)
            .events(Event::from(event))
            .filter(NotificationConfigurationFilter::builder().key(key).build())
            .build()
            .unwrap()
    }

    #[test]
    fn only_what_announces_every_file_will_do() {
        let all = "s3:ObjectCreated:*";
        for (queue, announced) in [
            (queue("a", all, &[("prefix", "incoming/")]), true),
            (queue("a", all, &[("Prefix", "incoming/"), ("Suffix", "")]), true),
            (queue("a", all, &[]), true),
            (queue("b", all, &[("prefix", "incoming/")]), false),
            (queue("a", "s3:ObjectCreated:Put", &[("prefix", "incoming/")]), false),
            (queue("a", all, &[("prefix", "incoming/shop/")]), false),
            (queue("a", all, &[("prefix", "incoming/"), ("suffix", ".csv")]), false),
        ] {
            assert_eq!(announces(&queue, "a"), announced, "{queue:?}");
        }
    }
}
