//! How functions are named: by a name, a part of an ARN, or an ARN, each perhaps with a version or an alias.

use cairn_core::{AccountId, Region};
use cairn_store::catalog::Key;

use super::error::{Failure, invalid, not_found, validation};
use crate::Caller;

/// The version that can be changed.
pub(super) const LATEST: &str = "$LATEST";
/// The longest name of a function, in characters.
const NAME_CHARS_MAX: usize = 64;

/// A function's place: its ARN, without a version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FunctionName {
    pub(super) region: Region,
    pub(super) account: AccountId,
    pub(super) name: String,
}

/// A function, perhaps at a version or an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) function: FunctionName,
    pub(super) qualifier: Option<String>,
}

impl FunctionName {
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{}:function:{}", self.region, self.account, self.name)
    }

    pub(super) fn at(&self, qualifier: &str) -> String {
        format!("{}:{qualifier}", self.arn())
    }

    pub(super) fn row(&self) -> Key {
        place_row(&self.region, &self.account).text(&self.name)
    }
}

impl Named {
    pub(super) fn arn(&self) -> String {
        self.qualifier.as_ref().map_or_else(|| self.function.arn(), |qualifier| self.function.at(qualifier))
    }

    /// What a caller names, with the qualifier that may stand beside it.
    pub(super) fn parse(given: &str, qualifier: Option<&str>, caller: &Caller) -> Result<Self, Failure> {
        let found = parts(given).ok_or_else(|| {
            validation(format!(
                "1 validation error detected: Value '{given}' at 'functionName' failed to satisfy constraint: Member must \
                 satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{{2}}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{{1}}:)?(\\d{{12}}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?"
            ))
        })?;
        if let Some(region) = found.region.filter(|region| *region != caller.region.as_str()) {
            return Err(not_found(format!(
                "Functions from '{region}' are not reachable in this region ('{}')",
                caller.region
            )));
        }
        if let (Some(inside), Some(beside)) = (found.qualifier, qualifier)
            && inside != beside
        {
            return Err(invalid(
                "The derived qualifier from the function name does not match the specified qualifier.",
            ));
        }
        let account = found.account.and_then(|account| account.parse().ok());
        Ok(Self {
            function: FunctionName {
                region: caller.region.clone(),
                account: account.unwrap_or_else(|| caller.account.clone()),
                name: found.name.to_owned(),
            },
            qualifier: qualifier.or(found.qualifier).map(str::to_owned),
        })
    }

    /// What an ARN names.
    pub(super) fn of_arn(arn: &str) -> Option<Self> {
        let found = parts(arn).filter(|_| arn.starts_with("arn:"))?;
        Some(Self {
            function: FunctionName {
                region: found.region?.parse().ok()?,
                account: found.account?.parse().ok()?,
                name: found.name.to_owned(),
            },
            qualifier: found.qualifier.map(str::to_owned),
        })
    }
}

/// The prefix of all of a region's and account's.
pub(super) fn place_row(region: &Region, account: &AccountId) -> Key {
    Key::new().text(region.as_str()).text(account.as_str())
}

struct Parts<'a> {
    region: Option<&'a str>,
    account: Option<&'a str>,
    name: &'a str,
    qualifier: Option<&'a str>,
}

fn parts(given: &str) -> Option<Parts<'_>> {
    let rest = given.strip_prefix("arn:aws:lambda:").unwrap_or(given);
    let mut words = rest.split(':').peekable();
    let is_region =
        |word: &&str| word.matches('-').count() >= 2 && word.ends_with(|c: char| c.is_ascii_digit());
    let has_more = rest.contains(':');
    let region = words.next_if(|word| has_more && is_region(word) && rest.contains(":function:"));
    let account =
        words.next_if(|word| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_digit()) && has_more);
    words.next_if(|word| *word == "function" && has_more);
    let name = words.next()?;
    let qualifier = words.next();
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let fits = words.next().is_none()
        && is_word(name)
        && name.len() <= NAME_CHARS_MAX
        && qualifier.is_none_or(|qualifier| qualifier == LATEST || is_word(qualifier));
    fits.then_some(Parts { region, account, name, qualifier })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Region, account, name, qualifier.
    type Named<'a> = (Option<&'a str>, Option<&'a str>, &'a str, Option<&'a str>);

    #[test]
    fn a_function_is_named_by_name_part_or_arn() {
        let check = |given: &str, expected: Option<Named<'_>>| {
            let found = parts(given).map(|found| (found.region, found.account, found.name, found.qualifier));
            assert_eq!(found, expected, "{given}");
        };
        let (region, account) = (Some("eu-west-1"), Some("111122223333"));
        check("f", Some((None, None, "f", None)));
        check("f:1", Some((None, None, "f", Some("1"))));
        check("f:$LATEST", Some((None, None, "f", Some("$LATEST"))));
        check("111122223333:function:f", Some((None, account, "f", None)));
        check("111122223333:function:f:live", Some((None, account, "f", Some("live"))));
        check("arn:aws:lambda:eu-west-1:111122223333:function:f", Some((region, account, "f", None)));
        check("arn:aws:lambda:eu-west-1:111122223333:function:f:7", Some((region, account, "f", Some("7"))));
        check("a-b-1", Some((None, None, "a-b-1", None)));
        for wrong in ["", ":", "f:", "f:1:2", "f/g", "arn:aws:sqs:eu-west-1:111122223333:q", "a b", "f:$OLD"]
        {
            check(wrong, None);
        }
    }
}
