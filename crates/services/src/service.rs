//! What every embedded service is to the front door.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use cairn_core::policy::Rights;
use cairn_core::{AccountId, EventId, Principal, Region, Session, Timestamp};
use cairn_wire::{AwsError, Call, Reply};
use serde_json::Value;

/// Who calls, from where, when; the same for every service.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// The access key the call was signed with.
    pub access_key_id: Option<String>,
    /// The session, where that key is a temporary one.
    pub session: Option<Arc<Session>>,
    /// Whether the call came with an MFA device's code that was right.
    pub mfa_verified: bool,
    /// The account that the call acts in: the principal's own; for anonymous calls that of the resource's owner.
    pub account: AccountId,
    /// The region that the call was signed for.
    pub region: Region,
    /// The time the call arrived.
    pub now: Timestamp,
    /// The id in the reply's request-id header: a UUID.
    pub request_id: EventId,
    /// From which address.
    pub source_ip: IpAddr,
    /// Whether over TLS.
    pub secure_transport: bool,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// What the caller's own policies allow.
    pub rights: Arc<Rights>,
}

impl Caller {
    /// A service that acts of itself, inside the server, in a resource's account and region.
    #[must_use]
    pub fn of_service(
        name: &str,
        (account, region): (AccountId, Region),
        now: Timestamp,
        request_id: EventId,
    ) -> Self {
        Self {
            principal: Principal::Service { name: name.to_owned() },
            access_key_id: None,
            session: None,
            mfa_verified: false,
            account,
            region,
            now,
            request_id,
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure_transport: true,
            user_agent: None,
            rights: Arc::default(),
        }
    }
}

/// Whether an operation changes anything: `readOnly` in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// It may change something.
    Write,
}

/// Which kind of event an operation's record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A management event.
    Management,
    /// A data event.
    Data,
}

/// One operation that a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its name in the model: `ListObjectsV2`.
    pub name: &'static str,
    /// Its name in records, where that differs: `ListObjects`.
    pub event_name: &'static str,
    /// Read or write.
    pub access: Access,
    /// Management or data.
    pub kind: EventKind,
}

/// Something that a call acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// `AWS::S3::Bucket`.
    pub kind: &'static str,
    /// Its ARN.
    pub arn: String,
    /// The account that owns it, where known.
    pub account: Option<AccountId>,
}

/// A policy attached to the resource of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourcePolicy {
    /// The account that owns the resource.
    pub owner: AccountId,
    /// The policy document's JSON text; none where the resource has none.
    pub document: Option<String>,
    /// Whether nothing is allowed that this policy does not allow, also within the account: true of the policies of
    /// KMS keys and the trust policies of roles alone.
    pub must_allow: bool,
}

/// What a call is about, as authorisation and the record need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The IAM action: `s3:GetObject`.
    pub action: String,
    /// The ARN that policies are matched against; `*` where the operation has no resource.
    pub resource_arn: String,
    /// What the record's `resources` shows; empty where AWS shows none.
    pub resources: Vec<Resource>,
    /// The policy on the resource, where it is of a kind that has one.
    pub policy: Option<ResourcePolicy>,
    /// Condition keys of the service with their values: `s3:x-amz-acl`.
    pub conditions: Vec<(String, Vec<String>)>,
}

/// One embedded service.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// The model's name of the service, as botocore's data folder has it.
    fn model(&self) -> &'static str;

    /// The operations that the service has. All others of the model answer AWS's unsupported-operation error.
    fn operations(&self) -> &'static [Operation];

    /// Finds out what the call itself proves of its caller, before it is authorised: by an MFA device's code, or by an
    /// identity provider's token in a call that is not signed.
    async fn recognise(&self, _caller: &mut Caller, _call: &Call) -> Result<(), AwsError> {
        Ok(())
    }

    /// What `call` is about. It must not change anything; a call on something that does not exist still has a target.
    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError>;

    /// What else `call` needs to be allowed, each like its target: the source of a copy, every key of a batch.
    async fn further_targets(&self, _caller: &Caller, _call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(Vec::new())
    }

    /// Whether the handlers themselves answer values out of range, in words of their own, as AWS's do; the front door then
    /// checks the structure of their calls alone.
    fn checks_values(&self) -> bool {
        false
    }

    /// Whether the handler of `operation` itself asks what is allowed, item by item, and answers it so.
    fn authorises_itself(&self, _operation: &str) -> bool {
        false
    }

    /// Does what an authorised call asks for.
    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError>;

    /// The request parameters as the record shows them, where they are not simply the params in lower camel case.
    fn recorded_request(&self, _call: &Call) -> Option<Value> {
        None
    }

    /// The response elements of a write as the record shows them, where they are not simply the result in lower camel
    /// case.
    fn recorded_reply(&self, _operation: &Operation, _result: &Value) -> Option<Value> {
        None
    }

    /// The response elements of a read. AWS records none, except of calls that make credentials.
    fn recorded_read(&self, _operation: &Operation, _result: &Value) -> Option<Value> {
        None
    }

    /// The account that a successful call on `target` also concerns: if it is not the caller's, both get a record, with
    /// one sharedEventID.
    fn also_concerned(&self, _operation: &str, _target: &Target) -> Option<AccountId> {
        None
    }

    /// The error code as the record shows it, where it is not the code that the client sees: IAM's records have
    /// `NoSuchEntityException` where its clients see `NoSuchEntity`.
    fn recorded_error_code(&self, _error: &AwsError) -> Option<String> {
        None
    }

    /// The region that all calls of the service act in and are recorded in, where the service is a global one.
    fn global_region(&self) -> Option<&'static str> {
        None
    }
}
