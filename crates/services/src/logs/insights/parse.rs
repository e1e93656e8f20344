//! Queries in the language of Logs Insights: the commands `fields`, `display`, `filter`, `parse` with globs, `stats`, `sort`,
//! `dedup` and `limit`. What is not of this subset is refused, and never left out.

use cairn_core::filter_pattern::FilterPattern;

use super::Malformed;
use super::tokens::{Token, Word, tokens};

/// Commands of a query, and how deep expressions may lie in one another.
const COMMANDS_MAX: usize = 50;
const DEPTH_MAX: usize = 50;

/// One command.
pub(super) enum Command {
    Fields(Vec<(String, Expression)>),
    Display(Vec<String>),
    Filter(Expression),
    Parse { field: Expression, pieces: Vec<String>, names: Vec<String> },
    Stats { made: Vec<(String, Aggregate)>, by: Vec<(String, Expression)> },
    Sort(Vec<(Expression, bool)>),
    Dedup(Vec<String>),
    Limit(usize),
}

/// Something that has a value for each line.
pub(super) enum Expression {
    Field(String),
    Text(String),
    Number(f64),
    Compare(Box<Expression>, &'static str, Box<Expression>),
    Like(Box<Expression>, Pattern),
    In(Box<Expression>, Vec<Expression>),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    /// The time's beginning of a period, in milliseconds.
    Bin(i64),
    Call(&'static str, Vec<Expression>),
}

/// What a text is held against.
pub(super) enum Pattern {
    Part(String),
    Regex(FilterPattern),
}

/// What is made of all lines of a group.
pub(super) enum Aggregate {
    CountAll,
    Of(&'static str, Expression),
    Percentile(Expression, f64),
}

const FUNCTIONS: [&str; 7] = ["ispresent", "isempty", "isblank", "strlen", "tolower", "toupper", "trim"];
const AGGREGATES: [&str; 8] = ["count", "count_distinct", "sum", "avg", "min", "max", "earliest", "latest"];

/// The commands of a query.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, Malformed> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, depth: 0 };
    let mut commands = vec![parser.command()?];
    while parser.takes("|") {
        commands.push(parser.command()?);
        if commands.len() > COMMANDS_MAX {
            return Err(Malformed::at(0, format!("there are more than {COMMANDS_MAX} commands")));
        }
    }
    match parser.tokens.get(parser.at) {
        None => Ok(commands),
        Some(token) => Err(Malformed::at(token.start, "unexpected symbol found")),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn command(&mut self) -> Result<Command, Malformed> {
        let name = self.name("a command")?.to_ascii_lowercase();
        match name.as_str() {
            "fields" => Ok(Command::Fields(self.named()?)),
            "display" => Ok(Command::Display(self.field_names()?)),
            "filter" => Ok(Command::Filter(self.expression()?)),
            "parse" => self.parse_command(),
            "stats" => self.stats(),
            "sort" => self.sort(),
            "dedup" => Ok(Command::Dedup(self.field_names()?)),
            "limit" | "head" => match self.next() {
                Some(Word::Number(number)) if number >= 1.0 && number.fract() == 0.0 => {
                    Ok(Command::Limit(number as usize))
                }
                _ => Err(self.wrong("a whole number")),
            },
            _ => Err(self.wrong("a command of the supported ones")),
        }
    }

    /// Expressions with their names, between commas.
    fn named(&mut self) -> Result<Vec<(String, Expression)>, Malformed> {
        let mut found = Vec::new();
        loop {
            let from = self.place();
            let expression = self.expression()?;
            found.push((self.alias(from)?, expression));
            if !self.takes(",") {
                return Ok(found);
            }
        }
    }

    /// The name behind `as`, or else the text from there on.
    fn alias(&mut self, from: usize) -> Result<String, Malformed> {
        if self.takes_name("as") {
            return self.name("a name");
        }
        let until = self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(from, |token| token.end);
        Ok(self.text[from..until].trim_matches('`').to_owned())
    }

    fn field_names(&mut self) -> Result<Vec<String>, Malformed> {
        let mut names = vec![self.name("a field")?];
        while self.takes(",") {
            names.push(self.name("a field")?);
        }
        Ok(names)
    }

    fn parse_command(&mut self) -> Result<Command, Malformed> {
        let field = match self.tokens.get(self.at).map(|token| &token.word) {
            Some(Word::Text(_)) => Expression::Field("@message".to_owned()),
            _ => self.operand()?,
        };
        let Some(Word::Text(glob)) = self.next() else { return Err(self.wrong("a glob in quotes")) };
        if !self.takes_name("as") {
            return Err(self.wrong("as"));
        }
        let names = self.field_names()?;
        let pieces: Vec<String> = glob.split('*').map(str::to_owned).collect();
        if pieces.len() != names.len() + 1 {
            return Err(self.wrong("as many names as the glob has stars"));
        }
        Ok(Command::Parse { field, pieces, names })
    }

    fn stats(&mut self) -> Result<Command, Malformed> {
        let mut made = Vec::new();
        loop {
            let from = self.place();
            let aggregate = self.aggregate()?;
            made.push((self.alias(from)?, aggregate));
            if !self.takes(",") {
                break;
            }
        }
        let by = if self.takes_name("by") { self.named()? } else { Vec::new() };
        Ok(Command::Stats { made, by })
    }

    fn aggregate(&mut self) -> Result<Aggregate, Malformed> {
        let name = self.name("an aggregate")?.to_ascii_lowercase();
        self.expect("(")?;
        if name == "count" && (self.takes("*") && self.takes(")") || self.takes(")")) {
            return Ok(Aggregate::CountAll);
        }
        let of = self.expression()?;
        if name == "pct" || name == "percentile" {
            self.expect(",")?;
            let Some(Word::Number(percent)) = self.next() else { return Err(self.wrong("a number")) };
            self.expect(")")?;
            return Ok(Aggregate::Percentile(of, percent));
        }
        self.expect(")")?;
        match AGGREGATES.into_iter().find(|known| *known == name) {
            Some(known) => Ok(Aggregate::Of(known, of)),
            None => Err(self.wrong("an aggregate of the supported ones")),
        }
    }

    fn sort(&mut self) -> Result<Command, Malformed> {
        let mut by = Vec::new();
        loop {
            let expression = self.expression()?;
            let descends = self.takes_name("desc");
            if !descends {
                self.takes_name("asc");
            }
            by.push((expression, descends));
            if !self.takes(",") {
                return Ok(Command::Sort(by));
            }
        }
    }

    fn expression(&mut self) -> Result<Expression, Malformed> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("a flatter expression"));
        }
        let mut any = vec![self.conjunction()?];
        while self.takes_name("or") {
            any.push(self.conjunction()?);
        }
        self.depth -= 1;
        Ok(if any.len() == 1 { any.remove(0) } else { Expression::Any(any) })
    }

