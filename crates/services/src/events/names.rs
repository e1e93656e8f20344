//! The names of buses, rules and what else has an ARN of `events`.

use std::fmt;
use std::str::FromStr;

use cairn_core::{AccountId, Region};
use cairn_store::catalog::Key;
use serde::{Deserialize, Serialize};

use super::error::{Failure, validation};
use crate::Caller;

/// The bus that every account has in every region.
pub(super) const DEFAULT_BUS: &str = "default";

/// A text that is no ARN of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no ARN of an event bus")]
pub(super) struct NoArn;

/// Whose something is, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) region: Region,
    pub(super) account: AccountId,
}

impl Place {
    pub(super) fn of(caller: &Caller) -> Self {
        Self { region: caller.region.clone(), account: caller.account.clone() }
    }

    /// The prefix of all rows of the place.
    pub(super) fn row(&self) -> Key {
        Key::new().text(self.region.as_str()).text(self.account.as_str())
    }

    /// `arn:aws:events:REGION:ACCOUNT:` and the rest.
    pub(super) fn arn(&self, rest: &str) -> String {
        format!("arn:aws:events:{}:{}:{rest}", self.region, self.account)
    }
}

/// `arn:aws:events:REGION:ACCOUNT:event-bus/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct BusArn {
    pub(super) region: Region,
    pub(super) account: AccountId,
    pub(super) name: String,
}

impl BusArn {
    pub(super) fn default_of(place: &Place) -> Self {
        Self { region: place.region.clone(), account: place.account.clone(), name: DEFAULT_BUS.to_owned() }
    }

    /// The bus that a call means by a name or an ARN; the caller's default bus where it says nothing.
    pub(super) fn meant(caller: &Caller, given: Option<&str>) -> Result<Self, Failure> {
        let Some(given) = given else { return Ok(Self::default_of(&Place::of(caller))) };
        if !given.starts_with("arn:") {
            let Place { region, account } = Place::of(caller);
            return Ok(Self { region, account, name: given.to_owned() });
        }
        let arn: Self = given.parse().map_err(|_| {
            validation(format!(
                "Parameter {given} is not valid. Reason: Provided Arn is not in correct format."
            ))
        })?;
        if arn.region == caller.region { Ok(arn) } else { Err(super::error::no_bus(&arn.name)) }
    }

    pub(super) fn place(&self) -> Place {
        Place { region: self.region.clone(), account: self.account.clone() }
    }

    pub(super) fn is_default(&self) -> bool {
        self.name == DEFAULT_BUS
    }

    pub(super) fn row(&self) -> Key {
        self.place().row().text(&self.name)
    }

    /// The ARN of a rule of the bus: `rule/NAME`, or `rule/BUS/NAME`.
    pub(super) fn rule_arn(&self, rule: &str) -> String {
        let path = if self.is_default() { rule.to_owned() } else { format!("{}/{rule}", self.name) };
        self.place().arn(&format!("rule/{path}"))
    }

    /// The bus and the name of the rule that an ARN is of.
    pub(super) fn of_rule(arn: &str) -> Option<(Self, String)> {
        let (place, rest) = split(arn)?;
        let path = rest.strip_prefix("rule/")?;
        let (bus, rule) = path.rsplit_once('/').unwrap_or((DEFAULT_BUS, path));
        let Place { region, account } = place;
        Some((Self { region, account, name: bus.to_owned() }, rule.to_owned()))
    }
}

/// Place and rest of an ARN of `events`.
pub(super) fn split(arn: &str) -> Option<(Place, &str)> {
    let mut parts = arn.splitn(6, ':');
    let ["arn", "aws", "events"] = [parts.next()?, parts.next()?, parts.next()?] else { return None };
    let (region, account) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((Place { region, account }, parts.next()?))
}

/// Region and account of any ARN that has them.
pub(super) fn place_of(arn: &str) -> Option<Place> {
    let mut parts = arn.split(':').skip(3);
    let (region, account) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some(Place { region, account })
}

impl fmt::Display for BusArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:events:{}:{}:event-bus/{}", self.region, self.account, self.name)
    }
}

impl FromStr for BusArn {
    type Err = NoArn;

    fn from_str(text: &str) -> Result<Self, NoArn> {
        let (Place { region, account }, rest) = split(text).ok_or(NoArn)?;
        let name = rest.strip_prefix("event-bus/").filter(|name| !name.is_empty()).ok_or(NoArn)?;
        Ok(Self { region, account, name: name.to_owned() })
    }
}

impl TryFrom<String> for BusArn {
    type Error = NoArn;

    fn try_from(text: String) -> Result<Self, NoArn> {
        text.parse()
    }
}

impl From<BusArn> for String {
    fn from(arn: BusArn) -> Self {
        arn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_read_as_they_are_written() {
        let text = "arn:aws:events:eu-west-1:111122223333:event-bus/orders";
        let bus: BusArn = text.parse().unwrap();
        assert_eq!(bus.to_string(), text);
        let rule = bus.rule_arn("paid");
        assert_eq!(rule, "arn:aws:events:eu-west-1:111122223333:rule/orders/paid");
        assert_eq!(BusArn::of_rule(&rule), Some((bus.clone(), "paid".to_owned())));
        let default = BusArn::default_of(&bus.place());
        let rule = default.rule_arn("paid");
        assert_eq!(rule, "arn:aws:events:eu-west-1:111122223333:rule/paid");
        assert_eq!(BusArn::of_rule(&rule), Some((default, "paid".to_owned())));
        for wrong in
            ["", "arn:aws:events:eu-west-1:111122223333:rule/x", "arn:aws:sqs:eu-west-1:111122223333:q"]
        {
            assert!(wrong.parse::<BusArn>().is_err(), "{wrong}");
        }
    }
}
