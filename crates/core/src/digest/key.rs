//! The key of a digest:
//! `[prefix/]AWSLogs/[ORGANIZATION/]ACCOUNT/CloudTrail-Digest/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail-Digest_REGION_TRAIL_HOME_STAMP.json.gz`.

use std::fmt;

use crate::logfile::{account_root, parse_before_account};
use crate::{AccountId, Region, Timestamp};

/// The parts of a digest's key. [`fmt::Display`] writes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestKey {
    /// What the trail puts before `AWSLogs/`, without a closing slash.
    pub prefix: Option<String>,
    /// The organization, of an organization's trail: `o-…`.
    pub organization: Option<String>,
    /// The account whose files are listed.
    pub account: AccountId,
    /// The region whose files are listed.
    pub region: Region,
    /// The trail's short name.
    pub trail_name: String,
    /// The trail's home region.
    pub home_region: Region,
    /// The end of the digest's window; the key has it to the second, and the AWS CLI takes it from fixed offsets, so
    /// nothing may follow it.
    pub end: Timestamp,
}

impl fmt::Display for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, organization, account, region, trail_name, home_region, end } = self;
        let root = account_root(prefix.as_deref(), organization.as_deref(), account);
        write!(f, "{root}CloudTrail-Digest/{region}/{}/", end.day_path())?;
        write!(f, "{account}_CloudTrail-Digest_{region}_{trail_name}_{home_region}_{}.json.gz", end.basic())
    }
}

impl DigestKey {
    /// Reads a key back; none where it is not exactly one that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let mut segments = key.rsplitn(8, '/');
        let name = segments.next()?;
        let (_day, _month, _year) = (segments.next()?, segments.next()?, segments.next()?);
        let region: Region = segments.next()?.parse().ok()?;
        let _folder = segments.next()?;
        let account: AccountId = segments.next()?.parse().ok()?;
        let (prefix, organization) = parse_before_account(segments.next()?)?;
        let mut parts = name.strip_suffix(".json.gz")?.rsplitn(3, '_');
        let end = Timestamp::parse_basic(parts.next()?)?;
        let home_region: Region = parts.next()?.parse().ok()?;
        let trail_name =
            parts.next()?.strip_prefix(&format!("{account}_CloudTrail-Digest_{region}_"))?.to_owned();
        let parsed = Self { prefix, organization, account, region, trail_name, home_region, end };
        (parsed.to_string() == key).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_one_the_aws_cli_looks_for() {
        let key = DigestKey {
            prefix: None,
            organization: None,
            account: "123456789012".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            trail_name: "foo".to_owned(),
            home_region: "us-east-1".parse().unwrap(),
            end: Timestamp::parse_iso("2015-08-16T23:05:50Z").unwrap(),
        };
        let expected = "AWSLogs/123456789012/CloudTrail-Digest/us-east-1/2015/08/16/123456789012_CloudTrail-Digest_us-east-1_foo_us-east-1_20150816T230550Z.json.gz";
        assert_eq!(key.to_string(), expected);
        assert_eq!(DigestKey::parse(expected), Some(key.clone()));
        let prefixed =
            DigestKey { prefix: Some("a/b".to_owned()), trail_name: "my_trail.x-1".to_owned(), ..key };
        assert_eq!(DigestKey::parse(&prefixed.to_string()), Some(prefixed.clone()));
        let organization = DigestKey { organization: Some("o-exampleorg".to_owned()), ..prefixed };
        assert!(
            organization.to_string().starts_with("a/b/AWSLogs/o-exampleorg/123456789012/CloudTrail-Digest/")
        );
        assert_eq!(DigestKey::parse(&organization.to_string()), Some(organization));
        for other in [
            "",
            "AWSLogs/123456789012/CloudTrail-Digest/",
            &expected.replace("08/16", "08/17"),
            &expected.replace(".json.gz", "_backfill.json.gz"),
            &expected.replace("Digest/us-east-1", "Digest/us-east-2"),
        ] {
            assert_eq!(DigestKey::parse(other), None, "{other}");
        }
    }
}
