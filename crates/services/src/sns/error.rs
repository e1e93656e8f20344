//! What ends an SNS call: AWS's refusals in AWS's words.

use cairn_core::Region;
use cairn_wire::AwsError;

use super::arn::{SubscriptionArn, TopicArn};
pub(super) use crate::failure::Failure;

/// How many parts an ARN has at least.
const ARN_PARTS_MIN: usize = 6;
/// How long the id of a subscription is: a UUID's text.
const SUBSCRIPTION_ID_CHARS: usize = 36;

pub(super) fn fail(code: &'static str, message: impl Into<String>) -> Failure {
    AwsError::invalid(code, message).into()
}

/// "Invalid parameter: " and what about it.
pub(super) fn invalid(what: impl std::fmt::Display) -> Failure {
    fail("InvalidParameter", format!("Invalid parameter: {what}"))
}

pub(super) fn topic_not_found() -> Failure {
    AwsError::with_status(404, "NotFound", "Topic does not exist").into()
}

pub(super) fn subscription_not_found() -> Failure {
    AwsError::with_status(404, "NotFound", "Subscription does not exist").into()
}

pub(super) fn not_authorized(message: impl Into<String>) -> Failure {
    AwsError::with_status(403, "AuthorizationError", message).into()
}

/// The topic that the member `name` names, in the call's region where that is known.
pub(super) fn topic_arn(name: &str, text: &str, region: Option<&Region>) -> Result<TopicArn, Failure> {
    check_parts(name, text)?;
    let arn: TopicArn = text.parse().map_err(|_| invalid(name))?;
    if region.is_some_and(|region| *region != arn.region) {
        return Err(invalid(name));
    }
    Ok(arn)
}

/// The subscription that SubscriptionArn names.
pub(super) fn subscription_arn(text: &str, region: Option<&Region>) -> Result<SubscriptionArn, Failure> {
    if text.is_empty() {
        return Err(invalid("SubscriptionArn Reason: no value for required parameter"));
    }
    check_parts("SubscriptionArn", text)?;
    let arn: SubscriptionArn = text.parse().map_err(|_| invalid("SubscriptionId"))?;
    if arn.id.len() != SUBSCRIPTION_ID_CHARS {
        return Err(invalid("SubscriptionId"));
    }
    if region.is_some_and(|region| *region != arn.topic.region) {
        return Err(invalid("SubscriptionArn"));
    }
    Ok(arn)
}

fn check_parts(name: &str, text: &str) -> Result<(), Failure> {
    let parts = text.split(':').count();
    if parts < ARN_PARTS_MIN {
        let reason =
            format!("{name} Reason: An ARN must have at least {ARN_PARTS_MIN} elements, not {parts}");
        return Err(invalid(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T>(result: Result<T, Failure>) -> String {
        result.err().map_or_else(|| "ok".to_owned(), |failure| AwsError::from(failure).message)
    }

    #[test]
    fn wrong_arns_are_refused_in_awss_words() {
        let region = "eu-west-1".parse().unwrap();
        let topic = |text| told(topic_arn("TopicArn", text, Some(&region)));
        let parts = "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not";
        assert_eq!(topic("randomstring"), format!("{parts} 1"));
        assert_eq!(topic("randomstring:1"), format!("{parts} 2"));
        assert_eq!(topic("arn:aws:sns:us-east-1:111122223333:t"), "Invalid parameter: TopicArn");
        assert_eq!(topic("arn:aws:sns:eu-west-1:111122223333:t"), "ok");
        let subscription = |text| told(subscription_arn(text, Some(&region)));
        assert_eq!(
            subscription(""),
            "Invalid parameter: SubscriptionArn Reason: no value for required parameter"
        );
        assert_eq!(
            subscription("arn:aws:sns:eu-west-1:111122223333:random"),
            "Invalid parameter: SubscriptionId"
        );
        let whole = "arn:aws:sns:eu-west-1:111122223333:t:b7e16d2f-8012-4428-a6b8-1f15f4aabbdb";
        assert_eq!(subscription(whole), "ok");
    }
}
