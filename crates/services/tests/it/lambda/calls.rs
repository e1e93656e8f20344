//! Functions, versions, aliases, policies, and who may invoke.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cairn_core::Principal;
use cairn_services::sinks::{FunctionSink, Sender, Source};
use serde_json::{Value, json};

use super::{FUNCTION, World, create, made, package, refusal, send};
use crate::world;

fn payload(reply: &Value) -> String {
    String::from_utf8(STANDARD.decode(reply["Payload"].as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_function_is_made_shown_changed_and_deleted() {
    let world = World::new();
    let lambda = world.lambda().await;
    let function = made(&lambda, json!({"Environment": {"Variables": {"KEY": "value"}}, "Timeout": 9})).await;
    assert_eq!(function["FunctionArn"], FUNCTION);
    assert_eq!((&function["Timeout"], &function["MemorySize"]), (&json!(9), &json!(128)));
    assert_eq!(function["Environment"], json!({"Variables": {"KEY": "value"}}));
    let shown = send(&lambda, "GetFunction", json!({"FunctionName": FUNCTION})).await.unwrap();
    assert_eq!(shown["Configuration"], function);

    let changed = json!({"FunctionName": "f", "Timeout": 5, "Environment": {"Variables": {}}});
    let changed = send(&lambda, "UpdateFunctionConfiguration", changed).await.unwrap();
    assert_eq!((&changed["Timeout"], changed.get("Environment")), (&json!(5), None));
    let code = json!({"FunctionName": "f", "ZipFile": package("#!/bin/bash")});
    let code = send(&lambda, "UpdateFunctionCode", code).await.unwrap();
    assert_ne!(code["CodeSha256"], function["CodeSha256"]);
    assert_eq!(world.blob_count(), 1, "the first code is gone");
    send(&lambda, "DeleteFunction", json!({"FunctionName": "f"})).await.unwrap();
    assert_eq!(world.blob_count(), 0);
    assert!(world.queues.names().is_empty());
    assert_eq!(
        refusal(&lambda, "GetFunction", json!({"FunctionName": "f"})).await,
        format!("404 ResourceNotFoundException: Function not found: {FUNCTION}")
    );
}

#[tokio::test]
async fn what_cannot_be_is_refused_in_awss_words() {
    let world = World::new();
    let lambda = world.lambda().await;
    let mut refusals = Vec::new();
    for more in [
        json!({"Runtime": "nodejs22.x"}),
        json!({"Role": "arn:aws:iam::111122223333:role/nobody"}),
        json!({"Timeout": 901}),
        json!({"MemorySize": 10241}),
        json!({"Environment": {"Variables": {"AWS_REGION": "x"}}}),
        json!({"Environment": {"Variables": {"1A": "x"}}}),
        json!({"Code": {"ZipFile": STANDARD.encode("no zip")}}),
        json!({"Code": {}}),
        json!({"Layers": ["arn:aws:lambda:us-east-1:111122223333:layer:l:1"]}),
        json!({"PackageType": "Image"}),
        json!({"FunctionName": "a/b"}),
        json!({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::b"}}),
    ] {
        let text = refusal(&lambda, "CreateFunction", create(&more)).await;
        refusals.push(text.chars().take(150).collect::<String>().trim_end().to_owned());
    }
    let large = json!({"Environment": {"Variables": {"KEY": "x".repeat(4094)}}});
    assert!(refusal(&lambda, "CreateFunction", create(&large)).await.contains("exceeded the 4KB limit"));
    insta::assert_snapshot!(refusals.join("\n"), @r"
    400 InvalidParameterValueException: The runtime parameter of nodejs22.x is not supported by this server: it is another
    400 InvalidParameterValueException: The role defined for the function cannot be assumed by Lambda.
    400 ValidationException: 1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal
    400 ValidationException: 1 validation error detected: Value '10241' at 'memorySize' failed to satisfy constraint: Member must have value less than or
    400 InvalidParameterValueException: Lambda was unable to configure your environment variables because the environment variables you have provided cont
    400 ValidationException: 1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint:
    400 InvalidParameterValueException: Could not unzip uploaded file. Please check your file, then try to upload again.
    400 InvalidParameterValueException: Please provide a source for function code.
    400 InvalidParameterValueException: Layers is not supported by this server.
    400 InvalidParameterValueException: PackageType Image is not supported by this server.
    400 ValidationException: 1 validation error detected: Value 'a/b' at 'functionName' failed to satisfy constraint: Member must satisfy regular expressi
    400 InvalidParameterValueException: The provided DeadLetter target arn:aws:s3:::b is no queue and no topic.
    ");
    assert_eq!(world.blob_count(), 0, "what was refused left nothing");
}

#[tokio::test]
async fn without_somebody_who_executes_nothing_is_made_or_invoked() {
    let world = World::new();
    let first = world.lambda().await;
    made(&first, json!({})).await;
    let idle = world.lambda_by(None).await;
    for (operation, params) in
        [("CreateFunction", create(&json!({"FunctionName": "g"}))), ("Invoke", json!({"FunctionName": "f"}))]
    {
        let text = refusal(&idle, operation, params).await;
        assert!(text.starts_with("400 UnsupportedOperationException: This server does not run"), "{text}");
    }
    assert!(send(&idle, "GetFunction", json!({"FunctionName": "f"})).await.is_ok());
}

#[tokio::test]
async fn versions_stay_as_they_were_published_and_aliases_lead_to_them() {
    let world = World::new();
    let lambda = world.lambda().await;
    made(&lambda, json!({"Environment": {"Variables": {"KEY": "one"}}})).await;
    let publish = || send(&lambda, "PublishVersion", json!({"FunctionName": "f"}));
    assert_eq!(publish().await.unwrap()["Version"], "1");
    assert_eq!(publish().await.unwrap()["Version"], "1", "nothing changed");
    let change = json!({"FunctionName": "f", "Environment": {"Variables": {"KEY": "two"}}});
    send(&lambda, "UpdateFunctionConfiguration", change).await.unwrap();
    assert_eq!(publish().await.unwrap()["FunctionArn"], format!("{FUNCTION}:2"));
    let alias = json!({"FunctionName": "f", "Name": "live", "FunctionVersion": "1"});
    send(&lambda, "CreateAlias", alias).await.unwrap();
    for (qualifier, version) in [("live", "1"), ("2", "2"), ("$LATEST", "$LATEST")] {
        let reply =
            send(&lambda, "Invoke", json!({"FunctionName": "f", "Qualifier": qualifier})).await.unwrap();
        assert_eq!((&reply["ExecutedVersion"], payload(&reply).as_str()), (&json!(version), "{}"));
    }
    let given: Vec<String> =
        world.runner.given.lock().unwrap().iter().map(|(_, variables, _)| variables[0].1.clone()).collect();
    assert_eq!(given, ["one", "two", "two"]);
    let both = json!({"FunctionName": "f", "Name": "live", "RoutingConfig": {"AdditionalVersionWeights": {"2": 1.0}}});
    send(&lambda, "UpdateAlias", both).await.unwrap();
    let reply = send(&lambda, "Invoke", json!({"FunctionName": "f", "Qualifier": "live"})).await.unwrap();
    assert_eq!(reply["ExecutedVersion"], "2");
    assert!(
        refusal(&lambda, "DeleteFunction", json!({"FunctionName": "f", "Qualifier": "2"}))
            .await
            .starts_with("409")
    );
}

#[tokio::test]
async fn an_invocation_answers_what_the_function_answers() {
    let world = World::new();
    let lambda = world.lambda().await;
    made(&lambda, json!({})).await;
    let event = json!({"FunctionName": "f", "LogType": "Tail", "Payload": STANDARD.encode(r#"{"a":1}"#)});
    let reply = send(&lambda, "Invoke", event).await.unwrap();
    assert_eq!(payload(&reply), r#"{"a":1}"#);
    assert_eq!(reply["LogResult"], STANDARD.encode("the log"));
    assert!(reply.get("FunctionError").is_none());
    world.runner.fail(1);
    let reply = send(&lambda, "Invoke", json!({"FunctionName": "f"})).await.unwrap();
    assert_eq!((&reply["StatusCode"], &reply["FunctionError"]), (&json!(200), &json!("Unhandled")));
    let dry =
        send(&lambda, "Invoke", json!({"FunctionName": "f", "InvocationType": "DryRun"})).await.unwrap();
    assert_eq!(dry, json!({"StatusCode": 204}));
    let text =
        refusal(&lambda, "Invoke", json!({"FunctionName": "f", "Payload": STANDARD.encode("no json")})).await;
    assert!(
        text.starts_with("400 InvalidRequestContentException: Could not parse request body into json"),
        "{text}"
    );
    let large = STANDARD.encode(format!("\"{}\"", "x".repeat(1 << 20)));
    let large = json!({"FunctionName": "f", "InvocationType": "Event", "Payload": large});
    assert!(refusal(&lambda, "Invoke", large).await.starts_with("413 RequestTooLargeException"));
    let reserved = json!({"FunctionName": "f", "ReservedConcurrentExecutions": 0});
    send(&lambda, "PutFunctionConcurrency", reserved).await.unwrap();
    assert!(
        refusal(&lambda, "Invoke", json!({"FunctionName": "f"}))
            .await
            .starts_with("429 TooManyRequestsException")
    );
}

#[tokio::test]
async fn others_invoke_what_the_policy_gives_them() {
    let world = World::new();
    let lambda = world.lambda().await;
    made(&lambda, json!({})).await;
    let rule = |name: &str| {
        Sender::Service(Source {
            service: "events.amazonaws.com".into(),
            arn: format!("arn:aws:events:us-east-1:111122223333:rule/{name}"),
            account: "111122223333".parse().unwrap(),
        })
    };
    let invoke = |sender: Sender| {
        let lambda = &lambda;
        async move { lambda.invoke(&sender, FUNCTION, "{}".into()).await.map_err(|failure| failure.code) }
    };
    assert_eq!(invoke(rule("r")).await, Err("AccessDeniedException".to_owned()));
    let permission = json!({
        "FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction",
        "Principal": "events.amazonaws.com", "SourceArn": "arn:aws:events:us-east-1:111122223333:rule/r",
        "SourceAccount": "111122223333",
    });
    let added = send(&lambda, "AddPermission", permission.clone()).await.unwrap();
    insta::assert_snapshot!(added["Statement"].as_str().unwrap(), @r#"{"Sid":"s","Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"arn:aws:lambda:us-east-1:111122223333:function:f","Condition":{"StringEquals":{"AWS:SourceAccount":"111122223333"},"ArnLike":{"AWS:SourceArn":"arn:aws:events:us-east-1:111122223333:rule/r"}}}"#);
    assert!(refusal(&lambda, "AddPermission", permission).await.starts_with("409 ResourceConflictException"));
    assert_eq!(invoke(rule("r")).await, Ok(()));
    assert_eq!(invoke(rule("other")).await, Err("AccessDeniedException".to_owned()));
    let missing = lambda.check(&rule("r"), "arn:aws:lambda:us-east-1:111122223333:function:g").await;
    assert_eq!(missing.unwrap_err().code, "ResourceNotFoundException");

    // Another account's user, by the policy alone.
    let stranger = world::caller(Principal::IamUser {
        account: "444455556666".parse().unwrap(),
        user_id: "AIDAEXAMPLE".into(),
        user_name: "bob".into(),
        path: "/".into(),
    });
    let call = || world::send(&*lambda, &stranger, "Invoke", json!({"FunctionName": FUNCTION}));
    assert!(call().await.is_err());
    let shared = json!({"FunctionName": "f", "StatementId": "b", "Action": "lambda:InvokeFunction", "Principal": "444455556666"});
    send(&lambda, "AddPermission", shared).await.unwrap();
    assert!(call().await.is_ok());
    send(&lambda, "RemovePermission", json!({"FunctionName": "f", "StatementId": "b"})).await.unwrap();
    assert!(call().await.is_err());
}
