//! What a target may be: which services it is of, and what it must and may have besides.

use cairn_core::input_transformer::{InputPath, InputTransformer, InputTransformerError};
use serde::Deserialize;
use serde_json::Value;

use super::error::{Failure, validation};
use super::names::place_of;
use super::state::{RuleTarget, Transformer};

/// Members of targets that are not built: they belong to services that the server has not.
const FOREIGN_PARAMETERS: [&str; 6] = [
    "AppSyncParameters",
    "BatchParameters",
    "EcsParameters",
    "RedshiftDataParameters",
    "RunCommandParameters",
    "SageMakerPipelineParameters",
];

/// What events can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Queue,
    Topic,
    Function,
    LogGroup,
    Stream,
    Firehose,
    Bus,
    ApiDestination,
}

impl Kind {
    /// The kind of what an ARN names; none where it is nothing that takes events.
    pub(super) fn of(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", "aws", service, _, _, rest] = parts[..] else { return None };
        match service {
            "sqs" => Some(Self::Queue),
            "sns" => Some(Self::Topic),
            "lambda" if rest.starts_with("function:") => Some(Self::Function),
            "logs" if rest.starts_with("log-group:") => Some(Self::LogGroup),
            "kinesis" if rest.starts_with("stream/") => Some(Self::Stream),
            "firehose" if rest.starts_with("deliverystream/") => Some(Self::Firehose),
            "events" if rest.starts_with("event-bus/") => Some(Self::Bus),
            "events" if rest.starts_with("api-destination/") => Some(Self::ApiDestination),
            _ => None,
        }
    }

    /// For metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Queue => "sqs",
            Self::Topic => "sns",
            Self::Function => "lambda",
            Self::LogGroup => "logs",
            Self::Stream => "kinesis",
            Self::Firehose => "firehose",
            Self::Bus => "event-bus",
            Self::ApiDestination => "api-destination",
        }
    }
}

/// A target as a call gives it.
pub(super) fn checked(given: &Value) -> Result<RuleTarget, Failure> {
    let target = RuleTarget::deserialize(given).map_err(|error| validation(error.to_string()))?;
    if let Some(foreign) = FOREIGN_PARAMETERS.iter().find(|name| given.get(**name).is_some()) {
        return Err(validation(format!("Parameter {foreign} is not supported for target: {}.", target.id)));
    }
    let arn = &target.arn;
    if place_of(arn).is_none() {
        return Err(validation(format!(
            "Parameter {arn} is not valid. Reason: Provided Arn is not in correct format."
        )));
    }
    let Some(kind) = Kind::of(arn) else {
        return Err(validation(format!(
            "Parameter {arn} is not valid. Reason: the target is not supported."
        )));
    };
    check_role(&target, kind)?;
    check_fifo(&target, kind)?;
    check_input(&target)?;
    check_dead_letters(&target)?;
    Ok(target)
}

/// Streams and API destinations are reached as a role, which a user hands over.
fn check_role(target: &RuleTarget, kind: Kind) -> Result<(), Failure> {
    let needs_role = matches!(kind, Kind::Stream | Kind::Firehose | Kind::ApiDestination);
    if needs_role && target.role_arn.is_none() {
        return Err(validation(format!("RoleArn is required for target {}.", target.arn)));
    }
    let is_role = |arn: &str| arn.starts_with("arn:aws:iam::") && arn.contains(":role/");
    if target.role_arn.as_deref().is_some_and(|arn| !is_role(arn)) {
        return Err(validation(
            "Parameter RoleArn is not valid. Reason: Provided Arn is not in correct format.",
        ));
    }
    Ok(())
}

