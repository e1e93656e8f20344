//! Which members of request parameters and response elements name a resource of which type.
//!
//! From the members that the services' models and recorded events show. A rule's path is the end of the member's
//! path, lists left out: `instanceId` stands for `instancesSet.items[].instanceId` too, `role.arn` only for an `arn`
//! right inside `role`, and `/name` only for a `name` that is inside nothing.

/// One member that names a resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    path: &'static str,
    pub(super) kind: &'static str,
    /// Whether the value, where it is an ARN or an alias, knows the type better.
    pub(super) arn_tells: bool,
}

impl Rule {
    /// Whether the rule's path is the end of `path`.
    pub(super) fn matches(&self, path: &[impl AsRef<str>]) -> bool {
        let Some(innermost) = path.last().map(AsRef::as_ref) else { return false };
        // Nearly all rules end here, and all of them are asked for each text.
        if self.path.as_bytes().last() != innermost.as_bytes().last() {
            return false;
        }
        if let Some(outermost) = self.path.strip_prefix('/') {
            return path.len() == 1 && innermost == outermost;
        }
        let mut rest = self.path;
        for name in path.iter().rev() {
            match rest.strip_suffix(name.as_ref()) {
                Some("") => return true,
                Some(outer) if outer.ends_with('.') => rest = &outer[..outer.len() - 1],
                _ => return false,
            }
        }
        false
    }
}

/// The rules for events of `event_source`; none where the service is not known.
pub(super) fn of(event_source: &str) -> &'static [Rule] {
    let at = SERVICES.binary_search_by_key(&event_source, |(source, _)| source);
    at.map(|at| SERVICES[at].1).unwrap_or_default()
}

const fn is(path: &'static str, kind: &'static str) -> Rule {
    Rule { path, kind, arn_tells: false }
}

const fn may_be(path: &'static str, kind: &'static str) -> Rule {
    Rule { path, kind, arn_tells: true }
}

/// By event source, in ascending order.
const SERVICES: &[(&str, &[Rule])] = &[
    ("cloudtrail.amazonaws.com", CLOUDTRAIL),
    ("dynamodb.amazonaws.com", DYNAMODB),
    ("ec2.amazonaws.com", EC2),
    ("events.amazonaws.com", EVENTS),
    ("iam.amazonaws.com", IAM),
    ("kms.amazonaws.com", KMS),
    ("lambda.amazonaws.com", LAMBDA),
    ("logs.amazonaws.com", LOGS),
    ("monitoring.amazonaws.com", MONITORING),
    ("rds.amazonaws.com", RDS),
    ("s3.amazonaws.com", S3),
    ("secretsmanager.amazonaws.com", SECRETS),
    ("sns.amazonaws.com", SNS),
    ("sqs.amazonaws.com", SQS),
    ("ssm.amazonaws.com", SSM),
    ("sts.amazonaws.com", STS),
];

const CLOUDTRAIL: &[Rule] = &[
    is("/name", "AWS::CloudTrail::Trail"),
    is("/trailName", "AWS::CloudTrail::Trail"),
    is("/trailARN", "AWS::CloudTrail::Trail"),
    is("/trailArn", "AWS::CloudTrail::Trail"),
    is("trailNameList", "AWS::CloudTrail::Trail"),
    may_be("resourceId", "AWS::CloudTrail::Trail"),
    may_be("resourceIdList", "AWS::CloudTrail::Trail"),
    is("s3BucketName", "AWS::S3::Bucket"),
    is("snsTopicName", "AWS::SNS::Topic"),
    is("snsTopicARN", "AWS::SNS::Topic"),
    is("cloudWatchLogsLogGroupArn", "AWS::Logs::LogGroup"),
    is("cloudWatchLogsRoleArn", "AWS::IAM::Role"),
    may_be("kmsKeyId", "AWS::KMS::Key"),
    is("eventDataStore", "AWS::CloudTrail::EventDataStore"),
    is("eventDataStoreArn", "AWS::CloudTrail::EventDataStore"),
    is("channel", "AWS::CloudTrail::Channel"),
    is("channelArn", "AWS::CloudTrail::Channel"),
];

const DYNAMODB: &[Rule] = &[
    is("tableName", "AWS::DynamoDB::Table"),
    is("tableArn", "AWS::DynamoDB::Table"),
    is("globalTableName", "AWS::DynamoDB::GlobalTable"),
];

