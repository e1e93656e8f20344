//! A policy document, parsed and checked once.

use super::condition::{self, Condition};
use super::json::Node;
use super::pattern::{ArnPattern, Pattern, Syntax};

/// The largest document of any kind, that of a KMS key policy. Services hold their own, smaller limits.
pub(super) const DOCUMENT_SIZE_BYTES_MAX: usize = 32 * 1024;

/// Why a text is not a policy document.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is too long.
    #[error("the policy has {size_bytes} bytes, more than {DOCUMENT_SIZE_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        size_bytes: usize,
    },
    /// It is not JSON, or an object has a member twice.
    #[error("the policy is not JSON")]
    Json(#[source] serde_json::Error),
    /// A statement has no actions or no resources where it needs some.
    #[error("{element}: there are none")]
    None {
        /// Which element.
        element: &'static str,
    },
    /// An element is missing, unknown, or of the wrong form.
    #[error("{element}: {problem}")]
    Element {
        /// Which element.
        element: String,
        /// What is wrong.
        problem: String,
    },
    /// A principal cannot be one.
    #[error("{value:?} is not a principal")]
    Principal {
        /// The text.
        value: String,
    },
    /// An action cannot be one.
    #[error("{value:?} is not an action")]
    Action {
        /// The text.
        value: String,
    },
    /// A resource is neither `*` nor an ARN.
    #[error("{value:?} is not a resource")]
    Resource {
        /// The text.
        value: String,
    },
    /// A condition's operator, key or value is not one.
    #[error("condition {element}: {problem}")]
    Condition {
        /// The operator, or the operator and key.
        element: String,
        /// What is wrong.
        problem: String,
    },
}

/// The version of the policy language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `2008-10-17`, also where none is named: without policy variables.
    V2008,
    /// `2012-10-17`.
    V2012,
}

/// What a statement does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies.
    Deny,
}

/// One entry of Principal or NotPrincipal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalPattern {
    /// `*` or `{"AWS": "*"}`: everybody, also services and the anonymous.
    Anyone,
    /// An account, by id or `:root` ARN: every principal of it.
    Account(String),
    /// A user, role or session by its ARN.
    Arn(String),
    /// A user or role by its unique id.
    UniqueId(String),
    /// A service.
    Service(String),
    /// A federated identity provider.
    Federated(String),
    /// An account by S3's canonical id. It matches nobody: Cairn has no such ids.
    CanonicalUser(String),
}

/// Principal or NotPrincipal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalElement {
    /// Those named.
    Principal(Vec<PrincipalPattern>),
    /// All but those named.
    NotPrincipal(Vec<PrincipalPattern>),
}

/// Action or NotAction, Resource or NotResource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection<P> {
    /// Whether it takes in what matches none of the patterns.
    pub(super) negated: bool,
    pub(super) patterns: Vec<P>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its Sid.
    pub sid: Option<String>,
    /// Allow or Deny.
    pub effect: Effect,
    /// Whom it is about; none in an identity policy.
    pub principals: Option<PrincipalElement>,
    /// Which actions.
    pub(super) actions: Selection<Pattern>,
    /// Which resources; none in a role's trust policy, which is about the role.
    pub(super) resources: Option<Selection<ArnPattern>>,
    /// Under which conditions; all must hold.
    pub(super) conditions: Vec<Condition>,
}

/// A policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its version.
    pub version: Version,
    /// Its Id.
    pub id: Option<String>,
    /// Its statements, at least one.
    pub statements: Vec<Statement>,
}

type Members = Vec<(String, Node)>;

