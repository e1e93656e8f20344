//! What else is said of objects: tagging, ACL, and GetObjectAttributes.

use cairn_wire::{Call, Reply};
use serde_json::{Map, Value, json};

use super::S3;
use super::acl::{self, ObjectAcl};
use super::attributes::{self, OBJECT_TAGS_MAX, tag_set};
use super::content::Found;
use super::error::{Failure, invalid_argument, method_not_allowed};
use super::notify::debt::{self, Owed};
use super::notify::{Cause, Kind, Origin};
use super::params::Params;
use super::settings::acl_change;
use super::state::{VERSIONS, Versioning, version_key};
use super::version;
use crate::Caller;

/// Parts on one page of GetObjectAttributes.
const PARTS_PAGE_MAX: i64 = 1000;

impl S3 {
    pub(super) async fn object_tagging(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let found = self.look_up(params.bucket(), params.key(), params.version_id(), false).await?;
        let mut reply = json!({"TagSet": tag_set(&found.object.attributes.tags)});
        if let Some(id) = found.shown_id() {
            reply["VersionId"] = id.into();
        }
        Ok(Reply::of(&reply))
    }

    /// PutObjectTagging and DeleteObjectTagging.
    pub(super) async fn set_object_tagging(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let listed = params.part("Tagging").map_or(&[][..], |tagging| tagging.list("TagSet"));
        let tags = attributes::listed_tags(listed, OBJECT_TAGS_MAX)?;
        let (bucket, key) = (params.bucket().to_owned(), params.key().to_owned());
        let version_id = params.version_id().map(str::to_owned);
        let kind = match call.operation.as_str() {
            "DeleteObjectTagging" => Kind::TaggingDelete,
            _ => Kind::TaggingPut,
        };
        let cause = Cause { kind, at: caller.now, origin: Origin::of(caller, call) };
        let (shown_id, owed) = self
            .catalog
            .write(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                let mut version = version::find(tx, &bucket.name, &key, version_id.as_deref())?;
                let Some(object) = &mut version.object else { return Err(method_not_allowed("PUT")) };
                object.attributes.tags.clone_from(&tags);
                VERSIONS.put(tx, version_key(&bucket.name, &key, version.sequence).bytes(), &version)?;
                let owed = debt::owe(tx, &bucket, &cause.of_version(&bucket, &version))?;
                let shown = bucket.versioning != Versioning::Never;
                Ok::<_, Failure>((shown.then(|| version.id_text().to_owned()), owed))
            })
            .await?;
        self.events.announce(owed);
        let mut reply = Map::new();
        if let Some(id) = shown_id {
            reply.insert("VersionId".into(), id.into());
        }
        Ok(Reply::of(&reply))
    }

    pub(super) async fn object_acl(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let found = self.look_up(params.bucket(), params.key(), params.version_id(), false).await?;
        Ok(Reply::of(&acl::shown_of_object(&found.bucket, found.object.attributes.acl.as_ref())))
    }

    pub(super) async fn set_object_acl(&self, caller: &Caller, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let wanted = acl_change(params)?;
        let (bucket, key) = (params.bucket().to_owned(), params.key().to_owned());
        let version_id = params.version_id().map(str::to_owned);
        let cause = Cause { kind: Kind::AclPut, at: caller.now, origin: Origin::of(caller, call) };
        let owed = self
            .catalog
            .write(move |tx| {
                let bucket = version::bucket(tx, &bucket)?;
                let mut version = version::find(tx, &bucket.name, &key, version_id.as_deref())?;
                let Some(object) = &mut version.object else { return Err(method_not_allowed("PUT")) };
                let attributes = &mut object.attributes;
                let before = acl::canned(attributes);
                let owner = attributes.acl.take().and_then(|acl| acl.owner).unwrap_or(bucket.owner.clone());
                attributes.acl = Some(ObjectAcl { canned: wanted, owner: Some(owner) });
                acl::settle(&bucket, attributes)?;
                let has_changed = acl::canned(attributes) != before;
                let row = version_key(&bucket.name, &key, version.sequence);
                VERSIONS.put(tx, row.bytes(), &version)?;
                // What changes nothing makes no event.
                match has_changed {
                    true => Ok::<_, Failure>(debt::owe(tx, &bucket, &cause.of_version(&bucket, &version))?),
                    false => Ok(Owed::default()),
                }
            })
            .await?;
        self.events.announce(owed);
        Ok(Reply::empty())
    }

    pub(super) async fn object_attributes(&self, call: &Call) -> Result<Reply, Failure> {
        let params = Params(&call.params);
        let wanted: Vec<&str> = match params.0.get("ObjectAttributes") {
            Some(Value::String(header)) => header.split(',').map(str::trim).collect(),
            _ => params.list("ObjectAttributes").iter().filter_map(Value::as_str).collect(),
        };
        let known = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
        if wanted.is_empty() || wanted.iter().any(|attribute| !known.contains(attribute)) {
            return Err(invalid_argument(
                "Invalid attribute name specified.",
                "x-amz-object-attributes",
                &wanted.join(","),
            ));
        }
        let with_parts = wanted.contains(&"ObjectParts");
        let found = self.look_up(params.bucket(), params.key(), params.version_id(), with_parts).await?;
        let object = &found.object;
        let mut reply = json!({"LastModified": found.version.modified_at.seconds()});
        if let Some(id) = found.shown_id() {
            reply["VersionId"] = id.into();
        }
        for attribute in wanted {
            reply[attribute] = match attribute {
                "ETag" => object.etag.as_str().into(),
                "Checksum" => {
                    let mut checksum = Map::new();
                    object.checksum.show(&mut checksum);
                    Value::Object(checksum)
                }
                "StorageClass" => object.attributes.storage_class.name().into(),
                "ObjectSize" => object.size_bytes.into(),
                _ if object.parts.is_none() => continue,
                _ => parts_page(&found, params)?,
            };
        }
        Ok(Reply::of(&reply))
    }
}

/// A page of `ObjectParts`.
fn parts_page(found: &Found, params: Params<'_>) -> Result<Value, Failure> {
    let number = |member: &str, default: i64| match params.0.get(member) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(text)) => text
            .parse::<i64>()
            .map_err(|_| invalid_argument("Provided value is not an integer", member, text)),
        Some(_) => Ok(params.number(member).unwrap_or(default)),
    };
    let limit = number("MaxParts", PARTS_PAGE_MAX)?.clamp(0, PARTS_PAGE_MAX);
    let marker = number("PartNumberMarker", 0)?;
    let checksum = &found.object.checksum;
    let page = usize::try_from(limit).unwrap_or_default();
    let rest: Vec<_> = found.pieces.iter().filter(|piece| i64::from(piece.number) > marker).collect();
    let shown: Vec<Value> = rest
        .iter()
        .take(page)
        .map(|piece| {
            json!({
                "PartNumber": piece.number,
                "Size": piece.size_bytes,
                checksum.algorithm.member(): piece.checksum,
            })
        })
        .collect();
    let next = rest.iter().take(page).next_back().map_or(0, |piece| piece.number);
    let mut parts = json!({
        "TotalPartsCount": found.pieces.len(),
        "PartNumberMarker": marker,
        "NextPartNumberMarker": next,
        "MaxParts": limit,
        "IsTruncated": rest.len() > page,
    });
    if !shown.is_empty() {
        parts["Parts"] = shown.into();
    }
    Ok(parts)
}
