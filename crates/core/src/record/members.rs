//! Where in a record's JSON its facts stand: one pass over the text checks all of it and finds them.
//!
//! Pure. The spans are small and own nothing of the text, so that they can be kept beside it: whoever has both reads the
//! facts without reading the text again. A member that stands there twice, or that is not of its type, is an error, as
//! is everything that is not JSON.

use std::borrow::Cow;

use super::facts::{Facts, IdentityFacts, ResourceFacts};
use super::scan::{ScanError, Scanner, Text};

/// The part of a text that a span may reach to; longer texts are no records.
const TEXT_SIZE_BYTES_MAX: usize = 1 << 30;
/// In a span's end: the string has escapes.
const ESCAPED: u32 = 1 << 31;

const EVENT_TIME: usize = 0;
const EVENT_ID: usize = 1;
const EVENT_SOURCE: usize = 2;
const EVENT_NAME: usize = 3;
const AWS_REGION: usize = 4;
const EVENT_TYPE: usize = 5;
const EVENT_CATEGORY: usize = 6;
const ERROR_CODE: usize = 7;
const RECIPIENT_ACCOUNT_ID: usize = 8;
const VPC_ENDPOINT_ID: usize = 9;
const SESSION_CREDENTIAL_FROM_CONSOLE: usize = 10;
const TEXTS: usize = 11;
/// The first of the texts that may be null.
const FIRST_OPTIONAL: usize = EVENT_TYPE;
// Members that are no texts, as bits of what was seen.
const MANAGEMENT_EVENT: usize = 11;
const READ_ONLY: usize = 12;
const USER_IDENTITY: usize = 13;
const RESOURCES: usize = 14;
const REQUEST_PARAMETERS: usize = 15;
const RESPONSE_ELEMENTS: usize = 16;

const IDENTITY_TEXTS: [&[u8]; 7] =
    [b"type", b"arn", b"accountId", b"accessKeyId", b"userName", b"principalId", b"invokedBy"];
const RESOURCE_TEXTS: [&[u8]; 4] = [b"type", b"ARN", b"ARNPrefix", b"accountId"];

/// What the member `name` of a record is, where it is a fact.
fn fact(name: &[u8]) -> Option<usize> {
    Some(match name {
        b"eventTime" => EVENT_TIME,
        b"eventID" => EVENT_ID,
        b"eventSource" => EVENT_SOURCE,
        b"eventName" => EVENT_NAME,
        b"awsRegion" => AWS_REGION,
        b"eventType" => EVENT_TYPE,
        b"eventCategory" => EVENT_CATEGORY,
        b"errorCode" => ERROR_CODE,
        b"recipientAccountId" => RECIPIENT_ACCOUNT_ID,
        b"vpcEndpointId" => VPC_ENDPOINT_ID,
        b"sessionCredentialFromConsole" => SESSION_CREDENTIAL_FROM_CONSOLE,
        b"managementEvent" => MANAGEMENT_EVENT,
        b"readOnly" => READ_ONLY,
        b"userIdentity" => USER_IDENTITY,
        b"resources" => RESOURCES,
        b"requestParameters" => REQUEST_PARAMETERS,
        b"responseElements" => RESPONSE_ELEMENTS,
        _ => return None,
    })
}

/// A part of a text. No fact begins where the text does, so an empty span there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(start: usize, end: usize, escaped: bool) -> Self {
        let place = |at| u32::try_from(at).expect("texts are held to TEXT_SIZE_BYTES_MAX");
        Self { start: place(start), end: place(end) | if escaped { ESCAPED } else { 0 } }
    }

    fn raw<'a>(&self, text: &'a str) -> Option<&'a str> {
        if self.start == 0 {
            return None;
        }
        text.get(self.start as usize..(self.end & !ESCAPED) as usize)
    }

    /// The string that the span holds.
    fn text<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        let raw = self.raw(text)?;
        if self.end & ESCAPED == 0 { Some(Cow::Borrowed(raw)) } else { unescaped(raw).map(Cow::Owned) }
    }
}

/// A string without its escapes; none where they are no Unicode text.
pub(super) fn unescaped(raw: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{raw}\"")).ok()
}

