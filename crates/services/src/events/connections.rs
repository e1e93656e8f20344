//! Connections: what API destinations are called with. Secrets are sealed with the connection, and never shown.
//!
//! AWS keeps them in Secrets Manager; here the connection's `SecretArn` has the form of such a secret, and there is none.

use cairn_core::Timestamp;
use cairn_store::catalog::Key;
use cairn_store::{CatalogError, SealError, Sealer, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Events;
use super::error::{Failure, exists, not_found, over_limit, validation};
use super::names::Place;
use super::page::{PageInput, page};
use crate::Caller;

/// The connections, by place and name.
pub(super) const CONNECTIONS: Table<Connection> = Table::new("events.connection", 1);
/// Connections of an account in a region: AWS's quota.
const CONNECTIONS_MAX: usize = 3_000;
/// What the id of a secret ends in.
const SECRET_SUFFIX_CHARS: usize = 6;
const SECRET_SUFFIX_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Members of the parameters that are secrets.
const SECRET_MEMBERS: [&str; 3] = ["ApiKeyValue", "ClientSecret", "Password"];

/// Whether a connection can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ConnectionState {
    Authorized,
    Authorizing,
    Deauthorized,
}

/// A connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) arn: String,
    secret_arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    pub(super) authorization_type: String,
    /// The parameters as they were given, JSON, sealed; none where it was deauthorized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kms_key: Option<String>,
    pub(super) state: ConnectionState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state_reason: Option<String>,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    pub(super) authorized: Timestamp,
}

impl Connection {
    fn context(&self) -> String {
        format!("events.connection {}", self.arn)
    }

    fn seal(&mut self, sealer: &Sealer, auth: &Value) {
        self.auth = Some(sealer.seal_text(&self.context(), auth.to_string().as_bytes()));
    }