    fn conjunction(&mut self) -> Result<Expression, Malformed> {
        let mut all = vec![self.negation()?];
        while self.takes_name("and") {
            all.push(self.negation()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::All(all) })
    }

    fn negation(&mut self) -> Result<Expression, Malformed> {
        let mut is_negated = false;
        while self.takes_name("not") {
            is_negated = !is_negated;
        }
        let compared = self.comparison()?;
        Ok(if is_negated { Expression::Not(Box::new(compared)) } else { compared })
    }

    fn comparison(&mut self) -> Result<Expression, Malformed> {
        let left = self.operand()?;
        if self.takes("=~") || self.takes_name("like") {
            return Ok(Expression::Like(Box::new(left), self.pattern()?));
        }
        let is_negated = self.takes_name("not");
        let compared = if is_negated && self.takes_name("like") {
            Expression::Like(Box::new(left), self.pattern()?)
        } else if self.takes_name("in") {
            Expression::In(Box::new(left), self.list()?)
        } else if is_negated {
            return Err(self.wrong("like or in"));
        } else if let Some(sign) = ["=", "!=", "<=", ">=", "<", ">"].into_iter().find(|sign| self.takes(sign))
        {
            return Ok(Expression::Compare(Box::new(left), sign, Box::new(self.operand()?)));
        } else {
            return Ok(left);
        };
        Ok(if is_negated { Expression::Not(Box::new(compared)) } else { compared })
    }