/// Where a record's facts stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactSpans {
    texts: [Span; TEXTS],
    identity: Option<[Span; IDENTITY_TEXTS.len()]>,
    resources: Option<Box<[[Span; RESOURCE_TEXTS.len()]]>>,
    request_parameters: Span,
    response_elements: Span,
    management_event: Option<bool>,
    read_only: Option<bool>,
    depth: usize,
}

impl FactSpans {
    /// Reads a record's JSON.
    ///
    /// # Errors
    /// Where it is not the JSON object of an event.
    pub fn of(text: &str) -> Result<Self, ScanError> {
        let mut reader = Reader { text, scanner: Scanner::new(text.as_bytes()) };
        if text.len() > TEXT_SIZE_BYTES_MAX {
            return reader.scanner.wrong("too long a text");
        }
        let mut spans = Self {
            texts: [Span::default(); TEXTS],
            identity: None,
            resources: None,
            request_parameters: Span::default(),
            response_elements: Span::default(),
            management_event: None,
            read_only: None,
            depth: 0,
        };
        reader.each_member(fact, |reader, fact| spans.read(reader, fact))?;
        reader.scanner.end()?;
        for (member, missing) in [
            (EVENT_TIME, "the member eventTime is missing"),
            (EVENT_ID, "the member eventID is missing"),
            (AWS_REGION, "the member awsRegion is missing"),
        ] {
            if spans.texts[member] == Span::default() {
                return reader.scanner.wrong(missing);
            }
        }
        spans.depth = reader.scanner.deepest;
        Ok(spans)
    }

    fn read(&mut self, reader: &mut Reader<'_>, fact: usize) -> Result<(), ScanError> {
        match fact {
            MANAGEMENT_EVENT => self.management_event = reader.flag()?,
            READ_ONLY => self.read_only = reader.flag()?,
            USER_IDENTITY => self.identity = reader.identity()?,
            RESOURCES => self.resources = reader.resources()?,
            REQUEST_PARAMETERS => self.request_parameters = reader.raw()?,
            RESPONSE_ELEMENTS => self.response_elements = reader.raw()?,
            text => self.texts[text] = reader.string(text >= FIRST_OPTIONAL)?,
        }
        Ok(())
    }

    /// How deep objects and arrays are nested.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The facts of `text`, from which the spans were made.
    #[must_use]
    pub fn facts<'a>(&self, text: &'a str) -> Facts<'a> {
        let optional = |member: usize| self.texts[member].text(text);
        let always = |member: usize| optional(member).unwrap_or_default();
        let identity = |spans: &[Span; IDENTITY_TEXTS.len()]| {
            let [kind, arn, account_id, access_key_id, user_name, principal_id, invoked_by] =
                spans.map(|span| span.text(text));
            IdentityFacts { kind, arn, account_id, access_key_id, user_name, principal_id, invoked_by }
        };
        let resource = |spans: &[Span; RESOURCE_TEXTS.len()]| {
            let [kind, arn, arn_prefix, account_id] = spans.map(|span| span.text(text));
            ResourceFacts { kind, arn, arn_prefix, account_id }
        };
        Facts {
            event_time: always(EVENT_TIME),
            event_id: always(EVENT_ID),
            event_source: always(EVENT_SOURCE),
            event_name: always(EVENT_NAME),
            aws_region: always(AWS_REGION),
            event_type: optional(EVENT_TYPE),
            event_category: optional(EVENT_CATEGORY),
            management_event: self.management_event,
            read_only: self.read_only,
            error_code: optional(ERROR_CODE),
            recipient_account_id: optional(RECIPIENT_ACCOUNT_ID),
            vpc_endpoint_id: optional(VPC_ENDPOINT_ID),
            session_credential_from_console: optional(SESSION_CREDENTIAL_FROM_CONSOLE),
            user_identity: self.identity.as_ref().map(identity),
            resources: self.resources.as_ref().map(|spans| spans.iter().map(resource).collect()),
            request_parameters: self.request_parameters.raw(text),
            response_elements: self.response_elements.raw(text),
        }
    }
}

/// Reads the values of members.
struct Reader<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
}

