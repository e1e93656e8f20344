//! ACLs, as far as the canned ones, and whose the objects of a bucket are.
//!
//! On the road: a write says which ACL it wants ([`ObjectAcl::requested`]), the bucket's settings decide what becomes of
//! it ([`settle`]), and [`super::target`] puts what the ACLs grant beside the bucket's policy as further statements, so
//! that there is one evaluation. Invariants: in a bucket whose owner enforces ownership there are no ACLs; a public
//! grant is never kept where the bucket blocks it, nor followed where the bucket ignores it.
//! Source: the S3 user guide's pages on ACLs, canned ACLs and object ownership.

use cairn_core::AccountId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bucket::canonical_id;
use super::error::{Failure, access_denied, acl_not_supported, invalid_argument, not_implemented};
use super::params::Params;
use super::state::{Attributes, Bucket};

/// Whose the objects of a bucket are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ownership {
    /// The bucket owner's, and there are no ACLs.
    #[default]
    BucketOwnerEnforced,
    /// The bucket owner's where the writer gives full control, else the writer's.
    BucketOwnerPreferred,
    /// The writer's.
    ObjectWriter,
}

impl Ownership {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::BucketOwnerEnforced, Self::BucketOwnerPreferred, Self::ObjectWriter]
            .into_iter()
            .find(|ownership| ownership.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
            Self::ObjectWriter => "ObjectWriter",
        }
    }
}

/// The canned ACLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum CannedAcl {
    #[default]
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    AwsExecRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

/// Whom a grant is for, besides the owner, who has full control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grantee {
    AllUsers,
    AuthenticatedUsers,
    LogDelivery,
    BucketOwner,
}

/// What a grant gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permission {
    Read,
    Write,
    ReadAcp,
    FullControl,
}

/// What an ACL is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Bucket,
    Object,
}

impl CannedAcl {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Private, "private"),
        (Self::PublicRead, "public-read"),
        (Self::PublicReadWrite, "public-read-write"),
        (Self::AuthenticatedRead, "authenticated-read"),
        (Self::AwsExecRead, "aws-exec-read"),
        (Self::BucketOwnerRead, "bucket-owner-read"),
        (Self::BucketOwnerFullControl, "bucket-owner-full-control"),
        (Self::LogDeliveryWrite, "log-delivery-write"),
    ];

    /// The ACL that a call asks for; none where it says nothing of it.
    pub(super) fn requested(params: Params<'_>) -> Result<Option<Self>, Failure> {
        for (member, header) in [
            ("GrantFullControl", "x-amz-grant-full-control"),
            ("GrantRead", "x-amz-grant-read"),
            ("GrantReadACP", "x-amz-grant-read-acp"),
            ("GrantWrite", "x-amz-grant-write"),
            ("GrantWriteACP", "x-amz-grant-write-acp"),
        ] {
            if params.has(member) {
                return Err(not_implemented(header));
            }
        }
        let Some(name) = params.text("ACL") else { return Ok(None) };
        let known = Self::ALL.into_iter().find(|(_, known)| *known == name);
        known.map(|(acl, _)| Some(acl)).ok_or_else(|| invalid_argument("", "x-amz-acl", name))
    }

    /// Whether it lets people in whom nobody knows.
    pub(super) fn is_public(self) -> bool {
        matches!(self, Self::PublicRead | Self::PublicReadWrite | Self::AuthenticatedRead)
    }

    /// Whether it gives nothing to anybody but the bucket's owner, which a bucket without ACLs takes.
    pub(super) fn is_owners_alone(self) -> bool {
        matches!(self, Self::Private | Self::BucketOwnerFullControl)
    }

    fn grants(self, on: On) -> &'static [(Grantee, Permission)] {
        use Grantee::{AllUsers, AuthenticatedUsers, BucketOwner, LogDelivery};
        use Permission::{FullControl, Read, ReadAcp, Write};
        match (self, on) {
            (Self::PublicRead, _) | (Self::PublicReadWrite, On::Object) => &[(AllUsers, Read)],
            (Self::PublicReadWrite, On::Bucket) => &[(AllUsers, Read), (AllUsers, Write)],
            (Self::AuthenticatedRead, _) => &[(AuthenticatedUsers, Read)],
            (Self::BucketOwnerRead, On::Object) => &[(BucketOwner, Read)],
            (Self::BucketOwnerFullControl, On::Object) => &[(BucketOwner, FullControl)],
            (Self::LogDeliveryWrite, On::Bucket) => &[(LogDelivery, Write), (LogDelivery, ReadAcp)],
            _ => &[],
        }
    }
}

/// An object's ACL, and its owner where that is not the bucket's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectAcl {
    pub(super) canned: CannedAcl,
    pub(super) owner: Option<AccountId>,
}

impl ObjectAcl {
    /// What a write of `writer` asks for.
    pub(super) fn requested(params: Params<'_>, writer: &AccountId) -> Result<Self, Failure> {
        let canned = CannedAcl::requested(params)?.unwrap_or_default();
        Ok(Self { canned, owner: Some(writer.clone()) })
    }
}

/// The ACL that an object has.
pub(super) fn canned(attributes: &Attributes) -> CannedAcl {
    attributes.acl.as_ref().map(|acl| acl.canned).unwrap_or_default()
}