    /// The parameters, with their secrets.
    pub(super) fn auth(&self, sealer: &Sealer) -> Result<Value, SealError> {
        let Some(sealed) = &self.auth else { return Ok(Value::Null) };
        let text = sealer.open_text(&self.context(), sealed)?;
        serde_json::from_slice(&text).map_err(|_| SealError::Broken { context: self.context() })
    }
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ConnectionInput {
    pub(super) name: String,
    description: Option<String>,
    authorization_type: Option<String>,
    auth_parameters: Option<Value>,
    kms_key_identifier: Option<String>,
    invocation_connectivity_parameters: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NameInput {
    pub(super) name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListConnections {
    connection_state: Option<String>,
    #[serde(flatten)]
    page: PageInput,
}

/// The member that the parameters of a kind are in.
fn member_of(authorization_type: &str) -> &'static str {
    match authorization_type {
        "API_KEY" => "ApiKeyAuthParameters",
        "OAUTH_CLIENT_CREDENTIALS" => "OAuthParameters",
        _ => "BasicAuthParameters",
    }
}

fn check(authorization_type: &str, auth: &Value, input: &ConnectionInput) -> Result<(), Failure> {
    let has_private = auth.get("ConnectivityParameters").is_some();
    if has_private || input.invocation_connectivity_parameters.is_some() {
        return Err(validation("Private connectivity is not supported."));
    }
    let member = member_of(authorization_type);
    if auth.get(member).is_none() {
        return Err(validation(format!(
            "Parameter AuthParameters is not valid. Reason: {member} is required for {authorization_type}."
        )));
    }
    Ok(())
}

/// OAuth's connections have to be granted a token first.
fn first_state(authorization_type: &str) -> ConnectionState {
    if authorization_type == "OAUTH_CLIENT_CREDENTIALS" {
        ConnectionState::Authorizing
    } else {
        ConnectionState::Authorized
    }
}

/// The parameters without their secrets.
fn shown_auth(auth: &Value) -> Value {
    match auth {
        Value::Object(members) => {
            let is_secret = members.get("IsValueSecret").and_then(Value::as_bool) == Some(true);
            let shown = members.iter().filter(|(name, _)| {
                !(SECRET_MEMBERS.contains(&name.as_str()) || is_secret && name.as_str() == "Value")
            });
            Value::Object(shown.map(|(name, value)| (name.clone(), shown_auth(value))).collect())
        }
        Value::Array(items) => items.iter().map(shown_auth).collect(),
        other => other.clone(),
    }
}

pub(super) fn row(place: &Place, name: &str) -> Key {
    place.row().text(name)
}

fn no_connection(verb: &str, name: &str) -> Failure {
    not_found(format!("Failed to {verb} the connection(s). Connection '{name}' does not exist."))
}

impl Events {
    pub(super) async fn create_connection(
        &self,
        caller: &Caller,
        input: ConnectionInput,
    ) -> Result<Value, Failure> {
        let kind = input.authorization_type.clone().unwrap_or_default();
        let auth = input.auth_parameters.clone().unwrap_or_default();
        check(&kind, &auth, &input)?;
        let (place, name) = (Place::of(caller), input.name.clone());
        let suffix = self.entropy.text(SECRET_SUFFIX_ALPHABET, SECRET_SUFFIX_CHARS);
        let secret = format!("events!connection/{name}/{}-{suffix}", self.new_id());
        let mut connection = Connection {
            arn: place.arn(&format!("connection/{name}/{}", self.new_id())),
            secret_arn: format!("arn:aws:secretsmanager:{}:{}:secret:{secret}", place.region, place.account),
            name,
            description: input.description,
            state: first_state(&kind),
            authorization_type: kind,
            auth: None,
            kms_key: input.kms_key_identifier,
            state_reason: None,
            created: caller.now,
            modified: caller.now,
            authorized: caller.now,
        };
        connection.seal(&self.sealer, &auth);
        let made = connection.clone();
        self.catalog
            .write(move |tx| {
                let row = row(&place, &made.name);
                if CONNECTIONS.get(tx, row.bytes())?.is_some() {
                    return Err(exists(format!("Connection {} already exists.", made.name)));
                }
                if CONNECTIONS.count_prefix(tx, place.row().bytes(), CONNECTIONS_MAX)? >= CONNECTIONS_MAX {
                    return Err(over_limit());
                }
                CONNECTIONS.put(tx, row.bytes(), &made)?;
                Ok(())
            })
            .await?;
        self.put_work();
        let mut reply = stated(&connection);
        reply.remove("LastAuthorizedTime");
        Ok(Value::Object(reply))
    }

    pub(super) async fn update_connection(
        &self,
        caller: &Caller,
        input: ConnectionInput,
    ) -> Result<Value, Failure> {
        let (sealer, now, place) = (self.sealer.clone(), caller.now, Place::of(caller));
        let name = input.name.clone();
        let changed = self.change_connection(&place, &name, "update", move |connection| {
            let kind = input.authorization_type.clone().unwrap_or(connection.authorization_type.clone());
            // Parameters that are not said stay, of the same kind.
            let mut auth = connection.auth(&sealer)?;
            if kind != connection.authorization_type || !auth.is_object() {
                auth = json!({});
            }
            if let (Some(Value::Object(given)), Some(kept)) = (&input.auth_parameters, auth.as_object_mut()) {
                kept.extend(given.clone());
            }
            check(&kind, &auth, &input)?;
            connection.state = first_state(&kind);
            connection.authorization_type = kind;
            connection.seal(&sealer, &auth);
            connection.description = input.description.clone().or(connection.description.take());
            connection.kms_key = input.kms_key_identifier.clone().or(connection.kms_key.take());
            (connection.modified, connection.authorized) = (now, now);
            connection.state_reason = None;
            Ok(())
        });
        let connection = changed.await?;
        self.tokens.forget(&connection.arn);
        self.put_work();
        Ok(Value::Object(stated(&connection)))
    }

    pub(super) async fn deauthorize_connection(
        &self,
        caller: &Caller,
        input: NameInput,
    ) -> Result<Value, Failure> {
        let (place, now) = (Place::of(caller), caller.now);
        let changed = self.change_connection(&place, &input.name, "deauthorize", move |connection| {
            connection.auth = None;
            connection.state = ConnectionState::Deauthorized;
            connection.modified = now;
            Ok(())
        });
        let connection = changed.await?;
        self.tokens.forget(&connection.arn);
        let mut reply = stated(&connection);
        reply.insert("ConnectionState".into(), "DEAUTHORIZING".into());
        Ok(Value::Object(reply))
    }

    pub(super) async fn delete_connection(
        &self,
        caller: &Caller,
        input: NameInput,
    ) -> Result<Value, Failure> {
        let row = row(&Place::of(caller), &input.name);
        let connection = self
            .catalog
            .write(move |tx| {
                let found = CONNECTIONS.get(tx, row.bytes())?;
                let found = found.ok_or_else(|| no_connection("delete", &input.name))?;
                CONNECTIONS.delete(tx, row.bytes())?;
                Ok::<_, Failure>(found)
            })
            .await?;
        self.tokens.forget(&connection.arn);
        let mut reply = stated(&connection);
        reply.insert("ConnectionState".into(), "DELETING".into());
        Ok(Value::Object(reply))
    }

    pub(super) async fn describe_connection(
        &self,
        caller: &Caller,
        input: NameInput,
    ) -> Result<Value, Failure> {
        let row = row(&Place::of(caller), &input.name);
        let found = self.catalog.read(move |tx| CONNECTIONS.get(tx, row.bytes())).await?;
        let connection = found.ok_or_else(|| no_connection("describe", &input.name))?;
        let mut reply = stated(&connection);
        reply.insert("Name".into(), connection.name.as_str().into());
        reply.insert("AuthorizationType".into(), connection.authorization_type.as_str().into());
        reply.insert("SecretArn".into(), connection.secret_arn.as_str().into());
        let auth = shown_auth(&connection.auth(&self.sealer)?);
        reply.extend((!auth.is_null()).then(|| ("AuthParameters".to_owned(), auth)));
        for (name, value) in
            [("Description", &connection.description), ("KmsKeyIdentifier", &connection.kms_key)]
        {
            reply.extend(value.as_ref().map(|text| (name.to_owned(), text.as_str().into())));
        }
        Ok(Value::Object(reply))
    }

    pub(super) async fn list_connections(
        &self,
        caller: &Caller,
        input: ListConnections,
    ) -> Result<Value, Failure> {
        let place = Place::of(caller);
        let all = self.catalog.read(move |tx| CONNECTIONS.scan_prefix(tx, place.row().bytes())).await?;
        let is_wanted = |connection: &Connection| {
            let state = json!(connection.state);
            input.connection_state.as_deref().is_none_or(|wanted| state.as_str() == Some(wanted))
        };
        let items = all.into_iter().map(|(_, connection)| connection).filter(is_wanted).map(|connection| {
            let mut shown = stated(&connection);
            shown.insert("Name".into(), connection.name.as_str().into());
            shown.insert("AuthorizationType".into(), connection.authorization_type.as_str().into());
            (connection.name.clone(), Value::Object(shown))
        });
        page("Connections", items, &input.page)
    }

    /// Changes a connection that is there.
    pub(super) async fn change_connection(
        &self,
        place: &Place,
        name: &str,
        verb: &'static str,
        change: impl Fn(&mut Connection) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Connection, Failure> {
        let (row, name) = (row(place, name), name.to_owned());
        let connection = self
            .catalog
            .write(move |tx| {
                let found = CONNECTIONS.get(tx, row.bytes())?;
                let mut connection = found.ok_or_else(|| no_connection(verb, &name))?;
                change(&mut connection)?;
                CONNECTIONS.put(tx, row.bytes(), &connection)?;
                Ok::<_, Failure>(connection)
            })
            .await?;
        Ok(connection)
    }

    /// The connection of an ARN, if it is still that one.
    pub(super) async fn connection_of(&self, arn: &str) -> Result<Option<Connection>, CatalogError> {
        let Some((place, rest)) = super::names::split(arn) else { return Ok(None) };
        let Some(name) = rest.strip_prefix("connection/").and_then(|path| path.split('/').next()) else {
            return Ok(None);
        };
        let row = row(&place, name);
        let found = self.catalog.read(move |tx| CONNECTIONS.get(tx, row.bytes())).await?;
        Ok(found.filter(|connection| connection.arn == arn))
    }
}

/// What every answer says of a connection.
fn stated(connection: &Connection) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("ConnectionArn".into(), connection.arn.as_str().into());
    shown.insert("ConnectionState".into(), json!(connection.state));
    shown.extend(
        connection.state_reason.as_ref().map(|text| ("StateReason".to_owned(), text.as_str().into())),
    );
    for (name, time) in [
        ("CreationTime", connection.created),
        ("LastModifiedTime", connection.modified),
        ("LastAuthorizedTime", connection.authorized),
    ] {
        shown.insert(name.into(), time.seconds().into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::check;

    #[test]
    fn rows_are_written_and_read_as_in_their_first_version() {
        check::<Connection>(
            r#"{"name":"c","arn":"a","secret_arn":"s","description":"d","authorization_type":"BASIC","auth":"sealed:x","kms_key":"k","state":"AUTHORIZED","state_reason":"r","created":1795281866042,"modified":1795281866042,"authorized":1795281866042}"#,
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let auth = json!({
            "OAuthParameters": {"ClientParameters": {"ClientID": "i", "ClientSecret": "s"}, "HttpMethod": "POST"},
            "InvocationHttpParameters": {"HeaderParameters": [
                {"Key": "a", "Value": "1", "IsValueSecret": true}, {"Key": "b", "Value": "2", "IsValueSecret": false}]},
        });
        let shown = json!({
            "OAuthParameters": {"ClientParameters": {"ClientID": "i"}, "HttpMethod": "POST"},
            "InvocationHttpParameters": {"HeaderParameters": [
                {"Key": "a", "IsValueSecret": true}, {"Key": "b", "Value": "2", "IsValueSecret": false}]},
        });
        assert_eq!(shown_auth(&auth), shown);
    }
}
