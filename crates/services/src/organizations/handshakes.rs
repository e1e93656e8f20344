//! Invitations of accounts that are there already.

use std::time::Duration;

use cairn_core::{AccountId, Timestamp};
use cairn_wire::{AwsError, Call};
use serde::Deserialize;
use serde_json::{Value, json};

use super::accounts::{check_room, email_of};
use super::page::page;
use super::state::{
    Handshake, HandshakeState, MEMBERSHIPS, Member, ORGANIZATIONS, Organization, membership_key,
    organization_key, organization_of,
};
use super::{Answer, Failure, For, Organizations, denied, invalid, trails_follow};
use crate::Caller;

/// How long an invitation stands.
const EXPIRES_AFTER: Duration = Duration::from_secs(15 * 24 * 60 * 60);
/// Invitations that an organisation keeps.
const HANDSHAKES_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Invite {
    target: Party,
    notes: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Party {
    id: String,
    r#type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Named {
    handshake_id: String,
}

impl Organizations {
    pub(super) async fn invite(&self, caller: &Caller, input: Invite) -> Answer {
        let unknown =
            || invalid("INVALID_PARTY_TYPE_TARGET", "You specified a target that can't be invited.");
        let account: AccountId = match input.target.r#type.as_str() {
            "ACCOUNT" => input.target.id.parse().map_err(|_| unknown())?,
            _ => return Err(unknown()),
        };
        let accounts = self.iam.accounts().await.map_err(AwsError::internal)?;
        if !accounts.contains(&account) {
            return Err(unknown());
        }
        self.change(caller, For::Management, move |organization, occasion| {
            check_room(organization)?;
            let constraint = |reason: &'static str, message: &str| {
                AwsError::invalid("HandshakeConstraintViolationException", message)
                    .with_member("Reason", reason)
            };
            if organization.members.contains_key(&account) {
                return Err(constraint(
                    "ALREADY_IN_AN_ORGANIZATION",
                    "The account is already in an organization.",
                ));
            }
            if organization.handshakes.len() >= HANDSHAKES_MAX {
                return Err(constraint("HANDSHAKE_RATE_LIMIT_EXCEEDED", "There are too many handshakes."));
            }
            let open =
                |handshake: &Handshake| handshake.account == account && handshake.is_open(occasion.now);
            if organization.handshakes.values().any(open) {
                return Err(AwsError::invalid(
                    "DuplicateHandshakeException",
                    "A handshake with the same action and target already exists.",
                ));
            }
            let id = format!("h-{}", occasion.random(8));
            let handshake = Handshake {
                account: account.clone(),
                state: HandshakeState::Open,
                notes: input.notes.clone(),
                at: occasion.now,
                expires_at: occasion.now.plus(EXPIRES_AFTER),
            };
            organization.handshakes.insert(id.clone(), handshake);
            Ok(json!({"Handshake": shown(organization, &id, occasion.now)}))
        })
        .await
    }

    /// AcceptHandshake and DeclineHandshake, of the invited account; CancelHandshake, of the inviting one.
    pub(super) async fn settle_handshake(&self, caller: &Caller, operation: &str, input: Named) -> Answer {
        let (occasion, trails) = (self.occasion(caller), self.trails.clone());
        let wanted = match operation {
            "AcceptHandshake" => HandshakeState::Accepted,
            "DeclineHandshake" => HandshakeState::Declined,
            _ => HandshakeState::Canceled,
        };
        let settled = self
            .catalog
            .write(move |tx| {
                let mut organization = with_handshake(tx, &input.handshake_id)?;
                let (now, account) = (occasion.now, &occasion.caller);
                let handshake = organization.handshakes.get_mut(&input.handshake_id).ok_or_else(unknown)?;
                let party = match wanted {
                    HandshakeState::Canceled => &organization.management,
                    _ => &handshake.account,
                };
                if party != account {
                    return Err(denied("You don't have permissions to access this resource.").into());
                }
                if !handshake.is_open(now) {
                    return Err(AwsError::invalid(
                        "HandshakeAlreadyInStateException",
                        "The specified handshake is already in the requested state.",
                    )
                    .into());
                }
                handshake.state = wanted;
                if wanted == HandshakeState::Accepted {
                    if organization_of(tx, account)?.is_some() {
                        return Err(AwsError::invalid(
                            "HandshakeConstraintViolationException",
                            "The account is already a member of an organization.",
                        )
                        .with_member("Reason", "ALREADY_IN_AN_ORGANIZATION")
                        .into());
                    }
                    let member = Member {
                        name: account.to_string(),
                        email: email_of(account),
                        parent: organization.root_id.clone(),
                        was_created: false,
                        joined_at: now,
                    };
                    organization.join(account.clone(), member);
                    MEMBERSHIPS.put(tx, membership_key(account).bytes(), &organization.id)?;
                }
                ORGANIZATIONS.put(tx, organization_key(&organization.id).bytes(), &organization)?;
                trails_follow(tx, trails.as_ref(), &organization, now)?;
                Ok::<_, Failure>(json!({"Handshake": shown(&organization, &input.handshake_id, now)}))
            })
            .await;
        self.changed();
        Ok(settled?)
    }

    pub(super) async fn describe_handshake(&self, caller: &Caller, input: Named) -> Answer {
        let (now, account) = (self.clock.now(), caller.account.clone());
        let found = self
            .catalog
            .read(move |tx| {
                let organization = with_handshake(tx, &input.handshake_id)?;
                let invited = organization.handshakes.get(&input.handshake_id).ok_or_else(unknown)?;
                if account != organization.management && account != invited.account {
                    return Err(Failure::from(unknown()));
                }
                Ok(json!({"Handshake": shown(&organization, &input.handshake_id, now)}))
            })
            .await;
        Ok(found?)
    }

    /// ListHandshakesForAccount and ListHandshakesForOrganization.
    pub(super) async fn list_handshakes(&self, caller: &Caller, call: &Call) -> Answer {
        let (now, account) = (self.clock.now(), caller.account.clone());
        let for_account = call.operation == "ListHandshakesForAccount";
        if !for_account {
            self.view(caller, For::Administrators, |_| Ok(Value::Null)).await?;
        }
        let found = self
            .catalog
            .read(move |tx| {
                let own = organization_of(tx, &account)?.map(|own| own.id);
                let mut items = Vec::new();
                for (_, organization) in ORGANIZATIONS.scan_prefix(tx, &[])? {
                    for (id, handshake) in &organization.handshakes {
                        let meant = match for_account {
                            true => handshake.account == account,
                            false => own.as_ref() == Some(&organization.id),
                        };
                        if meant {
                            items.push((id.clone(), shown(&organization, id, now)));
                        }
                    }
                }
                items.sort_by(|a, b| a.0.cmp(&b.0));
                Ok::<_, Failure>(items)
            })
            .await;
        page("Handshakes", found?, &call.params)
    }
}

