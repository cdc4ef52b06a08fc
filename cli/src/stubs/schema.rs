//! What a service's schema says, as far as types of programming languages have words for it. Everything else
//! is any JSON.
//!
//! Always: what has fields, several shapes or words of its own is a named type, and is there once.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use wayfare_protocol::call::is_function;

use super::names::{Names, pascal};

/// Of a type with more of them its name is shown.
const FIELDS_SHOWN_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Service {
    /// As in `service/NAME`.
    pub(crate) name: String,
    /// Of the client.
    pub(super) class: String,
    pub(super) description: String,
    pub(crate) functions: Vec<Function>,
    pub(super) types: Vec<Named>,
}

#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) description: String,
    /// `None`: it takes none.
    pub(super) arguments: Option<Type>,
    pub(super) result: Type,
    pub(super) progress: Option<Type>,
}

#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Shape {
    Record(Vec<Field>),
    /// One of these texts.
    Words(Vec<String>),
    Union(Vec<Type>),
    /// Another name.
    Alias(Type),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) of: Type,
    pub(super) is_required: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Any,
    Null,
    Boolean,
    Integer {
        is_signed: bool,
    },
    Number,
    Text,
    List(Box<Type>),
    Tuple(Vec<Type>),
    Map(Box<Type>),
    /// Or null.
    Maybe(Box<Type>),
    /// Of these in [`Service::types`].
    Named(usize),
}

impl Type {
    fn or_null(self) -> Self {
        match self {
            Self::Any | Self::Null | Self::Maybe(_) => self,
            other => Self::Maybe(Box::new(other)),
        }
    }
}

impl Service {
    /// Reads what a provider says of `service/name`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(name: &str, schema: &Json) -> Result<Self, String> {
        let schema = schema.as_object().ok_or("it is not a JSON object")?;
        let class = pascal(name);
        let mut reader = Reader {
            definitions: ["$defs", "definitions"]
                .iter()
                .filter_map(|at| schema.get(*at)?.as_object())
                .flatten()
                .collect(),
            types: Vec::new(),
            known: BTreeMap::new(),
            names: Names::taken(&[
                &class,
                "CallOptions",
                "Options",
                "Any",
                "Literal",
                "Option",
                "Result",
                "String",
                "Vec",
            ]),
        };
        let none = Map::new();
        let functions = match schema.get("functions") {
            None => &none,
            Some(functions) => functions.as_object().ok_or("'functions' is not a JSON object")?,
        };
        let functions: Result<Vec<Function>, String> = functions
            .iter()
            .map(|(name, function)| reader.function(name, function))
            .collect();
        Ok(Self {
            name: name.to_owned(),
            class,
            description: description(schema),
            functions: functions?,
            types: reader.types.into_iter().flatten().collect(),
        })
    }
}

impl Service {
    /// What a function takes and gives, for people. Fields are shown where they are few.
    pub(crate) fn signature(&self, function: &Function) -> String {
        let arguments = function.arguments.as_ref().map(|of| self.word(of, true));
        let result = self.word(&function.result, true);
        format!("{}({}) -> {result}", function.name, arguments.unwrap_or_default())
    }

    fn word(&self, of: &Type, with_fields: bool) -> String {
        match of {
            Type::Any => "any".into(),
            Type::Null => "null".into(),
            Type::Boolean => "boolean".into(),
            Type::Integer { .. } => "integer".into(),
            Type::Number => "number".into(),
            Type::Text => "text".into(),
            Type::List(of) => format!("list of {}", self.word(of, with_fields)),
            Type::Tuple(all) => {
                let all: Vec<String> = all.iter().map(|of| self.word(of, with_fields)).collect();
                format!("[{}]", all.join(", "))
            }
            Type::Map(of) => format!("map of {}", self.word(of, with_fields)),
            Type::Maybe(of) => format!("{} or null", self.word(of, with_fields)),
            Type::Named(at) => match &self.types[*at].shape {
                Shape::Record(fields) if with_fields && fields.len() <= FIELDS_SHOWN_MAX => {
                    let all: Vec<String> = fields.iter().map(|field| self.field_word(field)).collect();
                    format!("{{{}}}", all.join(", "))
                }
                _ => self.types[*at].name.clone(),
            },
        }
    }

    fn field_word(&self, field: &Field) -> String {
        let mark = if field.is_required { "" } else { "?" };
        format!("{}{mark}: {}", field.name, self.word(&field.of, false))
    }
}

fn description(schema: &Map<String, Json>) -> String {
    let text = schema.get("description").or_else(|| schema.get("title"));
    text.and_then(Json::as_str).unwrap_or_default().to_owned()
}

