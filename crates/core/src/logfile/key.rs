//! The key of a log file:
//! `[prefix/]AWSLogs/[ORGANIZATION/]ACCOUNT/FOLDER/REGION/YYYY/MM/DD/ACCOUNT_FOLDER_REGION_STAMP_UNIQUE.json.gz`.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::record::Category;
use crate::{AccountId, Region, Timestamp, TrailArn};

/// How many characters make a file's name unique.
const UNIQUE_LENGTH_CHARS: usize = 16;

/// The characters of the unique part, as AWS has them.
const UNIQUE_ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The folder that a kind of events is delivered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Folder {
    /// Management and data events.
    #[serde(rename = "CloudTrail")]
    CloudTrail,
    /// Insights events.
    #[serde(rename = "CloudTrail-Insight")]
    Insight,
    /// Network activity events.
    #[serde(rename = "CloudTrail-NetworkActivity")]
    NetworkActivity,
    /// Aggregated events.
    #[serde(rename = "CloudTrail-Aggregated")]
    Aggregated,
}

impl Folder {
    const ALL: [Self; 4] = [Self::CloudTrail, Self::Insight, Self::NetworkActivity, Self::Aggregated];

    /// The folder of events of `category`.
    #[must_use]
    pub fn of(category: Category) -> Self {
        match category {
            Category::Management | Category::Data => Self::CloudTrail,
            Category::NetworkActivity => Self::NetworkActivity,
            Category::Insight => Self::Insight,
            Category::Aggregated => Self::Aggregated,
        }
    }

    /// The folder's name, as in keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CloudTrail => "CloudTrail",
            Self::Insight => "CloudTrail-Insight",
            Self::NetworkActivity => "CloudTrail-NetworkActivity",
            Self::Aggregated => "CloudTrail-Aggregated",
        }
    }
}

/// What a file's content is made from; no two files of a bucket have the same origin.
#[derive(Clone, Copy, Debug)]
pub struct FileOrigin<'a> {
    /// The trail.
    pub trail: &'a TrailArn,
    /// The trail's number, which tells it from earlier trails of the same name.
    pub incarnation: u64,
    /// The folder.
    pub folder: Folder,
    /// The region whose events the file holds.
    pub region: &'a Region,
    /// The first position of the event log that was looked at.
    pub from: u64,
    /// The first position after those.
    pub to: u64,
}

impl FileOrigin<'_> {
    /// 16 letters and digits that follow from the origin, and from nothing else.
    #[must_use]
    pub fn unique_name(&self) -> String {
        let Self { trail, incarnation, folder, region, from, to } = self;
        let origin = format!("{trail}\n{incarnation}\n{}\n{region}\n{from}\n{to}", folder.as_str());
        let hash = digest(&SHA256, origin.as_bytes());
        let mut rest =
            hash.as_ref()[..16].iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let base = UNIQUE_ALPHABET.len() as u128;
        (0..UNIQUE_LENGTH_CHARS)
            .map(|_| {
                let at = usize::try_from(rest % base).expect("a remainder of 62 fits");
                rest /= base;
                char::from(UNIQUE_ALPHABET[at])
            })
            .collect()
    }
}

/// The time in a file's name: `at`, rounded down to the delivery interval in whole minutes, at least one.
#[must_use]
pub fn stamp(at: Timestamp, delivery_interval: Duration) -> Timestamp {
    let minutes = (delivery_interval.as_secs() / 60).max(1);
    at.floor(Duration::from_secs(minutes * 60))
}

/// The parts of a log file's key. [`fmt::Display`] writes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFileKey {
    /// What the trail puts before `AWSLogs/`, without a closing slash.
    pub prefix: Option<String>,
    /// The organization, of an organization's trail: `o-…`.
    pub organization: Option<String>,
    /// The account whose events the file holds.
    pub account: AccountId,
    /// The folder.
    pub folder: Folder,
    /// The region whose events the file holds.
    pub region: Region,
    /// The time in the name, to the minute; see [`stamp`].
    pub stamp: Timestamp,
    /// The 16 letters and digits of [`FileOrigin::unique_name`].
    pub unique: String,
}

impl fmt::Display for LogFileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, organization, account, folder, region, stamp, unique } = self;
        let (folder, day, minutes) = (folder.as_str(), stamp.day_path(), stamp.basic_minutes());
        let root = account_root(prefix.as_deref(), organization.as_deref(), account);
        write!(f, "{root}{folder}/{region}/{day}/")?;
        write!(f, "{account}_{folder}_{region}_{minutes}_{unique}.json.gz")
    }
}

/// Where all files of an account are: `[prefix/]AWSLogs/[ORGANIZATION/]ACCOUNT/`.
#[must_use]
pub fn account_root(prefix: Option<&str>, organization: Option<&str>, account: &AccountId) -> String {
    let folder = |name: Option<&str>| name.map(|name| format!("{name}/")).unwrap_or_default();
    format!("{}AWSLogs/{}{account}/", folder(prefix), folder(organization))
}

