//! Subscriptions confirmed and ended: by their owners, or by whoever holds a link that was sent to the endpoint.
//!
//! Both operations are called without credentials too. Then a token, or the subscription's ARN, is all that is asked for,
//! unless the subscription was confirmed with AuthenticateOnUnsubscribe.

use cairn_core::{Principal, Timestamp};
use cairn_store::Tx;
use cairn_wire::Call;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arn::SubscriptionArn;
use super::error::{Failure, invalid, not_authorized, subscription_arn, subscription_not_found, topic_arn};
use super::state::{
    NotificationKind, Owed, Protocol, SUBSCRIPTIONS, Subscription, SubscriptionState, TOKENS, TOPICS, Token,
    put_subscription, remove_subscription, subscription_of_endpoint, token_row,
};
use super::subscribe::{NamedSubscription, TOKEN_VALIDITY, confirmation};
use super::{Sns, owed};
use crate::{Caller, Service, authorise};

/// Rows of what has expired that one run of the housekeeping looks at.
const EXPIRED_ROWS_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Confirm {
    topic_arn: String,
    token: String,
    authenticate_on_unsubscribe: Option<String>,
}

/// Who confirms or ends a subscription.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Somebody with credentials and the right.
    Authenticated,
    /// Somebody with a link.
    Link,
}

impl Sns {
    pub(super) async fn confirm(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        let input: Confirm = call.input()?;
        let by = self.check_caller(caller, call).await?;
        let topic = topic_arn("Topic", &input.topic_arn, region(caller, by))?;
        let authenticate = match input.authenticate_on_unsubscribe.as_deref() {
            None | Some("" | "false") => false,
            Some("true") if by == By::Authenticated => true,
            Some("true") => return Err(not_authorized("AuthenticateOnUnsubscribe needs a signed request")),
            Some(_) => return Err(invalid("AuthenticateOnUnsubscribe")),
        };
        let (named, now) = (topic.clone(), caller.now);
        let agreed = SubscriptionState::Confirmed {
            authenticate_on_unsubscribe: authenticate,
            was_authenticated: by == By::Authenticated,
        };
        let arn = self
            .catalog
            .write(move |tx| {
                if TOPICS.get(tx, named.row().bytes())?.is_none() {
                    return Err(invalid("Token"));
                }
                let token = TOKENS.get(tx, token_row(&named, &input.token).bytes())?;
                let token = token.filter(|token| token.until > now).ok_or_else(|| invalid("Token"))?;
                confirm(tx, &token, &agreed)
            })
            .await?;
        self.views.forget(&topic);
        Ok(json!({ "SubscriptionArn": arn.to_string() }))
    }

    pub(super) async fn unsubscribe(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        let input: NamedSubscription = call.input()?;
        let by = self.check_caller(caller, call).await?;
        let arn = subscription_arn(&input.subscription_arn, region(caller, by))?;
        let looked = arn.clone();
        let found = self.catalog.read(move |tx| SUBSCRIPTIONS.get(tx, looked.row().bytes())).await?;
        let Some(subscription) = found else { return Ok(json!({})) };
        let by = if is_owner(caller, by, &subscription) { By::Authenticated } else { By::Link };
        if by == By::Link && needs_owner(&subscription) {
            return Err(not_authorized("The subscription can be ended by its owner and the topic's alone"));
        }
        self.end(subscription, by, caller.now).await?;
        self.views.forget(&arn.topic);
        Ok(json!({}))
    }

