//! The facts of a record: the members that selectors, history and delivery look at.

use std::borrow::Cow;

use crate::{AccountId, Region, Timestamp};

/// The members of a record that Cairn itself reads, borrowed from the record's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members are AWS's, documented on the record-contents page")]
pub struct Facts<'a> {
    pub event_time: Cow<'a, str>,
    pub event_id: Cow<'a, str>,
    pub event_source: Cow<'a, str>,
    pub event_name: Cow<'a, str>,
    pub aws_region: Cow<'a, str>,
    pub event_type: Option<Cow<'a, str>>,
    pub event_category: Option<Cow<'a, str>>,
    pub management_event: Option<bool>,
    pub read_only: Option<bool>,
    pub error_code: Option<Cow<'a, str>>,
    pub recipient_account_id: Option<Cow<'a, str>>,
    pub vpc_endpoint_id: Option<Cow<'a, str>>,
    pub session_credential_from_console: Option<Cow<'a, str>>,
    pub user_identity: Option<IdentityFacts<'a>>,
    pub resources: Option<Vec<ResourceFacts<'a>>>,
    pub request_parameters: Option<&'a str>,
    pub response_elements: Option<&'a str>,
}

/// The members of `userIdentity` that Cairn itself reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members are AWS's, documented on the userIdentity page")]
pub struct IdentityFacts<'a> {
    pub kind: Option<Cow<'a, str>>,
    pub arn: Option<Cow<'a, str>>,
    pub account_id: Option<Cow<'a, str>>,
    pub access_key_id: Option<Cow<'a, str>>,
    pub user_name: Option<Cow<'a, str>>,
    pub principal_id: Option<Cow<'a, str>>,
    pub invoked_by: Option<Cow<'a, str>>,
}

/// One element of `resources`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the members are AWS's, documented on the record-contents page")]
pub struct ResourceFacts<'a> {
    pub kind: Option<Cow<'a, str>>,
    pub arn: Option<Cow<'a, str>>,
    pub arn_prefix: Option<Cow<'a, str>>,
    pub account_id: Option<Cow<'a, str>>,
}

/// What kind of event a record is, as selectors and the history tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are AWS's values of eventCategory")]
pub enum Category {
    Management,
    Data,
    NetworkActivity,
    Insight,
    Aggregated,
}

impl Facts<'_> {
    /// The event's time; none where the text is not AWS's form.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        Timestamp::parse_iso(&self.event_time)
    }

    /// The region that the event happened in.
    #[must_use]
    pub fn region(&self) -> Option<Region> {
        self.aws_region.parse().ok()
    }

    /// The account that the event is delivered to: recipientAccountId, the caller's account where that is absent.
    #[must_use]
    pub fn account(&self) -> Option<AccountId> {
        let caller = || self.user_identity.as_ref().and_then(|identity| identity.account_id.as_deref());
        self.recipient_account_id.as_deref().or_else(caller)?.parse().ok()
    }

    /// The event's category. Records older than version 1.07 have none and are told by `managementEvent`; still
    /// older ones are management events.
    #[must_use]
    pub fn category(&self) -> Category {
        match self.event_category.as_deref() {
            Some("Data") => Category::Data,
            Some("NetworkActivity") => Category::NetworkActivity,
            Some("Insight") => Category::Insight,
            Some("Aggregated") => Category::Aggregated,
            Some(_) => Category::Management,
            None if self.management_event == Some(false) => Category::Data,
            None => Category::Management,
        }
    }

    /// The name that `LookupEvents` finds the event by as `Username`: the user name, else the name of a session,
    /// else `root`.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        let identity = self.user_identity.as_ref()?;
        if let Some(name) = identity.user_name.as_deref() {
            return Some(name);
        }
        match identity.kind.as_deref()? {
            "Root" => Some("root"),
            "AssumedRole" | "FederatedUser" => identity.arn.as_deref()?.rsplit('/').next(),
            "AWSService" => identity.invoked_by.as_deref(),
            _ => None,
        }
    }
}
