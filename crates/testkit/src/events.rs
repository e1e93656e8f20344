//! Events as a busy account has them, for measurements: the shapes of recorded ones, about 1.4 KB each, with as much in
//! them that never repeats.

use cairn_core::{Entropy, EventId, Timestamp};

use crate::SeededEntropy;

/// The account of all sample events.
pub const SAMPLE_ACCOUNT: &str = "123837392027";
/// Users, each with a role, a session name, a program and an address of their own.
const USERS: u64 = 200;
/// Temporary access keys of one user.
const KEYS_PER_USER: u64 = 4;
/// Resources of each kind.
const RESOURCES: u64 = 5000;
/// The time that is put in until an event is written.
const TIME_BLANK: &str = "0000-00-00T00:00:00Z";

/// Service, call, whether it reads, parameters, response, resource. `{r}` is the number of a resource, `{t}` a token
/// that never repeats.
type Call = (&'static str, &'static str, bool, &'static str, &'static str, &'static str);

const CALLS: [Call; 16] = [
    (
        "kms",
        "Decrypt",
        true,
        r#"{"encryptionContext":{"aws:secretsmanager:arn":"arn:aws:secretsmanager:us-east-1:{a}:secret:service-{r}"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#,
        "null",
        r#","resources":[{"accountId":"{a}","type":"AWS::KMS::Key","ARN":"arn:aws:kms:us-east-1:{a}:key/key-{r}"}]"#,
    ),
    (
        "ec2",
        "DescribeInstances",
        true,
        r#"{"maxResults":100,"instancesSet":{},"filterSet":{"items":[{"name":"tag:Name","valueSet":{"items":[{"value":"service-{r}"}]}}]}}"#,
        "null",
        "",
    ),
    (
        "ec2",
        "DescribeRouteTables",
        true,
        r#"{"routeTableIdSet":{"items":[{"routeTableId":"rtb-0{r}7a84b2f5bf"}]},"filterSet":{}}"#,
        "null",
        "",
    ),
    (
        "ec2",
        "DescribeNetworkInterfaces",
        true,
        r#"{"networkInterfaceIdSet":{},"filterSet":{"items":[{"name":"subnet-id","valueSet":{"items":[{"value":"subnet-0{r}f59d783f082"}]}}]}}"#,
        "null",
        "",
    ),
    (
        "ssm",
        "GetParameter",
        true,
        r#"{"name":"/services/service-{r}/database/url","withDecryption":true}"#,
        "null",
        r#","resources":[{"accountId":"{a}","ARN":"arn:aws:ssm:us-east-1:{a}:parameter/services/service-{r}/database/url"}]"#,
    ),
    (
        "ssm",
        "PutParameter",
        false,
        r#"{"name":"/services/service-{r}/version","type":"String","overwrite":true,"value":"HIDDEN_DUE_TO_SECURITY_REASONS"}"#,
        r#"{"version":3,"tier":"Standard"}"#,
        "",
    ),
    ("iam", "GetUser", true, r#"{"userName":"user-{r}"}"#, "null", ""),
    (
        "iam",
        "AttachRolePolicy",
        false,
        r#"{"roleName":"service-{r}-role","policyArn":"arn:aws:iam::{a}:policy/service-{r}-policy"}"#,
        "null",
        "",
    ),
    (
        "sts",
        "AssumeRole",
        true,
        r#"{"roleArn":"arn:aws:iam::{a}:role/service-{r}-role","roleSessionName":"session-{t}","durationSeconds":3600}"#,
        r#"{"credentials":{"accessKeyId":"ASIA{t}","sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS","expiration":"Jul 10, 2023, 12:57:48 PM"},"assumedRoleUser":{"assumedRoleId":"AROATFQR7NSCXXXX{r}:session-{t}","arn":"arn:aws:sts::{a}:assumed-role/service-{r}-role/session-{t}"}}"#,
        "",
    ),
    (
        "s3",
        "GetBucketAcl",
        true,
        r#"{"bucketName":"data-{r}-us-east-1","Host":"data-{r}-us-east-1.s3.amazonaws.com","acl":""}"#,
        "null",
        r#","additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"ECDHE-RSA-AES128-GCM-SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","bytesTransferredOut":550},"resources":[{"accountId":"{a}","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::data-{r}-us-east-1"}]"#,
    ),
    (
        "s3",
        "ListBuckets",
        true,
        r#"{"Host":"s3.amazonaws.com"}"#,
        "null",
        r#","additionalEventData":{"SignatureVersion":"SigV4","CipherSuite":"ECDHE-RSA-AES128-GCM-SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","bytesTransferredOut":2311}"#,
    ),
    (
        "secretsmanager",
        "GetSecretValue",
        true,
        r#"{"secretId":"arn:aws:secretsmanager:us-east-1:{a}:secret:service-{r}"}"#,
        "null",
        "",
    ),
    (
        "rds",
        "DescribeDBInstances",
        true,
        r#"{"dBInstanceIdentifier":"database-{r}","maxRecords":100}"#,
        "null",
        "",
    ),
    (
        "lambda",
        "GetFunction20150331v2",
        true,
        r#"{"functionName":"arn:aws:lambda:us-east-1:{a}:function:service-{r}"}"#,
        "null",
        "",
    ),
    (
        "logs",
        "CreateLogStream",
        false,
        r#"{"logGroupName":"/aws/lambda/service-{r}","logStreamName":"2023/07/10/[$LATEST]{t}"}"#,
        "null",
        "",
    ),
    (
        "ec2",
        "RunInstances",
        false,
        r#"{"instancesSet":{"items":[{"imageId":"ami-0{r}05e6c1b2","minCount":1,"maxCount":1}]},"instanceType":"t3.micro","blockDeviceMapping":{},"monitoring":{"enabled":false},"disableApiTermination":false,"clientToken":"terraform-{t}","networkInterfaceSet":{"items":[{"deviceIndex":0,"subnetId":"subnet-0{r}f59d783f082"}]}}"#,
        r#"{"requestId":"{t}","reservationId":"r-0{t}","ownerId":"{a}","groupSet":{},"instancesSet":{"items":[{"instanceId":"i-0{t}","imageId":"ami-0{r}05e6c1b2","instanceState":{"code":0,"name":"pending"},"privateDnsName":"ip-10-0-0-12.ec2.internal","instanceType":"t3.micro","subnetId":"subnet-0{r}f59d783f082","vpcId":"vpc-0{r}a8c57d92","hypervisor":"xen","architecture":"x86_64"}]}}"#,
        "",
    ),
];

const PROGRAMS: [&str; 8] = [
    "APN/1.0 HashiCorp/1.0 Terraform/1.1.2 (+https://www.terraform.io) terraform-provider-aws/3.76.1 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go/1.44.157 (go1.19.3; linux; amd64) {t} HashiCorp-terraform-exec/0.17.3",
    "Boto3/1.28.3 md/Botocore#1.31.3 ua/2.0 os/linux#5.10.184 md/arch#x86_64 lang/python#3.11.4 md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.31.3",
    "aws-cli/2.15.30 Python/3.11.8 Linux/6.1.0 exe/x86_64.debian.12 prompt/off command/{c}",
    "aws-sdk-go-v2/1.18.1 os/linux lang/go#1.20.5 md/GOOS#linux md/GOARCH#amd64 api/{c}#1.2.11",
    "aws-sdk-java/2.20.103 Linux/5.15.0-1040-aws OpenJDK_64-Bit_Server_VM/17.0.7+7-LTS Java/17.0.7 vendor/Amazon.com_Inc. io/sync http/Apache cfg/retry-mode/legacy",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Safari/537.36",
    "kubernetes/v1.27.3 cloud-controller aws-sdk-go/1.44.241 (go1.19.8; linux; amd64) exec-env/{t}",
    "aws-sdk-js/3.370.0 os/linux/5.10.0 lang/js md/nodejs/18.16.1 api/{c}/3.370.0 exec-env/AWS_Lambda_nodejs18.x",
];

/// Events to measure with. Made once; each is then written again and again under another id, request and time.
pub struct SampleEvents(Vec<Sample>);

struct Sample {
    json: Vec<u8>,
    time_at: usize,
    event_id_at: usize,
    request_id_at: usize,
}

impl SampleEvents {
    /// `count` different events, which follow from `seed`.
    #[must_use]
    pub fn new(seed: u64, count: usize) -> Self {
        let entropy = SeededEntropy::new(seed);
        Self((0..count).map(|_| Sample::new(&entropy)).collect())
    }

    /// Adds the event `number` to `json`: of one of the samples, at `time`, with an event id and a request id of its own.
    pub fn write(&self, number: u64, time: Timestamp, json: &mut Vec<u8>) {
        let at = usize::try_from(number % self.0.len() as u64).expect("below the number of samples");
        let sample = &self.0[at];
        let start = json.len();
        json.extend_from_slice(&sample.json);
        let mut put = |at: usize, text: &str| {
            json[start + at..start + at + text.len()].copy_from_slice(text.as_bytes());
        };
        put(sample.time_at, &time.iso());
        put(sample.event_id_at, id(number, 1).as_str());
        put(sample.request_id_at, id(number, 2).as_str());
    }

    /// The id of the event `number`.
    #[must_use]
    pub fn event_id(number: u64) -> EventId {
        id(number, 1)
    }
}

impl Sample {
    fn new(entropy: &SeededEntropy) -> Self {
        let below = |limit: u64| {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            u64::from_le_bytes(bytes) % limit
        };
        let (service, call, reads, parameters, response, more) = CALLS[below(16) as usize];
        let user = below(USERS).min(below(USERS));
        let (resource, session) = (below(RESOURCES), below(KEYS_PER_USER));
        let token = format!("{:016x}", below(u64::MAX));
        let fill = |text: &str| {
            text.replace("{a}", SAMPLE_ACCOUNT)
                .replace("{r}", &format!("{resource:04x}"))
                .replace("{t}", &token)
                .replace("{c}", service)
        };
        let blank_id = "-".repeat(36);
        let key = format!("ASIA{:016X}", (user << 32 | session).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (hour, minute) = (session % 12, user % 60);
        let address = format!("10.{}.{}.{}", user % 4, user % 16, user);
        let json = format!(
            r#"{{"eventVersion":"1.08","userIdentity":{{"type":"AssumedRole","principalId":"AROATFQR7NSC{user:08}:engineer-{user}","arn":"arn:aws:sts::{SAMPLE_ACCOUNT}:assumed-role/team-{team}/engineer-{user}","accountId":"{SAMPLE_ACCOUNT}","accessKeyId":"{key}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"AROATFQR7NSC{user:08}","arn":"arn:aws:iam::{SAMPLE_ACCOUNT}:role/team-{team}","accountId":"{SAMPLE_ACCOUNT}","userName":"team-{team}"}},"webIdFederationData":{{}},"attributes":{{"creationDate":"2023-07-10T{hour:02}:{minute:02}:48Z","mfaAuthenticated":"false"}}}}}},"eventTime":"{TIME_BLANK}","eventSource":"{service}.amazonaws.com","eventName":"{call}","awsRegion":"us-east-1","sourceIPAddress":"{address}","userAgent":"{agent}","requestParameters":{parameters},"responseElements":{response},"requestID":"{blank_id}","eventID":"{blank_id}","readOnly":{reads}{more},"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"{SAMPLE_ACCOUNT}","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.2","cipherSuite":"ECDHE-RSA-AES128-GCM-SHA256","clientProvidedHostHeader":"{service}.us-east-1.amazonaws.com"}}}}"#,
            team = user % 12,
            agent = fill(PROGRAMS[(user % 8) as usize]),
            parameters = fill(parameters),
            response = fill(response),
            more = fill(more),
        );
        let after = |label: &str| json.find(label).expect("the text above has it") + label.len();
        Self {
            time_at: after(r#""eventTime":""#),
            event_id_at: after(r#""eventID":""#),
            request_id_at: after(r#""requestID":""#),
            json: json.into_bytes(),
        }
    }
}

/// An id that looks random and follows from `number`.
fn id(number: u64, kind: u64) -> EventId {
    let mixed = |salt: u64| {
        let mut x = (number ^ salt.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed(2 * kind).to_le_bytes());
    bytes[8..].copy_from_slice(&mixed(2 * kind + 1).to_le_bytes());
    EventId::from_random(bytes)
}

#[cfg(test)]
mod tests {
    use cairn_core::Record;

    use super::*;

    #[test]
    fn sample_events_are_records_of_the_usual_size_with_ids_of_their_own() {
        let samples = SampleEvents::new(1, 500);
        let time = Timestamp::parse_iso("2026-11-20T17:24:26Z").unwrap();
        let mut sizes = 0;
        for number in 0..1000 {
            let mut json = Vec::new();
            samples.write(number, time, &mut json);
            sizes += json.len();
            let record = Record::from_json(json.into()).unwrap();
            let facts = record.facts().unwrap();
            assert_eq!(facts.event_id, SampleEvents::event_id(number).as_str());
            assert_eq!(facts.time(), Some(time));
        }
        assert!((1300..1500).contains(&(sizes / 1000)), "{} bytes on average", sizes / 1000);
    }
}