impl Document {
    /// Parses and checks a document's JSON text.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > DOCUMENT_SIZE_BYTES_MAX {
            return Err(PolicyError::TooLarge { size_bytes: text.len() });
        }
        let node: Node = serde_json::from_str(text).map_err(PolicyError::Json)?;
        let Node::Object(mut members) = node else { return Err(element("policy", "must be an object")) };
        let version = match text_member(&mut members, "Version")?.as_deref() {
            None | Some("2008-10-17") => Version::V2008,
            Some("2012-10-17") => Version::V2012,
            Some(other) => return Err(element("Version", &format!("{other:?} is unknown"))),
        };
        let id = text_member(&mut members, "Id")?;
        let statements = match take(&mut members, "Statement") {
            None => return Err(element("Statement", "is missing")),
            Some(Node::List(list)) if list.is_empty() => return Err(element("Statement", "is empty")),
            Some(Node::List(list)) => {
                list.into_iter().map(|node| statement(node, version)).collect::<Result<_, _>>()?
            }
            Some(single) => vec![statement(single, version)?],
        };
        no_more(&members, "policy")?;
        Ok(Self { version, id, statements })
    }
}

fn statement(node: Node, version: Version) -> Result<Statement, PolicyError> {
    let Node::Object(mut members) = node else { return Err(element("Statement", "must be an object")) };
    let members = &mut members;
    let sid = text_member(members, "Sid")?;
    let effect = match text_member(members, "Effect")?.as_deref() {
        Some("Allow") => Effect::Allow,
        Some("Deny") => Effect::Deny,
        Some(other) => return Err(element("Effect", &format!("{other:?} is unknown"))),
        None => return Err(element("Effect", "is missing")),
    };
    let principals = match one_of(members, "Principal", "NotPrincipal")? {
        None => None,
        Some((node, false)) => Some(PrincipalElement::Principal(principals(node)?)),
        Some((node, true)) => Some(PrincipalElement::NotPrincipal(principals(node)?)),
    };
    let variables = version == Version::V2012;
    let (action_texts, not_actions) =
        selection(members, "Action", "NotAction")?.ok_or(PolicyError::None { element: "Action" })?;
    if let Some(value) = action_texts.iter().find(|text| !is_action(text)) {
        return Err(PolicyError::Action { value: value.clone() });
    }
    let actions = Selection { negated: not_actions, patterns: compile(&action_texts, action_pattern) };
    let resources = match selection(members, "Resource", "NotResource")? {
        None => None,
        Some((texts, negated)) => {
            if let Some(value) = texts.iter().find(|text| !is_resource(text)) {
                return Err(PolicyError::Resource { value: value.clone() });
            }
            Some(Selection {
                negated,
                patterns: compile(&texts, |text| ArnPattern::compile(text, variables)),
            })
        }
    };
    let conditions = match take(members, "Condition") {
        None => Vec::new(),
        Some(Node::Object(operators)) => condition::parse(operators, variables)?,
        Some(_) => return Err(element("Condition", "must be an object")),
    };
    no_more(members, "Statement")?;
    Ok(Statement { sid, effect, principals, actions, resources, conditions })
}

fn principals(node: Node) -> Result<Vec<PrincipalPattern>, PolicyError> {
    let kinds = match node {
        Node::Text(text) if text == "*" => return Ok(vec![PrincipalPattern::Anyone]),
        Node::Text(value) => return Err(PolicyError::Principal { value }),
        Node::Object(kinds) if !kinds.is_empty() => kinds,
        _ => return Err(element("Principal", "must be \"*\" or an object")),
    };
    let mut patterns = Vec::new();
    for (kind, node) in kinds {
        for value in texts(node, "Principal")? {
            patterns.push(match kind.as_str() {
                "AWS" => aws_principal(value)?,
                "Service" => PrincipalPattern::Service(value),
                "Federated" => PrincipalPattern::Federated(value),
                "CanonicalUser" => PrincipalPattern::CanonicalUser(value),
                _ => return Err(element("Principal", &format!("{kind:?} is unknown"))),
            });
        }
    }
    Ok(patterns)
}

