//! IAM and STS over the query protocol, from the request's bytes to the reply's.

use bytes::Bytes;
use cairn_services::{Caller, Service};
use cairn_wire::front::{Checks, Front, FrontSettings, Payload, ReplyBody, Signing};

use crate::world::{World, root};

/// Sends a form and gives back the status and the document.
async fn post(service: &dyn Service, caller: &Caller, form: &str) -> (u16, String) {
    let front = Front::new(FrontSettings { s3_hosts: Vec::new(), buffered_body_bytes_max: 1 << 20 });
    let request = http::Request::builder()
        .method("POST")
        .uri("/")
        .header("host", "localhost")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .body(())
        .unwrap();
    let (parts, ()) = request.into_parts();
    let signing = Signing { service: service.model(), region: "us-east-1" };
    let opening = front.open(&parts, Some(signing)).unwrap();
    let (call, exchange) = opening.decode(&parts, Payload::Whole(Bytes::from(form.to_owned()))).unwrap();
    let outcome = match front.check(&call, Checks::All) {
        Err(error) => Err(error),
        Ok(()) => {
            let target = service.target(caller, &call).await.unwrap();
            cairn_services::authorise(caller, &target).unwrap();
            service.handle(caller, call).await
        }
    };
    let response = match outcome {
        Ok(reply) => exchange.encode(reply, &caller.request_id),
        Err(error) => exchange.encode_error(&error, &caller.request_id, "/"),
    };
    let status = response.status().as_u16();
    let ReplyBody::Whole(body) = response.into_body() else { panic!("a query reply is no stream") };
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn users_and_keys_travel_as_aws_writes_them() {
    let world = World::new();
    let iam = world.iam();
    let account = iam.ensure_first_account(None).await.unwrap().account;
    let root = root(&account);
    for (form, status, parts) in [
        (
            "Action=CreateUser&Version=2010-05-08&UserName=alice&Path=%2Fops%2F&Tags.member.1.Key=team&Tags.member.1.Value=red",
            200,
            &[
                "<CreateUserResult><User><Path>/ops/</Path><UserName>alice</UserName><UserId>AIDA",
                "<CreateDate>2026-11-21T17:24:26Z</CreateDate><Tags><member><Key>team</Key><Value>red</Value></member></Tags>",
            ][..],
        ),
        (
            "Action=CreateUser&Version=2010-05-08&UserName=alice",
            409,
            &["<Code>EntityAlreadyExists</Code><Message>User with name alice already exists.</Message>"],
        ),
        ("Action=CreateUser&Version=2010-05-08&UserName=a+b", 400, &["<Code>ValidationError</Code>"]),
        (
            "Action=CreateAccountAlias&Version=2010-05-08&AccountAlias=a--b",
            400,
            &["<Code>ValidationError</Code>"],
        ),
        (
            "Action=CreateAccountAlias&Version=2010-05-08&AccountAlias=acme-2",
            200,
            &["<CreateAccountAliasResponse"],
        ),
        (
            "Action=CreateAccessKey&Version=2010-05-08&UserName=alice",
            200,
            &["<AccessKeyId>AKIA", "<SecretAccessKey>"],
        ),
        ("Action=DeleteUser&Version=2010-05-08&UserName=alice", 409, &["<Code>DeleteConflict</Code>"]),
        ("Action=ListUsers&Version=2010-05-08&MaxItems=1", 200, &["<IsTruncated>false</IsTruncated>"]),
        ("Action=GetUser&Version=2010-05-08", 200, &[":root</Arn>"]),
        ("Action=GetUser&Version=2010-05-08&UserName=bob", 404, &["<Code>NoSuchEntity</Code>"]),
        (
            "Action=GetAccountSummary&Version=2010-05-08",
            200,
            &["<SummaryMap><entry><key>Users</key><value>1</value></entry>"],
        ),
        ("Action=ListUsers&Version=2010-05-08&MaxItems=0", 400, &["<Code>ValidationError</Code>"]),
    ] {
        let (found, document) = post(&iam, &root, form).await;
        assert_eq!(found, status, "{form}: {document}");
        for part in parts {
            assert!(document.contains(part), "{form}: {document}");
        }
    }
    let (_, document) =
        post(&crate::sts::sts_of(&world), &root, "Action=GetCallerIdentity&Version=2011-06-15").await;
    assert!(document.contains(&format!("<Account>{account}</Account>")), "{document}");
}
