//! Names that are checked once at the edge and trusted inside: accounts, regions, trail ARNs, event ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not the id it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of the id.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(IdError { text, expected: $expected }) }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// An AWS account: twelve digits.
    AccountId,
    "an account id of 12 digits",
    |text| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
);

text_id!(
    /// A region's name. Any name of 1 to 64 lower-case letters, digits and hyphens will do: private clouds have
    /// regions that nobody else knows.
    Region,
    "a region name of 1 to 64 lower-case letters, digits and hyphens",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_id!(
    /// A UUID in lower-case text, 36 characters.
    EventId,
    "a UUID",
    |text| {
        text.len() == 36
            && text.bytes().enumerate().all(|(at, b)| match at {
                8 | 13 | 18 | 23 => b == b'-',
                _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
            })
    }
);

text_id!(
    /// `arn:aws:cloudtrail:REGION:ACCOUNT:trail/NAME`.
    TrailArn,
    "a trail ARN",
    |text| TrailArn::split(text).is_some()
);

impl EventId {
    /// A version 4 UUID of 16 random bytes.
    #[must_use]
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = hex::encode(bytes);
        Self(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }
}

impl TrailArn {
    /// The ARN of the trail `name` with home region `region` in `account`.
    #[must_use]
    pub fn new(region: &Region, account: &AccountId, name: &str) -> Self {
        Self(format!("arn:aws:cloudtrail:{region}:{account}:trail/{name}"))
    }

    /// The trail's short name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().2
    }

    /// The trail's home region.
    #[must_use]
    pub fn region(&self) -> Region {
        Region(self.parts().0.to_owned())
    }

    /// The account that owns the trail.
    #[must_use]
    pub fn account(&self) -> AccountId {
        AccountId(self.parts().1.to_owned())
    }

    fn parts(&self) -> (&str, &str, &str) {
        Self::split(&self.0).expect("checked when made")
    }

    fn split(text: &str) -> Option<(&str, &str, &str)> {
        let mut parts = text.strip_prefix("arn:aws:cloudtrail:")?.splitn(3, ':');
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let name = resource.strip_prefix("trail/").filter(|name| !name.is_empty())?;
        region.parse::<Region>().ok()?;
        account.parse::<AccountId>().ok()?;
        Some((region, account, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_once_when_made() {
        assert!("123456789012".parse::<AccountId>().is_ok());
        assert!("12345678901a".parse::<AccountId>().is_err());
        assert!("apiso-northsouth-3r".parse::<Region>().is_ok());
        assert!("us east".parse::<Region>().is_err());
        assert_eq!(EventId::from_random([0xff; 16]).as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert!("not-a-uuid".parse::<EventId>().is_err());
    }

    #[test]
    fn a_trail_arn_names_its_parts() {
        let arn: TrailArn = "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit".parse().unwrap();
        assert_eq!(
            (arn.name(), arn.region().as_str(), arn.account().as_str()),
            ("audit", "eu-west-1", "123456789012")
        );
        for text in [
            "arn:aws:cloudtrail:eu-west-1:123456789012:trail/",
            "arn:aws:s3:::b",
            "arn:aws:cloudtrail:eu-west-1:1:trail/a",
        ] {
            assert!(text.parse::<TrailArn>().is_err(), "{text}");
        }
    }
}