impl Reader<'_> {
    /// Reads an object: `known` says which of its members are read, each by `read`; the others are passed over.
    fn each_member(
        &mut self,
        known: impl Fn(&[u8]) -> Option<usize>,
        mut read: impl FnMut(&mut Self, usize) -> Result<(), ScanError>,
    ) -> Result<(), ScanError> {
        if self.scanner.peek() != Some(b'{') {
            return self.scanner.wrong("expected an object");
        }
        self.scanner.enter(true);
        let (mut seen, mut is_first) = (0_u32, true);
        while let Some(name) = self.scanner.next_member(is_first)? {
            is_first = false;
            match self.known(name, &known)? {
                Some(member) if seen >> member & 1 == 1 => {
                    return self.scanner.wrong("a member for the second time");
                }
                Some(member) => {
                    seen |= 1 << member;
                    read(self, member)?;
                }
                None => self.scanner.skip()?,
            }
        }
        Ok(())
    }

    fn known(&self, name: Text, known: impl Fn(&[u8]) -> Option<usize>) -> Result<Option<usize>, ScanError> {
        let raw = &self.text[name.start..name.end];
        if !name.escaped {
            return Ok(known(raw.as_bytes()));
        }
        let name = unescaped(raw);
        name.map_or_else(
            || self.scanner.wrong("a name that is not Unicode"),
            |name| Ok(known(name.as_bytes())),
        )
    }

    /// Whether null follows, which is passed.
    fn null(&mut self) -> Result<bool, ScanError> {
        let is_null = self.scanner.peek() == Some(b'n');
        if is_null {
            self.scanner.word(b"null")?;
        }
        Ok(is_null)
    }

    fn string(&mut self, optional: bool) -> Result<Span, ScanError> {
        if self.scanner.peek() != Some(b'"') {
            if optional && self.null()? {
                return Ok(Span::default());
            }
            return self.scanner.wrong("expected a string");
        }
        let Text { start, end, escaped } = self.scanner.string()?;
        if escaped && unescaped(&self.text[start..end]).is_none() {
            return self.scanner.wrong("a string that is not Unicode");
        }
        Ok(Span::new(start, end, escaped))
    }

    fn flag(&mut self) -> Result<Option<bool>, ScanError> {
        match self.scanner.peek() {
            Some(b't') => self.scanner.word(b"true").map(|()| Some(true)),
            Some(b'f') => self.scanner.word(b"false").map(|()| Some(false)),
            Some(b'n') => self.scanner.word(b"null").map(|()| None),
            _ => self.scanner.wrong("expected true or false"),
        }
    }

    /// Any value, as it stands.
    fn raw(&mut self) -> Result<Span, ScanError> {
        if self.null()? {
            return Ok(Span::default());
        }
        self.scanner.peek();
        let start = self.scanner.at;
        self.scanner.skip()?;
        Ok(Span::new(start, self.scanner.at, false))
    }

    /// An object's texts of these names.
    fn texts<const N: usize>(&mut self, names: &[&[u8]; N]) -> Result<[Span; N], ScanError> {
        let mut spans = [Span::default(); N];
        self.each_member(
            |name| names.iter().position(|known| *known == name),
            |reader, member| {
                spans[member] = reader.string(true)?;
                Ok(())
            },
        )?;
        Ok(spans)
    }

    fn identity(&mut self) -> Result<Option<[Span; IDENTITY_TEXTS.len()]>, ScanError> {
        if self.null()? { Ok(None) } else { self.texts(&IDENTITY_TEXTS).map(Some) }
    }

    fn resources(&mut self) -> Result<Option<Box<[[Span; RESOURCE_TEXTS.len()]]>>, ScanError> {
        if self.null()? {
            return Ok(None);
        }
        if self.scanner.peek() != Some(b'[') {
            return self.scanner.wrong("expected an array");
        }
        self.scanner.enter(false);
        let mut resources = Vec::new();
        while self.scanner.next_element(resources.is_empty())? {
            resources.push(self.texts(&RESOURCE_TEXTS)?);
        }
        Ok(Some(resources.into()))
    }
}

#[cfg(test)]
mod tests;
