//! What an ARN says of the resource it names: its type and its plain name.

/// The type of the resource, where service and resource of the ARN tell it.
pub(super) fn kind(arn: &str) -> Option<&'static str> {
    if arn.starts_with("alias/") {
        return Some("AWS::KMS::Alias");
    }
    let (service, resource) = split(arn)?;
    KINDS
        .iter()
        .find(|(of_service, prefix, _)| *of_service == service && resource.starts_with(prefix))
        .map(|(_, _, kind)| *kind)
}

/// The name in the ARN `arn` of a resource of type `kind`, by which people know the resource. None where `arn` is no
/// ARN or the name is the whole resource of an object in a bucket.
pub(super) fn plain_name<'a>(arn: &'a str, kind: Option<&str>) -> Option<&'a str> {
    let (_, resource) = split(arn)?;
    let name = match kind {
        Some("AWS::S3::Object") => return None,
        Some("AWS::S3::Bucket") => resource,
        // Names with slashes inside: all that comes after the type. A parameter's name begins with its slash.
        Some("AWS::Logs::LogGroup") => resource.strip_prefix("log-group:")?.trim_end_matches(":*"),
        Some("AWS::SSM::Parameter") => match resource.strip_prefix("parameter")? {
            path if path.trim_start_matches('/').contains('/') => path,
            name => name.trim_start_matches('/'),
        },
        Some("AWS::SecretsManager::Secret") => resource.strip_prefix("secret:")?,
        Some("AWS::KMS::Alias") => resource,
        // `table/NAME/index/…`, `function:NAME:VERSION`.
        Some("AWS::DynamoDB::Table") => resource.split('/').nth(1)?,
        Some("AWS::Lambda::Function") => resource.split(':').nth(1)?,
        _ => resource.rsplit(['/', ':']).next()?,
    };
    (name != arn).then_some(name)
}

/// Service and resource of an ARN: `arn:partition:service:region:account:resource`.
fn split(arn: &str) -> Option<(&str, &str)> {
    let mut parts = arn.splitn(6, ':');
    (parts.next()? == "arn").then_some(())?;
    let (_partition, service) = (parts.next()?, parts.next()?);
    let (_region, _account) = (parts.next()?, parts.next()?);
    Some((service, parts.next()?))
}

/// Service, how the resource begins, type. The first that fits counts.
const KINDS: &[(&str, &str, &str)] = &[
    ("cloudtrail", "trail/", "AWS::CloudTrail::Trail"),
    ("cloudtrail", "eventdatastore/", "AWS::CloudTrail::EventDataStore"),
    ("cloudtrail", "channel/", "AWS::CloudTrail::Channel"),
    ("dynamodb", "table/", "AWS::DynamoDB::Table"),
    ("ec2", "instance/", "AWS::EC2::Instance"),
    ("ec2", "volume/", "AWS::EC2::Volume"),
    ("ec2", "security-group/", "AWS::EC2::SecurityGroup"),
    ("ec2", "subnet/", "AWS::EC2::Subnet"),
    ("ec2", "vpc/", "AWS::EC2::VPC"),
    ("events", "rule/", "AWS::Events::Rule"),
    ("iam", "group/", "AWS::IAM::Group"),
    ("iam", "instance-profile/", "AWS::IAM::InstanceProfile"),
    ("iam", "policy/", "AWS::IAM::Policy"),
    ("iam", "role/", "AWS::IAM::Role"),
    ("iam", "user/", "AWS::IAM::User"),
    ("kms", "alias/", "AWS::KMS::Alias"),
    ("kms", "key/", "AWS::KMS::Key"),
    ("lambda", "function:", "AWS::Lambda::Function"),
    ("logs", "log-group:", "AWS::Logs::LogGroup"),
    ("rds", "cluster:", "AWS::RDS::DBCluster"),
    ("rds", "db:", "AWS::RDS::DBInstance"),
    ("rds", "snapshot:", "AWS::RDS::DBSnapshot"),
    ("rds", "subgrp:", "AWS::RDS::DBSubnetGroup"),
    ("secretsmanager", "secret:", "AWS::SecretsManager::Secret"),
    ("sns", "", "AWS::SNS::Topic"),
    ("sqs", "", "AWS::SQS::Queue"),
    ("ssm", "parameter/", "AWS::SSM::Parameter"),
    ("ssm", "document/", "AWS::SSM::Document"),
    ("sts", "assumed-role/", "AWS::STS::AssumedRole"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_tells_type_and_name() {
        for (arn, expected) in [
            ("arn:aws:iam::123456789012:role/service/r", ("AWS::IAM::Role", "r")),
            ("arn:aws-cn:iam::123456789012:user/bob", ("AWS::IAM::User", "bob")),
            ("arn:aws:logs:us-east-1:1:log-group:/aws/lambda/f:*", ("AWS::Logs::LogGroup", "/aws/lambda/f")),
            ("arn:aws:dynamodb:us-east-1:1:table/t/index/i", ("AWS::DynamoDB::Table", "t")),
            ("arn:aws:lambda:us-east-1:1:function:f:7", ("AWS::Lambda::Function", "f")),
            ("arn:aws:kms:us-east-1:1:alias/app", ("AWS::KMS::Alias", "alias/app")),
            ("arn:aws:sns:us-east-1:1:t", ("AWS::SNS::Topic", "t")),
            ("arn:aws:ssm:us-east-1:1:parameter/plain", ("AWS::SSM::Parameter", "plain")),
            ("arn:aws:ssm:us-east-1:1:parameter/a/b", ("AWS::SSM::Parameter", "/a/b")),
        ] {
            let kind = kind(arn).unwrap();
            assert_eq!((kind, plain_name(arn, Some(kind)).unwrap()), expected, "{arn}");
        }
    }

    #[test]
    fn what_is_no_arn_tells_nothing() {
        for text in [
            "",
            "arn",
            "arn:aws:s3",
            "bob",
            "arn:aws:s3:::",
            "not:an:arn:at:all:x",
            "arn:aws:ssm:::parameter",
        ] {
            assert_eq!(kind(text).and_then(|kind| plain_name(text, Some(kind))), None, "{text}");
            assert!(plain_name(text, Some("AWS::SSM::Parameter")).is_none_or(str::is_empty), "{text}");
        }
    }
}
