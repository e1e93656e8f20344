//! GetTrail, DescribeTrails, ListTrails: trails as they are seen from a region.
//!
//! A multi-region trail shows in every region; outside its home region that is called its shadow.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_core::TrailArn;
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{self, Failure};
use super::trails::{NameRequest, trails_of};
use super::{CloudTrail, TRAILS_PER_PAGE_MAX, names, reply};
use crate::service::Caller;
use cairn_trail::Trail;
use cairn_trail::config::{find_trail, trail_key};
use cairn_wire::AwsError;

/// DescribeTrails' input; its members begin with a small letter in the model.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeRequest {
    trail_name_list: Option<Vec<String>>,
    include_shadow_trails: Option<bool>,
}

/// ListTrails' input.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRequest {
    next_token: Option<String>,
}

impl CloudTrail {
    pub(super) async fn trail(&self, caller: &Caller, request: NameRequest) -> Result<Value, Failure> {
        let arn = names::meant_trail(&request.name, caller)?;
        let (wanted, account) = (arn.clone(), caller.account.clone());
        let found =
            self.deps.catalog.read(move |tx| Ok::<_, Failure>(find_trail(tx, &wanted, &account)?)).await?;
        match found {
            Some(trail) => Ok(json!({"Trail": reply::description(&trail)})),
            // Here the real service shows the short name, where all other operations show the ARN.
            None => Err(failure::unknown_trail(arn.name(), &caller.account).into()),
        }
    }

    pub(super) async fn describe_trails(
        &self,
        caller: &Caller,
        request: DescribeRequest,
    ) -> Result<Value, Failure> {
        let account = caller.account.clone();
        let trails = self.deps.catalog.read(move |tx| Ok::<_, Failure>(trails_of(tx, &account)?)).await?;
        let names = request.trail_name_list.unwrap_or_default();
        let shown: Vec<_> = if names.is_empty() {
            let shadows = request.include_shadow_trails != Some(false);
            trails
                .iter()
                .filter(|trail| trail.multi_region || trail.home_region() == caller.region)
                .filter(|trail| shadows || (trail.home_region() == caller.region && trail.shadow.is_none()))
                .map(reply::description)
                .collect()
        } else {
            let wanted = wanted_trails(&names, caller)?;
            wanted
                .iter()
                .filter_map(|arn| trails.iter().find(|trail| trail.arn == *arn))
                .map(reply::description)
                .collect()
        };
        Ok(json!({"trailList": shown}))
    }

    pub(super) async fn trails(&self, caller: &Caller, request: ListRequest) -> Result<Value, Failure> {
        let account = caller.account.clone();
        let mut trails = self.deps.catalog.read(move |tx| Ok::<_, Failure>(trails_of(tx, &account)?)).await?;
        let after =
            request.next_token.as_deref().map(|token| listed_last(token, caller, &trails)).transpose()?;
        let key = |arn: &TrailArn| trail_key(arn).bytes().to_vec();
        trails.sort_by_key(|trail| key(&trail.arn));
        let mut rest =
            trails.iter().filter(|trail| after.as_ref().is_none_or(|last| key(&trail.arn) > key(last)));
        let page: Vec<_> = rest.by_ref().take(TRAILS_PER_PAGE_MAX).collect();
        let shown: Vec<_> = page
            .iter()
            .map(|trail| json!({"TrailARN": trail.arn, "Name": trail.arn.name(), "HomeRegion": trail.home_region()}))
            .collect();
        let mut answer = json!({"Trails": shown});
        if let (Some(last), Some(_)) = (page.last(), rest.next()) {
            answer["NextToken"] = json!(URL_SAFE_NO_PAD.encode(last.arn.as_str()));
        }
        Ok(answer)
    }
}

/// The trails that a list of names and ARNs means, each once.
fn wanted_trails(names: &[String], caller: &Caller) -> Result<Vec<TrailArn>, AwsError> {
    let mut wanted = Vec::new();
    for name in names {
        let arn = names::meant_trail(name, caller)?;
        if !wanted.contains(&arn) {
            wanted.push(arn);
        }
    }
    Ok(wanted)
}

/// The trail that the page before ended with.
fn listed_last(token: &str, caller: &Caller, trails: &[Trail]) -> Result<TrailArn, AwsError> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let last: Option<TrailArn> = text.and_then(|text| text.parse().ok());
    let is_known =
        |arn: &TrailArn| arn.account() == caller.account || trails.iter().any(|trail| trail.arn == *arn);
    last.filter(is_known).ok_or_else(failure::invalid_next_token)
}
