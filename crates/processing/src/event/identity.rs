//! Who made a call: the member `userIdentity`.
//!
//! Source: the AWS user guide's "CloudTrail userIdentity element".

use super::object::{Json, object};

object! {
    /// The member `userIdentity`.
    UserIdentity {
        /// `Root`, `IAMUser`, `AssumedRole`, `AWSAccount`, `AWSService`, …
        kind: String = "type",
        /// The unique id of the entity.
        principal_id: String = "principalId",
        /// The ARN of the entity.
        arn: String = "arn",
        /// The account of the entity.
        account_id: String = "accountId",
        /// The access key that signed.
        access_key_id: String = "accessKeyId",
        /// The friendly name of the entity.
        user_name: String = "userName",
        /// The session of temporary credentials.
        session_context: SessionContext = "sessionContext",
        /// The AWS service that made the call.
        invoked_by: String = "invokedBy",
        /// The provider of a SAML or web identity.
        identity_provider: String = "identityProvider",
        /// The id of the credential, of bearer tokens.
        credential_id: String = "credentialId",
        /// The user of IAM Identity Center on whose behalf the call was made.
        on_behalf_of: OnBehalfOf = "onBehalfOf",
        /// For which service's resource credentials were issued.
        in_scope_of: Json = "inScopeOf",
    }
}

object! {
    /// The member `userIdentity.sessionContext`.
    SessionContext {
        /// Who issued the session.
        session_issuer: SessionIssuer = "sessionIssuer",
        /// When the session was made, and whether with MFA.
        attributes: SessionAttributes = "attributes",
        /// The provider of a web identity.
        web_id_federation_data: WebIdFederationData = "webIdFederationData",
        /// The source identity of the session.
        source_identity: String = "sourceIdentity",
        /// `1.0` or `2.0`: which version of the instance metadata service gave the credentials.
        ec2_role_delivery: String = "ec2RoleDelivery",
        /// Whether it is a session of AssumeRoot: `true`.
        assumed_root: Json = "assumedRoot",
    }
}

object! {
    /// The member `userIdentity.sessionContext.sessionIssuer`.
    SessionIssuer {
        /// `Root`, `IAMUser`, `Role`.
        kind: String = "type",
        /// The unique id of the issuer.
        principal_id: String = "principalId",
        /// The ARN of the issuer.
        arn: String = "arn",
        /// The account of the issuer.
        account_id: String = "accountId",
        /// The friendly name of the issuer.
        user_name: String = "userName",
    }
}

object! {
    /// The member `userIdentity.sessionContext.attributes`.
    SessionAttributes {
        /// When the session was made, in AWS's text form.
        creation_date: String = "creationDate",
        /// `"true"` or `"false"`.
        mfa_authenticated: String = "mfaAuthenticated",
    }
}

object! {
    /// The member `userIdentity.sessionContext.webIdFederationData`.
    WebIdFederationData {
        /// The principal of the identity provider.
        federated_provider: String = "federatedProvider",
        /// The application and user ids that the provider reported.
        attributes: Json = "attributes",
    }
}

object! {
    /// The member `userIdentity.onBehalfOf`.
    OnBehalfOf {
        /// The user of the identity store.
        user_id: String = "userId",
        /// The identity store.
        identity_store_arn: String = "identityStoreArn",
    }
}