    fn pattern(&mut self) -> Result<Pattern, Malformed> {
        match self.next() {
            Some(Word::Text(part)) => Ok(Pattern::Part(part)),
            Some(Word::Regex(text)) => match FilterPattern::parse(&format!("%{text}%")) {
                Ok(pattern) => Ok(Pattern::Regex(pattern)),
                Err(_) => Err(self.wrong("a regular expression of the supported ones")),
            },
            _ => Err(self.wrong("a text or a regular expression")),
        }
    }

    fn list(&mut self) -> Result<Vec<Expression>, Malformed> {
        self.expect("[")?;
        let mut values = vec![self.operand()?];
        while self.takes(",") {
            values.push(self.operand()?);
        }
        self.expect("]")?;
        Ok(values)
    }

    fn operand(&mut self) -> Result<Expression, Malformed> {
        match self.next() {
            Some(Word::Text(text)) => Ok(Expression::Text(text)),
            Some(Word::Number(number)) => Ok(Expression::Number(number)),
            Some(Word::Quoted(name)) => Ok(Expression::Field(name)),
            Some(Word::Sign("-")) => match self.next() {
                Some(Word::Number(number)) => Ok(Expression::Number(-number)),
                _ => Err(self.wrong("a number")),
            },
            Some(Word::Sign("(")) => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(Word::Name(name)) if self.takes("(") => self.call(&name.to_ascii_lowercase()),
            Some(Word::Name(name)) => Ok(Expression::Field(name)),
            _ => Err(self.wrong("a field or a value")),
        }
    }

    fn call(&mut self, name: &str) -> Result<Expression, Malformed> {
        if name == "bin" {
            let Some(Word::Period(number, unit)) = self.next() else { return Err(self.wrong("a period")) };
            self.expect(")")?;
            let unit_ms = match unit.as_str() {
                "ms" => 1.0,
                "s" | "sec" => 1e3,
                "m" | "min" => 6e4,
                "h" | "hr" => 3.6e6,
                "d" => 8.64e7,
                "w" => 6.048e8,
                _ => return Err(self.wrong("a period in ms, s, m, h, d or w")),
            };
            let period_ms = (number * unit_ms) as i64;
            return if period_ms > 0 { Ok(Expression::Bin(period_ms)) } else { Err(self.wrong("a period")) };
        }
        let Some(known) = FUNCTIONS.into_iter().find(|known| *known == name) else {
            return Err(self.wrong("a function of the supported ones"));
        };
        let of = self.expression()?;
        self.expect(")")?;
        Ok(Expression::Call(known, vec![of]))
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.tokens.get(self.at).map(|token| token.word.clone());
        self.at += 1;
        word
    }

    fn name(&mut self, what: &str) -> Result<String, Malformed> {
        match self.next() {
            Some(Word::Name(name) | Word::Quoted(name)) => Ok(name),
            _ => Err(self.wrong(what)),
        }
    }

    fn takes(&mut self, sign: &str) -> bool {
        let is_there =
            matches!(self.tokens.get(self.at), Some(Token { word: Word::Sign(found), .. }) if *found == sign);
        self.at += usize::from(is_there);
        is_there
    }

    fn takes_name(&mut self, name: &str) -> bool {
        let is_there = matches!(self.tokens.get(self.at), Some(Token { word: Word::Name(found), .. })
            if found.eq_ignore_ascii_case(name));
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, sign: &str) -> Result<(), Malformed> {
        if self.takes(sign) {
            return Ok(());
        }
        self.at += 1;
        Err(self.wrong(sign))
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |token| token.start)
    }

    /// What was read last is not what was expected.
    fn wrong(&self, expected: &str) -> Malformed {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        Malformed::at(last.map_or(self.text.len(), |token| token.start), format!("expected {expected}"))
    }
}
