//! CloudWatch: metrics, their queries, and alarms on a clock that is handed in.

mod metrics;

use cairn_core::AccountId;
use cairn_services::Caller;
use cairn_services::cloudwatch::{CloudWatch, Deps};
use cairn_wire::AwsError;
use prometheus::Registry;
use serde_json::Value;

use crate::world::{self, World};

/// CloudWatch on the world's catalog.
pub(crate) fn cloudwatch_of(world: &World) -> CloudWatch {
    let deps = Deps { catalog: world.catalog.clone(), clock: world.clock.clone() };
    CloudWatch::new(deps, &Registry::new()).unwrap()
}

pub(crate) fn account() -> AccountId {
    "111122223333".parse().unwrap()
}

/// The account's root, at the time that the world's clock shows.
pub(crate) fn caller_at(world: &World) -> Caller {
    use cairn_core::Clock;
    Caller { now: world.clock.now(), ..world::root(&account()) }
}

pub(crate) async fn send(
    world: &World,
    cloudwatch: &CloudWatch,
    operation: &str,
    params: Value,
) -> Result<Value, AwsError> {
    world::send(cloudwatch, &caller_at(world), operation, params).await
}

pub(crate) async fn refusal(
    world: &World,
    cloudwatch: &CloudWatch,
    operation: &str,
    params: Value,
) -> String {
    world::refusal(cloudwatch, &caller_at(world), operation, params).await
}