impl Handshake {
    fn is_open(&self, now: Timestamp) -> bool {
        self.state == HandshakeState::Open && now < self.expires_at
    }
}

fn unknown() -> AwsError {
    AwsError::invalid(
        "HandshakeNotFoundException",
        "We can't find a handshake with the HandshakeId that you specified.",
    )
}

fn with_handshake(tx: &mut dyn cairn_store::Tx, id: &str) -> Result<Organization, Failure> {
    let all = ORGANIZATIONS.scan_prefix(tx, &[])?;
    let found = all.into_iter().map(|(_, organization)| organization);
    let found = found.into_iter().find(|organization| organization.handshakes.contains_key(id));
    found.ok_or_else(|| unknown().into())
}

fn shown(organization: &Organization, id: &str, now: Timestamp) -> Value {
    let Some(handshake) = organization.handshakes.get(id) else { return Value::Null };
    let state = match handshake.state {
        HandshakeState::Open if now >= handshake.expires_at => "EXPIRED",
        HandshakeState::Open => "OPEN",
        HandshakeState::Accepted => "ACCEPTED",
        HandshakeState::Declined => "DECLINED",
        HandshakeState::Canceled => "CANCELED",
    };
    let mut resources = vec![
        json!({"Type": "ORGANIZATION", "Value": organization.id}),
        json!({"Type": "ACCOUNT", "Value": handshake.account}),
    ];
    if let Some(notes) = &handshake.notes {
        resources.push(json!({"Type": "NOTES", "Value": notes}));
    }
    json!({
        "Id": id,
        "Arn": organization.arn("handshake", &format!("invite/{id}")),
        "Parties": [
            {"Id": organization.id.trim_start_matches("o-"), "Type": "ORGANIZATION"},
            {"Id": handshake.account, "Type": "ACCOUNT"},
        ],
        "State": state,
        "RequestedTimestamp": handshake.at.seconds(),
        "ExpirationTimestamp": handshake.expires_at.seconds(),
        "Action": "INVITE",
        "Resources": resources,
    })
}
