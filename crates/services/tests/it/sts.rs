//! STS.

use cairn_core::Principal;
use cairn_services::sts::Sts;
use serde_json::json;

use crate::world::{caller, refusal, send};

#[tokio::test]
async fn every_identity_may_ask_who_it_is_and_nobody_else() {
    let account: cairn_core::AccountId = "111122223333".parse().unwrap();
    let root = caller(Principal::Root { account: account.clone(), alias: Some("acme".into()) });
    assert_eq!(
        send(&Sts::new(), &root, "GetCallerIdentity", json!({})).await.unwrap(),
        json!({"UserId": "111122223333", "Account": "111122223333", "Arn": "arn:aws:iam::111122223333:root"})
    );
    let user = caller(Principal::IamUser {
        account,
        user_id: "AIDAEXAMPLE".into(),
        user_name: "alice".into(),
        path: "/ops/".into(),
    });
    assert_eq!(
        send(&Sts::new(), &user, "GetCallerIdentity", json!({})).await.unwrap(),
        json!({"UserId": "AIDAEXAMPLE", "Account": "111122223333", "Arn": "arn:aws:iam::111122223333:user/ops/alice"})
    );
    assert_eq!(
        refusal(&Sts::new(), &caller(Principal::Anonymous), "GetCallerIdentity", json!({})).await,
        "403 MissingAuthenticationToken: Request is missing Authentication Token"
    );
}
