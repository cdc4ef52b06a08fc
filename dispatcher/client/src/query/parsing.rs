//! An expression as it is typed.

use std::fmt;

use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, Filter, Kind, Op, Value};
use crate::typed::{parse_age, parse_size};

/// What is wrong with an expression, and where it begins to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryError {
    text: String,
    at: Option<usize>,
    part: Option<&'static str>,
}

impl std::error::Error for QueryError {}

impl QueryError {
    fn new(text: impl Into<String>, at: usize) -> Self {
        Self {
            text: text.into(),
            at: Some(at),
            part: None,
        }
    }

    /// The same in this part of a query.
    pub(super) fn of(self, part: &'static str) -> Self {
        Self {
            part: Some(part),
            ..self
        }
    }

    /// The part of a query that it is in: `where` or `sort`.
    pub fn part(&self) -> &'static str {
        self.part.unwrap_or("query")
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "at character {}: {}", at + 1, self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// The place of a field among those that there are.
pub(super) fn field(name: &str, names: &[&'static str]) -> Result<usize, QueryError> {
    names
        .iter()
        .position(|one| *one == name)
        .ok_or_else(|| QueryError {
            text: format!("no field '{name}'; there are: {}", names.join(", ")),
            at: None,
            part: None,
        })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A name, a word such as `and`, or a value without quotes.
    Word(String),
    Quoted(String),
    Op(Op),
    Open,
    Close,
}

pub(super) fn parse(text: &str, fields: &[(&'static str, Kind)]) -> Result<Filter, QueryError> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let text = format!("it has {} bytes, the limit is {EXPRESSION_BYTES_MAX}", text.len());
        return Err(QueryError {
            text,
            at: None,
            part: None,
        });
    }
    let tokens = tokens(text)?;
    let mut parser = Parser {
        end: text.chars().count(),
        tokens: &tokens,
        fields,
        depth: 0,
    };
    let filter = parser.any()?;
    match parser.tokens.first() {
        None => Ok(filter),
        Some((at, _)) => Err(QueryError::new("'and', 'or' or the end is expected", *at)),
    }
}

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, QueryError> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().enumerate().peekable();
    while let Some((at, c)) = rest.next() {
        let mut is_next = |wanted| rest.next_if(|(_, c)| *c == wanted).is_some();
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '~' => Token::Op(Op::Contains),
            '=' => Token::Op(Op::Is),
            '!' if is_next('=') => Token::Op(Op::IsNot),
            '<' if is_next('=') => Token::Op(Op::AtMost),
            '<' => Token::Op(Op::Less),
            '>' if is_next('=') => Token::Op(Op::AtLeast),
            '>' => Token::Op(Op::More),
            quote @ ('"' | '\'') => {
                let mut word = String::new();
                loop {
                    match rest.next() {
                        Some((_, c)) if c == quote => break Token::Quoted(word),
                        Some((_, c)) => word.push(c),
                        None => return Err(QueryError::new("the quote has no end", at)),
                    }
                }
            }
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some((_, c)) = rest.next_if(|(_, c)| is_word(*c)) {
                    word.push(c);
                }
                Token::Word(word)
            }
            c => return Err(QueryError::new(format!("'{c}' is not expected"), at)),
        };
        tokens.push((at, token));
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || "-_./@:%".contains(c)
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    /// Where the text ends.
    end: usize,
    fields: &'a [(&'static str, Kind)],
    depth: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Filter, QueryError> {
        self.list("or", Self::all, Filter::Any)
    }

    fn all(&mut self) -> Result<Filter, QueryError> {
        self.list("and", Self::one, Filter::All)
    }

    fn list(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Filter, QueryError>,
        join: fn(Vec<Filter>) -> Filter,
    ) -> Result<Filter, QueryError> {
        let first = part(self)?;
        let mut parts = vec![first];
        while self.takes(&Token::Word(word.to_owned())) {
            parts.push(part(self)?);
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Ok(join(parts)),
        }
    }

    fn one(&mut self) -> Result<Filter, QueryError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::new(
                format!("it is deeper than {DEPTH_MAX}"),
                self.at(),
            ));
        }
        let one = if self.takes(&Token::Word("not".to_owned())) {
            Filter::Not(Box::new(self.one()?))
        } else if self.takes(&Token::Open) {
            let inner = self.any()?;
            if !self.takes(&Token::Close) {
                return Err(QueryError::new("')' is expected", self.at()));
            }
            inner
        } else {
            self.test()?
        };
        self.depth -= 1;
        Ok(one)
    }

    fn test(&mut self) -> Result<Filter, QueryError> {
        let at = self.at();
        let Some(Token::Word(name)) = self.next() else {
            return Err(QueryError::new("a field, 'not' or '(' is expected", at));
        };
        let names: Vec<&'static str> = self.fields.iter().map(|(name, _)| *name).collect();
        let field = field(name, &names).map_err(|error| QueryError::new(error.text, at))?;
        let kind = self.fields.get(field).map_or(Kind::Text, |(_, kind)| *kind);
        let op_at = self.at();
        let Some(Token::Op(op)) = self.next() else {
            return Err(QueryError::new("one of = != < <= > >= ~ is expected", op_at));
        };
        let op = *op;
        if op == Op::Contains && kind != Kind::Text {
            return Err(QueryError::new(
                format!("'{name}' is not text, which ~ is for"),
                op_at,
            ));
        }
        let value_at = self.at();
        let Some(Token::Word(word) | Token::Quoted(word)) = self.next() else {
            return Err(QueryError::new("a value is expected", value_at));
        };
        let value = value(word, kind).map_err(|text| QueryError::new(text, value_at))?;
        Ok(Filter::Test { field, op, value })
    }

    /// Where the next token begins.
    fn at(&self) -> usize {
        self.tokens.first().map_or(self.end, |(at, _)| *at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let ((_, token), rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(token)
    }

    fn takes(&mut self, wanted: &Token) -> bool {
        match self.tokens.split_first() {
            Some(((_, token), rest)) if token == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }
}

fn value(word: &str, kind: Kind) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::Text(word.to_owned())),
        Kind::Number => {
            let number = word
                .parse()
                .map_err(|_| format!("a number is expected, not '{word}'"))?;
            Ok(Value::Number(number))
        }
        Kind::Percent => {
            let number = word.strip_suffix('%').unwrap_or(word).parse::<f64>().ok();
            let number = number.filter(|number| (0.0..1e9).contains(number));
            let number =
                number.ok_or_else(|| format!("a percentage such as 12.5% is expected, not '{word}'"))?;
            Ok(Value::Number((number * 10.0).round() as u64))
        }
        Kind::Size if word == "0" => Ok(Value::Number(0)),
        Kind::Size => parse_size(word).map(Value::Number),
        Kind::Age if word == "0" => Ok(Value::Number(0)),
        Kind::Age => {
            let age = parse_age(word)?;
            Ok(Value::Number(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)))
        }
    }
}