const EC2: &[Rule] = &[
    is("instanceId", "AWS::EC2::Instance"),
    is("imageId", "AWS::EC2::Ami"),
    is("groupId", "AWS::EC2::SecurityGroup"),
    is("securityGroupId", "AWS::EC2::SecurityGroup"),
    is("securityGroupRuleId", "AWS::EC2::SecurityGroupRule"),
    is("vpcId", "AWS::EC2::VPC"),
    is("subnetId", "AWS::EC2::Subnet"),
    is("volumeId", "AWS::EC2::Volume"),
    is("snapshotId", "AWS::EC2::Snapshot"),
    is("networkInterfaceId", "AWS::EC2::NetworkInterface"),
    is("networkAclId", "AWS::EC2::NetworkAcl"),
    is("routeTableId", "AWS::EC2::RouteTable"),
    is("internetGatewayId", "AWS::EC2::InternetGateway"),
    is("natGatewayId", "AWS::EC2::NatGateway"),
    is("allocationId", "AWS::EC2::EIP"),
    is("vpcEndpointId", "AWS::EC2::VPCEndpoint"),
    is("vpcPeeringConnectionId", "AWS::EC2::VPCPeeringConnection"),
    is("vpnGatewayId", "AWS::EC2::VPNGateway"),
    is("vpnConnectionId", "AWS::EC2::VPNConnection"),
    is("customerGatewayId", "AWS::EC2::CustomerGateway"),
    is("transitGatewayId", "AWS::EC2::TransitGateway"),
    is("launchTemplateId", "AWS::EC2::LaunchTemplate"),
    is("dhcpOptionsId", "AWS::EC2::DHCPOptions"),
    is("flowLogId", "AWS::EC2::FlowLog"),
    is("keyName", "AWS::EC2::KeyPair"),
    is("iamInstanceProfile.name", "AWS::IAM::InstanceProfile"),
    is("iamInstanceProfile.arn", "AWS::IAM::InstanceProfile"),
];

const EVENTS: &[Rule] = &[
    is("ruleArn", "AWS::Events::Rule"),
    is("rule", "AWS::Events::Rule"),
    is("name", "AWS::Events::Rule"),
    is("eventBusName", "AWS::Events::EventBus"),
    is("eventBusArn", "AWS::Events::EventBus"),
];

const IAM: &[Rule] = &[
    is("userName", "AWS::IAM::User"),
    is("newUserName", "AWS::IAM::User"),
    is("user.userId", "AWS::IAM::User"),
    is("user.arn", "AWS::IAM::User"),
    is("accessKeyId", "AWS::IAM::AccessKey"),
    is("roleName", "AWS::IAM::Role"),
    is("role.roleId", "AWS::IAM::Role"),
    is("role.arn", "AWS::IAM::Role"),
    is("groupName", "AWS::IAM::Group"),
    is("newGroupName", "AWS::IAM::Group"),
    is("group.groupId", "AWS::IAM::Group"),
    is("group.arn", "AWS::IAM::Group"),
    is("policyName", "AWS::IAM::Policy"),
    is("policyArn", "AWS::IAM::Policy"),
    is("policy.policyId", "AWS::IAM::Policy"),
    is("policy.arn", "AWS::IAM::Policy"),
    is("permissionsBoundary", "AWS::IAM::Policy"),
    is("instanceProfileName", "AWS::IAM::InstanceProfile"),
    is("instanceProfile.instanceProfileId", "AWS::IAM::InstanceProfile"),
    is("instanceProfile.arn", "AWS::IAM::InstanceProfile"),
    is("serialNumber", "AWS::IAM::MfaDevice"),
    is("sAMLProviderArn", "AWS::IAM::SAMLProvider"),
    is("openIDConnectProviderArn", "AWS::IAM::OIDCProvider"),
    is("serverCertificateName", "AWS::IAM::ServerCertificate"),
];

const KMS: &[Rule] = &[
    may_be("keyId", "AWS::KMS::Key"),
    may_be("targetKeyId", "AWS::KMS::Key"),
    is("keyMetadata.arn", "AWS::KMS::Key"),
    is("aliasName", "AWS::KMS::Alias"),
];