fn check_input(target: &RuleTarget) -> Result<(), Failure> {
    let id = &target.id;
    let said = [target.input.is_some(), target.input_path.is_some(), target.input_transformer.is_some()];
    if said.iter().filter(|is_said| **is_said).count() > 1 {
        return Err(validation(format!(
            "Only one of Input, InputPath, or InputTransformer must be provided for target {id}."
        )));
    }
    if target.input.as_deref().is_some_and(|input| serde_json::from_str::<Value>(input).is_err()) {
        return Err(validation(format!("JSON syntax error in input for target {id}.")));
    }
    if target.input_path.as_deref().is_some_and(|path| InputPath::parse(path).is_err()) {
        return Err(validation(format!("Invalid InputPath for target {id}.")));
    }
    if let Some(transformer) = &target.input_transformer {
        compiled(transformer)
            .map_err(|error| validation(format!("InputTemplate for target {id} {error}")))?;
    }
    Ok(())
}

/// A target's transformer, ready to be applied.
pub(super) fn compiled(transformer: &Transformer) -> Result<InputTransformer, InputTransformerError> {
    let paths = transformer.input_paths_map.iter().map(|(name, path)| (name.as_str(), path.as_str()));
    InputTransformer::parse(paths, &transformer.input_template)
}

fn check_dead_letters(target: &RuleTarget) -> Result<(), Failure> {
    let Some(arn) = target.dead_letter_config.as_ref().and_then(|config| config.arn.as_deref()) else {
        return Ok(());
    };
    if Kind::of(arn) == Some(Kind::Queue) && !arn.ends_with(".fifo") {
        return Ok(());
    }
    Err(validation(format!("Parameter {arn} is not valid. Reason: a dead-letter queue is a standard queue.")))
}

/// A queue that keeps order needs a group; topics that keep order take nothing of services.
fn check_fifo(target: &RuleTarget, kind: Kind) -> Result<(), Failure> {
    if !target.arn.ends_with(".fifo") {
        return Ok(());
    }
    let group = target.sqs_parameters.as_ref().and_then(|parameters| parameters.message_group_id.as_ref());
    match kind {
        Kind::Queue if group.is_none() => Err(validation(format!(
            "Parameter(s) SqsParameters must be specified for target: {}.",
            target.id
        ))),
        Kind::Topic => Err(validation(format!(
            "Parameter {} is not valid. Reason: FIFO topics are not supported.",
            target.arn
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(given: &Value) -> String {
        match checked(given) {
            Ok(_) => "ok".to_owned(),
            Err(failure) => cairn_wire::AwsError::from(failure).message,
        }
    }

    #[test]
    fn targets_are_refused_that_nothing_can_be_sent_to() {
        let queue = "arn:aws:sqs:us-east-1:111122223333:q";
        assert_eq!(told(&json!({"Id": "1", "Arn": queue})), "ok");
        assert_eq!(
            told(&json!({"Id": "1", "Arn": "q"})),
            "Parameter q is not valid. Reason: Provided Arn is not in correct format."
        );
        let cluster = "arn:aws:ecs:us-east-1:111122223333:cluster/c";
        assert_eq!(
            told(&json!({"Id": "1", "Arn": cluster})),
            format!("Parameter {cluster} is not valid. Reason: the target is not supported.")
        );
        let stream = "arn:aws:kinesis:us-east-1:111122223333:stream/s";
        assert_eq!(
            told(&json!({"Id": "1", "Arn": stream})),
            format!("RoleArn is required for target {stream}.")
        );
        assert_eq!(
            told(&json!({"Id": "1", "Arn": queue, "Input": "{}", "InputPath": "$.a"})),
            "Only one of Input, InputPath, or InputTransformer must be provided for target 1."
        );
        assert_eq!(
            told(&json!({"Id": "t", "Arn": queue, "InputTransformer":
                {"InputPathsMap": {"a": "$.b"}, "InputTemplate": "\"<a> <notdefinedkey>\""}})),
            "InputTemplate for target t contains invalid placeholder notdefinedkey."
        );
        assert_eq!(
            told(&json!({"Id": "1", "Arn": queue, "DeadLetterConfig": {"Arn": format!("{queue}.fifo")}})),
            format!("Parameter {queue}.fifo is not valid. Reason: a dead-letter queue is a standard queue.")
        );
    }
}