fn aws_principal(value: String) -> Result<PrincipalPattern, PolicyError> {
    if value == "*" {
        return Ok(PrincipalPattern::Anyone);
    }
    if is_account(&value) {
        return Ok(PrincipalPattern::Account(value));
    }
    let unique = (16..=128).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if unique {
        return Ok(PrincipalPattern::UniqueId(value));
    }
    let parts: Vec<&str> = value.splitn(6, ':').collect();
    if let ["arn", partition, "iam" | "sts", "", account, resource] = parts[..]
        && !partition.is_empty()
        && is_account(account)
        && !resource.contains(['*', '?'])
    {
        return match resource {
            "root" => Ok(PrincipalPattern::Account(account.to_owned())),
            _ if resource.contains('/') => Ok(PrincipalPattern::Arn(value)),
            _ => Err(PolicyError::Principal { value }),
        };
    }
    Err(PolicyError::Principal { value })
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// `*`, or a service, a colon and the action's name or pattern.
fn is_action(text: &str) -> bool {
    text == "*"
        || text
            .split_once(':')
            .is_some_and(|(service, name)| is_service(service) && !name.is_empty() && !name.contains(':'))
}

/// Whether a text may stand before an action's colon.
pub(super) fn is_service(text: &str) -> bool {
    let plain = || text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    text == "*" || (!text.is_empty() && plain())
}

fn is_resource(text: &str) -> bool {
    text == "*" || text.starts_with("arn:")
}

/// The one of two elements that is there, and whether it is the second.
fn one_of(members: &mut Members, name: &str, not_name: &str) -> Result<Option<(Node, bool)>, PolicyError> {
    match (take(members, name), take(members, not_name)) {
        (Some(_), Some(_)) => Err(element(name, &format!("and {not_name} exclude each other"))),
        (Some(node), None) => Ok(Some((node, false))),
        (None, Some(node)) => Ok(Some((node, true))),
        (None, None) => Ok(None),
    }
}

/// The texts of one of two elements, and whether it is the second.
fn selection(
    members: &mut Members,
    name: &'static str,
    not_name: &'static str,
) -> Result<Option<(Vec<String>, bool)>, PolicyError> {
    let found = one_of(members, name, not_name)?;
    if let Some((Node::List(list), _)) = &found
        && list.is_empty()
    {
        return Err(PolicyError::None { element: name });
    }
    found
        .map(|(node, negated)| Ok((texts(node, if negated { not_name } else { name })?, negated)))
        .transpose()
}

fn compile<P>(texts: &[String], pattern: impl Fn(&str) -> P) -> Vec<P> {
    texts.iter().map(|text| pattern(text)).collect()
}

/// Actions have wildcards and no variables.
fn action_pattern(text: &str) -> Pattern {
    Pattern::compile(text, Syntax { wildcards: true, variables: false })
}

/// One text or a list of at least one.
fn texts(node: Node, name: &str) -> Result<Vec<String>, PolicyError> {
    let list = match node {
        Node::Text(text) => return Ok(vec![text]),
        Node::List(list) if !list.is_empty() => list,
        _ => return Err(element(name, "must be a text or a list of texts")),
    };
    list.into_iter()
        .map(|item| match item {
            Node::Text(text) => Ok(text),
            _ => Err(element(name, "must be a text or a list of texts")),
        })
        .collect()
}

fn text_member(members: &mut Members, name: &str) -> Result<Option<String>, PolicyError> {
    match take(members, name) {
        None => Ok(None),
        Some(Node::Text(text)) => Ok(Some(text)),
        Some(_) => Err(element(name, "must be a text")),
    }
}

fn take(members: &mut Members, name: &str) -> Option<Node> {
    let at = members.iter().position(|(member, _)| member == name)?;
    Some(members.swap_remove(at).1)
}

fn no_more(members: &Members, place: &str) -> Result<(), PolicyError> {
    match members.first() {
        None => Ok(()),
        Some((name, _)) => Err(element(place, &format!("element {name:?} is unknown"))),
    }
}

fn element(name: &str, problem: &str) -> PolicyError {
    PolicyError::Element { element: name.to_owned(), problem: problem.to_owned() }
}
