//! PutInsightSelectors, GetInsightSelectors, of trails. Event data stores are not of this server.

use cairn_core::selector::Taken;
use cairn_trail::Trail;
use cairn_wire::AwsError;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::failure::{self, Failure};
use super::{CloudTrail, preflight};
use crate::service::Caller;

/// PutInsightSelectors' and GetInsightSelectors' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct InsightRequest {
    trail_name: Option<String>,
    event_data_store: Option<String>,
    insights_destination: Option<String>,
    insight_selectors: Option<Vec<InsightSelector>>,
}

/// An insight selector as it is sent, kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InsightSelector {
    #[serde(default)]
    insight_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_categories: Option<Vec<String>>,
}

impl CloudTrail {
    pub(super) async fn put_insight_selectors(
        &self,
        caller: &Caller,
        request: InsightRequest,
    ) -> Result<Value, Failure> {
        let name = request.only_trail()?;
        let selectors = request.insight_selectors.unwrap_or_default();
        let trail = self.read_trail(caller, &name).await?;
        check_selectors(&selectors, trail.selection.takes())?;
        if !selectors.is_empty() && trail.home_region() == caller.region {
            preflight::check_bucket(self.deps.bucket.as_ref(), &trail, &["CloudTrail-Insight"]).await?;
        }
        let set = move |trail: &mut Trail| {
            // Once more, since the trail's event selectors may have changed meanwhile.
            check_selectors(&selectors, trail.selection.takes())?;
            trail.insight_selectors = selectors.iter().map(|selector| json!(selector)).collect();
            Ok(())
        };
        let trail = self.change_trail(caller, &name, set).await?;
        Ok(shown(&trail))
    }

    pub(super) async fn insight_selectors(
        &self,
        caller: &Caller,
        request: InsightRequest,
    ) -> Result<Value, Failure> {
        let trail = self.read_trail(caller, &request.only_trail()?).await?;
        if trail.insight_selectors.is_empty() {
            return Err(AwsError::invalid(
                "InsightNotEnabledException",
                format!(
                    "Trail {} does not have Insights enabled. Edit the trail settings to enable Insights, and then try the operation again.",
                    trail.arn
                ),
            )
            .into());
        }
        Ok(shown(&trail))
    }
}

impl InsightRequest {
    /// The trail's name, where the request is about a trail and nothing else.
    fn only_trail(&self) -> Result<String, AwsError> {
        let of_store = self.event_data_store.is_some() || self.insights_destination.is_some();
        match &self.trail_name {
            Some(_) if of_store => {
                Err(failure::invalid_combination("Specify either TrailName or EventDataStore, but not both."))
            }
            Some(name) => Ok(name.clone()),
            None if of_store => Err(failure::unsupported()),
            None => Err(failure::invalid_combination("Specify either TrailName or EventDataStore.")),
        }
    }
}

fn check_selectors(selectors: &[InsightSelector], taken: Taken) -> Result<(), AwsError> {
    let refused = |message: String| Err(AwsError::invalid("InvalidInsightSelectorsException", message));
    for (at, selector) in selectors.iter().enumerate() {
        let kind = selector.insight_type.as_deref().unwrap_or("null");
        if !matches!(kind, "ApiCallRateInsight" | "ApiErrorRateInsight") {
            return refused(format!("Value {kind} for InsightType is invalid."));
        }
        if selectors[..at].iter().any(|before| before.insight_type == selector.insight_type) {
            return refused(format!("The InsightType {kind} is specified more than once."));
        }
        let management = vec!["Management".to_owned()];
        for category in selector.event_categories.as_ref().unwrap_or(&management) {
            let enough = match category.as_str() {
                "Management" if kind == "ApiCallRateInsight" => taken.management_writes,
                "Management" => taken.management,
                "Data" => taken.data,
                other => return refused(format!("Value {other} for EventCategories is invalid.")),
            };
            if !enough {
                return refused(format!(
                    "The trail does not log the {} events that {kind} needs.",
                    category.to_lowercase()
                ));
            }
        }
    }
    Ok(())
}

fn shown(trail: &Trail) -> Value {
    json!({"TrailARN": trail.arn, "InsightSelectors": trail.insight_selectors})
}
