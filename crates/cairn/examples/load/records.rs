//! Records like those of real accounts: six kinds of calls, about 1.4 KB each, with names, addresses and ids that vary.

use std::fmt::Write;

/// The size of a record's JSON, about.
const RECORD_BYTES: usize = 1400;

/// Makes the records of one account.
pub(super) struct Maker {
    account: String,
    time: String,
    seed: u64,
}

struct Kind {
    source: &'static str,
    name: &'static str,
    read_only: bool,
    /// Request parameters and response elements; `@` is a number of the record's own.
    elements: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        source: "ec2.amazonaws.com",
        name: "RunInstances",
        read_only: false,
        elements: r#""requestParameters":{"instancesSet":{"items":[{"imageId":"ami-@","minCount":1,"maxCount":1,"keyName":"ops"}]},"instanceType":"m5.large","blockDeviceMapping":{},"monitoring":{"enabled":false}},"responseElements":{"requestId":"r-@","reservationId":"r-@","instancesSet":{"items":[{"instanceId":"i-@","imageId":"ami-@"}]}}"#,
    },
    Kind {
        source: "sts.amazonaws.com",
        name: "AssumeRole",
        read_only: true,
        elements: r#""requestParameters":{"roleArn":"arn:aws:iam::123456789012:role/deploy-@","roleSessionName":"session-@"},"responseElements":{"credentials":{"accessKeyId":"ASIA@","expiration":"Nov 20, 2026, 8:00:00 PM"},"assumedRoleUser":{"arn":"arn:aws:sts::123456789012:assumed-role/deploy/@"}}"#,
    },
    Kind {
        source: "s3.amazonaws.com",
        name: "GetBucketPolicy",
        read_only: true,
        elements: r#""requestParameters":{"bucketName":"data-@","Host":"data-@.s3.amazonaws.com","policy":""},"responseElements":null,"additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"@","bytesTransferredOut":@}"#,
    },
    Kind {
        source: "iam.amazonaws.com",
        name: "PutUserPolicy",
        read_only: false,
        elements: r#""requestParameters":{"userName":"user-@","policyName":"inline","policyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}"},"responseElements":null"#,
    },
    Kind {
        source: "kms.amazonaws.com",
        name: "Decrypt",
        read_only: true,
        elements: r#""requestParameters":{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::data-@"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"},"responseElements":null,"resources":[{"accountId":"123456789012","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:123456789012:key/@"}]"#,
    },
    Kind {
        source: "ec2.amazonaws.com",
        name: "DescribeInstances",
        read_only: true,
        elements: r#""requestParameters":{"maxResults":100,"instancesSet":{},"filterSet":{"items":[{"name":"tag:app","valueSet":{"items":[{"value":"app-@"}]}}]}},"responseElements":null"#,
    },
];

/// A number that looks like chance (splitmix64).
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Maker {
    /// Records of `account` at `time`; those of another `seed` have other ids.
    pub(super) fn new(account: &str, time: &str, seed: u64) -> Self {
        Self { account: account.to_owned(), time: time.to_owned(), seed }
    }

    fn chance(&self, number: u64) -> u64 {
        scattered(self.seed << 40 | number)
    }

    /// The eventID of record `number`.
    pub(super) fn event_id(&self, number: u64) -> String {
        let chance = self.chance(number);
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{number:012x}",
            chance >> 32,
            chance >> 16 & 0xffff,
            chance >> 4 & 0xfff,
            self.seed & 0xfff
        )
    }

    /// Record `number`.
    pub(super) fn record(&self, number: u64) -> String {
        let (account, chance) = (&self.account, self.chance(number));
        let kind = &KINDS[(chance % KINDS.len() as u64) as usize];
        let (user, elements) = (chance >> 8 & 0xff, self.elements(kind, number));
        let own = format!("{:016x}", scattered(chance));
        let mut text = String::with_capacity(RECORD_BYTES + 200);
        write!(
            text,
            r#"{{"eventVersion":"1.11","userIdentity":{{"type":"AssumedRole","principalId":"AROAEXAMPLEEXAMPLE{user:03}:user-{user}","arn":"arn:aws:sts::{account}:assumed-role/Operations/user-{user}","accountId":"{account}","accessKeyId":"ASIA{}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROAEXAMPLEEXAMPLE{user:03}","arn":"arn:aws:iam::{account}:role/Operations","accountId":"{account}","userName":"Operations"}},"attributes":{{"creationDate":"2026-11-20T11:00:00Z","mfaAuthenticated":"false"}}}}}},"eventTime":"{}","eventSource":"{}","eventName":"{}","awsRegion":"us-east-1","sourceIPAddress":"10.{}.{}.{}","userAgent":"aws-cli/2.31.0 md/awscrt#0.27.6 ua/2.1 os/linux#6.1.0 md/arch#x86_64 lang/python#3.13.7 cfg/retry-mode#standard","#,
            own[..12].to_uppercase(),
            self.time,
            kind.source,
            kind.name,
            chance >> 16 & 0xff,
            chance >> 24 & 0xff,
            chance >> 32 & 0xff,
        )
        .expect("a string takes all");
        text.push_str(&elements);
        write!(
            text,
            r#","requestID":"{own}","eventID":"{}","readOnly":{},"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{account}","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{}"}}}}"#,
            self.event_id(number),
            kind.read_only,
            kind.source,
        )
        .expect("a string takes all");
        text
    }

    fn elements(&self, kind: &Kind, number: u64) -> String {
        let mut text = String::with_capacity(400);
        for (at, part) in kind.elements.split('@').enumerate() {
            if at > 0 {
                write!(text, "{}", 10_000_000 + self.chance(number + at as u64) % 89_999_999)
                    .expect("a string takes all");
            }
            text.push_str(part);
        }
        text.replace("123456789012", &self.account)
    }

    /// Record `number` as an event of PutAuditEvents.
    pub(super) fn audit_event(&self, number: u64) -> String {
        let (account, chance) = (&self.account, self.chance(number));
        let kind = &KINDS[(chance % KINDS.len() as u64) as usize];
        let mut data = format!(
            r#"{{"version":"1.0","userIdentity":{{"type":"CustomUser","principalId":"user-{}","details":{{"team":"operations"}}}},"userAgent":"billing/4.2 (linux; x86_64)","eventSource":"billing.example.com","eventName":"{}","eventTime":"{}","UID":"{}","sourceIPAddress":"10.0.{}.7","recipientAccountId":"{account}","additionalEventData":{{"trace":""#,
            chance >> 8 & 0xff,
            kind.name,
            self.time,
            self.event_id(number),
            chance >> 16 & 0xff,
        );
        while data.len() < RECORD_BYTES - 20 {
            write!(data, "{:016x} ", self.chance(number + data.len() as u64)).expect("a string takes all");
        }
        data.push_str("\"}}");
        let quoted = serde_json::Value::String(data);
        format!(r#"{{"id":"{}","eventData":{quoted}}}"#, self.event_id(number))
    }
}
