//! PutEventSelectors, GetEventSelectors.

use cairn_core::TrailArn;
use cairn_core::selector::{AdvancedSelectorRequest, BasicSelectorRequest, EventSelection};
use cairn_wire::AwsError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::CloudTrail;
use super::failure::Failure;
use crate::service::Caller;

/// PutEventSelectors' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutSelectorsRequest {
    trail_name: String,
    event_selectors: Option<Vec<BasicSelectorRequest>>,
    advanced_event_selectors: Option<Vec<AdvancedSelectorRequest>>,
}

/// GetEventSelectors' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSelectorsRequest {
    trail_name: String,
}

impl CloudTrail {
    pub(super) async fn put_event_selectors(
        &self,
        caller: &Caller,
        request: PutSelectorsRequest,
    ) -> Result<Value, Failure> {
        let selection =
            EventSelection::from_request(request.event_selectors, request.advanced_event_selectors).map_err(
                |refused| AwsError::invalid("InvalidEventSelectorsException", refused.to_string()),
            )?;
        let set = move |trail: &mut cairn_trail::Trail| {
            trail.selection = selection.clone();
            Ok(())
        };
        let trail = self.change_trail(caller, &request.trail_name, set).await?;
        Ok(shown(&trail.arn, &trail.selection))
    }

    pub(super) async fn event_selectors(
        &self,
        caller: &Caller,
        request: GetSelectorsRequest,
    ) -> Result<Value, Failure> {
        let trail = self.read_trail(caller, &request.trail_name).await?;
        Ok(shown(&trail.arn, &trail.selection.sorted()))
    }
}

/// Only the kind of selectors that the trail has is shown.
fn shown(arn: &TrailArn, selection: &EventSelection) -> Value {
    match selection {
        EventSelection::Basic(selectors) => json!({"TrailARN": arn, "EventSelectors": selectors}),
        EventSelection::Advanced(selectors) => json!({"TrailARN": arn, "AdvancedEventSelectors": selectors}),
    }
}