/// The prefix and the organization of what comes before the account in a key, without the slash between.
pub(crate) fn parse_before_account(before: &str) -> Option<(Option<String>, Option<String>)> {
    let (before, organization) = match before.rsplit_once('/') {
        Some((rest, last)) if last.starts_with("o-") => (rest, Some(last.to_owned())),
        _ => (before, None),
    };
    let prefix = match before.strip_suffix("AWSLogs")? {
        "" => None,
        prefix => Some(prefix.strip_suffix('/')?.to_owned()),
    };
    Some((prefix, organization))
}

impl LogFileKey {
    /// Reads a key back; none where it is not exactly one that [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let mut segments = key.rsplitn(8, '/');
        let name = segments.next()?;
        let (_day, _month, _year) = (segments.next()?, segments.next()?, segments.next()?);
        let region: Region = segments.next()?.parse().ok()?;
        let folder_name = segments.next()?;
        let folder = Folder::ALL.into_iter().find(|folder| folder.as_str() == folder_name)?;
        let account: AccountId = segments.next()?.parse().ok()?;
        let (prefix, organization) = parse_before_account(segments.next()?)?;
        let mut parts = name.strip_suffix(".json.gz")?.rsplitn(3, '_');
        let unique = parts.next()?.to_owned();
        let minutes = parts.next()?.strip_suffix('Z')?;
        let stamp = Timestamp::parse_basic(&format!("{minutes}00Z"))?;
        let alphanumeric = unique.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let parsed = Self { prefix, organization, account, folder, region, stamp, unique };
        (alphanumeric && parsed.unique.len() == UNIQUE_LENGTH_CHARS && parsed.to_string() == key)
            .then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin_of<'a>(trail: &'a TrailArn, region: &'a Region) -> FileOrigin<'a> {
        FileOrigin { trail, incarnation: 1, folder: Folder::CloudTrail, region, from: 0, to: 9 }
    }

    #[test]
    fn a_name_follows_from_its_origin_and_every_part_of_it_counts() {
        let arn: TrailArn = "arn:aws:cloudtrail:us-east-1:123456789012:trail/audit".parse().unwrap();
        let region: Region = "eu-west-1".parse().unwrap();
        let origin = origin_of(&arn, &region);
        let name = origin.unique_name();
        assert_eq!(name, origin.unique_name());
        assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{name}");
        let other_region: Region = "us-east-1".parse().unwrap();
        let others = [
            FileOrigin { incarnation: 2, ..origin },
            FileOrigin { folder: Folder::Insight, ..origin },
            FileOrigin { region: &other_region, ..origin },
            FileOrigin { from: 1, ..origin },
            FileOrigin { to: 10, ..origin },
        ];
        let mut names: Vec<String> = others.iter().map(FileOrigin::unique_name).collect();
        names.push(name);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 6);
    }

    #[test]
    fn the_stamp_is_rounded_down_to_the_interval_in_whole_minutes() {
        let at = Timestamp::parse_iso("2026-09-22T17:24:26Z").unwrap();
        for (interval_s, expected) in
            [(300, "20260922T1720Z"), (60, "20260922T1724Z"), (2, "20260922T1724Z"), (90, "20260922T1724Z")]
        {
            assert_eq!(
                stamp(at, Duration::from_secs(interval_s)).basic_minutes(),
                expected,
                "{interval_s} s"
            );
        }
    }

    #[test]
    fn real_keys_are_read_and_written_back_unchanged() {
        for key in [
            "AWSLogs/111122223333/CloudTrail/us-east-2/2015/08/17/111122223333_CloudTrail_us-east-2_20150817T1445Z_9nYN7gp2eWAJHIfT.json.gz",
            "a/AWSLogs/o-exampleorg/111122223333/CloudTrail/us-east-2/2015/08/17/111122223333_CloudTrail_us-east-2_20150817T1445Z_9nYN7gp2eWAJHIfT.json.gz",
            "a/b/AWSLogs/111122223333/CloudTrail-Insight/apiso-northsouth-3r/2026/01/02/111122223333_CloudTrail-Insight_apiso-northsouth-3r_20260102T0000Z_0000000000000000.json.gz",
        ] {
            assert_eq!(LogFileKey::parse(key).map(|parsed| parsed.to_string()).as_deref(), Some(key));
        }
        for key in [
            "",
            "AWSLogs/111122223333/CloudTrail/",
            "AWSLogs/111122223333/CloudTrail/us-east-2/2015/08/18/111122223333_CloudTrail_us-east-2_20150817T1445Z_9nYN7gp2eWAJHIfT.json.gz",
            "AWSLogs/111122223333/CloudTrail/us-east-2/2015/08/17/111122223333_CloudTrail_us-east-2_20150817T1445Z_9nYN7gp2eWAJHIf-.json.gz",
            "AWSLogs/111122223333/CloudTrail-Digest/us-east-2/2015/08/17/111122223333_CloudTrail-Digest_us-east-2_t_us-east-2_20150817T150131Z.json.gz",
        ] {
            assert_eq!(LogFileKey::parse(key), None, "{key}");
        }
    }
}