    /// Removes a subscription. An HTTP endpoint that did not do so itself is told, and can have it back.
    async fn end(&self, subscription: Subscription, by: By, now: Timestamp) -> Result<(), Failure> {
        let is_told = by == By::Link
            && subscription.is_confirmed()
            && matches!(subscription.protocol, Protocol::Http | Protocol::Https);
        let token = self.new_token();
        let kind = NotificationKind::UnsubscribeConfirmation;
        let mut farewell = confirmation(&subscription, &token, kind, self.new_id());
        farewell.at = now;
        if is_told {
            let topic = self.topic(&subscription.arn.topic).await?;
            self.vouch_for(&mut farewell, &topic).await?;
        }
        let sealer = self.sealer.clone();
        self.catalog
            .write(move |tx| {
                let Some(ended) = remove_subscription(tx, &subscription.arn)? else { return Ok(()) };
                if is_told {
                    let owed = Owed::new(&ended, &farewell, now);
                    let mut kept = Token::new(ended.arn.clone(), now.plus(TOKEN_VALIDITY));
                    kept.ended = Some(Box::new(ended));
                    TOKENS.put(tx, token_row(&subscription.arn.topic, &token).bytes(), &kept)?;
                    owed::owe(tx, &sealer, &farewell, vec![owed])?;
                }
                Ok::<_, Failure>(())
            })
            .await?;
        if is_told {
            (self.woken)();
        }
        Ok(())
    }

    /// Whether a caller has credentials; if so, they need the right to do it.
    async fn check_caller(&self, caller: &Caller, call: &Call) -> Result<By, Failure> {
        if matches!(caller.principal, Principal::Anonymous) {
            return Ok(By::Link);
        }
        let target = self.target(caller, call).await?;
        authorise(caller, &target)?;
        Ok(By::Authenticated)
    }

    /// Forgets subscriptions that were never confirmed, and tokens that confirm nothing any more.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn expire(&self) -> Result<(), cairn_store::CatalogError> {
        let now = self.clock.now();
        let mut from = Vec::new();
        loop {
            let begin = from.clone();
            let rows = self
                .catalog
                .write(move |tx| {
                    let rows = TOKENS.scan(tx, &begin, None, EXPIRED_ROWS_MAX)?;
                    for (row, token) in rows.iter().filter(|(_, token)| token.until <= now) {
                        TOKENS.delete(tx, row)?;
                        let asked = SUBSCRIPTIONS.get(tx, token.subscription.row().bytes())?;
                        let expired = |state: &SubscriptionState| {
                            matches!(state, SubscriptionState::Pending { until } if *until <= now)
                        };
                        if asked.is_some_and(|asked| expired(&asked.state)) {
                            remove_subscription(tx, &token.subscription)?;
                        }
                    }
                    Ok::<_, cairn_store::CatalogError>(rows)
                })
                .await?;
            let Some((last, _)) = rows.last().filter(|_| rows.len() == EXPIRED_ROWS_MAX) else { break };
            from.clone_from(last);
            from.push(0);
        }
        self.forget_duplicates(now).await
    }
}

/// Links work from everywhere; a signed call is about its own region.
fn region(caller: &Caller, by: By) -> Option<&cairn_core::Region> {
    (by == By::Authenticated).then_some(&caller.region)
}

fn is_owner(caller: &Caller, by: By, subscription: &Subscription) -> bool {
    let owners = [&subscription.owner, &subscription.arn.topic.account];
    by == By::Authenticated && owners.contains(&&caller.account)
}

fn needs_owner(subscription: &Subscription) -> bool {
    matches!(subscription.state, SubscriptionState::Confirmed { authenticate_on_unsubscribe: true, .. })
}

fn confirm(tx: &mut dyn Tx, token: &Token, agreed: &SubscriptionState) -> Result<SubscriptionArn, Failure> {
    let kept = SUBSCRIPTIONS.get(tx, token.subscription.row().bytes())?;
    let mut subscription = match (kept, &token.ended) {
        (Some(kept), _) if kept.is_confirmed() => return Ok(kept.arn),
        (Some(kept), _) => kept,
        (None, Some(ended)) => {
            // The endpoint may have been subscribed anew meanwhile.
            if let Some(other) = subscription_of_endpoint(tx, ended)? {
                return Ok(other.arn);
            }
            (**ended).clone()
        }
        (None, None) => return Err(subscription_not_found()),
    };
    subscription.state = agreed.clone();
    put_subscription(tx, &subscription)?;
    Ok(subscription.arn)
}