/// Of what may be no object, such as `true`.
fn description_of(schema: &Json) -> String {
    schema.as_object().map(description).unwrap_or_default()
}

struct Reader<'a> {
    definitions: BTreeMap<&'a String, &'a Json>,
    /// `None`: it is being read.
    types: Vec<Option<Named>>,
    /// Of definitions.
    known: BTreeMap<String, usize>,
    names: Names,
}

impl Reader<'_> {
    fn function(&mut self, name: &str, function: &Json) -> Result<Function, String> {
        if !is_function(name) {
            return Err(format!("no function can be called '{name}'"));
        }
        let object = function.as_object();
        let function = object.ok_or_else(|| format!("function '{name}' is not a JSON object"))?;
        let mut part = |what: &str| {
            let schema = function.get(what)?;
            Some(self.of(schema, &format!("{name} {what}")))
        };
        Ok(Function {
            name: name.to_owned(),
            description: description(function),
            arguments: part("arguments").filter(|arguments| *arguments != Type::Null),
            result: part("result").unwrap_or(Type::Any),
            progress: part("progress"),
        })
    }

    /// `hint`: what it is called if it is called nothing.
    fn of(&mut self, schema: &Json, hint: &str) -> Type {
        let read = self.read(schema, hint);
        self.named(read, hint, description_of(schema))
    }

    fn definition(&mut self, reference: &str) -> Type {
        let places = ["#/$defs/", "#/definitions/"];
        let name = places.iter().find_map(|place| reference.strip_prefix(place));
        // As in JSON pointers.
        let name = name.map(|name| name.replace("~1", "/").replace("~0", "~"));
        let Some((name, schema)) = name.and_then(|name| self.definitions.get_key_value(&name)) else {
            return Type::Any;
        };
        let (name, schema) = (*name, *schema);
        if let Some(known) = self.known.get(name) {
            return Type::Named(*known);
        }
        let at = self.reserve();
        self.known.insert(name.clone(), at);
        let shape = match self.read(schema, name) {
            Read::Shape(shape) => shape,
            Read::Type(of) => Shape::Alias(of),
        };
        let description = description_of(schema);
        self.define(at, name, description, shape)
    }

    fn reserve(&mut self) -> usize {
        self.types.push(None);
        self.types.len() - 1
    }

    fn define(&mut self, at: usize, hint: &str, description: String, shape: Shape) -> Type {
        let name = self.names.unique(pascal(hint));
        self.types[at] = Some(Named {
            name,
            description,
            shape,
        });
        Type::Named(at)
    }

    fn read(&mut self, schema: &Json, hint: &str) -> Read {
        let Some(schema) = schema.as_object() else {
            return Read::Type(Type::Any);
        };
        if let Some(Json::String(reference)) = schema.get("$ref") {
            return Read::Type(self.definition(reference));
        }
        if let Some(only) = schema.get("const") {
            return constants(&[only]);
        }
        if let Some(Json::Array(all)) = schema.get("enum") {
            return constants(&all.iter().collect::<Vec<_>>());
        }
        for several in ["oneOf", "anyOf"] {
            if let Some(Json::Array(all)) = schema.get(several) {
                return self.one_of(all, hint);
            }
        }
        match (schema.get("allOf"), schema.get("type")) {
            (Some(Json::Array(all)), _) if all.len() == 1 => self.read(&all[0], hint),
            (None, Some(Json::String(kind))) => self.simple(kind, schema, hint),
            (None, Some(Json::Array(kinds))) => {
                let is_null = |kind: &&str| *kind == "null";
                let (nulls, others): (Vec<&str>, Vec<&str>) =
                    kinds.iter().filter_map(Json::as_str).partition(is_null);
                match (others.as_slice(), nulls.is_empty()) {
                    ([], _) => Read::Type(Type::Null),
                    ([one], true) => self.simple(one, schema, hint),
                    ([one], false) => {
                        let simple = self.simple(one, schema, hint);
                        Read::Type(self.named(simple, hint, String::new()).or_null())
                    }
                    _ => Read::Type(Type::Any),
                }
            }
            (None, None) if schema.contains_key("properties") => self.simple("object", schema, hint),
            _ => Read::Type(Type::Any),
        }
    }

    /// What needs a name has it from here on.
    fn named(&mut self, read: Read, hint: &str, description: String) -> Type {
        match read {
            Read::Type(of) => of,
            Read::Shape(shape) => {
                let at = self.reserve();
                self.define(at, hint, description, shape)
            }
        }
    }

    fn simple(&mut self, kind: &str, schema: &Map<String, Json>, hint: &str) -> Read {
        Read::Type(match kind {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "integer" => Type::Integer {
                is_signed: schema.get("minimum").and_then(Json::as_u64).is_none(),
            },
            "number" => Type::Number,
            "string" => Type::Text,
            "array" => self.array(schema, hint),
            "object" => match schema.get("properties").and_then(Json::as_object) {
                Some(properties) if !properties.is_empty() => {
                    return Read::Shape(Shape::Record(self.fields(properties, schema, hint)));
                }
                _ => Type::Map(Box::new(match schema.get("additionalProperties") {
                    Some(values) => self.of(values, &format!("{hint} value")),
                    None => Type::Any,
                })),
            },
            _ => Type::Any,
        })
    }

    fn array(&mut self, schema: &Map<String, Json>, hint: &str) -> Type {
        let several = schema.get("prefixItems").or_else(|| schema.get("items"));
        let item = format!("{hint} item");
        match several {
            Some(Json::Array(items)) => Type::Tuple(items.iter().map(|one| self.of(one, &item)).collect()),
            Some(items) => Type::List(Box::new(self.of(items, &item))),
            None => Type::List(Box::new(Type::Any)),
        }
    }

    fn fields(
        &mut self,
        properties: &Map<String, Json>,
        schema: &Map<String, Json>,
        hint: &str,
    ) -> Vec<Field> {
        let required = schema.get("required").and_then(Json::as_array);
        let is_required = |name: &str| required.is_some_and(|all| all.iter().any(|one| one == name));
        let field = |(name, schema): (&String, &Json)| Field {
            name: name.clone(),
            description: description_of(schema),
            of: self.of(schema, &format!("{hint} {name}")),
            is_required: is_required(name),
        };
        properties.iter().map(field).collect()
    }

    fn one_of(&mut self, all: &[Json], hint: &str) -> Read {
        let is_null = |one: &&Json| {
            one.get("type") == Some(&Json::String("null".into())) || one.get("const") == Some(&Json::Null)
        };
        let (nulls, others): (Vec<&Json>, Vec<&Json>) = all.iter().partition(is_null);
        let constant = |one: &&Json| match (one.get("const"), one.get("enum")) {
            (Some(Json::String(word)), _) => Some(vec![word.clone()]),
            (None, Some(Json::Array(all))) => {
                all.iter().map(|word| word.as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        let words: Option<Vec<Vec<String>>> = others.iter().map(constant).collect();
        let read = match (words, others.as_slice()) {
            (_, []) => return Read::Type(Type::Null),
            (Some(words), _) => words_of(words.into_iter().flatten()),
            (None, [one]) => self.read(one, hint),
            (None, several) => {
                let of = several.iter().map(|one| self.of(one, &variant_name(one, hint)));
                let mut variants: Vec<Type> = Vec::new();
                for of in of {
                    if !variants.contains(&of) {
                        variants.push(of);
                    }
                }
                Read::Shape(Shape::Union(variants))
            }
        };
        match nulls.is_empty() {
            true => read,
            false => Read::Type(self.named(read, hint, String::new()).or_null()),
        }
    }
}

enum Read {
    Type(Type),
    /// What needs a name.
    Shape(Shape),
}

/// A variant with one field is known by it.
fn variant_name(variant: &Json, hint: &str) -> String {
    let own = variant.get("title").and_then(Json::as_str);
    let properties = variant.get("properties").and_then(Json::as_object);
    let only = properties
        .filter(|all| all.len() == 1)
        .and_then(|all| all.keys().next());
    match own.or(only.map(String::as_str)) {
        Some(own) => format!("{hint} {own}"),
        None => format!("{hint} variant"),
    }
}

fn words_of(words: impl Iterator<Item = String>) -> Read {
    let mut all: Vec<String> = Vec::new();
    for word in words {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    match all.is_empty() {
        true => Read::Type(Type::Any),
        false => Read::Shape(Shape::Words(all)),
    }
}

fn constants(all: &[&Json]) -> Read {
    let words: Option<Vec<String>> = all.iter().map(|one| one.as_str().map(str::to_owned)).collect();
    if let Some(words) = words {
        return words_of(words.into_iter());
    }
    let are = |is: fn(&Json) -> bool| all.iter().all(|one| is(one));
    Read::Type(match () {
        () if are(Json::is_null) => Type::Null,
        () if are(Json::is_boolean) => Type::Boolean,
        () if are(|one| one.is_i64() || one.is_u64()) => Type::Integer { is_signed: true },
        () if are(Json::is_number) => Type::Number,
        () => Type::Any,
    })
}