/// Makes of the ACL that a new object asks for what its bucket keeps of it.
pub(super) fn settle(bucket: &Bucket, attributes: &mut Attributes) -> Result<(), Failure> {
    let Some(mut acl) = attributes.acl.take() else { return Ok(()) };
    check(bucket, acl.canned)?;
    let ownership = bucket.ownership();
    if ownership == Ownership::BucketOwnerEnforced {
        return Ok(());
    }
    let given =
        ownership == Ownership::BucketOwnerPreferred && acl.canned == CannedAcl::BucketOwnerFullControl;
    if given || acl.owner.as_ref() == Some(&bucket.owner) {
        acl.owner = None;
    }
    let says_nothing = acl.owner.is_none() && acl.canned.is_owners_alone();
    attributes.acl = (!says_nothing).then_some(acl);
    Ok(())
}

/// Refuses an ACL that the bucket does not take.
pub(super) fn check(bucket: &Bucket, acl: CannedAcl) -> Result<(), Failure> {
    if bucket.ownership() == Ownership::BucketOwnerEnforced && !acl.is_owners_alone() {
        return Err(acl_not_supported());
    }
    if acl.is_public() && bucket.public_access_block.is_some_and(|block| block.block_public_acls) {
        return Err(access_denied());
    }
    Ok(())
}

/// What the bucket's ACL grants, as statements about the resource of the call at hand.
pub(super) fn bucket_statements(bucket: &Bucket) -> Vec<Value> {
    statements(bucket, bucket.acl, On::Bucket, |permission| match permission {
        Permission::Read => &["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"],
        Permission::Write => &["s3:PutObject", "s3:DeleteObject"],
        Permission::ReadAcp => &["s3:GetBucketAcl"],
        Permission::FullControl => &["s3:*"],
    })
}

/// What an object's ACL grants, as statements about the object at hand.
pub(super) fn object_statements(bucket: &Bucket, acl: &ObjectAcl) -> Vec<Value> {
    statements(bucket, acl.canned, On::Object, |permission| match permission {
        Permission::Read => &[
            "s3:GetObject",
            "s3:GetObjectVersion",
            "s3:GetObjectAttributes",
            "s3:GetObjectVersionAttributes",
        ],
        Permission::ReadAcp => &["s3:GetObjectAcl", "s3:GetObjectVersionAcl"],
        Permission::Write | Permission::FullControl => &["s3:*"],
    })
}

fn statements(
    bucket: &Bucket,
    acl: CannedAcl,
    on: On,
    actions: impl Fn(Permission) -> &'static [&'static str],
) -> Vec<Value> {
    let ignored = acl.is_public() && bucket.public_access_block.is_some_and(|block| block.ignore_public_acls);
    if ignored || bucket.ownership() == Ownership::BucketOwnerEnforced {
        return Vec::new();
    }
    let statement = |(grantee, permission): &(Grantee, Permission)| {
        let principal = match grantee {
            Grantee::AllUsers | Grantee::AuthenticatedUsers => json!("*"),
            Grantee::LogDelivery => json!({"Service": "logging.s3.amazonaws.com"}),
            Grantee::BucketOwner => json!({"AWS": bucket.owner}),
        };
        let mut statement = json!({
            "Effect": "Allow", "Principal": principal, "Action": actions(*permission), "Resource": "*",
        });
        if *grantee == Grantee::AuthenticatedUsers {
            statement["Condition"] = json!({"Null": {"aws:PrincipalAccount": "false"}});
        }
        statement
    };
    acl.grants(on).iter().map(statement).collect()
}

/// GetBucketAcl's answer.
pub(super) fn shown_of_bucket(bucket: &Bucket) -> Value {
    shown(&bucket.owner, &bucket.owner, bucket.acl, On::Bucket)
}

/// GetObjectAcl's answer.
pub(super) fn shown_of_object(bucket: &Bucket, acl: Option<&ObjectAcl>) -> Value {
    let owner = acl.and_then(|acl| acl.owner.as_ref()).unwrap_or(&bucket.owner);
    match acl {
        Some(acl) if bucket.ownership() != Ownership::BucketOwnerEnforced => {
            shown(owner, &bucket.owner, acl.canned, On::Object)
        }
        _ => shown(&bucket.owner, &bucket.owner, CannedAcl::Private, On::Object),
    }
}

fn shown(owner: &AccountId, bucket_owner: &AccountId, acl: CannedAcl, on: On) -> Value {
    let group =
        |path: &str| json!({"Type": "Group", "URI": format!("http://acs.amazonaws.com/groups/{path}")});
    let person = |account: &AccountId| json!({"ID": canonical_id(account), "Type": "CanonicalUser"});
    let mut grants = vec![json!({"Grantee": person(owner), "Permission": "FULL_CONTROL"})];
    for (grantee, permission) in acl.grants(on) {
        let grantee = match grantee {
            Grantee::AllUsers => group("global/AllUsers"),
            Grantee::AuthenticatedUsers => group("global/AuthenticatedUsers"),
            Grantee::LogDelivery => group("s3/LogDelivery"),
            Grantee::BucketOwner if owner == bucket_owner => continue,
            Grantee::BucketOwner => person(bucket_owner),
        };
        let permission = match permission {
            Permission::Read => "READ",
            Permission::Write => "WRITE",
            Permission::ReadAcp => "READ_ACP",
            Permission::FullControl => "FULL_CONTROL",
        };
        grants.push(json!({"Grantee": grantee, "Permission": permission}));
    }
    json!({"Owner": {"ID": canonical_id(owner)}, "Grants": grants})
}