const LAMBDA: &[Rule] = &[
    is("functionName", "AWS::Lambda::Function"),
    is("functionArn", "AWS::Lambda::Function"),
    is("layerName", "AWS::Lambda::LayerVersion"),
    is("role", "AWS::IAM::Role"),
    is("s3Bucket", "AWS::S3::Bucket"),
];

const LOGS: &[Rule] = &[
    is("logGroupName", "AWS::Logs::LogGroup"),
    may_be("logGroupIdentifier", "AWS::Logs::LogGroup"),
    is("logStreamName", "AWS::Logs::LogStream"),
    is("filterName", "AWS::Logs::MetricFilter"),
    may_be("destinationArn", "AWS::Logs::Destination"),
    may_be("kmsKeyId", "AWS::KMS::Key"),
];

const MONITORING: &[Rule] = &[
    is("alarmName", "AWS::CloudWatch::Alarm"),
    is("alarmNames", "AWS::CloudWatch::Alarm"),
    is("dashboardName", "AWS::CloudWatch::Dashboard"),
];

const RDS: &[Rule] = &[
    is("dBInstanceIdentifier", "AWS::RDS::DBInstance"),
    is("dBInstanceArn", "AWS::RDS::DBInstance"),
    is("dBClusterIdentifier", "AWS::RDS::DBCluster"),
    is("dBClusterArn", "AWS::RDS::DBCluster"),
    is("dBSnapshotIdentifier", "AWS::RDS::DBSnapshot"),
    is("dBSnapshotArn", "AWS::RDS::DBSnapshot"),
    is("dBClusterSnapshotIdentifier", "AWS::RDS::DBClusterSnapshot"),
    is("dBSubnetGroupName", "AWS::RDS::DBSubnetGroup"),
    is("dBSubnetGroupArn", "AWS::RDS::DBSubnetGroup"),
    is("dBParameterGroupName", "AWS::RDS::DBParameterGroup"),
    may_be("resourceName", "AWS::RDS::DBInstance"),
];

const S3: &[Rule] = &[is("bucketName", "AWS::S3::Bucket"), is("bucket", "AWS::S3::Bucket")];

const SECRETS: &[Rule] = &[
    is("secretId", "AWS::SecretsManager::Secret"),
    is("name", "AWS::SecretsManager::Secret"),
    is("arn", "AWS::SecretsManager::Secret"),
    is("aRN", "AWS::SecretsManager::Secret"),
    may_be("kmsKeyId", "AWS::KMS::Key"),
];

const SNS: &[Rule] = &[
    is("topicArn", "AWS::SNS::Topic"),
    is("name", "AWS::SNS::Topic"),
    is("subscriptionArn", "AWS::SNS::Subscription"),
    may_be("resourceArn", "AWS::SNS::Topic"),
];

const SQS: &[Rule] = &[
    is("queueUrl", "AWS::SQS::Queue"),
    is("queueName", "AWS::SQS::Queue"),
    may_be("sourceArn", "AWS::SQS::Queue"),
    may_be("destinationArn", "AWS::SQS::Queue"),
];

const SSM: &[Rule] = &[
    is("instanceId", "AWS::EC2::Instance"),
    is("instanceIds", "AWS::EC2::Instance"),
    is("documentName", "AWS::SSM::Document"),
];

const STS: &[Rule] = &[
    is("roleArn", "AWS::IAM::Role"),
    is("credentials.accessKeyId", "AWS::IAM::AccessKey"),
    is("assumedRoleUser.arn", "AWS::STS::AssumedRole"),
    is("assumedRoleUser.assumedRoleId", "AWS::STS::AssumedRole"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_by_their_order() {
        assert!(SERVICES.is_sorted_by_key(|(source, _)| source));
        assert!(SERVICES.iter().all(|(source, rules)| of(source).len() == rules.len()));
        assert!(of("unheard.amazonaws.com").is_empty());
    }

    #[test]
    fn a_rule_stands_for_the_end_of_a_path() {
        let rule = is("role.arn", "AWS::IAM::Role");
        assert!(rule.matches(&["role", "arn"]) && rule.matches(&["x", "role", "arn"]));
        assert!(
            !rule.matches(&["arn"])
                && !rule.matches(&["user", "arn"])
                && !rule.matches(&["role", "arn", "x"])
        );
        let outermost = is("/name", "AWS::CloudTrail::Trail");
        assert!(outermost.matches(&["name"]) && !outermost.matches(&["advancedEventSelectors", "name"]));
    }
}
