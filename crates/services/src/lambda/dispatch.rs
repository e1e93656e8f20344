//! Lambda as the front door sees it: its operations, and which method does which.

use async_trait::async_trait;
use cairn_core::AccountId;
use cairn_wire::{AwsError, Call, Reply};
use serde_json::Value;

use super::Lambda;
use super::error::{Failure, unsupported};
use super::record;
use super::target::{further_targets, target};
use crate::{Access, Caller, EventKind, Operation, Service, Target};

impl Lambda {
    async fn answer(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "CreateFunction" => self.create_function(caller, call.input()?).await,
            "GetFunction" => self.get_function(caller, call.input()?).await,
            "GetFunctionConfiguration" => self.get_configuration(caller, call.input()?).await,
            "ListFunctions" => self.list_functions(caller, call.input()?).await,
            "UpdateFunctionCode" => self.update_code(caller, call.input()?).await,
            "UpdateFunctionConfiguration" => self.update_configuration(caller, call.input()?).await,
            "DeleteFunction" => self.delete_function(caller, call.input()?).await,
            "PublishVersion" => self.publish_version(caller, call.input()?).await,
            "ListVersionsByFunction" => self.list_versions(caller, call.input()?).await,
            "CreateAlias" => self.create_alias(caller, call.input()?).await,
            "UpdateAlias" => self.update_alias(caller, call.input()?).await,
            "GetAlias" => self.get_alias(caller, call.input()?).await,
            "DeleteAlias" => self.delete_alias(caller, call.input()?).await,
            "ListAliases" => self.list_aliases(caller, call.input()?).await,
            _ => self.answer_others(caller, call).await,
        }
    }

    async fn answer_others(&self, caller: &Caller, call: &Call) -> Result<Value, Failure> {
        match call.operation.as_str() {
            "AddPermission" => self.add_permission(caller, call.input()?).await,
            "RemovePermission" => self.remove_permission(caller, call.input()?).await,
            "GetPolicy" => self.get_policy(caller, call.input()?).await,
            "PutFunctionEventInvokeConfig" => self.put_invoke_config(caller, call.input()?, false).await,
            "UpdateFunctionEventInvokeConfig" => self.put_invoke_config(caller, call.input()?, true).await,
            "GetFunctionEventInvokeConfig" => self.get_invoke_config(caller, call.input()?).await,
            "DeleteFunctionEventInvokeConfig" => self.delete_invoke_config(caller, call.input()?).await,
            "ListFunctionEventInvokeConfigs" => self.list_invoke_configs(caller, call.input()?).await,
            "PutFunctionConcurrency" => self.put_concurrency(caller, call.input()?).await,
            "GetFunctionConcurrency" => self.get_concurrency(caller, call.input()?).await,
            "DeleteFunctionConcurrency" => self.delete_concurrency(caller, call.input()?).await,
            "GetFunctionCodeSigningConfig" => self.code_signing(caller, call.input()?).await,
            "GetAccountSettings" => self.account_settings(caller).await,
            "ListTags" => self.list_tags(call.input()?).await,
            "TagResource" => self.tag(call.input()?).await,
            "UntagResource" => self.untag(call.input()?).await,
            other => Err(unsupported(other)),
        }
    }
}

const fn named(name: &'static str, event_name: &'static str, access: Access) -> Operation {
    Operation { name, event_name, access, kind: EventKind::Management }
}

/// The names in records have the version of the API that an operation came with; Lambda's newer ones have none.
const OPERATIONS: &[Operation] = &[
    named("AddPermission", "AddPermission20150331v2", Access::Write),
    named("CreateAlias", "CreateAlias20150331", Access::Write),
    named("CreateFunction", "CreateFunction20150331", Access::Write),
    named("DeleteAlias", "DeleteAlias20150331", Access::Write),
    named("DeleteFunction", "DeleteFunction20150331", Access::Write),
    named("DeleteFunctionConcurrency", "DeleteFunctionConcurrency20171031", Access::Write),
    named("DeleteFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig", Access::Write),
    named("GetAccountSettings", "GetAccountSettings20160819", Access::Read),
    named("GetAlias", "GetAlias20150331", Access::Read),
    named("GetFunction", "GetFunction20150331v2", Access::Read),
    named("GetFunctionCodeSigningConfig", "GetFunctionCodeSigningConfig", Access::Read),
    named("GetFunctionConcurrency", "GetFunctionConcurrency20190930", Access::Read),
    named("GetFunctionConfiguration", "GetFunctionConfiguration20150331v2", Access::Read),
    named("GetFunctionEventInvokeConfig", "GetFunctionEventInvokeConfig", Access::Read),
    named("GetPolicy", "GetPolicy20150331v2", Access::Read),
    Operation { name: "Invoke", event_name: "Invoke", access: Access::Write, kind: EventKind::Data },
    named("ListAliases", "ListAliases20150331", Access::Read),
    named("ListFunctionEventInvokeConfigs", "ListFunctionEventInvokeConfigs", Access::Read),
    named("ListFunctions", "ListFunctions20150331", Access::Read),
    named("ListTags", "ListTags20170331", Access::Read),
    named("ListVersionsByFunction", "ListVersionsByFunction20150331", Access::Read),
    named("PublishVersion", "PublishVersion20150331", Access::Write),
    named("PutFunctionConcurrency", "PutFunctionConcurrency20171031", Access::Write),
    named("PutFunctionEventInvokeConfig", "PutFunctionEventInvokeConfig", Access::Write),
    named("RemovePermission", "RemovePermission20150331v2", Access::Write),
    named("TagResource", "TagResource20170331v2", Access::Write),
    named("UntagResource", "UntagResource20170331v2", Access::Write),
    named("UpdateAlias", "UpdateAlias20150331", Access::Write),
    named("UpdateFunctionCode", "UpdateFunctionCode20150331v2", Access::Write),
    named("UpdateFunctionConfiguration", "UpdateFunctionConfiguration20150331v2", Access::Write),
    named("UpdateFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig", Access::Write),
];

#[async_trait]
impl Service for Lambda {
    fn model(&self) -> &'static str {
        "lambda"
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    async fn target(&self, caller: &Caller, call: &Call) -> Result<Target, AwsError> {
        Ok(target(&self.catalog, caller, call).await?)
    }

    async fn further_targets(&self, caller: &Caller, call: &Call) -> Result<Vec<Target>, AwsError> {
        Ok(further_targets(&self.catalog, caller, call).await?)
    }

    async fn handle(&self, caller: &Caller, call: Call) -> Result<Reply, AwsError> {
        if call.operation == "Invoke" {
            return Ok(self.invoke(caller, &call).await?);
        }
        Ok(Reply::of(&self.answer(caller, &call).await?))
    }

    fn recorded_request(&self, call: &Call) -> Option<Value> {
        Some(record::request(call))
    }

    fn recorded_reply(&self, operation: &Operation, result: &Value) -> Option<Value> {
        Some(record::reply(operation.name, result))
    }

    /// A call from another account is recorded in both.
    fn also_concerned(&self, _operation: &str, target: &Target) -> Option<AccountId> {
        target.policy.as_ref().map(|policy| policy.owner.clone())
    }
}
